"""The scheduler's own share: from the last byte of the queue reply that shows an item to the first byte of the order for
it (createSlave), on the wire between scheduler and controller."""
import os
import time

from farm import wait_for
from farms import BenchFarm, dice
from results import goal, say, summary


def shares(tap):
    """For each createSlave that follows a queue reply: how long after its last byte it came."""
    with tap.lock:
        orders = [when for when, method, path in tap.requests if method == "POST" and path.endswith("createSlave")]
        replies = [when for when, path, size in tap.replies if "/queue/api/json" in path and size > 0]
    found, taken = [], set()
    for order in orders:
        before = [when for when in replies if when <= order]
        # The first order after a reply: the later ones of a burst queue behind it.
        if before and before[-1] not in taken:
            taken.add(before[-1])
            found.append((order - before[-1]) * 1000)
    return found


def disk(folder):
    """What one small durable write costs here: the record of a launch is one, and it comes before the order."""
    times = []
    with open(folder / "disk", "ab", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            began = time.monotonic()
            os.fsync(file.fileno())
            times.append((time.monotonic() - began) * 1000)
    return summary(times, "ms")


def run(quick):
    rounds, waiting = 10 if quick else 120, 300
    with BenchFarm({"one": ("one", 0)}, poll="500ms", is_tapped=True, max_executors=20) as farm:
        farm.job("one", "one", duration_ms=50)
        farm.job("never", "no-such-label")
        farm.schedule("never", waiting)
        chance = dice()
        for number in range(rounds):
            farm.random_moment(chance, 0.5)
            farm.build_of(farm.schedule("one")[0])
            if number % 20 == 19:
                say(f"share: {number + 1} of {rounds}")
        wait_for(lambda: not farm.ours(), "all executors are gone", 60)
        found, durable = shares(farm.tap), disk(farm.folder)
    out = summary(found, "ms")
    out["items_waiting"], out["durable_write"] = waiting, durable
    out["goals"] = [goal(out["p99"], 20, "P5: from the last byte of the queue reply to the order on the wire, p99, at most 20 ms")]
    return out
