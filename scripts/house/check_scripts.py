#!/usr/bin/env python3
"""Shell scripts parse, Python files compile, and what is meant to be run may be run."""
import os
import subprocess
import sys

import tree

RUNNABLE = ("scripts/setup", "scripts/test", "scripts/demo", "scripts/bench", "scripts/skep", ".ci/run")


def main():
    problems = []
    for name in tree.shell_files():
        done = subprocess.run(["bash", "-n", name], cwd=tree.TOP, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            problems.append(f"{name}: {done.stderr.strip()}")
    for name in tree.python_files():
        try:
            compile(tree.read(name), name, "exec")
        except SyntaxError as error:
            problems.append(f"{name}:{error.lineno}: {error.msg}")
    problems += [f"{name}: missing or without run bit" for name in RUNNABLE if not os.access(tree.TOP / name, os.X_OK)]
    return tree.report(problems, "scripts")


if __name__ == "__main__":
    sys.exit(main())
