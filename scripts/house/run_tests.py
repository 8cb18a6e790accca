#!/usr/bin/env python3
"""Builds and runs the test tiers; the last line of the output is `N passed, N failed[, N skipped]`.

    scripts/test                everything: the tiers, then the stages asan-ubsan, digests, fuzz, tsan and clang-tidy
    scripts/test TIER...        some of: tidy unit contract sim integration e2e
    scripts/test STAGE...       some of: asan-ubsan digests fuzz tsan clang-tidy

A run of everything has a time budget: its sanitizer stages take only what is SHORT, a test that asan-ubsan runs is run
there only, and clang-tidy looks first at what changed last and says what it had no time for. Builds of later stages go on
in the background while tests run. A tier or stage that is named does all of its work.
"""
import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import build
import counting
import processes
import tree
from counting import Count

# How long a tier may take, in seconds.
LIMITS = {"tidy": 1200, "unit": 180, "contract": 600, "sim": 300, "integration": 600, "e2e": 600}
TIERS = tuple(LIMITS)
# Sanitized programs are slower: their tiers get this many times as long.
SANITIZER_FACTOR = 3
FUZZ_SECONDS = 4
# A run of everything kills drivers before one in so many changes, others each time; a tier that is named before each.
CRASH_SHARE = "4"
# clang-tidy gets what the other stages leave of this time.
BUDGET_S = 24 * 60
LEAST_CLANG_TIDY_S = 30
# All that the sanitizer stages of a run of everything take of these tiers; the rest runs in the build of the tiers, and
# when the stage is named.
SHORT = {"asan-ubsan": {"contract": {"contract_jenkins", "contract_controller_sim"},
                        "integration": {"http_test", "common_test", "agentd_shell_test"}},
         "tsan": {"integration": {"http_test", "common_test", "agentd_shell_test", "scheduler_shell_test",
                                  "integration_tls_farm"}}}


class Sanitizer(NamedTuple):
    tiers: tuple
    env: dict


SANITIZERS = {
    "asan-ubsan": Sanitizer(("unit", "contract", "integration"),
                            {"ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1",
                             "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}),
    # Units of logic have one thread: what can race is in the shells, which the integration tests drive.
    "tsan": Sanitizer(("integration",), {"TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=0:exitcode=66"}),
}
# What the tiers run in.
TEST_PRESET = "test"
# Clang builds the fuzz targets with the same sanitizers: one build serves both stages.
FUZZ_PRESET = "asan-ubsan"
CANARY = "canary_fuzz"
REAPER = tree.TOP / "scripts" / "house" / "reaper.py"
SIMULATOR = "skep-sim"
LEAKS_OF_OTHERS = f"suppressions={tree.TOP / 'scripts' / 'house' / 'lsan.supp'}:print_suppressions=0"


class Run:
    """Collects stages, counts and reasons, and prints the summary."""

    def __init__(self):
        self.total = Count()
        self.stages = []
        self.skips = []
        self.failures = []
        self.ahead = Ahead({})

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


class Ahead:
    """Builds for stages to come while tests run: they mostly wait for one another."""

    def __init__(self, targets_of):
        self._done = {preset: threading.Event() for preset in targets_of}
        threading.Thread(target=self._work, args=(targets_of,), daemon=True).start()

    def _work(self, targets_of):
        try:
            for preset, targets in targets_of.items():
                build.build_ahead(preset, targets)
                self._done[preset].set()
        finally:
            for event in self._done.values():
                event.set()

    def wait_for(self, preset):
        while preset in self._done and not self._done[preset].wait(processes.HEARTBEAT_S):
            print(f"   build {preset}: {processes.last_line(build.ahead_log_of(preset))}", file=sys.stderr, flush=True)


def without_address_randomisation():
    """Sanitizers of these compilers lose their memory map on kernels with much address randomisation."""
    probe = ["setarch", os.uname().machine, "-R"]
    try:
        works = subprocess.run([*probe, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return probe if works else []


def build_stage(run, preset, tiers, exclude=(), others=(), with_benchmarks=False):
    """False when there is nothing to run.

    After a build that broke in places, the tests that could be built run all the same.
    """
    started = time.monotonic()
    print(f"== build {preset}", flush=True)
    run.ahead.wait_for(preset)
    configured = built = build.configure(preset)
    if built:
        targets = build.targets_for(preset, tiers, exclude, others)
        targets += build.benchmarks(preset) if with_benchmarks else []
        # Tiers without a test yet need nothing; an empty list would mean everything.
        built = not targets or build.build(preset, targets)
    seconds = time.monotonic() - started
    run.add(f"build {preset}", seconds, Count(failed=0 if built else 1), [] if built else ["see the log above"])
    return configured


def jobs_for(tier):
    cores = os.cpu_count() or 2
    # Whole farms mostly wait for one another; those whose times matter are RUN_SERIAL, but for builds ahead, which give way.
    return cores + 1 if tier == "integration" else cores


def ctest_stage(run, name, preset, tier, limit_s, env=None, wrapper=(), exclude=(), only=None, reports=None):
    """`reports`: a folder in which every file is the report of a sanitizer, also of a program that a test started."""
    labels = build.tests(preset)
    selected = [test for test, its in labels.items() if tier in its and test not in exclude and only in (None, test)]
    if not selected:
        print(f"== {name}: there are no tests in tier {tier} yet", flush=True)
        return
    print(f"== {name}", flush=True)
    started = time.monotonic()
    junit = build.folder(preset) / f"junit-{tier}.xml"
    junit.unlink(missing_ok=True)
    argv = [*wrapper, sys.executable, str(REAPER), "ctest", "--test-dir", str(build.folder(preset)), "-L", f"^{tier}$",
            "--output-on-failure", "--output-junit", str(junit), "--test-output-size-passed", "4000000", "--test-output-size-failed",
            "4000000", "-j", str(jobs_for(tier))]
    argv += ["-E", f"^({'|'.join(sorted(exclude))})$"] if exclude else []
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
    for report in sorted(reports.iterdir()) if reports else ():
        count += Count(failed=1)
        failures.append(f"a sanitizer reports: {report.relative_to(tree.TOP)}")
        print("\n".join(processes.head(report, 60)), flush=True)
    run.add(name, time.monotonic() - started, count, failures, skips)


def sanitizer_env(preset):
    """The options of the sanitizers, the stand-ins' build, and the folder where their reports go."""
    reports = build.folder(preset) / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    env = {}
    for name, value in SANITIZERS[preset].env.items():
        kind = name.split("_", 1)[0].lower()
        env[name] = f"{value}:log_path={reports}/{kind}"
        suppressions = tree.TOP / "scripts" / "house" / f"{kind}.supp"
        if suppressions.exists():
            env[name] += f":suppressions={suppressions}"
    return {**env, "LSAN_OPTIONS": LEAKS_OF_OTHERS, "SKEP_STAND_INS_DIR": str(build.folder(TEST_PRESET) / "bin")}, reports


def left_out(preset):
    """The tests that a run of everything has no time for under this sanitizer."""
    return {test for test, labels in build.tests(TEST_PRESET).items()
            for tier, kept in SHORT[preset].items() if tier in labels and test not in kept}


def left_to_asan():
    """The tests that a run of everything runs under asan-ubsan only: more strictly, and built once."""
    preset = "asan-ubsan"
    if not (build.configure(TEST_PRESET) and build.configure(preset)):
        return set()
    tiers = set(SANITIZERS[preset].tiers)
    return {test for test, labels in build.tests(preset).items() if tiers & set(labels)} - left_out(preset)


def start_ahead(run):
    """Nothing is waited for here but the configuring."""
    targets_of = {}
    for preset, its in SANITIZERS.items():
        if not build.configure(preset):
            continue
        targets_of[preset] = build.targets_for(preset, its.tiers, left_out(preset), build.STAND_INS)
        if preset == FUZZ_PRESET:
            targets_of[preset] += [*build.fuzzers(preset), f"bin/{SIMULATOR}"]
    run.ahead = Ahead(targets_of)


def sanitizer_stages(run, preset, exclude=()):
    tiers = SANITIZERS[preset].tiers
    # What is examined is what is shipped. The stand-ins come from the tiers' build.
    stand_ins_built = build.configure(TEST_PRESET) and build.build(TEST_PRESET, build.STAND_INS)
    if not build_stage(run, preset, tiers, exclude, others=build.STAND_INS if stand_ins_built else ()):
        return
    for tier in tiers:
        env, reports = sanitizer_env(preset)
        ctest_stage(run, f"{preset} {tier}", preset, tier, LIMITS[tier] * SANITIZER_FACTOR, env,
                    without_address_randomisation(), exclude, reports=reports)


def digests_stage(run):
    """A seed means the same run whatever compiler built the simulator: GCC's build against Clang's."""
    started = time.monotonic()
    presets = (TEST_PRESET, FUZZ_PRESET)
    if not all(build.configure(preset) and build.build(preset, [f"bin/{SIMULATOR}"]) for preset in presets):
        return run.add("digests", time.monotonic() - started, Count(failed=1), ["a simulator could not be built"])
    programs = [build.folder(preset) / "bin" / SIMULATOR for preset in presets]
    weathers = subprocess.run([str(programs[0]), "--list"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=True).stdout.split()

    def last_line(argv):
        done = subprocess.run([*without_address_randomisation(), *map(str, argv)], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=LIMITS["sim"], check=False)
        return (done.stdout.strip().splitlines() or [done.stderr.strip()[-300:]])[-1]

    count, failures = Count(), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        asked = {weather: [pool.submit(last_line, [path, "--weather", weather, "--seed", "1", "--twice", "0", "--log", "none"])
                           for path in programs] for weather in weathers}
        for weather, (by_gcc, by_clang) in asked.items():
            is_same = "digest" in by_gcc.result() and by_gcc.result() == by_clang.result()
            count += Count(1, 0) if is_same else Count(0, 1)
            if not is_same:
                failures.append(f"{weather}: GCC says '{by_gcc.result()}', Clang '{by_clang.result()}'")
    run.add("digests", time.monotonic() - started, count, failures)


def fuzz_one(target, wrapper):
    name = target.name
    work = build.folder(FUZZ_PRESET) / "corpus" / name
    work.mkdir(parents=True, exist_ok=True)
    seeds = tree.TOP / "tests" / "fuzz" / "corpus" / name.removesuffix("_fuzz")
    artifacts = build.folder(FUZZ_PRESET) / "found" / name
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir(parents=True)
    log = build.log_of(f"fuzz-{name}")
    log.unlink(missing_ok=True)
    argv = [*wrapper, str(target), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
            f"-artifact_prefix={artifacts}/", str(work)] + ([str(seeds)] if seeds.is_dir() else [])
    env = {**build.environment(), "LSAN_OPTIONS": LEAKS_OF_OTHERS}
    status, timed_out = processes.run(argv, FUZZ_SECONDS * 10, env=env, log=log)
    return name, status == 0 and not timed_out, log, any(artifacts.iterdir())


def fuzz_stage(run):
    if not build.configure(FUZZ_PRESET):
        run.add("fuzz", 0, Count(failed=1), ["it could not be configured"])
        return
    started = time.monotonic()
    targets = build.fuzzers(FUZZ_PRESET)
    built = build.build(FUZZ_PRESET, targets)
    run.add("build fuzz", time.monotonic() - started, Count(failed=0 if built else 1),
            [] if built else ["see the log above"])
    started = time.monotonic()
    wrapper = without_address_randomisation()
    paths = [build.folder(FUZZ_PRESET) / target for target in targets]
    count, failures = Count(), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        jobs = [pool.submit(fuzz_one, path, wrapper) for path in paths if path.exists()]
        for job in concurrent.futures.as_completed(jobs):
            name, good, log, has_found = job.result()
            if name == CANARY:  # its defect is planted: the alarm must ring, else no other silence means anything
                if good or not has_found:
                    count += Count(failed=1)
                    failures.append(f"{CANARY}: the planted defect was not found, so the other targets prove nothing")
                continue
            count += Count(1, 0) if good else Count(0, 1)
            if not good:
                failures.append(f"{name}: the input is below build/{FUZZ_PRESET}/found/{name}; "
                                f"replay: build/{FUZZ_PRESET}/fuzz/{name} THAT_FILE")
                print("\n".join(processes.tail(log, 40)), flush=True)
    if not any(path.name == CANARY for path in paths):
        count += Count(failed=1)
        failures.append(f"{CANARY} is missing")
    run.add("fuzz", time.monotonic() - started, count, failures)


def clang_tidy_stage(run, budget_s=None):
    """With a budget, files that it had no time for are told as skipped."""
    env = {"SKEP_CLANG_TIDY_BUDGET_S": str(int(budget_s))} if budget_s is not None else None
    ctest_stage(run, "clang-tidy", TEST_PRESET, "tidy", LIMITS["tidy"], env, only="tidy_clang-tidy")


def run_tiers(run, names, started):
    """The named tiers and stages, or everything when none is named."""
    tiers = tuple(tier for tier in TIERS if tier in names or not names)
    elsewhere = set() if names else left_to_asan()
    if tiers or "clang-tidy" in names:
        build_stage(run, TEST_PRESET, tiers, elsewhere, with_benchmarks=not names)  # nothing else compiles those
    if not names:
        start_ahead(run)
    for tier in tiers:
        # clang-tidy is by far the longest single check: a stage of its own.
        ctest_stage(run, tier, TEST_PRESET, tier, LIMITS[tier], None if names else {"SKEP_CRASH_SHARE": CRASH_SHARE},
                    exclude={*elsewhere, "tidy_clang-tidy"})
    for preset in SANITIZERS:
        if preset in names or not names:
            sanitizer_stages(run, preset, () if names else left_out(preset))
        if preset == FUZZ_PRESET and ("digests" in names or not names):
            digests_stage(run)
        if preset == FUZZ_PRESET and ("fuzz" in names or not names):
            fuzz_stage(run)
    if "clang-tidy" in names:
        clang_tidy_stage(run)
    elif not names:
        clang_tidy_stage(run, max(LEAST_CLANG_TIDY_S, BUDGET_S - (time.monotonic() - started)))


def main(argv):
    if "-h" in argv or "--help" in argv:
        print(__doc__.strip())
        return 0
    known = (*TIERS, *SANITIZERS, "digests", "fuzz", "clang-tidy")
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
        run_tiers(run, argv, started)
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
