#!/usr/bin/env python3
"""The portable part passes the syntax check of mingw-w64, and each of its headers stands alone.

The compiler gets one file at a time and no include path but the root of the tree: a pure folder that needs a
third-party header fails here.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys

import tree
from clean_cache import CleanCache

COMPILER = "x86_64-w64-mingw32-g++-posix"
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-I."]
FOLDERS = ("core/", "scheduler/core/", "agentd/core/", "drivers/api/", "drivers/fake/host_model", "join/core/",
           "scheduler/jenkins/labels.", "scheduler/jenkins/texts.", "scheduler/jenkins/scripts.h",
           "scheduler/jenkins/requests.h")


def check(name):
    if name.endswith(".h"):
        # Included from an empty source, because a header as main file would warn about its #pragma once.
        argv = [COMPILER, *FLAGS, "-include", name, "-x", "c++", "/dev/null"]
    else:
        argv = [COMPILER, *FLAGS, "-x", "c++", name]
    done = subprocess.run(argv, cwd=tree.TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    lines = done.stderr.strip().splitlines()
    return [f"{name}: does not pass {COMPILER}"] + [f"    {line}" for line in lines[:12]]


def main():
    if shutil.which(COMPILER) is None:
        return tree.report([f"{COMPILER} is missing; scripts/setup installs it"], "mingw")
    names = [name for name in tree.cpp_files() if name.startswith(FOLDERS)]
    cache = CleanCache("mingw", " ".join([COMPILER, *FLAGS]).encode())
    keys = {name: cache.key(name, "") for name in names}
    todo = [name for name in names if not cache.is_clean(keys[name])]
    print(f"{len(todo)} of {len(names)} file(s) to look at", flush=True)
    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, found in zip(todo, pool.map(check, todo)):
            if not found:
                cache.remember(keys[name])
            problems += found
    return tree.report(problems, "mingw")


if __name__ == "__main__":
    sys.exit(main())
