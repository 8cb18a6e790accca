#!/usr/bin/env python3
"""Runs the checks of the tidy tier.

    scripts/tidy.py                      all of them
    scripts/tidy.py CHECK [ARG...]       one, with its arguments, e.g. `format --fix` or `clang-tidy FILE`
"""
import os
import pathlib
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).resolve().parent
CHECKS = {
    "format": ["house/check_format.py"],
    "layers": ["check_layers.py"],
    "layers-self-test": ["check_layers.py", "--self-test"],
    "text": ["house/check_text.py"],
    "text-self-test": ["house/check_text.py", "--self-test"],
    "scripts": ["house/check_scripts.py"],
    "recordings": ["house/check_recordings.py"],
    "mingw": ["house/check_mingw.py"],
    "counting-self-test": ["house/counting.py"],
    "clang-tidy": ["house/check_clang_tidy.py"],
}


def run(name, arguments):
    program, *fixed = CHECKS[name]
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run([sys.executable, str(SCRIPTS / program), *fixed, *arguments], env=environment,
                          stdin=subprocess.DEVNULL, check=False).returncode


def main(argv):
    if argv and argv[0] not in CHECKS:
        print(f"unknown check '{argv[0]}'; known: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    if argv:
        return run(argv[0], argv[1:])
    failed = [name for name in CHECKS if run(name, []) != 0]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
