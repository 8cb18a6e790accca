#!/usr/bin/env python3
"""Every command of `skep` against a small living farm: tables and JSON compared with what is kept in golden/."""
import json
import sys

from support import Farm, checks, compare, expect, shape, skep, steady, wait_for


def busy(farm):
    return [e for e in farm.api("v1/executors") if e["state"] == "busy"]


class Commands:
    """Runs commands, keeps what they print."""

    def __init__(self, farm):
        self.farm, self.text, self.shapes = farm, "", {}

    def run(self, *arguments, code=0):
        got, out, err = skep(self.farm.scheduler.url, *arguments)
        out_of_time = "  main: no job is visible to the account: without Job/Read the queue looks empty\n"  # until the next look at rights
        self.text += steady(f"$ skep {' '.join(arguments)}\n{out.replace(out_of_time, '')}{err}", self.farm) + (f"(exit code {got})\n" if got else "")
        expect(got == code, f"skep {' '.join(arguments)}: exit code {got}, not {code}: {out}{err}")
        return out

    def json(self, *arguments, code=0):
        got, out, err = skep(self.farm.scheduler.url, *arguments, "--output", "json")
        expect(got == code, f"skep {' '.join(arguments)} as JSON: exit code {got}, not {code}: {err}")
        value = json.loads(out)
        self.shapes[" ".join(arguments)] = shape(value)
        return value

    def keep(self, name):
        compare(f"{name}.txt", self.text)
        if self.shapes:
            compare(f"{name}.json", json.dumps(self.shapes, indent=1) + "\n")
        self.text, self.shapes = "", {}


def a_farm_with_one_build_and_one_item_that_waits(farm):
    farm.start()
    wait_for(lambda: any(host["is_known"] for host in farm.api("v1/hosts")), "the host is known", 30)
    wait_for(lambda: farm.api("v1/status")["controllers"][0]["is_known"], "the controller is known", 30)
    farm.sim("jobs", "POST", {"path": "long", "label": "linux && !docker", "duration_ms": 3_600_000})
    farm.sim("jobs", "POST", {"path": "folder/never", "label": "windows && arm64"})
    farm.sim("schedule", "POST", {"path": "long"})
    wait_for(lambda: len(busy(farm)) == 1, "the build runs", 60)
    item = farm.sim("schedule", "POST", {"path": "folder/never"})["ids"][0]
    wait_for(lambda: [q for q in farm.api("v1/queue") if q["item"] == item and q["reason"] == "no_template"], "the item waits", 30)
    return item


def views(commands, item):
    executor = busy(commands.farm)[0]["id"]
    for arguments in [["status"], ["hosts"], ["executors"], ["executors", executor], ["executors", "--state", "idle"], ["queue"],
                      ["queue", "folder/*", "--reason", "no_template"], ["history"], ["explain", str(item)], ["explain", "folder/never"],
                      ["labels", "linux && !docker"], ["hosts", "--state", "draining"], ["controller", "status"]]:
        commands.run(*arguments)
    for name in ["status", "hosts", "executors", "queue", "history", "config show", "controller status"]:
        commands.json(*name.split())
    commands.shapes["explain ITEM"] = shape(json.loads(skep(commands.farm.scheduler.url, "explain", str(item), "-o", "json")[1]))
    commands.json("explain", "folder/never")
    commands.json("labels", "linux && !docker")
    commands.json("version")
    commands.run("status", "--check")
    commands.run("complete", "hosts")
    commands.run("complete", "templates")
    commands.run("complete", "controllers")
    commands.keep("views")


def operations(commands):
    farm = commands.farm
    executor = busy(farm)[0]["id"]
    commands.run("pause", "--reason", "controller upgrade")
    commands.run("status", "--check", code=1)
    commands.json("resume")
    commands.run("resume")
    commands.run("drain", "cli-hots", code=4)
    commands.run("drain", "--all", code=7)
    commands.run("drain", "--all", "--dry-run")
    commands.run("drain", "cli-host", "--reason", "new disks", "--wait", "--timeout", "900ms", code=5)
    commands.run("hosts")
    commands.run("status", "--check", code=1)
    commands.json("undrain", "cli-host")
    commands.run("undrain", "cli-host")
    commands.run("hold", executor, "--for", "2h", "--reason", "flaky test")
    wait_for(lambda: farm.api("v1/executors")[0]["hold_reason"] == "flaky test", "it is held after its build", 10)
    commands.run("executors")
    commands.run("retire", "--all", code=7)
    commands.run("retire", executor, "--even-if-busy", code=7)
    commands.run("retire", "--state", "busy", "--dry-run")
    commands.json("retire", "--state", "busy", "--dry-run")
    commands.run("retire", executor, "--reason", "old")
    code, out, err = skep(farm.scheduler.url, "retire", "--host", "cli-host", "--state", "busy", "--even-if-busy", "--yes", "--wait",
                          "--timeout", "60s", "--reason", "hangs")
    expect(code == 0 and out == f"retired: {executor}\ndone\n", f"{code} {out} {err}")
    commands.run("executors")
    commands.run("executors", "--all")
    out = commands.run("history")
    expect("retired: hangs" in out, out)
    commands.json("history")
    commands.keep("operations")
    expect(not farm.executors_root(), f"left over: {farm.executors_root()}")


def every_command_on_a_living_farm():
    farm = Farm(farm_name="cli", one_build="gate", maximum=1, max_executors=2)
    try:
        item = a_farm_with_one_build_and_one_item_that_waits(farm)
        commands = Commands(farm)
        views(commands, item)
        operations(commands)
    finally:
        farm.end()


if __name__ == "__main__":
    sys.exit(checks.run([every_command_on_a_living_farm]))
