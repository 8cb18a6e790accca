#!/usr/bin/env python3
"""Runs seeds of the simulated farm on all processors; the last line is `N passed, N failed`.

examples:
  scripts/sim --seeds 200                          200 seeds of every weather
  scripts/sim --weather swizzle --seeds 1000       of one weather
  scripts/sim --fresh                              64 seeds of every weather that nobody has seen yet; they are printed
  scripts/sim --fresh commit                       those of this commit: others with the next one, the same whenever they run
  scripts/sim --minutes 30                         for as long as it is given, from a seed that the clock picks
  scripts/sim --minutes 600 --profiled             with a simulator that was compiled for speed, which takes a while
  scripts/sim --weather swarm --seed 17 --log full one run, line by line
  scripts/sim --weather swarm --seed 17 --shrink   what is enough to break the same promise
  scripts/sim --crash-points                       a daemon killed at each action of a short scenario
  scripts/sim --planted                            are planted bugs found? which, and after how many seeds
  scripts/sim --found                              the seeds that once broke a promise
  scripts/sim --list                               the weathers
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import build  # noqa: E402: the path is set above
import tree  # noqa: E402

# Seeds of one process: small enough that all processors end at about the same time.
CHUNK = 16
# Of these, each must be reached by a run of so many seeds: one that is not is a hole in the weather.
PROBES_FROM_SEEDS = 64
# Seeds of each weather that a profile is taken of.
PROFILE_SEEDS = 6
# A planted bug that is not found within so many seeds of each weather counts as missed.
PLANTED_SEEDS = 256
# Scenarios in which each action is a crash point.
CRASH_POINT_SEEDS = 8
NUMBERS = ("runs", "violations", "not_deterministic", "run_twice", "events", "builds", "launches", "executors_unused",
           "second_builds_in_the_gate", "stale_orders_refused", "simulated_hours")


def say(text):
    print(text, file=sys.stderr, flush=True)


def commit():
    shown = subprocess.run(["git", "-C", str(tree.TOP), "describe", "--always", "--dirty", "--abbrev=12"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return shown.stdout.strip() or "unknown"


def seed_of_commit():
    """Beyond all that the clock picks; where there is no git, the first of these."""
    head = subprocess.run(["git", "-C", str(tree.TOP), "rev-parse", "--verify", "HEAD"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.strip()
    return 1 << 32 | int(head[:8] or "0", 16)


def program(preset, name):
    """The program, brought up to date unless SKEP_BIN_DIR names where it is."""
    if os.environ.get("SKEP_BIN_DIR"):
        return pathlib.Path(os.environ["SKEP_BIN_DIR"]) / name
    if subprocess.run([str(HERE.parent / "setup")], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode != 0:
        sys.exit(1)
    if not build.configure(preset) or not build.build(preset, [f"bin/{name}"]):
        sys.exit(1)
    return build.folder(preset) / "bin" / name


def profiled_program():
    """skep-sim by Clang, of all files at once and by a profile of itself."""
    counting = program("profiling", "skep-sim")
    if os.environ.get("SKEP_BIN_DIR"):
        return counting
    folder = build.folder("profiling")
    known = subprocess.run([str(counting), "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
                           env={**os.environ, "LLVM_PROFILE_FILE": os.devnull}).stdout.split()
    subprocess.run([str(counting), "--weather", *known, "--seeds", str(PROFILE_SEEDS), "--keep-going", "--json"], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True, env={**os.environ, "LLVM_PROFILE_FILE": str(folder / "sim.profraw")})
    subprocess.run(["llvm-profdata", "merge", "-o", str(folder / "new.profdata"), str(folder / "sim.profraw")], stdin=subprocess.DEVNULL, check=True)
    profile = folder / "sim.profdata"
    if not profile.exists() or profile.read_bytes() != (folder / "new.profdata").read_bytes():
        (folder / "new.profdata").replace(profile)
        shutil.rmtree(build.folder("profiled"), ignore_errors=True)  # ninja does not see that every object was made by the old one
    return program("profiled", "skep-sim")


class Sum:
    def __init__(self):
        self.numbers = collections.Counter()
        self.probes = collections.Counter()
        self.failures = []
        self.longest_calm_ms = 0
        self.crashed = []

    def add(self, result):
        for name in NUMBERS:
            self.numbers[name] += result[name]
        self.probes.update(result["probes"])
        self.failures += result["failures"]
        self.longest_calm_ms = max(self.longest_calm_ms, result["longest_calm_ms"])

    def as_json(self, seconds):
        numbers = dict(self.numbers)
        numbers["simulated_hours"] = round(numbers.get("simulated_hours", 0), 1)
        return {**numbers, "longest_calm_ms": self.longest_calm_ms, "seconds": round(seconds, 1),
                "events_per_second_and_processor": round(self.numbers["events"] / max(seconds, 0.001) / (os.cpu_count() or 1)),
                "probes": dict(sorted(self.probes.items())), "failures": self.failures, "crashed": self.crashed,
                "commit": commit()}


class Progress:
    """One line that is written over, on a terminal only."""

    def __init__(self, total):
        self.total, self.done, self.broken = total, 0, 0
        self.started = time.monotonic()
        self.shows = sys.stderr.isatty()
        self.lock = threading.Lock()

    def add(self, runs, broken):
        with self.lock:
            self.done += runs
            self.broken += broken
            if not self.shows:
                return
            seconds = time.monotonic() - self.started
            of = f"/{self.total}" if self.total else ""
            print(f"\r  {self.done}{of} runs, {self.broken} broken promises, {seconds:.0f} s ", end="", file=sys.stderr, flush=True)

    def end(self):
        if self.shows:
            print(file=sys.stderr)


def run_chunk(path, weather, first, seeds, extra):
    argv = [str(path), "--weather", weather, "--from", str(first), "--seeds", str(seeds), "--keep-going", "--json", *extra]
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = ended.stdout.strip().splitlines()
    if ended.returncode not in (0, 1) or not lines:
        return None, f"{' '.join(argv[1:7])} ended with status {ended.returncode}: {ended.stderr.strip()[-400:]}"
    return json.loads(lines[-1]), ended.stderr


def chunks(weathers, first, seeds, deadline):
    """(weather, first seed, seeds), weather after weather; without end where a deadline is given."""
    done = 0
    while (deadline is None and done < seeds) or (deadline is not None and time.monotonic() < deadline):
        size = CHUNK if deadline is not None else min(CHUNK, seeds - done)
        for weather in weathers:
            if deadline is not None and time.monotonic() >= deadline:
                return
            yield weather, first + done, size
        done += size


def run_seeds(path, weathers, first, seeds, minutes, extra):
    total = Sum()
    deadline = time.monotonic() + minutes * 60 if minutes else None
    progress = Progress(None if minutes else seeds * len(weathers))
    workers = os.cpu_count() or 2
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting = set()
        for chunk in chunks(weathers, first, seeds, deadline):
            waiting.add(pool.submit(run_chunk, path, *chunk, extra))
            if len(waiting) >= 2 * workers:
                finished, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                take(finished, total, progress)
        take(waiting, total, progress)
    progress.end()
    return total


def take(finished, total, progress):
    for job in finished:
        result, text = job.result()
        if result is None:
            total.crashed.append(text)
            progress.add(0, 1)
            continue
        total.add(result)
        progress.add(result["runs"], result["violations"])
        if result["violations"] or result["not_deterministic"]:
            say(text.rstrip())


def unreached(total, path):
    listed = subprocess.run([str(path), "--list-probes"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if name and not total.probes[name]]


def find_bug(path, bug, weathers, seeds):
    """(weather, seed, promise) of the first seed that finds it; None."""
    size = 8
    first = 1
    while first <= seeds:
        for weather in weathers:
            argv = [str(path), "--weather", weather, "--from", str(first), "--seeds", str(size), "--json", "--bug", bug, "--twice", "0"]
            ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if ended.returncode not in (0, 1):
                return weather, first, "it crashes"
            failures = json.loads(ended.stdout.strip().splitlines()[-1])["failures"]
            if failures:
                return failures[0]["weather"], failures[0]["seed"], failures[0]["promise"]
        first += size
        size = min(2 * size, 64, max(1, seeds + 1 - first))
    return None


def planted(weathers, seeds, wanted):
    path = program("planted", "skep-sim-planted")
    listed = subprocess.run([str(path), "--list-bugs"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    bugs = [bug for bug in listed.stdout.split() if not wanted or bug in wanted]
    started = time.monotonic()
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        jobs = {pool.submit(find_bug, path, bug, weathers, seeds): bug for bug in bugs}
        for job in concurrent.futures.as_completed(jobs):
            found[jobs[job]] = job.result()
            by = job.result()
            say(f"  {jobs[job]}: " + (f"{by[2]} ({by[0]}, seed {by[1]})" if by else "NOT FOUND"))
    missed = sorted(bug for bug, by in found.items() if by is None)
    rate = (len(bugs) - len(missed)) / max(1, len(bugs))
    print(json.dumps({"planted": len(bugs), "found": len(bugs) - len(missed), "missed": missed, "seeds_of_each_weather": seeds,
                      "seconds": round(time.monotonic() - started, 1), "commit": commit(),
                      "by": {bug: None if by is None else {"weather": by[0], "seed": by[1], "promise": by[2]}
                             for bug, by in sorted(found.items())}}, indent=2))
    is_good = rate >= 0.95
    print(f"{len(bugs) - len(missed)} passed, {len(missed) if not is_good else 0} failed" + (f", {len(missed)} skipped" if is_good and missed else ""))
    return 0 if is_good else 1


def crash_points(path, seeds):
    """A short scenario of each seed, with a daemon killed at each of its actions."""
    points = broken = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        argv = [str(path), "--crash-points", "--commit", commit(), "--from"]
        runs = pool.map(lambda seed: subprocess.run([*argv, str(seed)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                                    check=False), range(1, seeds + 1))
        for ended in runs:
            words = ended.stdout.split()
            if ended.returncode not in (0, 1) or len(words) < 6:
                say(f"ended with status {ended.returncode}: {ended.stderr.strip()[-400:]}")
                broken += 1
                continue
            points += int(words[0])
            broken += int(words[3])
            if ended.returncode:
                say(ended.stderr.rstrip())
    print(f"{points - broken} passed, {broken} failed")
    return 1 if broken or not points else 0


def found_before(path):
    """The seeds that once broke a promise, one by one."""
    kept = (tree.TOP / "tests" / "sim" / "found_seeds.txt").read_text(encoding="utf-8")
    seeds = [line.split()[:2] for line in kept.splitlines() if line.strip() and not line.startswith("#")]
    broken = 0
    for weather, seed in seeds:
        done = subprocess.run([str(path), "--weather", weather, "--from", seed, "--seeds", "1", "--commit", commit()],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            broken += 1
            say(done.stderr.rstrip() or f"weather {weather}, seed {seed}: ended with status {done.returncode}")
    print(f"{len(seeds) - broken} passed, {broken} failed")
    return 1 if broken or not seeds else 0


def main(argv):
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weather", action="append", metavar="NAME", help="which weather; may be repeated (default: all)")
    parser.add_argument("--seeds", type=int, default=64, metavar="N", help="seeds of each weather (default: 64)")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="S", help="first seed (default: 1)")
    parser.add_argument("--fresh", nargs="?", const="clock", choices=("clock", "commit"), help="begin at a seed that the clock or the commit picks; it is printed")
    parser.add_argument("--minutes", type=float, metavar="M", help="go on for so long")
    parser.add_argument("--seed", type=int, metavar="S", help="one seed")
    parser.add_argument("--found-at", metavar="COMMIT", help="of one seed: the commit that it was found at; another one may do something else")
    parser.add_argument("--log", choices=("none", "short", "full"), help="of one seed")
    parser.add_argument("--shrink", action="store_true", help="make the failing scenario of one seed smaller")
    parser.add_argument("--faults", metavar="N,N", help="of one seed: only these faults, by number; none")
    parser.add_argument("--jobs", metavar="N,N", help="of one seed: only these jobs")
    parser.add_argument("--hosts", type=int, metavar="N", help="of one seed: only so many hosts")
    parser.add_argument("--crash-points", action="store_true", help="a short scenario, with a daemon killed at each of its actions")
    parser.add_argument("--found", action="store_true", help="the seeds that once broke a promise (tests/sim/found_seeds.txt)")
    parser.add_argument("--planted", action="store_true", help="look for the planted bugs")
    parser.add_argument("--bug", action="append", metavar="NAME", help="with this planted bug; with --planted: only this one")
    parser.add_argument("--profiled", action="store_true", help="compile the simulator for speed first: worth it for long runs")
    parser.add_argument("--json", action="store_true", help="print the whole result")
    parser.add_argument("--list", action="store_true", help="print the weathers")
    arguments = parser.parse_args(argv)
    if arguments.planted:
        path = program("planted", "skep-sim-planted")
    elif arguments.bug:
        path = program("planted", "skep-sim-planted")
    elif arguments.profiled:
        path = profiled_program()
    else:
        path = program("release", "skep-sim")
    if arguments.found:
        return found_before(path)
    if arguments.crash_points:
        return crash_points(path, CRASH_POINT_SEEDS if arguments.seeds == 64 else arguments.seeds)
    known = subprocess.run([str(path), "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.split()
    if arguments.list:
        print("\n".join(known))
        return 0
    weathers = arguments.weather or known
    for name in weathers:
        if name not in known:
            parser.error(f"no weather is called {name}; there are {', '.join(known)}")
    if arguments.planted:
        return planted(weathers, arguments.seeds if arguments.seeds != 64 else PLANTED_SEEDS, arguments.bug)
    if arguments.seed is not None:
        if len(weathers) != 1:
            parser.error("one seed wants one weather: --weather NAME")
        if arguments.found_at not in (None, "unknown", commit()):
            say(f"seed {arguments.seed} was found at {arguments.found_at}, this is {commit()}: the same run is not promised; "
                f"git worktree add ../found {arguments.found_at.removesuffix('-dirty')} has it")
        extra = ["--commit", commit(), "--log", arguments.log or "short"]
        extra += ["--shrink"] if arguments.shrink else []
        extra += ["--bug", arguments.bug[0]] if arguments.bug else []
        for name in ("faults", "jobs", "hosts"):
            value = getattr(arguments, name)
            extra += [f"--{name}", str(value)] if value is not None else []
        os.execv(path, [str(path), "--weather", weathers[0], "--seed", str(arguments.seed), *extra])
    if arguments.fresh == "commit":
        first = seed_of_commit()
    elif arguments.fresh or arguments.minutes:
        first = int(time.time())
    else:
        first = arguments.first
    again = f"; the same ones: scripts/sim --from {first} --seeds {arguments.seeds}" if arguments.fresh and not arguments.minutes else ""
    say(f"seeds from {first} on, of {', '.join(weathers)}{again}")
    extra = ["--commit", commit()] + (["--bug", arguments.bug[0]] if arguments.bug else [])
    started = time.monotonic()
    total = run_seeds(path, weathers, first, arguments.seeds, arguments.minutes, extra)
    seconds = time.monotonic() - started
    holes = unreached(total, path) if weathers == known and arguments.seeds >= PROBES_FROM_SEEDS and not (arguments.fresh or arguments.minutes) else []
    for hole in holes:
        say(f"no seed reaches: {hole}")
    for text in total.crashed:
        say(f"crashed: {text}")
    result = total.as_json(seconds)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['simulated_hours']} farm-hours, {result['events']} events, {result['builds']} builds, "
              f"{result['launches']} launches in {seconds:.0f} s; "
              f"{result['second_builds_in_the_gate']} second builds in the gate, all reported"
              if not total.failures else f"{len(total.failures)} of {result['runs']} runs broke a promise")
    failed = result["violations"] + result["not_deterministic"] + len(holes) + len(total.crashed)
    print(f"{result['runs'] - result['violations']} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
