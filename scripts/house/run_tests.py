#!/usr/bin/env python3
"""Builds and runs the test tiers; the last line of the output is `N passed, N failed[, N skipped]`.

    scripts/test                run every tier
    scripts/test TIER...        run some of: tidy unit contract sim integration e2e
    scripts/test STAGE...       more, by name only: asan-ubsan tsan fuzz clang-tidy
"""
import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import build
import counting
import processes
import tree
from counting import Count

# How long a tier may take, in seconds.
LIMITS = {"tidy": 1200, "unit": 180, "contract": 300, "sim": 300, "integration": 600, "e2e": 600}
TIERS = tuple(LIMITS)
# Tests of these tiers start whole farms: one at a time, so that they have the machine to themselves.
ALONE = {"integration", "e2e"}
# Sanitized programs are slower: their tiers get this many times as long.
SANITIZER_FACTOR = 3
FUZZ_SECONDS = 6

SANITIZERS = {
    "asan-ubsan": (("unit", "contract", "integration"),
                   {"ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1",
                    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}),
    "tsan": (("unit", "integration"), {"TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=0:exitcode=66"}),
}


class Run:
    """Collects stages, counts and reasons, and prints the summary."""

    def __init__(self):
        self.total = Count()
        self.stages = []
        self.skips = []
        self.failures = []

    def add(self, name, seconds, count, failures=(), skips=()):
        self.total += count
        text = count.text() if any(count) else "done"
        self.stages.append((name, seconds, text))
        self.failures += [f"{name}: {failure}" for failure in failures]
        self.skips += [f"{name}: {reason}" for reason in skips]
        print(f"== {name}: {text} ({seconds:.0f} s)", flush=True)

    def summary(self):
        print()
        for name, seconds, text in self.stages:
            print(f"{name:<24} {seconds:7.1f} s   {text}")
        for title, lines in (("Skipped", self.skips), ("Failed", self.failures)):
            if lines:
                print(f"\n{title}:")
                for line in dict.fromkeys(lines):
                    print(f"  {line}")
        print()
        print(self.total.text(), flush=True)
        return 1 if self.total.failed else 0


def without_address_randomisation():
    """Sanitizers of these compilers lose their memory map on kernels with much address randomisation."""
    probe = ["setarch", os.uname().machine, "-R"]
    try:
        works = subprocess.run([*probe, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return probe if works else []


def build_stage(run, preset, tiers=None):
    """False when there is nothing to run. `tiers`: only what they need; None: all.

    After a build that broke in places, the tests that could be built run all the same.
    """
    started = time.monotonic()
    print(f"== build {preset}", flush=True)
    configured = built = build.configure(preset)
    if built and tiers != ("tidy",):
        targets = build.targets_for(preset, tiers) if tiers else ()
        # Tiers without a test yet need nothing; an empty list would mean everything.
        built = True if tiers and not targets else build.build(preset, targets)
    seconds = time.monotonic() - started
    run.add(f"build {preset}", seconds, Count(failed=0 if built else 1), [] if built else ["see the log above"])
    return configured


def ctest_stage(run, name, preset, tier, limit_s, env=None, wrapper=(), exclude=None, only=None):
    labels = build.tests(preset)
    selected = [test for test, its in labels.items() if tier in its and test != exclude and only in (None, test)]
    if not selected:
        print(f"== {name}: there are no tests in tier {tier} yet", flush=True)
        return
    print(f"== {name}", flush=True)
    started = time.monotonic()
    junit = build.folder(preset) / f"junit-{tier}.xml"
    junit.unlink(missing_ok=True)
    argv = [*wrapper, "ctest", "--test-dir", str(build.folder(preset)), "-L", f"^{tier}$", "--output-on-failure",
            "--output-junit", str(junit), "--test-output-size-passed", "4000000", "--test-output-size-failed",
            "4000000", "-j", "1" if tier in ALONE else str(os.cpu_count() or 2)]
    argv += ["-E", f"^{exclude}$"] if exclude else []
    argv += ["-R", f"^{only}$"] if only else []
    status, timed_out = processes.run(argv, limit_s, env={**build.environment(), **(env or {})})
    leftovers = processes.end_leftovers()
    count, failures, skips = Count(), [], []
    results = counting.from_junit(junit) if junit.exists() else []
    for result in results:
        count += result.count
        skips += [f"{result.name}: {reason}" for reason in result.reasons]
        if result.count.failed:
            failures.append(f"{result.name} ({result.count.failed})")
    if timed_out:
        failures.append(f"the tier was ended after its time limit of {limit_s} s")
    elif status != 0 and not count.failed:
        failures.append(f"ctest ended with exit status {status}")
    if (timed_out or status != 0) and not count.failed:
        count += Count(failed=1)
    if leftovers:
        count += Count(failed=1)
        failures += [f"left a process behind, now ended: {leftover}" for leftover in leftovers]
    run.add(name, time.monotonic() - started, count, failures, skips)


def sanitizer_stages(run, preset):
    tiers, env = SANITIZERS[preset]
    if not build_stage(run, preset, tiers):
        return
    suppressions = tree.TOP / "scripts" / "house" / f"{preset}.supp"
    if suppressions.exists():
        env = {name: f"{value}:suppressions={suppressions}" for name, value in env.items()}
    for tier in tiers:
        ctest_stage(run, f"{preset} {tier}", preset, tier, LIMITS[tier] * SANITIZER_FACTOR, env,
                    without_address_randomisation())


def fuzz_one(target, name, wrapper):
    work = build.folder("fuzz") / "corpus" / name
    work.mkdir(parents=True, exist_ok=True)
    seeds = tree.TOP / "tests" / "fuzz" / "corpus" / name
    artifacts = build.folder("fuzz") / "found" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    log = build.log_of(f"fuzz-{name}")
    log.unlink(missing_ok=True)
    argv = [*wrapper, str(target), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
            f"-artifact_prefix={artifacts}/", str(work)] + ([str(seeds)] if seeds.is_dir() else [])
    status, timed_out = processes.run(argv, FUZZ_SECONDS * 10, env=build.environment(), log=log)
    return name, status == 0 and not timed_out, log


def fuzz_stage(run):
    if not build.configure("fuzz"):
        run.add("fuzz", 0, Count(failed=1), ["it could not be configured"])
        return
    targets = build.fuzzers("fuzz")
    if not targets:
        print("== fuzz: there are no targets yet", flush=True)
        return
    started = time.monotonic()
    built = build.build("fuzz", targets)
    run.add("build fuzz", time.monotonic() - started, Count(failed=0 if built else 1),
            [] if built else ["see the log above"])
    started = time.monotonic()
    wrapper = without_address_randomisation()
    count, failures = Count(), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        jobs = [pool.submit(fuzz_one, build.folder("fuzz") / target, os.path.basename(target), wrapper)
                for target in targets if (build.folder("fuzz") / target).exists()]
        for job in concurrent.futures.as_completed(jobs):
            name, good, log = job.result()
            count += Count(1, 0) if good else Count(0, 1)
            if not good:
                failures.append(f"{name}: the input is below build/fuzz/found/{name}; "
                                f"replay: build/fuzz/fuzz/{name} THAT_FILE")
                print("\n".join(processes.tail(log, 40)), flush=True)
    run.add("fuzz", time.monotonic() - started, count, failures)


def run_tiers(run, names):
    """The named tiers and stages, or all tiers when none is named."""
    tiers = tuple(tier for tier in TIERS if tier in names or not names)
    if tiers or "clang-tidy" in names:
        build_stage(run, "debug", tiers if names else None)
    for tier in tiers:
        # clang-tidy is by far the longest single check: a stage of its own.
        ctest_stage(run, tier, "debug", tier, LIMITS[tier], exclude="tidy_clang-tidy" if tier == "tidy" else None)
    for preset in SANITIZERS:
        if preset in names:
            sanitizer_stages(run, preset)
    if "fuzz" in names:
        fuzz_stage(run)
    if "clang-tidy" in names:
        ctest_stage(run, "clang-tidy", "debug", "tidy", LIMITS["tidy"], only="tidy_clang-tidy")


def main(argv):
    if "-h" in argv or "--help" in argv:
        print(__doc__.strip())
        return 0
    known = (*TIERS, *SANITIZERS, "fuzz", "clang-tidy")
    unknown = [name for name in argv if name not in known]
    if unknown:
        print(f"unknown tier '{unknown[0]}'; known: {' '.join(known)}", file=sys.stderr)
        return 2
    os.chdir(tree.TOP)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    processes.adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    run = Run()
    started = time.monotonic()
    try:
        run_tiers(run, argv)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        processes.end_all()
        processes.end_leftovers(0.5)
        run.add("interrupted", time.monotonic() - started, Count(failed=1), ["the rest did not run"])
        run.summary()
        return 130
    run.stages.append(("all", time.monotonic() - started, run.total.text()))
    return run.summary()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
