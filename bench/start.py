"""Start latency: from an item becoming buildable to its build running, cold, warm, and raw (the same agent started by
hand at once), one after the other in the same run."""
import uuid

from farm import wait_for
from farms import BenchFarm, dice, latency
from results import goal, say, summary


def raw(farm, number):
    label = f"raw-{number}"
    farm.job(label, label, duration_ms=50)
    item = farm.schedule(label)[0]
    process = farm.start_agent_by_hand(f"by-hand-{number}-{uuid.uuid4().hex[:6]}", label)
    try:
        build = farm.build_of(item)
        wait_for(lambda: not farm.sim("truth")["queue_length"], "the queue is empty", 30)
    finally:
        process.terminate()
        process.wait(10)
    return latency(build)


def by_skep(farm, path, is_ready):
    wait_for(is_ready, "the farm is at rest", 60)
    farm.random_moment(farm.dice, farm.poll_s)
    return latency(farm.build_of(farm.schedule(path)[0]))


def measure(poll_s, rounds):
    values = {"raw": [], "cold": [], "warm": []}
    with BenchFarm({"cold": ("cold", 0), "warm": ("warm", 1)}, poll=f"{int(poll_s * 1000)}ms", max_executors=20) as farm:
        farm.dice, farm.poll_s = dice(), poll_s
        farm.job("cold", "cold", duration_ms=50)
        farm.job("warm", "warm", duration_ms=50)

        def is_quiet():
            executors = farm.ours()
            return len(executors) == 1 and executors[0]["state"] == "idle"
        for number in range(rounds):
            values["raw"].append(raw(farm, number))
            values["cold"].append(by_skep(farm, "cold", is_quiet))
            values["warm"].append(by_skep(farm, "warm", is_quiet))
            if number % 10 == 9:
                say(f"start: poll {poll_s} s, {number + 1} of {rounds} rounds")
    out = {name: summary(found, "ms") for name, found in values.items()}
    poll_ms = poll_s * 1000
    out["poll_ms"] = poll_ms
    # Half a poll is what chance costs at the median, a whole one at the worst.
    out["goals"] = [
        goal(round(out["cold"]["p50"] - out["raw"]["p50"], 1), poll_ms / 2 + 50, "cold, median: at most raw + half a poll + 50 ms"),
        goal(round(out["cold"]["p99"] - out["raw"]["p99"], 1), poll_ms + 50, "cold, p99: at most raw + one poll + 50 ms"),
        goal(out["warm"]["p99"], poll_ms + 100, "warm, p99: at most one poll + 100 ms")]
    return out


def run(quick):
    rounds = 5 if quick else 30
    return {"poll_500ms": measure(0.5, rounds), "poll_2s": measure(2.0, rounds)}
