#!/usr/bin/env python3
"""clang-tidy over every source file that the given build folder compiles: in parallel, with a cache.

    check_clang_tidy.py [--build-dir build/debug] [FILE...]

A file is looked at again when it, a header of ours that it can reach, its command line, .clang-tidy or the installed
packages changed (clean_cache.py). What changed last is looked at first. SKEP_CLANG_TIDY_BUDGET_S is the time that a
run of everything leaves: files that it has no time for are then told as skipped, else they are problems.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import build
import tree
from clean_cache import CleanCache

DEBUG_DIR = build.folder("debug")
FILE_TIME_LIMIT_S = 300
# Less than the test's own limit, so that what was found is still told.
TIME_LIMIT_S = 1080
# Options of GCC that Clang does not know, and those that only cost time here.
DROP = re.compile(r"^(-fsanitize=.*|-fno-sanitize-recover=.*|--coverage|-fconcepts.*|-Wno-maybe-uninitialized)$")


def jobs_from(build_dir, wanted):
    commands = json.loads((build_dir / "compile_commands.json").read_text(encoding="utf-8"))
    jobs = {}
    for entry in commands:
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if not path.is_relative_to(tree.TOP) or path.is_relative_to(tree.TOP / "build") or not path.is_file():
            continue
        name = str(path.relative_to(tree.TOP))
        if not wanted or name in wanted:
            jobs[name] = (shlex.split(entry["command"]), entry["directory"])
    return jobs


def arguments_for_clang(command):
    """The compile command without launcher, compiler and output, in the form that follows `--`."""
    arguments = command[1:]
    if arguments and not arguments[0].startswith("-"):  # ccache g++ ...
        arguments = arguments[1:]
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in ("-o", "-c", "-MF", "-MT", "-MQ"):
            skip = True
        elif not DROP.match(argument) and argument not in ("-MD", "-MMD"):
            kept.append(argument)
    return kept


def run(name, arguments, directory, deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        return None, ""
    argv = ["clang-tidy", "--quiet", str(tree.TOP / name), "--", *arguments]
    try:
        done = subprocess.run(argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=min(FILE_TIME_LIMIT_S, left))
    except subprocess.TimeoutExpired:
        return (None, "") if left < FILE_TIME_LIMIT_S else (False, f"{name}: clang-tidy took too long")
    text = "\n".join(line for line in (done.stdout + done.stderr).splitlines()
                     if not re.match(r"^\d+ (warnings?|errors?)( and \d+ errors?)? (generated|treated)|^Suppressed|^Use -header", line))
    return done.returncode == 0, text.replace(str(tree.TOP) + "/", "")


def newest_first(names):
    """By the commit that changed them last; what is changed but not committed comes before all."""
    log = subprocess.run(["git", "log", "--format=", "--name-only", "-n", "200"], cwd=tree.TOP, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=False).stdout.split()
    dirty = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=tree.TOP, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, check=False).stdout
    order = {name: place for place, name in reversed(list(enumerate(log, 1)))}
    order.update({line[3:]: 0 for line in dirty.splitlines()})
    return sorted(names, key=lambda name: (order.get(name, len(log) + 1), name))


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--build-dir", default=str(DEBUG_DIR))
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(argv)
    build_dir = pathlib.Path(options.build_dir)
    # A preset that compiles its files one by one: the tests' own has no command for a single file.
    if build_dir == DEBUG_DIR and not build.configure("debug"):
        return tree.report(["the preset debug cannot be configured"], "clang-tidy")
    if not (build_dir / "compile_commands.json").is_file():
        return tree.report([f"{build_dir} is not configured"], "clang-tidy")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    settings = [name for name in tree.files() if os.path.basename(name) == ".clang-tidy"]
    cache = CleanCache("clang-tidy", b"".join((tree.TOP / name).read_bytes() for name in settings))
    todo = []
    jobs = jobs_from(build_dir, set(options.files))
    for name in newest_first(jobs):
        command, directory = jobs[name]
        arguments = arguments_for_clang(command)
        # The place of this clone is no part of the key.
        plain = " ".join(arguments).replace(str(build_dir.resolve()), "B").replace(str(tree.TOP), "T")
        key = cache.key(name, plain)
        if not cache.is_clean(key):
            todo.append((name, arguments, directory, key))
    budget = os.environ.get("SKEP_CLANG_TIDY_BUDGET_S")
    limit_s = min(float(budget or TIME_LIMIT_S), TIME_LIMIT_S)
    problems, late = [], []
    print(f"{len(todo)} file(s) to look at", flush=True)
    deadline = time.monotonic() + limit_s
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = {pool.submit(run, name, arguments, directory, deadline): (name, key)
                   for name, arguments, directory, key in todo}
        for result in concurrent.futures.as_completed(results):
            name, key = results[result]
            clean, text = result.result()
            if clean:
                cache.remember(key)
            elif clean is None:
                late.append(name)
            else:
                problems.append(name)
                print(text, flush=True)
    if late and budget is None:
        problems += [f"{name} (not looked at within {limit_s:.0f} s; what was clean is remembered)" for name in late]
    elif late:
        print(f"SKIPPED: {len(late)} of {len(jobs)} files, which are the longest unchanged, for want of time; "
              "`scripts/test clang-tidy` looks at them")
    return tree.report([f"{name}: see above" for name in sorted(problems)], "clang-tidy")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
