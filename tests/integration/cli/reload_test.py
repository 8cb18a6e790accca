#!/usr/bin/env python3
"""Changes of the scheduler's configuration while builds run: taken over whole, or refused and said."""
import json
import sys

from support import LookingFarm, checks, expect, skep, wait_for, with_farm


ARM = """  - name: arm
    labels: [arm64]
    driver: process
    image: base
    resources: {cpu: 0.1, memory: 128MiB}
"""


def add_template(text):
    command = next(line for line in text.splitlines() if "agent_command" in line)
    return text + ARM + command + "\n"


@with_farm()
def a_new_template_is_used_at_once(farm):
    farm.sim("jobs", "POST", {"path": "cross", "label": "arm64", "duration_ms": 300})
    item = farm.sim("schedule", "POST", {"path": "cross"})["ids"][0]
    wait_for(lambda: [q for q in farm.api("v1/queue") if q["item"] == item and q["reason"] == "no_template"], "the item waits", 30)
    before = farm.configuration()
    farm.write_config(add_template)
    farm.hang_up()
    wait_for(lambda: farm.built("cross"), "the build ran on the new template", 60)
    after = farm.configuration()
    expect(after["loaded_at_ms"] > before["loaded_at_ms"] and after["refused"] is None, f"{before} {after}")
    expect("the configuration was read again" in farm.log(), "it is not in the log")


@with_farm()
def a_bad_file_changes_nothing_and_is_said(farm):
    before = farm.api("v1/templates")
    farm.write_config(lambda text: text.replace("maximum:", "maximmu:").replace("poll_interval: 500ms", "poll_interval: soon"))
    farm.hang_up()
    wait_for(lambda: farm.configuration()["refused"], "the refusal is shown", 20)
    expect(farm.api("v1/templates") == before, "something was changed")
    _, out, _ = skep(farm.scheduler.url, "status")
    expect("! configuration: reload refused at 20" in out and "poll_interval" in out and "(and 3 more)" in out and
           "the old configuration stays" in out, out)
    expect(skep(farm.scheduler.url, "status", "--check")[0] == 1, "monitoring does not see it")
    expect("the configuration was not reloaded; the old one stays" in farm.log() and "maximmu" in farm.log(), "the log does not say so")
    code, out, err = farm.reload()
    expect(code == 6 and not out, f"{code} {out}")
    lines = (farm.folder / "scheduler.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.strip() == "poll_interval: soon")
    for text in ("the old configuration stays", f":{line}: controllers[0].poll_interval: found \"soon\"", 'did you mean "maximum"?'):
        expect(text in err, f"{text!r} is not in {err}")
    farm.sim("jobs", "POST", {"path": "after", "label": "linux", "duration_ms": 300})
    farm.sim("schedule", "POST", {"path": "after"})
    wait_for(lambda: farm.built("after"), "builds run as before", 60)
    for change, wanted in [(lambda text: "templates: [", "yaml:1: not YAML"), (lambda text: "", "controllers"),
                           (lambda text: text.replace("farm: ", "farm: x"), "a restart is needed for a change of farm"),
                           (lambda text: text.replace("one_build: gate", "one_build: hook"), "one_build")]:
        farm.write_config(change)
        code, _, err = farm.reload()
        expect(code == 6 and wanted in err, f"{wanted}: {code} {err}")
    farm.write_config(lambda text: text)
    code, out, err = farm.reload()
    expect(code == 0 and "reloaded" in out, f"{code} {err}")
    expect(farm.configuration()["refused"] is None, "the refusal is still shown")
    expect(skep(farm.scheduler.url, "status", "--check")[0] == 0, "monitoring still sees it")


def without_tools(text):
    return text[:text.index("  - name: tools")]


@with_farm(minimum_idle=2)
def a_large_retirement_needs_a_yes(farm):
    wait_for(lambda: len(farm.idle()) == 4, "all are idle", 60)
    farm.write_config(without_tools)
    code, out, err = farm.reload()
    expect(code == 7 and "would retire 2 of 4 executors" in err and "skep config reload --yes" in err, f"{code} {out} {err}")
    farm.hang_up()
    wait_for(lambda: farm.log().count("would retire 2 of 4 executors") == 2, "SIGHUP is refused, too", 20)
    expect(len(farm.idle()) == 4 and len(farm.api("v1/templates")) == 2, "something was changed")
    expect("would retire 2 of 4" in skep(farm.scheduler.url, "status")[1], "skep status does not say so")
    code, out, err = farm.reload("--yes", "-o", "json")
    expect(code == 0 and "2 executors" in json.loads(out)["message"], f"{code} {out} {err}")
    wait_for(lambda: [e["template"] for e in farm.api("v1/executors") if e["state"] != "gone"] == ["linux", "linux"], "two are left", 60)
    wait_for(lambda: len(farm.nodes()) == 2, "their nodes are gone", 30)
    # What is gone is no part of the farm: one of two is more than a tenth, however many there were.
    farm.write_config(lambda text: without_tools(text).replace("labels: [linux, x86]", "labels: [linux]"))
    code, _, err = farm.reload()
    expect(code == 7 and "would retire 2 of 2" in err, f"{code} {err}")


@with_farm(minimum_idle=1)
def a_busy_executor_finishes_before_it_goes(farm):
    wait_for(lambda: len(farm.idle()) == 2, "all are idle", 60)
    farm.sim("jobs", "POST", {"path": "long", "label": "linux && !docker", "duration_ms": 8000})
    farm.sim("schedule", "POST", {"path": "long"})
    wait_for(farm.busy, "the build runs", 30)
    worker = farm.busy()[0]["id"]
    wait_for(lambda: len(farm.idle()) == 2, "its place is taken", 60)
    old = {e["id"] for e in farm.idle()}
    farm.write_config(lambda text: text.replace("labels: [linux, x86]", "labels: [linux, x86, renewed]"))
    code, out, err = farm.reload("--yes")
    expect(code == 0, err)
    expect([e["id"] for e in farm.busy()] == [worker], "the busy one was hurt")
    replaced = wait_for(lambda: [e for e in farm.idle() if e["template"] == "linux" and e["id"] not in old], "the idle one is replaced", 60)
    expect(farm.busy() and farm.busy()[0]["id"] == worker, f"the busy one did not outlive the idle one's replacement {replaced}")
    build = wait_for(lambda: farm.built("long"), "the build has ended", 60)[0]
    expect(build["result"] == "SUCCESS" and build["node"] == worker, f"{build}")
    wait_for(lambda: worker not in farm.nodes(), "it is gone after its build", 30)


def a_scheduler_with_listen_on_its_command_line_reloads():
    farm = LookingFarm(one_build="gate")
    try:
        farm.start()
        farm.scheduler.end()
        farm.start_scheduler()  # on its old address, given by --listen
        code, out, err = farm.reload()
        expect(code == 0 and "reloaded" in out, f"{code} {err}")
    finally:
        farm.end()


if __name__ == "__main__":
    sys.exit(checks.run([a_new_template_is_used_at_once, a_bad_file_changes_nothing_and_is_said, a_large_retirement_needs_a_yes,
                         a_busy_executor_finishes_before_it_goes, a_scheduler_with_listen_on_its_command_line_reloads]))
