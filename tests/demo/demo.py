#!/usr/bin/env python3
"""The whole of Skep on this machine: a stand-in controller, skep-scheduler and skep-agentd on loopback, and 30 builds.

What ran where is read from the controller's own record, not from ours.
"""
import argparse
import json
import signal
import sys
import time

import consul_agent
from farm import Farm, Failure, wait_for

IMPOSSIBLE = "needs-windows-arm"

# path, kind, label, how many builds, more
JOBS = [
    ("compile", "freestyle", "linux", 8, {"concurrent": True}),
    ("package", "freestyle", "linux && x86", 4, {"concurrent": True}),
    ("lint", "freestyle", "linux && !docker", 3, {"concurrent": True}),
    ("image", "freestyle", "docker || podman", 3, {"concurrent": True}),
    ("anywhere", "freestyle", "", 2, {"concurrent": True}),
    ("deliver", "pipeline", "linux", 3, {"concurrent": True}),
    ("release", "pipeline", "", 1, {"blocks": [{"label": "docker", "name": "build", "duration_ms": 400},
                                               {"label": "linux->x86", "name": "publish", "duration_ms": 400}]}),
    ("after-push", "freestyle", "linux", 2, {"concurrent": True, "quiet_period_ms": 3000}),
    ("one-at-a-time", "freestyle", "x86", 2, {"concurrent": False}),
]


def submit(farm, most):
    """30 builds: 29 that can run, two of them blocks of one pipeline run, and one that never can; fewer with at most `most` a job."""
    expected = 0
    for path, kind, label, count, more in JOBS:
        farm.sim("jobs", "POST", {"path": path, "kind": kind, "label": label, "duration_ms": 400, **more})
    farm.sim("jobs", "POST", {"path": IMPOSSIBLE, "label": "windows && arm64", "duration_ms": 400})
    for path, _, _, count, more in JOBS:
        count = min(count, most)
        farm.sim("schedule", "POST", {"path": path, "count": count, "distinct": True})
        expected += count * len(more.get("blocks", [None]))
    impossible = farm.sim("schedule", "POST", {"path": IMPOSSIBLE})["ids"][0]
    return expected, impossible


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Progress:
    """One line that is written over on a terminal; one line a change elsewhere. Always on stderr."""

    def __init__(self):
        self.is_terminal = sys.stderr.isatty()
        self.last = ""

    def show(self, text):
        if text == self.last:
            return
        self.last = text
        sys.stderr.write(f"\r\x1b[K{text}" if self.is_terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self):
        if self.is_terminal and self.last:
            sys.stderr.write("\n")


def watch(farm, expected, limit_s, progress):
    """Until every expected build has ended."""
    started = time.monotonic()

    def look():
        truth = farm.sim("truth")
        done = sum(1 for build in truth["builds"] if build["ended_at_ms"] is not None)
        states = {}
        for executor in farm.api("v1/executors"):
            states[executor["state"]] = states.get(executor["state"], 0) + 1
        words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state != "gone")
        progress.show(f"{time.monotonic() - started:5.1f} s   builds {done}/{expected}   queue {truth['queue_length']}   {words}")
        return truth if done >= expected else None

    try:
        return wait_for(look, "all builds have run", limit_s, 0.2)
    finally:
        progress.end()


def summarise(truth, expected, leaks, explanation, requests):
    builds = [build for build in truth["builds"] if build["started_at_ms"] is not None]
    nodes = [build["node"] for build in builds]
    waits = [build["started_at_ms"] - build["buildable_at_ms"] for build in builds if build["buildable_at_ms"] is not None]
    explained = explanation.get("reason") == "no_template" and bool(explanation.get("unblock"))
    return {
        "builds_expected": expected,
        "builds_run": len(builds),
        "executors_used": len(set(nodes)),
        "second_builds": len(nodes) - len(set(nodes)),
        "leaks": len(leaks),
        "unsatisfiable_explained": explained,
        "start_latency_ms": {"p50": percentile(waits, 0.50), "p99": percentile(waits, 0.99)},
        "requests": requests,
    }


def print_summary(summary, leaks, explanation, seconds):
    latency = summary["start_latency_ms"]
    print(f"builds run          {summary['builds_run']} of {summary['builds_expected']} in {seconds:.1f} s")
    print(f"executors used      {summary['executors_used']} (one per build)")
    print(f"second builds       {summary['second_builds']}")
    print(f"left over           {summary['leaks']} (executors, processes, directories, nodes)")
    for leak in leaks:
        print(f"                    {leak}")
    print(f"queue to start      p50 {latency['p50']} ms, p99 {latency['p99']} ms")
    print(f"requests            {sum(summary['requests'].values())}, as the controller counted them")
    for kind, count in sorted(summary["requests"].items(), key=lambda entry: -entry[1]):
        print(f"{count:>23} {kind}")
    print(f"never runs          {explanation.get('name', IMPOSSIBLE)}, label {explanation.get('label', '')}")
    for title, key in (("  why", "text"), ("  to unblock", "unblock"), ("  nearest", "nearest_miss")):
        if explanation.get(key):
            print(f"{title:<20}{explanation[key]}")


def run(arguments):
    progress = Progress()
    farm = Farm(core=arguments.core, one_build=arguments.one_build, administrator=arguments.administrator, keep=arguments.keep,
                minimum_idle=arguments.minimum_idle, registry=arguments.registry, companion=arguments.companion,
                driver=arguments.driver, engine=arguments.engine, **({"max_executors": 3} if arguments.driver == "qemu" else {}))
    try:
        progress.show("starting the stand-in controller, the scheduler and one host")
        farm.start()
        if farm.engine:
            progress.show(f"executors are containers of {farm.engine.kind} {farm.engine.version}, in a folder of its own")
        if farm.machines:
            progress.show("executors are virtual machines of the tiny guest, without KVM, in a folder of their own")
        wait_for(lambda: any(host["is_known"] for host in farm.api("v1/hosts")), "the host is known", 20)
        wait_for(lambda: farm.api("v1/status")["controllers"][0]["is_known"], "the controller is known", 20)
        started = time.monotonic()
        expected, impossible = submit(farm, arguments.each)
        truth = watch(farm, expected, arguments.limit, progress)
        seconds = time.monotonic() - started
        explanation = farm.api(f"v1/queue/{impossible}")
        leaks = []
        if arguments.minimum_idle == 0:
            try:
                wait_for(lambda: not farm.leaks(), "nothing is left over", 40)
            except Failure:
                leaks = farm.leaks()
        truth = farm.sim("truth")
        requests = farm.sim("requests")
        for program in (farm.agentd, farm.scheduler):
            program.end()
        leaks = leaks or farm.leaks()
        summary = summarise(truth, expected, leaks, explanation, requests)
        if arguments.json:
            print(json.dumps(summary))
        else:
            print_summary(summary, leaks, explanation, seconds)
        good = (summary["builds_run"] == expected and summary["second_builds"] == 0 and not leaks and summary["unsatisfiable_explained"] and
                summary["executors_used"] == expected)
        return 0 if good else 1
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        for program in (farm.scheduler, farm.agentd):
            if program is not None:
                print(f"--- end of {program.name}'s log\n{program.tail()}", file=sys.stderr)
        return 1
    finally:
        # A second Ctrl-C must not stop the clean-up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        farm.end()
        if arguments.keep:
            print(f"kept: {farm.folder}", file=sys.stderr)


def interrupted(_number, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--core", choices=("2.479.3", "2.528.3"), default="2.479.3", help="which Jenkins core the stand-in plays")
    parser.add_argument("--one-build", choices=("auto", "gate", "hook"), default="auto")
    parser.add_argument("--administrator", action="store_true", help="give the account Overall/Administer: the hook is used")
    parser.add_argument("--companion", action="store_true",
                        help="scripts inside the controller tell of changes, nothing is polled (needs and gives Overall/Administer)")
    parser.add_argument("--minimum-idle", type=int, default=0, help="executors kept ready per template")
    parser.add_argument("--registry", choices=("embedded", "consul"), default="embedded", help="how hosts become known; consul starts a real one")
    parser.add_argument("--driver", choices=("process", "namespaces", "container", "qemu"), default="process", help="what executors are")
    parser.add_argument("--engine", choices=("docker", "podman"), default="",
                        help="of driver container: which engine the demo starts (default: the first that runs here)")
    parser.add_argument("--each", type=int, default=0, metavar="N", help="at most so many builds of each job (default: 8; of driver qemu: 1)")
    parser.add_argument("--limit", type=float, default=180, help="give up after so many seconds")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and state")
    arguments = parser.parse_args()
    arguments.each = arguments.each or (1 if arguments.driver == "qemu" else 8)
    if arguments.registry == "consul" and consul_agent.find() is None:
        print("demo: no Consul is on this machine; scripts/setup tries to bring one, SKEP_CONSUL names another", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupted)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything was ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
