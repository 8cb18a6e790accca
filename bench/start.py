"""Start latency: from an item becoming buildable to its build running, cold and warm, with every way in which the scheduler
hears of it, and raw, on a controller without Skep: the same agent started by hand at once (cold), or connected and idle before
the item comes (warm). All of them side by side in one run, one after the other in each round."""
import contextlib
import time
import uuid

from farm import wait_for
from farms import BareController, BenchFarm, dice, latency
from results import goal, say, summary

MODES = {"poll_500ms": (0.5, False), "poll_2s": (2.0, False), "companion": (2.0, True)}  # poll in seconds, companion
CONNECTED_S = 0.2  # from the agent's connection until the controller may give it something, and more
MOMENT_S = 0.5     # of which nothing depends on a poll


def raw(bare, chance, number, is_warm):
    name, label = f"by-hand-{number}-{uuid.uuid4().hex[:6]}", f"raw-{number}-{'warm' if is_warm else 'cold'}"
    bare.job(label, label, duration_ms=50)
    item = None if is_warm else bare.schedule(label)[0]
    process = bare.start_agent_by_hand(name, label)
    try:
        if is_warm:
            wait_for(lambda: bare.is_online(name), "the agent is connected", 30)
            time.sleep(CONNECTED_S)
            bare.random_moment(chance, MOMENT_S)
            item = bare.schedule(label)[0]
        build = bare.build_of(item)
        wait_for(lambda: not bare.sim("counts")["queue_length"], "the queue is empty", 30)
    finally:
        process.terminate()
        process.wait(10)
    return latency(build)


def is_quiet(farm):
    """The warm executor is idle, and nothing else is there."""
    executors = farm.ours()
    return len(executors) == 1 and executors[0]["state"] == "idle"


def farm_of(poll_s, companion):
    return BenchFarm({"cold": ("cold", 0), "warm": ("warm", 1)}, poll=f"{int(poll_s * 1000)}ms", max_executors=20, companion=companion)


def measure(rounds):
    values = {mode: {"cold": [], "warm": []} for mode in ("raw", *MODES)}
    chance = dice()
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(BareController())
        farms = {mode: stack.enter_context(farm_of(*given)) for mode, given in MODES.items()}
        for mode, farm in farms.items():
            farm.job("cold", "cold", duration_ms=50)
            farm.job("warm", "warm", duration_ms=50)
            if MODES[mode][1]:
                farm.be_late_with_scripts()

        def rest():  # of all: what one farm does after its build must not be in the next one's way
            wait_for(lambda: all(is_quiet(farm) for farm in farms.values()), "the farms are at rest", 60)
        for number in range(rounds):
            for kind in ("cold", "warm"):
                rest()
                values["raw"][kind].append(raw(bare, chance, number, kind == "warm"))
                for mode, farm in farms.items():
                    rest()
                    farm.random_moment(chance, MOMENT_S if MODES[mode][1] else MODES[mode][0])
                    values[mode][kind].append(latency(farm.build_of(farm.schedule(kind)[0])))
            if number % 10 == 9:
                say(f"start: {number + 1} of {rounds} rounds")
    return {mode: {kind: summary(found, "ms") for kind, found in kinds.items()} for mode, kinds in values.items()}


def run(quick):
    out = measure(5 if quick else 30)
    raw_of = out["raw"]
    for mode in MODES:
        for kind in ("cold", "warm"):
            out[mode][f"{kind}_beyond_raw"] = {at: round(out[mode][kind][at] - raw_of[kind][at], 3) for at in ("p50", "p99")}
    for mode, (poll_s, companion) in MODES.items():
        if companion:
            continue
        poll_ms, result = poll_s * 1000, out[mode]
        result["poll_ms"] = poll_ms
        # Half a poll is what chance costs at the median, a whole one at the worst.
        result["goals"] = [
            goal(result["cold_beyond_raw"]["p50"], poll_ms / 2 + 50, "cold, median: at most raw + half a poll + 50 ms"),
            goal(result["cold_beyond_raw"]["p99"], poll_ms + 50, "cold, p99: at most raw + one poll + 50 ms"),
            goal(result["warm"]["p99"], poll_ms + 100, "warm, p99: at most one poll + 100 ms")]
    beyond = out["companion"]["warm_beyond_raw"]
    out["companion"]["goals"] = [
        goal(beyond["p50"], 60, "companion, warm, median: at most 60 ms beyond an idle executor without Skep"),
        goal(beyond["p99"], 150, "companion, warm, p99: at most 150 ms beyond an idle executor without Skep")]
    return out
