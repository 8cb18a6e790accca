#!/usr/bin/env python3
"""Shell scripts parse, Python files compile, what is meant to be run may be run, and what takes arguments says which."""
import os
import subprocess
import sys

import tree

RUNNABLE = ("scripts/setup", "scripts/test", "scripts/demo", "scripts/bench", "scripts/skep", ".ci/run")
# What the scripts above start: imports that fail, or that find another module of the same name, are seen here.
PROGRAMS = ("bench/run.py", "scripts/house/run_tests.py", "scripts/house/sim.py", "tests/demo/demo.py")


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
    environment = os.environ | {"SKEP_SOURCE_DIR": str(tree.TOP), "SKEP_BIN_DIR": str(tree.TOP), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in PROGRAMS:
        done = subprocess.run([sys.executable, name, "--help"], cwd=tree.TOP, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, env=environment, timeout=60, check=False)
        if done.returncode != 0 or not done.stdout:
            problems.append(f"{name} --help: {(done.stderr.strip() or 'no usage').splitlines()[-1]}")
    return tree.report(problems, "scripts")


if __name__ == "__main__":
    sys.exit(main())
