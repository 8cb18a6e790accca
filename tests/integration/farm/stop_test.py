#!/usr/bin/env python3
"""A scheduler that is asked to end leaves no gate open: whoever watches it next comes later than a build."""
import json
import pathlib
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
from checks import expect  # noqa: E402
from farm import NO_PROXY, Farm, wait_for  # noqa: E402


def gates(farm):
    """Name and whether it is closed, of each connected node of ours."""
    fields = "computer%5BdisplayName,temporarilyOffline,absoluteRemotePath%5D"
    request = urllib.request.Request(f"{farm.controller.url}computer/api/json?tree={fields}")
    request.add_header("Authorization", "Basic YWRtaW46YWRtaW4tdG9rZW4=")
    with NO_PROXY.open(request, timeout=10) as reply:
        computers = json.load(reply)["computer"]
    return {c["displayName"]: c["temporarilyOffline"] for c in computers if c["displayName"] in farm.nodes() and c.get("absoluteRemotePath")}


def an_open_gate_is_closed_at_the_end():
    farm = Farm(one_build="gate", minimum_idle=1)
    try:
        farm.start()
        farm.sim("jobs", "POST", {"path": "free", "label": "docker", "duration_ms": 300})
        wait_for(lambda: len(gates(farm)) == 2 and all(gates(farm).values()), "both executors wait behind closed gates", 30)
        # Without its kick, the gate stands open until the queue looks by itself.
        farm.sim("faults", "POST", {"path_prefix": "plugin/swarm", "kind": "status", "value": 503})
        farm.sim("schedule", "POST", {"path": "free"})
        wait_for(lambda: not all(gates(farm).values()), "a gate is open", 30, 0.005)
        farm.scheduler.end()
        expect(farm.scheduler.process.returncode == 0, f"exit status {farm.scheduler.process.returncode}")
        expect(all(gates(farm).values()), f"left open: {gates(farm)}")
        farm.sim("faults", "DELETE")
        farm.start_scheduler()
        truth = wait_for(lambda: (t := farm.sim("truth")) and t["builds"] and all(b["ended_at_ms"] for b in t["builds"]) and t, "the build ran", 60)
        expect(len(truth["builds"]) == 1, f"builds: {truth['builds']}")
    finally:
        farm.end()


if __name__ == "__main__":
    sys.exit(checks.run([an_open_gate_is_closed_at_the_end]))
