"""Runs checks one after another and ends with `N passed, N failed`."""
import sys
import time
import traceback


def run(checks):
    passed = failed = 0
    for check in checks:
        started = time.monotonic()
        try:
            check()
            passed += 1
            print(f"ok    {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:  # a check that breaks is a failed check
            failed += 1
            print(f"FAILED {check.__name__}: {error}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def expect(condition, text):
    if not condition:
        raise AssertionError(text)
