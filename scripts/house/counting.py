#!/usr/bin/env python3
"""Counts what ran: Catch2 test cases, checks that print their own counts, and visible skips.

A test that cannot run here prints a line `SKIPPED: reason` and passes; it is counted as skipped, not as passed.
`--self-test` proves the rules on recorded summaries.
"""
import re
import sys
import xml.etree.ElementTree
from typing import NamedTuple


class Count(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Count(*(a + b for a, b in zip(self, other)))

    def text(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


CATCH_ALL_PASSED = re.compile(r"^All tests passed \(\d+ assertions? in (\d+) test cases?\)", re.MULTILINE)
CATCH_NO_ASSERTIONS = re.compile(r"^test cases:\s+(\d+)\s+\|(.*)$", re.MULTILINE)
OWN_COUNT = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
SKIPPED = re.compile(r"^\s*SKIPPED: *(.*)$", re.MULTILINE)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def from_output(text, succeeded):
    """(Count, reasons of skips) of one test program."""
    text = ANSI.sub("", text)
    reasons = [reason.strip() or "no reason given" for reason in SKIPPED.findall(text)]
    own = OWN_COUNT.match(text.strip().splitlines()[-1].strip()) if text.strip() else None
    if own:
        passed, failed, skipped = int(own[1]), int(own[2]), int(own[3] or 0)
    else:
        passed, failed = _catch_counts(text, succeeded)
        skipped = min(passed, len(reasons))
        passed -= skipped
    if not succeeded and failed == 0:  # it crashed, hung or leaked after its last test case
        failed = 1
    return Count(passed, failed, skipped), reasons


def _catch_counts(text, succeeded):
    all_passed = CATCH_ALL_PASSED.findall(text)
    if all_passed:
        return int(all_passed[-1]), 0
    summaries = CATCH_NO_ASSERTIONS.findall(text)
    if summaries:
        parts = dict((word, int(number)) for number, word in re.findall(r"(\d+) (passed|failed)", summaries[-1][1]))
        return parts.get("passed", 0), parts.get("failed", 0)
    return (1, 0) if succeeded else (0, 1)


class TestResult(NamedTuple):
    name: str
    count: Count
    reasons: list
    status: str
    seconds: float


def from_junit(path):
    """One TestResult per test of ctest."""
    results = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        status = case.get("status", "")
        output = case.findtext("system-out") or ""
        if status == "disabled":
            result = Count(skipped=1), ["disabled in CMake"]
        elif status == "notrun":
            result = Count(failed=1), []
        else:
            result = from_output(output, status == "run")
        results.append(TestResult(case.get("name", "?"), *result, status, float(case.get("time") or 0)))
    return results


SELF_TEST = [
    ("All tests passed (12 assertions in 3 test cases)\n", True, Count(3)),
    ("\x1b[0;32mAll tests passed\x1b[0m (1 assertion in 1 test case)\n", True, Count(1)),
    ("SKIPPED: no consul\nAll tests passed (2 assertions in 2 test cases)\n", True, Count(1, 0, 1)),
    ("test cases: 3 | 2 passed | 1 failed\nassertions: 9 | 8 passed | 1 failed\n", False, Count(2, 1)),
    ("test cases: 1 | 1 failed\nassertions: - none -\n", False, Count(0, 1)),
    ("All tests passed (12 assertions in 3 test cases)\n==1==ERROR: LeakSanitizer\n", False, Count(3, 1)),
    ("Segmentation fault\n", False, Count(0, 1)),
    ("", False, Count(0, 1)),
    ("layers: ok\n", True, Count(1)),
    ("x\n40 passed, 2 failed\n", False, Count(40, 2)),
    ("40 passed, 0 failed, 3 skipped\n", True, Count(40, 0, 3)),
    ("SKIPPED: whole check\n", True, Count(0, 0, 1)),
]


def self_test():
    problems = [f"{text!r}: {from_output(text, succeeded)[0]}, expected {expected}"
                for text, succeeded, expected in SELF_TEST if from_output(text, succeeded)[0] != expected]
    for problem in problems:
        print(problem)
    print("counting self-test:", "failed" if problems else "ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(self_test())
