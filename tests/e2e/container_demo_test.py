#!/usr/bin/env python3
"""The demo in containers, with each engine that can run here: all builds, and agentd killed on the way."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from demo_test import DEMO, demo, ended  # noqa: E402: the path is set above; it sets more
import checks  # noqa: E402
from checks import Skip, expect  # noqa: E402
from engine_of_farm import EngineOfFarm, container_engine  # noqa: E402
from farm import BIN, Farm, wait_for  # noqa: E402

cannot_run = {}


def need(kind):
    """Once for each engine: can it run here?"""
    if kind not in cannot_run:
        engine = EngineOfFarm(kind, BIN)
        engine.start()
        cannot_run[kind] = engine.skipped
        engine.end()
    if cannot_run[kind]:
        raise Skip(cannot_run[kind])


def all_builds_in_docker():
    need("docker")
    demo("--driver", "container", "--engine", "docker")


def all_builds_in_podman():
    need("podman")
    demo("--driver", "container", "--engine", "podman")


def a_killed_agentd_finds_its_docker_containers_again():
    need("docker")
    finds_again("docker")


def a_killed_agentd_finds_its_podman_containers_again():
    need("podman")
    finds_again("podman")


def finds_again(kind):
    """Killed while builds run, and once more while containers are made: the builds end well, each in its first container."""
    farm = Farm(one_build="gate", driver="container", engine=kind, maximum=3, max_executors=3)
    try:
        farm.start()
        farm.sim("jobs", "POST", {"path": "work", "kind": "freestyle", "label": "linux", "duration_ms": 4000, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "work", "count": 6, "distinct": True})

        def containers():
            return json.loads(container_engine.must(farm.engine.socket, "GET", "containers/json"))

        wait_for(lambda: len([b for b in farm.sim("truth")["builds"] if b["started_at_ms"]]) == 3, "three builds run", 60)
        before = {c["Id"] for c in containers()}
        expect(len(before) == 3, f"containers: {before}")
        farm.agentd.kill()
        farm.start_agentd()
        wait_for(lambda: [h for h in farm.api("v1/hosts") if h["is_known"]], "the host is known again", 30)
        expect(before <= {c["Id"] for c in containers()}, "a container went with agentd")
        wait_for(lambda: any(e["state"] in ("creating", "destroying") for e in farm.api("v1/executors")), "containers come or go", 60, 0.01)
        farm.agentd.kill()
        farm.start_agentd()
        truth = wait_for(lambda: (t := ended(farm)) and len(t["builds"]) >= 6 and t, "all builds have run", 120, 0.3)
        expect({b["result"] for b in truth["builds"]} == {"SUCCESS"}, f"a build was hurt: {truth['builds']}")
        expect(len({b["node"] for b in truth["builds"]}) == 6, f"an executor served two builds: {truth['builds']}")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 90)
    except BaseException:
        print(f"--- end of agentd's log\n{farm.agentd.tail() if farm.agentd else ''}")
        raise
    finally:
        farm.end()


def an_engine_goes_with_whom_it_was_started_for():
    for kind in ("docker", "podman"):
        need(kind)
        script = f"import engine_of_farm as e, pathlib, time; f = e.EngineOfFarm('{kind}', pathlib.Path('{BIN}')); f.start(); print(f.folder, flush=True); time.sleep(600)"
        owner = subprocess.Popen([sys.executable, "-c", script], cwd=DEMO, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        folder = owner.stdout.readline().strip()
        expect(users_of(folder), "the engine runs")
        owner.kill()
        owner.wait()
        owner.stdout.close()
        wait_for(lambda: not pathlib.Path(folder).exists() and not users_of(folder), f"{kind} and its folder are gone", 60)


def users_of(folder):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and folder.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            pass
    return found


if __name__ == "__main__":
    sys.exit(checks.run([all_builds_in_docker, all_builds_in_podman, a_killed_agentd_finds_its_docker_containers_again,
                         a_killed_agentd_finds_its_podman_containers_again, an_engine_goes_with_whom_it_was_started_for]))
