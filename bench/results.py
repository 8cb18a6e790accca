"""Values, goals and progress: what every benchmark says about what it measured."""
import json
import math
import sys


def say(text):
    """Progress, for whoever waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def summary(values, unit):
    """The median, the 99th percentile (with few samples: the highest), the highest and the number of samples."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None, "max": None, "n": 0, "unit": unit}

    def at(share):
        return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 3)
    return {"p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 3), "n": len(ordered), "unit": unit}


def goal(value, bound, text, is_at_least=False):
    """`met` is null for what could not be measured: unknown is neither good nor bad, and --check fails on it."""
    is_met = None if value is None else (value >= bound if is_at_least else value <= bound)
    return {"goal": text, "value": value, "bound": bound, "met": is_met}


def goals_of(result):
    """Every goal anywhere in a result."""
    if isinstance(result, dict):
        if "met" in result and "bound" in result:
            yield result
        for value in result.values():
            yield from goals_of(value)
    elif isinstance(result, list):
        for value in result:
            yield from goals_of(value)


def show(results):
    print(json.dumps(results, indent=2, sort_keys=False), flush=True)
