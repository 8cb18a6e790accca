#!/usr/bin/env python3
"""`skep controller`: how controllers are heard, and the companion's scripts: printed, put in and removed."""
import base64
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from support import NOWHERE, SOURCE, LookingFarm, ScriptedScheduler, checks, expect, skep, wait_for, with_farm

REMOVED = "it was removed by an operator (skep controller companion --remove)"
FIRST_LINES = [f"// skep-companion 1 {name}" for name in ("install", "wait", "remove")]


def script_of(name):
    return (SOURCE / "scheduler" / "companion" / f"{name}.groovy").read_text()


def controller(name, **more):
    return {"controller": name, "is_known": True, "problem": "", "has_companion": True, "is_told": True, "companion_problem": "", "items": 3,
            "version": "2.479.3", "one_build": "hook", "queue_age_ms": 20, "nodes_age_ms": 31_000, **more}


def status(*controllers):
    return {"farm": "f", "controllers": list(controllers), "counters": {"companion_answers": 41, "companion_news": 12, "companion_differences": 1, "launches": 9}}


def the_scripts_are_printed_without_a_scheduler():
    code, out, err = skep(NOWHERE, "controller", "companion", "--print")
    expect(code == 0 and not err, err)
    expect([line for line in out.splitlines() if line.startswith("// skep-companion ")] == FIRST_LINES, out)
    expect(out == "\n".join(script_of(name) for name in ("install", "wait", "remove")), "they are not the ones of scheduler/companion")
    for name in ("install", "wait", "remove"):
        expect(skep(NOWHERE, "controller", "companion", "--print", name)[1] == script_of(name), name)
    code, out, _ = skep(NOWHERE, "controller", "companion", "--print", "init")
    head = out[:out.index(FIRST_LINES[0])].splitlines()
    expect(code == 0 and head and all(line.startswith("// ") for line in head) and "init.groovy.d" in head[0], out[:400])
    expect(out.endswith(script_of("install")), "the form for init.groovy.d is not the installation")
    code, out, _ = skep(NOWHERE, "controller", "companion", "--print", "-o", "json")
    expect(json.loads(out) == {name: script_of(name) for name in ("install", "wait", "remove")}, out)


def what_is_typed_wrongly_sends_nothing():
    for arguments, wanted in [(["controller"], "skep controller needs a command"), (["controller", "stauts"], "did you mean status?"),
                              (["controller", "companion"], "one of --print, --install and --remove"),
                              (["controller", "companion", "--install", "--remove"], "one of --print"),
                              (["controller", "companion", "--print", "everything"], "all,install,wait,remove,init"),
                              (["controller", "companion", "main", "--print"], "takes no controller")]:
        code, out, err = skep(NOWHERE, *arguments)
        expect(code == 2 and wanted in err and not out, f"{arguments}: exit code {code}, {out} {err}")


def each_way_of_hearing_is_told():
    answers = {"/v1/status": (200, status(
        controller("told"), controller("lost", is_told=False, companion_problem="Overall/Administer is missing"),
        controller("young", is_told=False), controller("plain", is_told=False, has_companion=False, one_build="gate"),
        controller("away", is_known=False, is_told=False, problem="connection refused", queue_age_ms=-1)))}
    with ScriptedScheduler(answers) as server:
        code, out, err = skep(server.url, "controller", "status")
        expect(code == 0, err)
        rows = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
        expect("companion" in rows["told"] and "polling" in rows["lost"] and "polling" in rows["plain"] and "never" in rows["away"], out)
        for wanted in ("  lost: Overall/Administer is missing\n", "  young: the companion has not told yet\n", "  plain: no companion is configured\n",
                       "  away: connection refused\n", "41 answers, 12 news of nodes, 1 differences"):
            expect(wanted in out, f"{wanted!r} is not in {out}")
        expect("  told:" not in out, out)
        code, out, _ = skep(server.url, "controller", "status", "plain")
        expect(code == 0 and "told" not in out and "companions so far" not in out, out)
        code, out, _ = skep(server.url, "controller", "status", "l*", "-o", "json")
        value = json.loads(out)
        expect([c["controller"] for c in value["controllers"]] == ["lost"] and value["counters"] ==
               {"companion_answers": 41, "companion_news": 12, "companion_differences": 1}, out)
        code, _, err = skep(server.url, "controller", "status", "pain")
        expect(code == 4 and "did you mean plain?" in err, f"{code} {err}")


def an_order_names_one_controller():
    answers = {"/v1/status": (200, status(controller("a b"))), "/v1/controllers/a%20b/companion": (200, {"message": "done so"})}
    with ScriptedScheduler(answers) as server:
        for arguments, action in [(["--install", "a b"], "install"), (["--remove"], "remove"), (["a b", "--remove"], "remove")]:
            server.posted.clear()
            code, out, err = skep(server.url, "controller", "companion", *arguments)
            expect(code == 0 and out == "done so\n", f"{arguments}: {code} {out} {err}")
            expect(server.posted == [("/v1/controllers/a%20b/companion", {"action": action})], f"{arguments}: {server.posted}")
        expect(json.loads(skep(server.url, "controller", "companion", "--remove", "-o", "json")[1]) == {"message": "done so"}, "as JSON")
        answers["/v1/status"] = (200, status(controller("a"), controller("b")))
        server.posted.clear()
        code, _, err = skep(server.url, "controller", "companion", "--remove")
        expect(code == 2 and "there are: a, b" in err and not server.posted, f"{code} {err} {server.posted}")


# -- against a living farm

def asked(farm, kind):
    return farm.sim("requests").get(f"POST scriptText companion {kind}", 0)


def in_controller(farm, script="wait"):
    """What an administrator sees in the script console."""
    text = script_of(script).replace("millis = 30000L", "millis = 0L")
    request = urllib.request.Request(farm.controller.url + "scriptText", data=urllib.parse.urlencode({"script": text}).encode(), method="POST")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"admin:admin-token").decode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
        return reply.read().decode()


def heard(farm):
    return farm.api("v1/status")["controllers"][0]


def is_told(farm):
    is_up = metric(farm, 'skep_companion_up{controller="main"}')
    told = heard(farm)["is_told"]
    # Between the two looks it may change.
    expect(is_up == told or metric(farm, 'skep_companion_up{controller="main"}') == told, f"skep_companion_up is {is_up}, is_told {told}")
    return told


def metric(farm, name):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(farm.scheduler.url + "metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), None)


def order(farm, action, code=0):
    got, out, err = skep(farm.scheduler.url, "controller", "companion", f"--{action}", "main")
    expect(got == code, f"--{action}: exit code {got}: {out} {err}")
    return out + err


def builds_one(farm, job):
    farm.sim("jobs", "POST", {"path": job, "label": "linux", "duration_ms": 100})
    farm.sim("schedule", "POST", {"path": job})
    wait_for(lambda: farm.built(job), f"{job} was built", 60)


@with_farm(one_build="auto", companion=True)
def what_an_operator_removed_stays_out_until_it_is_wanted(farm):
    wait_for(lambda: is_told(farm), "the companion tells", 40)
    out = skep(farm.scheduler.url, "controller", "status", "main")[1]
    expect("  companion  " in out and "main:" not in out and "companions so far: " in out, out)
    builds_one(farm, "told")

    installs = asked(farm, "install")
    began = time.monotonic()
    expect("is removed" in order(farm, "remove"), "the answer")
    expect(time.monotonic() - began < 15, "the removal waited for the question under way")
    expect(not is_told(farm) and heard(farm)["companion_problem"] == REMOVED, heard(farm))
    expect(in_controller(farm) == "skep-companion absent\n", "it is still in the controller")
    expect(f"  main: {REMOVED}\n" in skep(farm.scheduler.url, "controller", "status")[1], "skep controller status does not say why")
    expect("does not tell: " + REMOVED in farm.status(), farm.status())
    builds_one(farm, "polled")
    order(farm, "remove")  # again: no error
    expect(asked(farm, "install") == installs and heard(farm)["companion_problem"] == REMOVED, heard(farm))

    expect("is put in" in order(farm, "install"), "the answer")
    wait_for(lambda: is_told(farm), "it tells again, when the question from before the removal is over", 60)
    expect(in_controller(farm).startswith("skep-companion 1 ") and heard(farm)["companion_problem"] == "", heard(farm))
    builds_one(farm, "told-again")

    order(farm, "remove")
    farm.scheduler.end()
    farm.start_scheduler()
    wait_for(lambda: is_told(farm), "a restart of the scheduler puts it in again", 60)


@with_farm(one_build="auto", companion=True)
def a_removal_that_fails_says_so_and_is_not_undone(farm):
    wait_for(lambda: is_told(farm), "the companion tells", 40)
    farm.sim("permissions", "POST", {"user": "skep", "permissions": ["Overall/Read", "Job/Read", "Agent/Create", "Agent/Connect", "Agent/Disconnect", "Agent/Delete"]})
    said = order(farm, "remove", code=1)
    expect("Overall/Administer" in said and "--print remove" in said, said)
    problem = heard(farm)["companion_problem"]
    expect(not is_told(farm) and "which failed" in problem and "may still be in the controller" in problem, problem)
    expect(in_controller(farm, "remove") == "skep-companion removed\n", "the script does not work when it is pasted")
    farm.sim("permissions", "POST", {"user": "skep", "permissions": ["Overall/Administer"]})
    expect("is removed" in order(farm, "remove"), "the second time")
    expect(heard(farm)["companion_problem"] == REMOVED, heard(farm))


@with_farm(one_build="gate")
def without_the_key_nothing_is_put_in(farm):
    said = order(farm, "install", code=2)
    expect("companion: true" in said, said)
    said = order(farm, "remove", code=2)
    expect("one_build: gate" in said, said)
    expect(asked(farm, "install") == 0 and asked(farm, "remove") == 0, farm.sim("requests"))
    code, _, err = skep(farm.scheduler.url, "controller", "companion", "--remove", "mian")
    expect(code == 4 and "no controller is called mian" in err, f"{code} {err}")
    for body in ({}, {"action": "reinstall"}, {"action": 1}, {"action": "remove", "force": True}):
        try:
            farm.api("v1/controllers/main/companion", "POST", body)
            raise AssertionError(f"{body} was taken")
        except urllib.error.HTTPError as error:
            expect(error.code == 400, f"{body}: {error.code}")
    out = skep(farm.scheduler.url, "complete", "controllers")[1]
    expect(out == "main\n", out)


if __name__ == "__main__":
    sys.exit(checks.run([the_scripts_are_printed_without_a_scheduler, what_is_typed_wrongly_sends_nothing, each_way_of_hearing_is_told,
                         an_order_names_one_controller, what_an_operator_removed_stays_out_until_it_is_wanted,
                         a_removal_that_fails_says_so_and_is_not_undone, without_the_key_nothing_is_put_in]))
