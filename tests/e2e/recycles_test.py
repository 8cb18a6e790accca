#!/usr/bin/env python3
"""A few executors of each driver one after the other while agentd and the engine are killed at random: nothing is left of any."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import checks  # noqa: E402: the path is set above
import recycles  # noqa: E402
from checks import Skip, expect  # noqa: E402
from results import goals_of  # noqa: E402

SEED = int(os.environ.get("SKEP_SEED", random.randrange(1 << 32)))


def recycle(name, count):
    result = recycles.run(False, count, name, SEED)[name]
    if "cannot run here" in result.get("error", ""):
        raise Skip(result["error"])
    missed = [goal for goal in goals_of(result) if not goal["met"]]
    expect("error" not in result and not missed,
           f"{json.dumps(result, indent=1)}\nagain: SKEP_SEED={SEED} ctest -R e2e_recycles (the kills come at other instants)")
    expect(sum(result["kills"].values()) > 0, f"nothing was killed: {result}")


def a_marker_is_met():
    """Twice in one place: the second one must say so, or the rest proves nothing."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HOME": folder, "TMPDIR": folder}
        # Its process in the background is ended with the group.
        codes = []
        for _ in range(2):
            shell = subprocess.Popen(["/bin/sh", "-c", recycles.canary("process").replace("(setsid sh", "(sh")], cwd=folder, env=environment,
                                     stderr=subprocess.DEVNULL, start_new_session=True)
            codes.append(shell.wait())
            os.killpg(shell.pid, signal.SIGKILL)
    expect(codes == [0, recycles.FOUND], f"exit codes {codes}")


def nothing_is_left_of_processes():
    recycle("process", 40)


def nothing_is_left_of_docker_containers():
    recycle("docker", 30)


if __name__ == "__main__":
    sys.exit(checks.run([a_marker_is_met, nothing_is_left_of_processes, nothing_is_left_of_docker_containers]))
