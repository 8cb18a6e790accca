#!/usr/bin/env python3
"""Benchmarks of the release build. Prints one JSON object: a result per benchmark, each with its goals.

examples:
  scripts/bench                      everything; about 25 minutes on an idle machine
  scripts/bench core                 the scheduler's logic and the parsing of replies
  scripts/bench start share          two of them
  scripts/bench one-build --executors 10000   so many with a companion; takes long
  scripts/bench drivers --driver docker   an executor's cost over its driver's bare calls
  scripts/bench recycles --driver docker --recycles 2000   is anything left of an executor? Only when it is named
  scripts/bench --quick              fewer samples: to see that it works, not to compare
  scripts/bench --check core         exit status 1 when a goal is missed
"""
import argparse
import os
import pathlib
import platform
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests" / "demo"))

import agentd  # noqa: E402: the path is set above
import core  # noqa: E402: the path is set above
import drivers  # noqa: E402
import events  # noqa: E402
import idle  # noqa: E402
import one_build  # noqa: E402
import recycles  # noqa: E402
import share  # noqa: E402
import simulation  # noqa: E402
import start  # noqa: E402
from farm import Failure  # noqa: E402
from results import goals_of, say, show  # noqa: E402

BENCHMARKS = {"core": core.run, "start": start.run, "one-build": one_build.run, "share": share.run, "idle": idle.run,
              "events": events.run, "sim": simulation.run, "drivers": drivers.run, "agentd": agentd.run,
              "recycles": recycles.run}
ONLY_BY_NAME = {"recycles"}  # these take long


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"processors": os.cpu_count(), "model": model, "load_before": round(os.getloadavg()[0], 2),
            "calibration_ms": core.calibration()}


def interrupted(_number, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a goal is missed or could not be measured")
    parser.add_argument("--executors", type=int, metavar="N", help="used by one-build with a companion (default 1000, or 200 with --quick)")
    parser.add_argument("--driver", metavar="D", help="used by drivers and recycles: one of process, namespaces, docker, podman, qemu, qemu-warm (default: each)")
    parser.add_argument("--recycles", type=int, metavar="N", help="used by recycles: how many executors of each driver")
    parser.add_argument("--seed", type=int, help="used by recycles: of the kills")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, interrupted)
    results = {"machine": machine()}
    status = 0
    for name in arguments.names or [name for name in BENCHMARKS if name not in ONLY_BY_NAME]:
        say(name)
        try:
            options = {"executors": arguments.executors} if name == "one-build" else {}
            if name == "recycles":
                options = {"recycles": arguments.recycles, "driver": arguments.driver, "seed": arguments.seed}
            if name == "drivers":
                options = {"driver": arguments.driver}
            results[name] = BENCHMARKS[name](arguments.quick, **options)
        except Failure as failure:
            results[name] = {"error": str(failure)}
            status = 1
    show(results)
    missed = [f"{name}: {g['goal']} (measured {g['value']})" for name, result in results.items() for g in goals_of(result) if not g["met"]]
    for line in missed:
        say(f"missed: {line}")
    return 1 if status or (arguments.check and missed) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; everything was ended")
        sys.exit(130)
