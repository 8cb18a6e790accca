#!/usr/bin/env python3
"""`skep` without a scheduler, and with something strange in its place: exit codes, messages, tables, typos."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from support import BIN, NOWHERE, SOURCE, ScriptedScheduler, checks, compare, environment, expect, on_terminal, skep, without_colours

COMMANDS = ["status", "hosts", "executors", "queue", "explain", "history", "labels", "drain", "undrain", "forget", "hold", "retire", "pause",
            "resume", "config", "controller", "version", "completion", "simulate"]
# Every command that asks the scheduler, complete enough to be sent.
ASKING = [["status"], ["hosts"], ["executors"], ["queue"], ["explain", "1"], ["explain", "job"], ["history"], ["labels", "a"],
          ["labels", "--stdin", "-o", "json"], ["drain", "h"], ["undrain", "h"], ["forget", "h"], ["hold", "e"], ["retire", "e"], ["pause"], ["resume"],
          ["config", "show"], ["config", "reload"], ["controller", "status"], ["controller", "companion", "--install"],
          ["controller", "companion", "--remove", "main"]]
LONG = "x" * 58


def executor(name, **more):
    return {"id": name, "template": "linux", "host": "h1", "state": "idle", "gate": "closed", "build": "", "detail": "", "in_state_ms": 100,
            **more}


def host(name, **more):
    return {"host": name, "is_known": True, "is_draining": False, "os": "linux", "drivers": ["process"], "free": {"cpu_millis": 4000},
            "executors": 0, "max_executors": 8, "seen_ms_ago": 10, "attributes": {"rack": "b2"}, "open_breakers": [], **more}


def no_scheduler_is_said_with_the_address_and_what_to_do():
    for arguments in ASKING:
        code, out, err = skep(NOWHERE, *arguments)
        expect(code == 3, f"{arguments}: exit code {code}")
        expect("cannot reach the scheduler at http://127.0.0.1:1/" in err and ("SKEP_SERVER" in err or "--with" in err), f"{arguments}: {err}")
        expect(not out or arguments[0] == "labels", f"{arguments} printed {out}")


def help_is_complete():
    code, out, _ = skep(NOWHERE, "--help")
    expect(code == 0, "skep --help")
    for command in COMMANDS:
        expect(f"\n  {command} " in out, f"{command} is not in skep --help")
        code, text, _ = skep(NOWHERE, command, "--help")
        expect(code == 0 and f"Usage: skep {command}" in text, f"skep {command} --help: {text}")
        if command not in ("version", "config"):
            expect("Example" in text, f"skep {command} --help has no example")
    for code in range(8):
        expect(f"{code} " in out[out.index("Exit codes"):], f"exit code {code} is not in skep --help")


def typos_get_the_nearest_name_and_exit_code_2():
    for arguments, wanted in [
            (["statsu"], "did you mean status?"), (["drian", "h"], "did you mean drain?"), (["config", "chekc"], "did you mean check?"),
            (["hosts", "--outptu", "json"], "did you mean --output?"), (["drain", "h", "--resaon=x"], "did you mean --reason?"),
            (["frobnicate"], "commands: status"), ([], "skep needs a command"), (["config"], "skep config needs a command"),
            (["executors", "--state", "ilde"], "idle"), (["explain"], "item is required"), (["drain"], "say which hosts"), (["forget"], "say which hosts"), (["forgte", "h"], "did you mean forget?"),
            (["retire"], "say which executors"), (["hold", "e", "--for", "3y"], "--for"), (["labels"], "label texts"),
            (["history", "-n", "0"], "1 to 10000"), (["--output", "xml", "status"], "table"), (["labels", "--stdin"], "--output json"),
            (["completion", "tcsh"], "bash"), (["drain", "h", "--wait", "--timeout"], "--timeout")]:
        code, out, err = skep(NOWHERE, *arguments)
        expect(code == 2, f"{arguments}: exit code {code}, {err}")
        expect(wanted in err, f"{arguments}: {err}")
        expect(not out, f"{arguments} printed {out}")


def names_that_do_not_exist_are_not_found():
    with ScriptedScheduler({"/v1/hosts": (200, [host("hv-07"), host("hv-08")]), "/v1/executors": (200, [executor("skep-linux-1-a1")]),
                            "/v1/queue": (200, [{"item": 7, "name": "team » nightly"}])}) as server:
        for arguments, wanted in [(["drain", "hv-7"], "did you mean hv-07?"), (["hosts", "hv-007"], "did you mean hv-07?"),
                                  (["retire", "skep-linux-1-a"], "did you mean skep-linux-1-a1?"), (["drain", "zzz*"], "skep hosts lists"), (["forget", "hv-7", "--yes"], "did you mean hv-07?"),
                                  (["explain", "team/nihgtly"], "did you mean team/nightly?"), (["explain", "9"], "no such thing")]:
            code, _, err = skep(server.url, *arguments)
            expect(code == 4, f"{arguments}: exit code {code}, {err}")
            expect(wanted in err, f"{arguments}: {err}")
        expect(server.posted == [], f"something was changed: {server.posted}")


def strange_answers_are_said_and_never_a_crash():
    paths = ["/v1/status", "/v1/hosts", "/v1/executors", "/v1/queue", "/v1/queue/1", "/v1/history", "/v1/templates", "/v1/config",
             "/v1/pause", "/v1/config/reload"]
    for status, body, wanted in [(200, "<html>login</html>", 3), (200, '{"half":', 3), (401, '{"error":{"message":"who?"}}', 1),
                                 (403, "<html>", 1), (500, "", 1), (503, '{"error":{"message":"stopping"}}', 3),
                                 (409, '{"error":{"message":"no"}}', 7), (400, '{"error":{"message":"no"}}', 2)]:
        with ScriptedScheduler({path: (status, body) for path in paths}) as server:
            for arguments in [["status"], ["hosts"], ["executors"], ["queue"], ["explain", "1"], ["history"], ["config", "show"], ["pause"]]:
                code, _, err = skep(server.url, *arguments)
                expect(code == wanted and err.startswith("skep: "), f"{status} {body!r} for {arguments}: exit code {code}, {err}")
    for body in ["7", "null", '"text"', "[1, null, [], {}]", '{"hosts": 5}', '[{"host": 5, "free": 7, "executors": "many"}]',
                 '{"controllers": [1], "hosts": [2], "executors": [3], "queue": [4], "templates": [5], "counters": 6}']:
        with ScriptedScheduler({path: (200, body) for path in paths}) as server:
            for arguments in ASKING:
                code, _, err = skep(server.url, *arguments)
                expect(0 <= code <= 7, f"{body} for {arguments}: exit code {code}, {err}")


def tables_fit_and_cannot_steer_the_terminal():
    nasty = "job\x1b[2J\x07\u202e\u009b31m 測試作業ジョブ" + LONG
    answers = {
        "/v1/hosts": (200, [host(LONG, is_draining=True, drain_reason=nasty), host("hv-1", open_breakers=["linux: " + nasty])]),
        "/v1/executors": (200, [executor(LONG, build="job/" + nasty, detail=nasty), executor("short", state="held", hold_reason=nasty)]),
        "/v1/queue": (200, [{"item": 123456789, "name": nasty, "label": LONG, "waiting_ms": 5, "reason": "no_template", "text": nasty}]),
        "/v1/history": (200, [{"id": LONG, "template": "linux", "host": "h1", "end": nasty, "build": nasty, "is_violation": True}]),
        "/v1/queue/1": (200, {"item": 1, "name": nasty, "label": LONG, "text": nasty, "unblock": nasty, "refusals": {nasty: 1}}),
    }
    with ScriptedScheduler(answers) as server:
        for columns in (80, 132, 220):
            for view in ("hosts", "executors", "queue", "history"):
                text = on_terminal(server.url, view, columns=columns)
                for line in without_colours(text).splitlines():
                    width = sum(2 if "\u1100" <= c <= "\uffe6" and c != "…" and not "\u2000" <= c <= "\u2dff" else 1 for c in line)
                    expect(width <= columns, f"{view} on {columns} columns: {width} in {line!r}")
                expect("\x1b[1m" in text and "\x1b[2J" not in text and "\x9b" not in text and "\u202e" not in text and "\x07" not in text,
                       f"{view}: {text!r}")
                expect("\x1b" not in on_terminal(server.url, view, columns=columns, NO_COLOR="1"), f"{view}: NO_COLOR is not honoured")
        for view in (["hosts"], ["executors"], ["queue"], ["history"], ["explain", "1"]):
            _, out, _ = skep(server.url, *view)
            expect("\x1b" not in out and "\x07" not in out, f"{view}: control characters in {out!r}")
            expect(LONG in out, f"{view}: cut although it is no terminal")


def what_destroys_much_needs_a_yes():
    executors = [executor("a-1", state="busy"), executor("a-2"), executor("b-1", template="tools", host="h2"), executor("old", state="gone")]
    answers = {"/v1/executors": (200, executors), "/v1/hosts": (200, [host("h1"), host("h2", is_draining=True)]),
               "/v1/templates": (200, [{"name": "linux", "labels": "linux x86"}, {"name": "tools", "labels": "linux docker"}])}
    for name in ("a-1", "a-2", "b-1"):
        answers[f"/v1/executors/{name}/retire"] = answers[f"/v1/executors/{name}/hold"] = (200, {"message": "ok"})
    for name in ("h1", "h2"):
        answers[f"/v1/hosts/{name}/drain"] = answers[f"/v1/hosts/{name}/undrain"] = (200, {"message": "ok"})
    with ScriptedScheduler(answers) as server:
        for arguments in [["retire", "--all"], ["retire", "a-1", "--even-if-busy"], ["drain", "--all"]]:
            code, _, err = skep(server.url, *arguments)
            expect(code == 7 and "--yes" in err, f"{arguments}: exit code {code}, {err}")
            code, out, _ = skep(server.url, *arguments, "--dry-run", "-o", "json")
            expect(code == 0 and json.loads(out)["dry_run"] and not json.loads(out)["changed"], f"{arguments} --dry-run: {out}")
        expect(server.posted == [], f"something was changed: {server.posted}")
        for arguments, wanted in [(["retire", "--all", "--yes"], ["a-1", "a-2", "b-1"]), (["retire", "a-*"], ["a-1", "a-2"]),
                                  (["retire", "--state", "idle"], ["a-2", "b-1"]), (["retire", "--template", "tools"], ["b-1"]),
                                  (["retire", "--host", "h1", "--state", "idle"], ["a-2"]), (["retire", "--label", "linux && !docker"], ["a-1", "a-2"]),
                                  (["retire", "--state", "idle", "--state", "busy", "--host", "h*"], ["a-1", "a-2", "b-1"]),
                                  (["retire", "--all", "--template", "nothing"], []), (["hold", "a-2", "--for", "2h"], ["a-2"])]:
            server.posted.clear()
            code, out, err = skep(server.url, *arguments, "-o", "json", "--reason", "[why]")
            expect(code == 0 and json.loads(out)["changed"] == wanted, f"{arguments}: exit code {code}, {out} {err}")
            expect([path.split("/")[3] for path, _ in server.posted] == wanted, f"{arguments}: {server.posted}")
            expect(all(body["reason"] == "[why]" for _, body in server.posted), f"{arguments}: {server.posted}")
        for arguments, wanted in [(["drain", "h*"], ["h1", "h2"]), (["undrain", "--state", "draining"], ["h2"]), (["drain", "--label", "rack=b*"], ["h1", "h2"])]:
            code, out, err = skep(server.url, *arguments, "-o", "json")
            expect(code == 0 and json.loads(out)["changed"] == wanted, f"{arguments}: {out} {err}")
        del answers["/v1/executors/a-2/retire"]
        answers["/v1/executors/a-1/retire"] = (500, '{"error":{"message":"disk full"}}')
        code, out, err = skep(server.url, "retire", "--all", "--yes", "-o", "json")
        result = json.loads(out)
        expect(code == 1 and result["failed"] == [{"name": "a-1", "message": "disk full"}], f"{code}: {out}")
        expect(result["changed"] == ["a-2", "b-1"], f"one that fails, or is gone already, keeps the others from it: {out} {err}")


def a_host_is_forgotten_only_when_its_scheduler_agrees():
    answers = {"/v1/hosts": (200, [host("h1", is_known=False), host("h2", is_known=False)]),
               "/v1/hosts/h1/forget": (200, {"message": "ok", "executors": ["a-1", "a-2"]}),
               "/v1/hosts/h2/forget": (409, '{"error":{"code":"conflict","message":"host h2 answers; nothing was given up","hint":"drain it instead"}}')}
    with ScriptedScheduler(answers) as server:
        def posted(dry):
            return [path.split("/")[3] for path, body in server.posted if body["dry_run"] is dry]
        code, out, err = skep(server.url, "forget", "h1")
        expect(code == 7 and not out and "give up 2 executors" in err and "--yes" in err, f"{code} {out} {err}")
        code, out, err = skep(server.url, "forget", "h1", "--dry-run")
        expect(code == 0 and out == "would forget: h1\nwould give up: a-1\nwould give up: a-2\n", f"{code} {out} {err}")
        code, out, err = skep(server.url, "forget", "--state", "unknown", "--yes")
        expect(code == 7 and not out and "host h2 answers" in err and "drain it instead" in err, f"{code} {out} {err}")
        expect(not posted(False), f"something was changed: {server.posted}")
        code, out, err = skep(server.url, "forget", "h1", "--yes", "--reason", "burnt down", "-o", "json")
        result = json.loads(out)
        expect(code == 0 and result["changed"] == ["h1"] and result["executors"] == ["a-1", "a-2"], f"{code} {out} {err}")
        expect(posted(False) == ["h1"] and server.posted[-1][1]["reason"] == "burnt down", f"{server.posted}")
        answers["/v1/hosts/h1/forget"] = (200, {"message": "ok", "executors": []})
        code, out, err = skep(server.url, "forget", "h1")
        expect(code == 0 and out.startswith("forgotten: h1\n"), f"nothing is given up, so no --yes is needed: {code} {out} {err}")


def waiting_ends_with_its_limit_and_outlives_the_scheduler():
    answers = {"/v1/hosts": (200, [host("h1")]), "/v1/executors": (200, [executor("a-1", state="busy")]), "/v1/hosts/h1/drain": (200, {"message": "ok"})}
    with ScriptedScheduler(answers) as server:
        code, out, err = skep(server.url, "drain", "h1", "--wait", "--timeout", "600ms", "-o", "json")
        expect(code == 5 and json.loads(out)["is_done"] is False, f"{code} {out}")
        expect("waiting: 1 busy" in err and "still waiting after 600ms" in err, err)
        answers["/v1/executors"] = (503, '{"error":{"message":"stopping"}}')
        process = subprocess.Popen([BIN / "skep", "drain", "h1", "--wait", "--timeout", "60s"], env=environment(server.url),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        expect("waiting: stopping" in line, line)
        answers["/v1/executors"] = (200, [executor("a-1", state="gone"), executor("a-2", state="held")])
        out, err = process.communicate(timeout=60)
        expect(process.returncode == 0 and out.endswith("done\n"), f"{process.returncode} {out} {err}")


def configuration_mistakes_come_all_at_once():
    for name, flags in [("scheduler", []), ("agentd", ["--agentd"])]:
        text = (pathlib.Path(__file__).resolve().parent / f"bad-{name}.yaml").read_text()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"{name}.yaml"
            path.write_text(text)
            code, out, err = skep(NOWHERE, "config", "check", str(path), *flags)
            expect(code == 6 and not out, f"{code} {out}")
            compare(f"config-check-{name}.txt", err.replace(folder, "FOLDER"))
            code, out, _ = skep(NOWHERE, "config", "check", str(path), *flags, "-o", "json")
            expect(code == 6 and json.loads(out)["problems"] == err.splitlines(), out)
    code, _, err = skep(NOWHERE, "config", "check", "/nonexistent.yaml")
    expect(code == 6 and "/nonexistent.yaml" in err, err)


def the_examples_are_good():
    examples = pathlib.Path(__file__).resolve().parents[3] / "docs" / "examples"
    for path in sorted(examples.glob("*.yaml")):
        flags = ["--agentd"] if path.name.startswith("agentd") else []
        code, out, err = skep(NOWHERE, "config", "check", str(path), *flags)
        expect(code == 0 and "good" in out, f"{path.name}: {err}")


def completion_knows_every_command_and_parses():
    for shell, check in [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])]:
        code, out, _ = skep(NOWHERE, "completion", shell)
        expect(code == 0, shell)
        for command in COMMANDS + ["reload"]:
            expect(command in out, f"{shell} does not know {command}")
        if shutil.which(shell) is None:
            print(f"SKIPPED: {shell} is not installed, so its script was not parsed", flush=True)
            continue
        done = subprocess.run(check, input=out, text=True, capture_output=True, check=False)
        expect(done.returncode == 0, f"{shell}: {done.stderr}")
    script = skep(NOWHERE, "completion", "bash")[1] + """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _skep; echo "${COMPREPLY[*]}"; }
try skep dr; try skep config re; try skep retire --ev; try skep hosts --outp; try skep status -o ''
"""
    done = subprocess.run(["bash", "-c", script], env=environment(NOWHERE, PATH=f"{BIN}:/usr/bin:/bin"), capture_output=True, text=True, check=False)
    expect(done.stdout.split("\n")[:5] == ["drain", "reload", "--even-if-busy", "--output", "table json"], done.stdout + done.stderr)


def a_history_becomes_a_trace():
    def ended(number, arrival, label="linux && x86", **more):
        return {"number": number, "was_used": True, "build": f"job/j/{number}/", "busy_ms": 60000, "arrival_ms": arrival, "label": label,
                "kind": "freestyle", **more}
    unknown = {"number": 4, "was_used": True, "build": "job/j/4/", "busy_ms": 5}
    unused = {"number": 3, "was_used": False, "busy_ms": 0}
    with ScriptedScheduler({"/v1/history": (200, [ended(5, 1795420815000), unknown, unused]),
                            "/v1/history?limit=2000&before=3": (200, [ended(2, 1795420810000, 'a, "b"', kind="pipeline")]),
                            "/v1/history?limit=2000&before=2": (200, [])}) as server, tempfile.TemporaryDirectory() as folder:
        code, out, err = skep(server.url, "history", "--trace")
        lines = [json.loads(line) for line in out.splitlines()]
        expect(code == 0 and [line["arrival_ms"] for line in lines] == [1795420810000, 1795420815000], f"{code} {out} {err}")
        expect("2 builds; 1 more" in err, err)
        trace = pathlib.Path(folder) / "lately.jsonl"
        trace.write_text(out, encoding="utf-8")
        config = SOURCE / "docs" / "examples" / "traces" / "scheduler.yaml"
        code, out, err = skep(NOWHERE, "simulate", trace, "--config", config, "--hosts", "2", "-o", "json")
        expect(code == 0, f"the trace is refused: {err}")
        expect(json.loads(out)["alternatives"][0]["jobs"] == 2, out[:600])
    for page in ({}, [unknown]):  # cut off in the middle, and a scheduler that gives the same page for ever
        with ScriptedScheduler({"/v1/history?limit=2000": (200, [ended(4, 1795420815000)]), "/v1/history": (200, page)}) as server:
            code, out, err = skep(server.url, "history", "--trace")
            expect(code == 3 and not out and "no page of a history" in err, f"{page}: {code} {out} {err}")
    with ScriptedScheduler({"/v1/history": (200, [])}) as server:
        code, out, err = skep(server.url, "history", "--trace")
        expect(code == 4 and not out and "needs builds" in err, f"{code} {out} {err}")


def output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BIN / "skep", "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    expect(done.returncode == 1 and "could not be written" in done.stderr, f"{done.returncode} {done.stderr}")


if __name__ == "__main__":
    sys.exit(checks.run([no_scheduler_is_said_with_the_address_and_what_to_do, help_is_complete, typos_get_the_nearest_name_and_exit_code_2,
                         names_that_do_not_exist_are_not_found, strange_answers_are_said_and_never_a_crash,
                         tables_fit_and_cannot_steer_the_terminal, what_destroys_much_needs_a_yes,
                         a_host_is_forgotten_only_when_its_scheduler_agrees, waiting_ends_with_its_limit_and_outlives_the_scheduler, configuration_mistakes_come_all_at_once,
                         the_examples_are_good, completion_knows_every_command_and_parses, a_history_becomes_a_trace,
                         output_that_cannot_be_written_is_a_failure]))
