#!/usr/bin/env python3
"""The demo in namespaces: all builds, each in a root of its own, and nothing left."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from demo_test import demo  # noqa: E402: the path is set above; it sets more
import checks  # noqa: E402
from checks import Skip  # noqa: E402


def all_builds_in_namespaces():
    if os.geteuid() != 0:
        raise Skip("users of their own need root")
    demo("--driver", "namespaces", "--limit", "150")


if __name__ == "__main__":
    sys.exit(checks.run([all_builds_in_namespaces]))
