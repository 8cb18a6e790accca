#!/usr/bin/env python3
"""Rollouts of images in a whole farm: real daemons, versions from a repository, builds that run meanwhile.

The stand-in controller's own record decides whether a build was ended.
"""
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "demo"), str(HERE.parents[1] / "integration" / "images")]
import checks  # noqa: E402: the path is set above
from checks import expect  # noqa: E402
from farm import BIN, NO_PROXY, STAND_INS, Farm, wait_for  # noqa: E402
from repository import Repository, sha256  # noqa: E402

AGENT = f'exec {STAND_INS / "skep-agent-sim"} "$@"\n'
JOINS = "#!/bin/sh\n" + AGENT
ENDS_AT_ONCE = "#!/bin/sh\nexit 3\n"
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("SKEP_")}
# Ends what the test left when it was killed: told by the end of its standard input.
CLEANER = """
import os, pathlib, shutil, signal, sys
sys.stdin.read()
folder = sys.argv[1].encode()
for entry in pathlib.Path("/proc").iterdir():
    if not entry.name.isdigit() or int(entry.name) == os.getpid():
        continue
    try:
        if folder in (entry / "cmdline").read_bytes() or folder in (entry / "environ").read_bytes():
            os.kill(int(entry.name), signal.SIGKILL)
    except OSError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


def tar_of(start):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo("start.sh")
        entry.size, entry.mode = len(start), 0o755
        tar.addfile(entry, io.BytesIO(start.encode()))
    return out.getvalue()


class FarmOfImages(Farm):
    """Executors start what their image holds; agentd has the versions `starts` in its catalogue."""

    def __init__(self, starts, **more):
        super().__init__(one_build="gate", **more)
        self.repository = Repository()
        self.catalogue = []
        for number, (version, start) in enumerate(starts.items()):
            content = tar_of(start)
            self.repository.put(f"base/{version}/base.tar.gz", content)
            self.catalogue.append({"name": "base", "version": version, "channel": "next" if number else "stable",
                                   "prefetch": number == 0, "url": self.repository.url(f"base/{version}/"),
                                   "files": [{"name": "base.tar.gz", "sha256": sha256(content), "bytes": len(content)}]})
        self.cleaner = subprocess.Popen([sys.executable, "-c", CLEANER, str(self.folder)], stdin=subprocess.PIPE,
                                        start_new_session=True)

    def scheduler_config(self):
        agent = json.dumps(str(STAND_INS / "skep-agent-sim"))
        text = super().scheduler_config().replace(agent, '"/bin/sh", "start.sh"')
        return text + "rollouts: {canary_share: 50, canary_starts: 4, worse_join_rate: 30}\n"

    def agentd_config(self):
        return super().agentd_config() + f"images: {json.dumps({'catalogue': self.catalogue})}\n"

    def drivers_config(self):
        return f"  process: {{root: {self.folder}/executors}}\n"

    def start(self):
        super().start()
        wait_for(lambda: any("base@1" in host["images"] for host in self.api("v1/hosts")), "base@1 is ready", 30)
        return self

    def end(self):
        super().end()
        self.repository.end()
        self.cleaner.stdin.close()
        self.cleaner.wait(60)

    def skep(self, *arguments, code=0):
        done = subprocess.run([BIN / "skep", "--server", self.scheduler.url, *arguments], env=ENVIRONMENT, capture_output=True,
                              text=True, timeout=120, check=False)
        expect(done.returncode == code, f"skep {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def text(self, path):
        with NO_PROXY.open(self.scheduler.url + path, timeout=10) as reply:
            return reply.read().decode()

    def image(self):
        return next((each for each in self.api("v1/images") if each["image"] == "base"), None)

    def job(self, path, ms):
        self.sim("jobs", "POST", {"path": path, "kind": "pipeline", "label": "linux", "duration_ms": ms, "concurrent": True})

    def run(self, path, count):
        self.sim("schedule", "POST", {"path": path, "count": count, "distinct": True})

    def builds(self):
        return self.sim("truth")["builds"]

    def ended(self):
        return sum(1 for build in self.builds() if build["ended_at_ms"] is not None)

    def running(self, job):
        return sum(1 for b in self.builds() if b["job"] == job and b["started_at_ms"] and b["ended_at_ms"] is None)

    def image_of_builds(self):
        """node -> reference, of all executors on record, also those that are gone"""
        return {each["id"]: each["image"] for each in self.api("v1/history?limit=1000") + self.api("v1/executors")}

    def tell(self):
        print(f"--- image\n{self.api('v1/images')}\n--- executors\n{self.api('v1/executors')}\n"
              f"--- end of the scheduler's log\n{self.scheduler.tail()}\n--- of agentd's\n{self.agentd.tail()}")


def with_farm(starts, check, **more):
    farm = FarmOfImages(starts, **more)
    try:
        farm.start()
        check(farm)
        expect({b["result"] for b in farm.builds()} == {"SUCCESS"}, f"a build was hurt: {farm.builds()}")
        wait_for(lambda: not [leak for leak in farm.leaks() if "node" in leak] or farm.minimum_idle, "nodes go", 60)
    except BaseException:
        if farm.agentd and farm.agentd.url:
            farm.tell()
        raise
    finally:
        farm.end()


def without_a_canary_everything_later_is_of_the_new_version():
    def check(farm):
        wait_for(lambda: [e for e in farm.api("v1/executors") if e["state"] == "idle"], "one waits in reserve", 30)
        farm.job("long", 6000)
        farm.job("short", 200)
        farm.run("long", 1)
        wait_for(lambda: farm.running("long") == 1, "a build runs on the old version", 30)
        out, _ = farm.skep("images", "rollout", "base", "2", "--now")
        expect("image base is at the host's own choice" in out, out)
        wait_for(lambda: farm.image()["rollout"]["state"] == "rolling", "it rolls", 30)
        expect(farm.running("long") == 1, "the build went on")
        farm.scheduler.kill()  # in the middle
        farm.start_scheduler()
        farm.skep("images", "rollout", "base", "2", "--now", code=7)  # it is known: under way already, or done
        for total in range(1, 7):  # not more at once than may be unproven
            farm.run("short", 1)
            wait_for(lambda total=total: farm.ended() >= total, f"build {total} has ended", 60)
        wait_for(lambda: farm.image()["rollout"]["state"] == "done", "it is done", 60)
        before = {e["id"] for e in farm.api("v1/executors")}
        farm.run("short", 4)
        wait_for(lambda: farm.ended() == 11, "all builds have ended", 60)
        images = farm.image_of_builds()
        later = {b["node"]: images[b["node"]] for b in farm.builds() if b["node"] not in before}
        expect(set(later.values()) <= {"base@2"}, f"executors of after the rollout: {later}")
        idle = wait_for(lambda: [e for e in farm.api("v1/executors") if e["state"] == "idle"], "one waits in reserve", 30)
        expect({e["image"] for e in idle} == {"base@2"}, f"the reserve is new: {idle}")
        out, _ = farm.skep("images", "rollouts")
        expect("version 2" in out and "done" in out, out)

    with_farm({"1": JOINS, "2": JOINS}, check, minimum_idle=1)


def a_good_canary_goes_through_while_builds_run():
    def check(farm):
        farm.job("flow", 300)
        farm.job("long", 15000)
        farm.run("long", 1)
        farm.run("flow", 4)
        wait_for(lambda: farm.ended() >= 4 and farm.running("long") == 1, "the old version works", 60)
        out, _ = farm.skep("images", "rollout", "base", "2", "--dry-run")
        expect("would be: " in out and farm.image() is None, f"a dry run changes nothing: {out}")
        watch = subprocess.Popen([BIN / "skep", "--server", farm.scheduler.url, "images", "rollout", "base", "2", "--watch", "--timeout",
                                  "100s"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: farm.image() and farm.image()["rollout"]["state"] == "canary", "the canary begins", 30)
            expect(farm.api("v1/images/base/rollback", "POST", {"dry_run": True})["rollout"]["state"] == "stopped", "dry")
            for total in range(5, 40):  # one by one, so that both versions are tried
                farm.run("flow", 1)
                wait_for(lambda total=total: farm.ended() >= total, f"build {total} has ended", 60)
                if farm.image()["rollout"]["state"] != "canary":
                    break
            numbers = farm.image()["rollout"]
            expect(numbers["new"]["joined"] >= 4 and numbers["old"]["joined"] >= 2, f"both were tried: {numbers}")
            before = {e["id"] for e in farm.api("v1/executors")}
            farm.run("flow", 3)
            out, progress = watch.communicate(timeout=110)
        finally:
            watch.kill()
        expect(watch.returncode == 0, f"{watch.returncode}: {out}{progress}")
        expect("waiting: canary, 1 of 1 hosts ready" in progress and "waiting: rolling" in progress, progress)
        wait_for(lambda: farm.running("flow") + farm.running("long") == 0, "all builds have ended", 60)
        images = farm.image_of_builds()
        later = {b["node"]: images[b["node"]] for b in farm.builds() if b["node"] not in before}
        expect(len(later) == 3 and set(later.values()) == {"base@2"}, f"executors of after the canary: {later}")
        metrics = farm.text("metrics")
        expect('skep_rollout_state{image="base",state="done"} 1' in metrics, metrics)
        out, _ = farm.skep("images", "rollback", "base", "--watch", "--timeout", "60s")
        expect("the host's own choice" in out, out)
        farm.run("flow", 1)
        wait_for(lambda: farm.running("flow") == 0 and farm.image_of_builds()[farm.builds()[-1]["node"]] == "base", "the way back", 60)

    with_farm({"1": JOINS, "2": JOINS}, check)


def a_bad_version_stops_by_itself_and_the_old_one_goes_on():
    def check(farm):
        farm.job("flow", 300)
        _, errors = farm.skep("images", "rollout", "base", "3", code=4)
        expect("no host that serves image base knows version 3" in errors and "images.catalogue" in errors, errors)
        _, errors = farm.skep("images", "rollout", "bose", "2", code=4)
        expect("images that can be rolled out: base" in errors, errors)
        farm.skep("images", "rollout", "base", "2")
        _, errors = farm.skep("images", "rollout", "base", "4", code=7)
        expect("skep images rollback base" in errors, errors)
        wait_for(lambda: farm.image()["rollout"]["state"] == "canary", "the canary begins", 30)
        for total in range(1, 30):
            farm.run("flow", 1)
            wait_for(lambda total=total: farm.ended() >= total, f"build {total} has ended", 60)
            if farm.image()["rollout"]["state"] == "stopped":
                break
        image = farm.image()
        expect(image["rollout"]["state"] == "stopped" and image["current"] is None, f"it stopped: {image}")
        expect("joins worse: 0 of 2 starts joined" in image["rollout"]["reason"], image["rollout"]["reason"])
        bad = [each for each, reference in farm.image_of_builds().items() if reference == "base@2"]
        expect(2 <= len(bad) <= 4, f"starts of the bad version: {bad}")
        farm.run("flow", 4)
        wait_for(lambda: farm.ended() == total + 4, "the old version goes on", 60)
        images = farm.image_of_builds()
        expect({images[b["node"]] for b in farm.builds()} == {"base"}, f"every build had the old version: {images}")
        out, _ = farm.skep("images", "list")
        expect("the rollout to version 2 stopped: version 2 joins worse" in out, out)
        expect(not farm.api("v1/hosts")[0]["open_breakers"], "its failures are no fault of the host")
        metrics = farm.text("metrics")
        expect("skep_rollout_stops_total 1" in metrics, metrics)
        expect("stopped: version 2 joins worse" in farm.scheduler.tail(), "the log says why")

    with_farm({"1": JOINS, "2": ENDS_AT_ONCE}, check)


if __name__ == "__main__":
    sys.exit(checks.run([without_a_canary_everything_later_is_of_the_new_version, a_good_canary_goes_through_while_builds_run,
                         a_bad_version_stops_by_itself_and_the_old_one_goes_on]))
