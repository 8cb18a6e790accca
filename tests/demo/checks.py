"""Runs checks one after another and ends with `N passed, N failed[, N skipped]`."""
import sys
import time
import traceback


class Skip(Exception):
    """Why a check cannot run here."""


def run(checks):
    passed = failed = skipped = 0
    for check in checks:
        started = time.monotonic()
        try:
            check()
            passed += 1
            print(f"ok    {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
        except Skip as reason:
            skipped += 1
            print(f"SKIPPED: {check.__name__}: {reason}", flush=True)
        except Exception as error:  # a check that breaks is a failed check
            failed += 1
            print(f"FAILED {check.__name__}: {error}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


def expect(condition, text):
    if not condition:
        raise AssertionError(text)
