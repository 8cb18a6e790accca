"""The simulator: how fast it is, how well a simulated farm is used, and whether a short search finds a broken promise."""
import json
import os
import pathlib
import subprocess

from results import goal, say

EXECUTORS = 500


def program():
    return str(pathlib.Path(os.environ["SKEP_BIN_DIR"]) / "skep-sim")


def asked(arguments):
    ended = subprocess.run([program(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = ended.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and ended.returncode in (0, 1) else None


def run(quick):
    say(f"sim: a farm of {EXECUTORS} executors")
    measured = asked(["--measure", str(40 if quick else EXECUTORS), "--hours", "2" if quick else "6"])
    if measured is None:
        return {"error": "skep-sim printed nothing"}
    say("sim: seeds of every weather")
    seeds = 4 if quick else 64
    search = asked(["--weather", *asked_names(), "--seeds", str(seeds), "--keep-going", "--json"])
    saturated, day = measured["saturated"], measured["day"]
    surplus = day["unused"] / max(1, day["launches"]) if day["is_finished"] else None
    saturated["goals"] = [
        goal(round(saturated["events_per_second"]), 1_000_000, "P16: at least 1,000,000 events a second on one processor", True),
        goal(round(saturated["times_real_time"]), 10_000, "P16: at least 10,000 times real time with 500 executors", True),
        goal(round(saturated["utilisation_of_ideal"], 4), 0.97, "P8: at least 97 % of the ideal D/(D + raw recycle + P/2), 10-minute jobs", True)]
    day["goals"] = [goal(None if surplus is None else round(surplus, 5), 0.005, "P9: at most 0.5 % of launches beyond need over a day")]
    if search is not None:
        search.pop("failures")
        search["goals"] = [goal(search["violations"], 0, "R1, R7: no broken promise in the seeds of this run"),
                           goal(search["not_deterministic"], 0, "R2: the same digest for a seed the second time"),
                           goal(round(search["longest_calm_ms"] / 1000, 1), 1800, "R8: after the last fault all is as wanted within 30 minutes"),
                           goal(0 if search["violations"] == 0 else None, 0, "R9: orders of an older leader that were carried out")]
    return {"saturated": saturated, "day": day, "search": search}


def asked_names():
    listed = subprocess.run([program(), "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return listed.stdout.split()
