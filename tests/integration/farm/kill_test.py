#!/usr/bin/env python3
"""kill -9 of scheduler and agentd, at least 50 times at random moments, while builds run: every build runs once, nothing
is left over.  Replay: SKEP_SEED=N python3 tests/integration/farm/kill_test.py"""
import collections
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
from checks import expect  # noqa: E402
from farm import Farm, wait_for  # noqa: E402

SEED = int(os.environ.get("SKEP_SEED", time.time_ns() % 1_000_000))
KILLS = 50
BUILDS = 80


def kill_one(farm, dice):
    """Ends one daemon without warning and starts it again, a random moment after the last time."""
    is_scheduler = dice.random() < 0.5
    (farm.scheduler if is_scheduler else farm.agentd).kill()
    farm.start_scheduler() if is_scheduler else farm.start_agentd()


def killed_fifty_times_every_build_runs_once():
    dice = random.Random(SEED)
    farm = Farm(one_build="gate", maximum=4, max_executors=4)
    try:
        farm.start()
        farm.sim("jobs", "POST", {"path": "free", "label": "linux", "duration_ms": 300, "concurrent": True})
        farm.sim("jobs", "POST", {"path": "flow", "kind": "pipeline", "label": "docker", "duration_ms": 300, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "free", "count": BUILDS // 2})
        farm.sim("schedule", "POST", {"path": "flow", "count": BUILDS - BUILDS // 2})
        for number in range(KILLS):
            time.sleep(dice.uniform(0.02, 1.2))  # the random moment itself, not a wait for something
            kill_one(farm, dice)
            if number % 10 == 9:
                print(f"      {number + 1} kills, {sum(1 for b in farm.sim('truth')['builds'] if b['ended_at_ms'])} builds over", flush=True)
        truth = wait_for(lambda: (t := farm.sim("truth")) and sum(1 for b in t["builds"] if b["ended_at_ms"]) >= BUILDS and t, "every build has run", 150, 0.5)
        wait_for(lambda: not farm.leaks(), "nothing is left over", 60, 0.5)
        jobs = collections.Counter((b["job"], b["number"], b["block"]) for b in truth["builds"])
        expect(len(jobs) == BUILDS and max(jobs.values()) == 1, f"a build ran twice or never: {jobs}")
        # A scheduler that is killed while a gate stands open cannot close it; the next one closes it and says so. Only under
        # ThreadSanitizer is it so slow to come that a build ends meanwhile.
        second = {node for node, count in collections.Counter(b["node"] for b in truth["builds"]).items() if count > 1}
        audits = {a["id"]: a for a in farm.api("v1/history?limit=10000")}
        untold = [node for node in second if not (audits[node]["is_violation"] or audits[node]["may_hide_build"])]
        expect(not untold, f"an executor served two builds, and its audit does not say so: {untold}")
        expect(len(second) <= (KILLS // 10 if "TSAN_OPTIONS" in os.environ else 0), f"executors served two builds: {second}")
        results = collections.Counter(b["result"] for b in truth["builds"])
        expect(set(results) == {"SUCCESS"}, f"a build was hurt: {results}")
    except BaseException:
        for program in (farm.scheduler, farm.agentd):
            print(f"--- end of {program.name}'s log\n{program.tail()}")
        print(f"--- left over: {farm.leaks()}\nreplay: SKEP_SEED={SEED} python3 {pathlib.Path(__file__).name}")
        raise
    finally:
        farm.end()


if __name__ == "__main__":
    print(f"seed {SEED}")
    sys.exit(checks.run([killed_fifty_times_every_build_runs_once]))
