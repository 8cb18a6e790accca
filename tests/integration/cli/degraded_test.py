#!/usr/bin/env python3
"""What an operator sees when something is wrong, and that it mends: each page of docs/operations names its check here."""
import base64
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from support import LookingFarm, ScriptedScheduler, checks, expect, skep, wait_for, with_farm


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def as_administrator(farm, path, **form):
    """One POST to the controller as somebody who is not us; its status."""
    request = urllib.request.Request(farm.controller.url + path, data=urllib.parse.urlencode(form).encode(), method="POST")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"admin:admin-token").decode())
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect).open(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def shows(farm, *texts):
    """Waits until `skep status` says all of it; monitoring must see it, too."""
    wait_for(lambda: all(text in farm.status() for text in texts), f"skep status says {texts}", 60, 0.3)
    expect(skep(farm.scheduler.url, "status", "--check")[0] == 1, "skep status --check finds nothing wrong")


def is_well_again(farm):
    wait_for(lambda: "\n! " not in farm.status(), "nothing is wrong any more", 60, 0.3)
    expect(skep(farm.scheduler.url, "status", "--check")[0] == 0, "skep status --check finds something wrong")


def waits_for(farm, reason, job):
    wait_for(lambda: [q for q in farm.api("v1/queue") if q["name"] == job and q["reason"] == reason], f"{job} waits: {reason}", 60)
    code, out, err = skep(farm.scheduler.url, "explain", job)
    expect(code == 0, err)
    return out


def submit(farm, job, label="linux", **more):
    farm.sim("jobs", "POST", {"path": job, "label": label, "duration_ms": 500, **more})
    farm.sim("schedule", "POST", {"path": job})


@with_farm(minimum_idle=1)
def controller_away(farm):
    """docs/operations/controller-away.md"""
    wait_for(lambda: len(farm.idle()) == 2, "both templates have an idle executor", 60)
    before = {e["id"] for e in farm.idle()}
    os.kill(farm.controller.process.pid, signal.SIGSTOP)
    try:
        shows(farm, "! controller main is not seen: ", "nothing is launched or removed for it meanwhile")
        expect({e["id"] for e in farm.idle()} == before, "an executor was touched")
    finally:
        os.kill(farm.controller.process.pid, signal.SIGCONT)
    is_well_again(farm)
    expect({e["id"] for e in farm.idle()} == before, "an executor was touched")
    submit(farm, "after")
    wait_for(lambda: farm.built("after"), "builds run again", 60)


@with_farm(minimum_idle=1)
def agentd_away(farm):
    """docs/operations/agentd-away.md"""
    wait_for(lambda: len(farm.idle()) == 2, "both templates have an idle executor", 60)
    farm.agentd.kill()
    shows(farm, f"! host {farm.tag}-host is not seen: ", "look at skep-agentd there")
    wait_for(lambda: {e["state"] for e in farm.api("v1/executors")} == {"unknown"}, "its executors are unknown, not gone", 30)
    submit(farm, "meanwhile", label="linux && !docker && x86")
    host = f"{farm.tag}-host"
    expect(f"if it is gone for good: skep forget {host}" in farm.status(), farm.status())
    for arguments, wanted, said in [([host, "--yes"], 7, f"host {host} answered"), ([host, "--dry-run"], 7, "nothing was given up"),
                                    (["hosst", "--yes"], 4, "no host is called hosst")]:
        code, out, err = skep(farm.scheduler.url, "forget", *arguments)
        expect(code == wanted and said in err and not out, f"{arguments}: {code} {out} {err}")
    for target, body, wanted in [(host, {"dry_run": 1}, 400), (host, {"reason": "x" * 501}, 400), (host, {"yes": True}, 400), (host, {}, 409),
                                 ("nobody", {}, 404)]:
        try:
            farm.api(f"v1/hosts/{target}/forget", "POST", body)
            code = 200
        except urllib.error.HTTPError as error:
            code = error.code
        expect(code == wanted, f"{target} {body}: {code}")
    expect({e["state"] for e in farm.api("v1/executors")} == {"unknown"}, "a host was forgotten all the same")
    leaving = farm.api("v1/executors")[0]["id"]
    expect(skep(farm.scheduler.url, "retire", leaving, "--reason", "no longer wanted")[0] == 0, "it cannot be retired")
    wait_for(lambda: leaving not in farm.nodes(), "its node is deleted", 10)
    wait_for(lambda: skep(farm.scheduler.url, "hold", leaving, "--for", "1s")[0] == 7, "it is on its way out, and not held", 10)
    _, out, err = skep(farm.scheduler.url, "hold", leaving, "--for", "1h")
    expect(not out and err.startswith(f"skep: executor {leaving} is not held: it is being destroyed already"), f"{out} {err}")
    expect(farm.api("v1/executors")[0]["held_until_ms"] is None, "it is held all the same")
    farm.start_agentd()
    is_well_again(farm)
    wait_for(lambda: farm.built("meanwhile"), "builds run again", 60)


def scheduler_away():
    """docs/operations/scheduler-away.md"""
    farm = LookingFarm(one_build="gate")
    try:
        farm.start()
        wait_for(farm.is_ready, "host and controller are known", 40)
        submit(farm, "long", duration_ms=4000)
        wait_for(farm.busy, "the build runs", 60)
        worker = farm.busy()[0]["id"]
        farm.scheduler.kill()
        code, _, err = skep(farm.scheduler.url, "status")
        expect(code == 3 and "is skep-scheduler running there?" in err, f"{code} {err}")
        farm.start_scheduler()
        wait_for(lambda: farm.built("long"), "the build has ended", 60)
        expect(farm.built("long")[0]["node"] == worker and farm.built("long")[0]["result"] == "SUCCESS", f"{farm.built('long')}")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 60)
    finally:
        farm.end()


@with_farm(minimum_idle=1)
def state_lost(farm):
    """docs/operations/state-and-backup.md"""
    for _ in range(3):
        farm.scheduler.kill()
        farm.start_scheduler()
    wait_for(lambda: farm.is_ready() and len(farm.idle()) == 2, "both templates have an idle executor", 60)
    epoch = farm.api("v1/status")["epoch"]
    submit(farm, "long", label="linux && !docker", duration_ms=12_000)
    wait_for(farm.busy, "the build runs", 60)
    farm.scheduler.kill()
    for path in (farm.folder / "scheduler").iterdir():
        path.unlink()
    farm.start_scheduler()
    shows(farm, "! this scheduler does nothing any more: another leader with epoch", "docs/operations/state-and-backup.md")
    farm.scheduler.kill()
    farm.scheduler.argv += ["--least-epoch", str(epoch + 1)]
    farm.scheduler.start()
    wait_for(farm.is_ready, "it leads again", 60)
    expect(farm.api("v1/status")["epoch"] == epoch + 1, f"{farm.api('v1/status')['epoch']}")
    wait_for(lambda: farm.built("long"), "the build that no record knows has ended", 60)
    expect(farm.built("long")[0]["result"] == "SUCCESS", f"{farm.built('long')}")
    wait_for(lambda: len(farm.nodes()) == 2 and len(farm.idle()) == 2, "what no record knew is replaced", 60)
    is_well_again(farm)


class FewRights(LookingFarm):
    lacking = "Agent/Delete"

    def permissions(self):
        return [name for name in super().permissions() if name != self.lacking]


@with_farm(FewRights, waits=False)
def permission_missing(farm):
    """docs/operations/permission-missing.md"""
    shows(farm, "! controller main gets nothing: the account lacks Agent/Delete", "grant it in Jenkins")
    submit(farm, "j")
    out = waits_for(farm, "frozen", "j")
    expect("grant Agent/Delete to the account on controller 'main'" in out, out)
    expect(not farm.nodes() or all("kick" in name for name in farm.nodes()), f"nodes were made: {farm.nodes()}")


class NoJobs(FewRights):
    lacking = "Job/Read"


@with_farm(NoJobs, waits=False)
def queue_hidden(farm):
    """docs/operations/permission-missing.md"""
    submit(farm, "j")
    wait_for(lambda: "no job is visible to the account: without Job/Read the queue looks empty" in farm.status(), "the note is shown", 30, 0.3)


class WrongToken(LookingFarm):
    def write(self, name, text, mode=0o600):
        return super().write(name, "wrong\n" if name == "token" else text, mode)


@with_farm(WrongToken, waits=False)
def token_refused(farm):
    """docs/operations/permission-missing.md"""
    shows(farm, "the controller refuses the account (401)", "check user and token_file of this controller")


@with_farm(minimum_idle=1)
def foreign_offline(farm):
    """docs/operations/foreign-offline.md"""
    wait_for(lambda: len(farm.idle()) == 2, "both templates have an idle executor", 60)
    node = farm.idle()[0]["id"]
    expect(as_administrator(farm, f"computer/{node}/changeOfflineCause", offlineMessage="disk check") == 302, "the node was not set offline")
    shows(farm, f"set offline by somebody else: {node}", "left alone")
    wait_for(lambda: len(farm.idle()) == 3, "its capacity is replaced", 60)
    expect("set offline by somebody else: disk check" in skep(farm.scheduler.url, "executors", node)[1], "skep executors does not say so")
    expect(skep(farm.scheduler.url, "retire", node, "--wait", "--timeout", "60s")[0] == 0, "it cannot be retired")
    is_well_again(farm)


class BrokenAgents(LookingFarm):
    def scheduler_config(self):
        return re.sub(r"agent_command: .*", 'agent_command: ["/bin/false"]', super().scheduler_config())


@with_farm(BrokenAgents)
def breaker_open(farm):
    """docs/operations/breaker-open.md"""
    submit(farm, "j", label="linux && !docker")
    out = waits_for(farm, "backoff", "j")
    expect("of template 'linux' failed in a row" in out and "skep executors --all" in out, out)
    shows(farm, f"! host {farm.tag}-host takes no executors of template linux: ", "see the log of skep-agentd")
    _, out, _ = skep(farm.scheduler.url, "executors", "--all", "--template", "linux")
    expect("its agent ended with exit code 1 before it connected" in out, out)
    # The cure: a configuration whose agents start.
    farm.write("scheduler.yaml", LookingFarm.scheduler_config(farm))
    code, _, err = farm.reload("--yes")
    expect(code == 0, err)
    wait_for(lambda: farm.built("j"), "it is tried again by itself", 90)


class TinyDisk(LookingFarm):
    def scheduler_config(self):
        return super().scheduler_config().replace(f"state_dir: {self.folder}/scheduler", f"state_dir: {self.folder}/tiny/scheduler")


def fill(path):
    with open(path, "wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            pass


def disk_full():
    """docs/operations/disk-full.md"""
    if os.geteuid() != 0:
        print("SKIPPED: a small file system needs root", flush=True)
        return
    farm = TinyDisk(one_build="gate")
    tiny = farm.folder / "tiny"
    tiny.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tiny], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print("SKIPPED: no file system may be mounted here", flush=True)
        return farm.end()
    try:
        farm.start()
        wait_for(farm.is_ready, "host and controller are known", 40)
        fill(tiny / "ballast")
        submit(farm, "j")
        code = wait_for(lambda: farm.scheduler.process.poll() is not None and [farm.scheduler.process.returncode], "the scheduler ends", 60)[0]
        expect(code == 75, f"exit status {code}")
        expect("the scheduler stops before it does anything without a record" in farm.log() and "make room on that disk" in farm.log(), farm.log())
        expect(not farm.nodes(), f"it did something without a record: {farm.nodes()}")
        (tiny / "ballast").unlink()
        farm.start_scheduler()
        wait_for(lambda: farm.built("j"), "the build runs after room was made", 90)
    finally:
        farm.end()
        subprocess.run(["umount", "-l", tiny], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", farm.folder], check=False)


def gate_violation():
    """docs/operations/gate-violation.md; that one is counted and audited is tested where it can be provoked"""
    status = {"farm": "f", "epoch": 1, "controllers": [], "hosts": [{"host": "h", "is_known": True}], "executors": [], "queue": [],
              "counters": {"violations": 2}}
    with ScriptedScheduler({"/v1/status": (200, status)}) as server:
        code, out, _ = skep(server.url, "status", "--check")
        expect(code == 1 and "! 2 executors served a second build\n    skep history shows which" in out, out)


def two_schedulers():
    """docs/operations/scheduler-away.md"""
    status = {"farm": "f", "epoch": 1, "controllers": [], "hosts": [{"host": "h", "is_known": True}], "executors": [], "queue": [],
              "counters": {}, "fenced_by": "another leader with epoch 7 was seen by h"}
    with ScriptedScheduler({"/v1/status": (200, status)}) as server:
        code, out, _ = skep(server.url, "status", "--check")
        expect(code == 1 and "! this scheduler does nothing any more: another leader with epoch 7" in out, out)


if __name__ == "__main__":
    sys.exit(checks.run([controller_away, agentd_away, scheduler_away, state_lost, permission_missing, queue_hidden, token_refused, foreign_offline,
                         breaker_open, disk_full, gate_violation, two_schedulers]))
