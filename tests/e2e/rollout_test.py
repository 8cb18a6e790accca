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
from farm import BIN, STAND_INS, Farm, wait_for  # noqa: E402
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
        before = {e["id"] for e in farm.api("v1/executors")}
        farm.run("short", 4)
        wait_for(lambda: farm.ended() == 5, "all builds have ended", 60)
        wait_for(lambda: farm.image()["rollout"]["state"] == "done", "it is done", 60)
        images = farm.image_of_builds()
        later = {b["node"]: images[b["node"]] for b in farm.builds() if b["node"] not in before}
        expect(set(later.values()) <= {"base@2"}, f"executors of after the rollout: {later}")
        idle = wait_for(lambda: [e for e in farm.api("v1/executors") if e["state"] == "idle"], "one waits in reserve", 30)
        expect({e["image"] for e in idle} == {"base@2"}, f"the reserve is new: {idle}")
        out, _ = farm.skep("images", "rollouts")
        expect("version 2" in out and "done" in out, out)

    with_farm({"1": JOINS, "2": JOINS}, check, minimum_idle=1)


if __name__ == "__main__":
    sys.exit(checks.run([without_a_canary_everything_later_is_of_the_new_version]))
