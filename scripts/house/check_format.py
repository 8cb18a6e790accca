#!/usr/bin/env python3
"""clang-format has nothing to change. `--fix` formats instead of checking."""
import concurrent.futures
import os
import subprocess
import sys

import tree


def run(names, arguments):
    return subprocess.run(["clang-format", *arguments, *names], cwd=tree.TOP, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)


def main(argv):
    names = tree.cpp_files()
    arguments = ["-i"] if argv == ["--fix"] else ["--dry-run", "-Werror", "--ferror-limit=1"]
    chunks = [names[start:start + 20] for start in range(0, len(names), 20)]
    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(lambda chunk: run(chunk, arguments), chunks):
            if done.returncode != 0:
                problems += [line for line in done.stderr.splitlines() if "error:" in line] or [done.stderr.strip()]
    status = tree.report(problems, "format")
    if status:
        print("mend with: scripts/tidy.py format --fix")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
