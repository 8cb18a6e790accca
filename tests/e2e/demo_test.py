#!/usr/bin/env python3
"""The demo as a user runs it, in each way of keeping one build per executor, and what happens when it is interrupted."""
import json
import pathlib
import signal
import subprocess
import sys

DEMO = pathlib.Path(__file__).resolve().parents[1] / "demo"
sys.path.insert(0, str(DEMO))
import checks  # noqa: E402: the path is set above
from checks import expect  # noqa: E402
from farm import Farm, wait_for  # noqa: E402


def demo(*arguments, builds=29):
    done = subprocess.run([sys.executable, DEMO / "demo.py", "--json", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, check=False)
    expect(done.stdout.strip(), f"no summary; stderr:\n{done.stderr[-4000:]}")
    summary = json.loads(done.stdout)
    expect(done.returncode == 0, f"exit status {done.returncode}: {summary}\n{done.stderr[-3000:]}")
    expect(summary["builds_run"] == summary["builds_expected"] == builds, f"builds: {summary}")
    expect(summary["executors_used"] == builds and summary["second_builds"] == 0, f"one build per executor: {summary}")
    expect(summary["leaks"] == 0, f"left over: {summary}")
    expect(summary["unsatisfiable_explained"] is True, f"explanation: {summary}")
    expect(summary["start_latency_ms"]["p99"] is not None, f"latency: {summary}")
    print(f"      {json.dumps(summary['start_latency_ms'])}")
    return summary


def gate_on_core_2_479():
    demo("--core", "2.479.3", "--one-build", "gate")


def gate_on_core_2_528():
    demo("--core", "2.528.3", "--one-build", "gate")


def hook_for_an_administrator():
    demo("--administrator")


def companion_tells_and_no_node_is_polled():
    requests = demo("--companion")["requests"]
    told = sum(count for kind, count in requests.items() if "companion wait" in kind)
    polls = sum(count for kind, count in requests.items() if kind == "GET jenkins/computer/N/api/json")
    expect(told >= 10, f"the companion was asked {told} times: {requests}")
    expect(polls == 0, f"nodes were polled {polls} times: {requests}")


def a_companion_that_is_removed_a_restart_and_a_kill_lose_nothing():
    farm = Farm(companion=True, maximum=4, max_executors=4)
    try:
        farm.start()
        controller = lambda: farm.api("v1/status")["controllers"][0]  # noqa: E731: one expression, twice used
        wait_for(lambda: controller()["is_told"], "the companion tells", 30)
        farm.sim("jobs", "POST", {"path": "flow", "kind": "pipeline", "label": "linux", "duration_ms": 1500, "concurrent": True})

        def run_more(count, total):
            farm.sim("schedule", "POST", {"path": "flow", "count": count, "distinct": True})
            wait_for(lambda: (t := farm.sim("truth")) and sum(1 for b in t["builds"] if b["started_at_ms"]) >= total - count + 2, "builds run", 60)

        run_more(6, 6)
        farm.scheduler.kill()
        farm.start_scheduler()
        run_more(6, 12)
        farm.sim("faults", "POST", {"kind": "companion_absent", "times": 1})
        run_more(6, 18)
        wait_for(lambda: (t := ended(farm)) and len(t["builds"]) >= 18, "these builds are over", 60)
        farm.sim("jobs", "POST", {"path": "slow", "kind": "pipeline", "label": "linux", "duration_ms": 4000, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "slow", "count": 4, "distinct": True})
        wait_for(lambda: sum(1 for b in farm.sim("truth")["builds"] if b["job"] == "slow" and b["started_at_ms"]) == 4, "four builds run", 60)
        farm.sim("restart", "POST", {"keep_queue": True, "down_ms": 500, "starting_ms": 500})
        wait_for(lambda: reached(farm, "truth"), "the controller is back", 30)
        farm.sim("schedule", "POST", {"path": "flow", "count": 2, "distinct": True})
        truth = wait_for(lambda: (t := ended(farm)) and len({(b["job"], b["number"], b["block"]) for b in t["builds"]}) >= 24 and t, "every build has run", 150, 0.3)
        nodes = {}
        for build in truth["builds"]:
            nodes.setdefault(build["node"], set()).add((build["job"], build["number"], build["block"]))
        expect(all(len(builds) == 1 for builds in nodes.values()), f"an executor served two builds: {nodes}")
        expect({b["result"] for b in truth["builds"]} == {"SUCCESS"}, f"a build was hurt: {truth['builds']}")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 90)
        wait_for(lambda: controller()["is_told"], "the companion tells again", 60)
    except BaseException:
        print(f"--- executors\n{farm.api('v1/executors')}\n--- end of the scheduler's log\n{farm.scheduler.tail()}")
        raise
    finally:
        farm.end()


def reached(farm, path):
    try:
        return farm.sim(path)
    except OSError:
        return None


def interrupting_the_demo_leaves_nothing():
    process = subprocess.Popen([sys.executable, DEMO / "demo.py", "--keep"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    line = ""
    while "busy" not in line:
        line = process.stderr.readline()
        expect(line, "the demo ended before a build ran")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    expect(process.returncode == 130, f"exit status {process.returncode}: {errors[-2000:]}")
    folder = errors.split("kept: ")[1].split()[0]
    left = [entry for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit() and is_from(entry, folder)]
    subprocess.run(["rm", "-rf", folder], check=True)
    expect(not left, f"processes are left: {left}")


def is_from(entry, folder):
    try:
        return folder.encode() in (entry / "cmdline").read_bytes() or folder.encode() in (entry / "environ").read_bytes()
    except OSError:
        return False


def a_pipeline_block_outlives_a_restart_with_the_gate():
    outlives_a_restart(Farm(one_build="gate"))


def a_pipeline_block_outlives_a_restart_with_the_hook():
    outlives_a_restart(Farm(administrator=True))


def outlives_a_restart(farm):
    try:
        farm.start()
        farm.sim("jobs", "POST", {"path": "long", "kind": "pipeline", "label": "linux", "duration_ms": 9000})
        farm.sim("schedule", "POST", {"path": "long"})
        wait_for(lambda: [e for e in farm.api("v1/executors") if e["state"] == "busy"], "the block runs", 60)
        farm.sim("restart", "POST", {"keep_queue": True, "down_ms": 1000, "starting_ms": 1000})
        truth = wait_for(lambda: (t := ended(farm)) and t, "the block has ended", 120, 0.3)
        build = truth["builds"][-1]
        expect(build["result"] == "SUCCESS" and build["resumed"] >= 1, f"the block did not resume: {build}")
        expect(len({b["node"] for b in truth["builds"]}) == 1, "it went on on another node")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 60)
    finally:
        farm.end()


def builds_leave_nothing_outside_their_executor():
    """A node's root that is not the executor's own directory would keep every workspace on the host."""
    farm = Farm(one_build="gate")
    try:
        farm.start()
        places = farm.folder / "places"
        for path, kind in (("free", "freestyle"), ("flow", "pipeline")):
            farm.sim("jobs", "POST", {"path": path, "kind": kind, "label": "linux", "duration_ms": 100, "command": f"pwd >> {places}"})
            farm.sim("schedule", "POST", {"path": path})
        wait_for(lambda: (t := ended(farm)) and len(t["builds"]) == 2, "both builds have ended", 60, 0.3)
        wait_for(lambda: not farm.leaks(), "nothing is left over", 60)
        lines = places.read_text().split()
        expect(len(lines) == 2, f"places: {lines}")
        for line in lines:
            expect(line.startswith(f"{farm.folder}/executors/"), f"a build worked outside its executor: {line}")
            expect(not pathlib.Path(line).exists(), f"its workspace is left: {line}")
    finally:
        farm.end()


def ended(farm):
    try:
        truth = farm.sim("truth")
    except OSError:  # the controller is down
        return None
    return truth if truth["builds"] and all(b["ended_at_ms"] is not None for b in truth["builds"]) else None


if __name__ == "__main__":
    sys.exit(checks.run([gate_on_core_2_479, gate_on_core_2_528, hook_for_an_administrator, companion_tells_and_no_node_is_polled,
                         a_companion_that_is_removed_a_restart_and_a_kill_lose_nothing, interrupting_the_demo_leaves_nothing,
                         builds_leave_nothing_outside_their_executor, a_pipeline_block_outlives_a_restart_with_the_gate,
                         a_pipeline_block_outlives_a_restart_with_the_hook]))
