"""Configures and builds presets; the output goes to build/logs, its end is shown when something fails."""
import json
import os
import pathlib
import subprocess
import sys

import processes
import tree

CONFIGURE_LIMIT_S = 180
BUILD_LIMIT_S = 1500


def folder(preset):
    return tree.TOP / "build" / preset


def log_of(name):
    logs = tree.TOP / "build" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{name}.log"


def environment():
    """The caller's, with what makes ccache useful across clones and the tests' Consul."""
    import consul
    env = dict(os.environ)
    env.setdefault("CCACHE_BASEDIR", str(tree.TOP))
    env.setdefault("CCACHE_NOHASHDIR", "1")
    env.setdefault("CLICOLOR_FORCE", "0")
    env["NINJA_STATUS"] = "[%f/%t] "
    found = consul.find_consul()
    if found:
        env.setdefault("SKEP_CONSUL", found)
    return env


def _run(argv, limit_s, log, name):
    status, timed_out = processes.run(argv, limit_s, cwd=tree.TOP, env=environment(), log=log, name=name)
    if status == 0:
        return True
    reason = f"ended after {limit_s} s" if timed_out else f"exit status {status}"
    print(f"{name} failed ({reason}); the whole output is in {os.path.relpath(log, tree.TOP)}; its end:",
          file=sys.stderr)
    for line in processes.tail(log):
        print(f"   {line}", file=sys.stderr)
    return False


def configure(preset):
    log = log_of(f"configure-{preset}")
    log.unlink(missing_ok=True)
    return _run(["cmake", "--preset", preset], CONFIGURE_LIMIT_S, log, f"configure {preset}")


def ahead_log_of(preset):
    return log_of(f"build-ahead-{preset}")


def build_ahead(preset, targets):
    """At the least priority and without a word: build() is called again when the result is needed."""
    ahead_log_of(preset).unlink(missing_ok=True)
    processes.run(["ninja", "-C", str(folder(preset)), "-k", "0", *targets], BUILD_LIMIT_S, cwd=tree.TOP,
                  env=environment(), log=ahead_log_of(preset), is_background=True)


def build(preset, targets=()):
    log = log_of(f"build-{preset}")
    log.unlink(missing_ok=True)
    # -k 0: show all that is broken, and build what is not.
    argv = ["ninja", "-C", str(folder(preset)), "-k", "0", "-j", str(os.cpu_count() or 2), *targets]
    return _run(argv, BUILD_LIMIT_S, log, f"build {preset}")


def _outputs(preset, under):
    """Names of the executables that ninja can make in a folder of the build tree."""
    listed = subprocess.run(["ninja", "-C", str(folder(preset)), "-t", "targets", "all"], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=False).stdout
    return [line.split(":", 1)[0] for line in listed.splitlines()
            if line.startswith(under + "/") and "EXECUTABLE" in line]


def tests(preset):
    """Name and labels of each test that is configured."""
    listed = subprocess.run(["ctest", "--test-dir", str(folder(preset)), "--show-only=json-v1"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
    found = {}
    for test in json.loads(listed or "{}").get("tests", []):
        labels = next((p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"), [])
        found[test["name"]] = labels
    return found


def _is_benchmark(output):
    return "bench" in pathlib.PurePath(output).name


def _is_simulator(output):
    return pathlib.PurePath(output).name.startswith("skep-sim")


STAND_INS = ("bin/skep-controller-sim", "bin/skep-agent-sim")


def programs(preset):
    """What is shipped, and the stand-ins: everything in bin/ that is neither a test nor a benchmark."""
    labels = tests(preset)
    return [output for output in _outputs(preset, "bin")
            if pathlib.PurePath(output).name not in labels and not _is_benchmark(output) and not _is_simulator(output)]


def benchmarks(preset):
    labels = tests(preset)
    return [output for output in _outputs(preset, "bin")
            if pathlib.PurePath(output).name not in labels and (_is_benchmark(output) or _is_simulator(output))]


def targets_for(preset, tiers, exclude=(), others=()):
    """What the tests of some tiers need, but for those of `exclude`: their own binaries, and the programs where one of
    them has no binary, but runs what is shipped. `others`: programs that come from another build."""
    chosen = {test for test, labels in tests(preset).items() if set(labels) & set(tiers) and test not in exclude}
    wanted = [output for output in _outputs(preset, "bin") if pathlib.PurePath(output).name in chosen]
    wanted += [output for output in _outputs(preset, "bin") if "sim" in tiers and _is_simulator(output)]
    has_script = bool(chosen - {pathlib.PurePath(output).name for output in wanted})
    if has_script and set(tiers) - {"unit", "tidy", "sim"}:
        wanted += [output for output in programs(preset) if output not in others]
    return wanted


def fuzzers(preset):
    return _outputs(preset, "fuzz")
