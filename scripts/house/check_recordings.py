#!/usr/bin/env python3
"""The recordings in tests/ equal, byte for byte, those beside the tree, where there are any beside it."""
import filecmp
import os
import sys

import tree


def relative_files(folder):
    return {os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names}


def differences(ours, theirs):
    problems = [f"{ours}/{name}: missing" for name in sorted(relative_files(theirs) - relative_files(ours))]
    problems += [f"{ours}/{name}: has no original" for name in sorted(relative_files(ours) - relative_files(theirs))]
    both = sorted(relative_files(ours) & relative_files(theirs))
    return problems + [f"{ours}/{name}: differs from the original" for name in both
                       if not filecmp.cmp(os.path.join(ours, name), os.path.join(theirs, name), shallow=False)]


def main():
    ours = tree.TOP / "tests" / "recordings"
    theirs = tree.TOP.parent / "shared" / "recordings"
    if not ours.is_dir():
        return tree.report(["tests/recordings is missing"], "recordings")
    if not theirs.is_dir():
        print("SKIPPED: no original recordings beside this tree to compare with")
        return 0
    return tree.report(differences(str(ours), str(theirs)), "recordings")


if __name__ == "__main__":
    sys.exit(main())
