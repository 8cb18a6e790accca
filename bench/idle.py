"""What an idle farm costs its controller: requests a minute with 1 and with 100 warm executors, polled and told by a companion,
bytes of a poll, and the requests of one executor's life."""
import time

from farm import wait_for
from farms import BenchFarm
from results import goal, say, summary

POLL_S = 2
COMMON = ("GET queue/api/json", "GET computer/api/json")  # the two lists that serve everybody
OF_AGENTS = ("GET login", "GET jnlpJars", "GET wsagents")


def of_scheduler(counters):
    """Kinds of requests without the prefix, and without what agents ask for themselves."""
    found = {}
    for kind, count in counters.items():
        kind = kind.replace("jenkins/", "")
        if not kind.startswith(OF_AGENTS):
            found[kind] = found.get(kind, 0) + count
    return found


def idle_minute(warm, window_s, companion=False):
    with BenchFarm({"warm": ("warm", warm)}, poll=f"{POLL_S}s", is_tapped=True, maximum=warm + 10, max_executors=warm + 10,
                   companion=companion) as farm:
        say(f"idle: {warm} warm executors{', with a companion' if companion else ''}")
        wait_for(lambda: len(farm.ours("idle")) >= warm and len(farm.ours()) == len(farm.ours("idle")), f"{warm} executors are idle", 300, 0.5)
        time.sleep(2 * POLL_S)  # what the last ones' joining caused is over
        farm.tap.clear()
        farm.sim("requests", "DELETE")
        time.sleep(window_s)  # the window itself
        counters = of_scheduler(farm.sim("requests"))
        with farm.tap.lock:
            sizes = [size for _, path, size in farm.tap.replies if size and "/queue/api/json" in path]
            lists = [size for _, path, size in farm.tap.replies if size and "/computer/api/json" in path]
        return {"warm": warm, "window_s": window_s, "requests": counters, "per_minute": round(sum(counters.values()) * 60 / window_s, 1),
                "queue_reply_bytes": summary(sizes, "bytes"), "nodes_reply_bytes": summary(lists, "bytes")}


def life(one_build, rounds, companion=False):
    """Requests per executor beyond the two common lists."""
    with BenchFarm({"one": ("one", 0)}, poll="500ms", one_build=one_build, administrator=one_build == "hook", max_executors=20,
                   companion=companion) as farm:
        farm.job("one", "one", duration_ms=1000)
        farm.sim("requests", "DELETE")
        for _ in range(rounds):
            farm.build_of(farm.schedule("one")[0])
            wait_for(lambda: not farm.ours(), "the executor is gone", 60)
        counters = of_scheduler(farm.sim("requests"))
    own = {kind: count for kind, count in counters.items() if kind not in COMMON}
    return {"executors": rounds, "per_executor": round(sum(own.values()) / rounds, 2),
            "kinds": {kind: round(count / rounds, 2) for kind, count in sorted(own.items())}}


def run(quick):
    window = 20 if quick else 60
    one, many = idle_minute(1, window), idle_minute(10 if quick else 100, window)
    # What comes twice a minute does not fit a shorter window.
    told_window = 60 if quick else 120
    told_one, told_many = idle_minute(1, told_window, True), idle_minute(10 if quick else 100, told_window, True)
    rounds = 3 if quick else 15
    gate, hook, told = life("gate", rounds), life("hook", rounds), life("hook", rounds, True)
    one["goals"] = [goal(one["per_minute"], 60 / POLL_S + 2, f"P10: at most 60/P + 2 requests a minute at idle, P = {POLL_S} s"),
                    goal(one["queue_reply_bytes"]["max"], 4096, "P10: at most 4 KB for an idle poll of the queue")]
    many["goals"] = [goal(many["per_minute"], 60 / POLL_S + 2, f"P10: the same with {many['warm']} executors")]
    gate["goals"] = [goal(gate["per_executor"], 12, "P10: at most 12 small requests in an executor's life with the gate")]
    hook["goals"] = [goal(hook["per_executor"], 3, "P10: at most 3 requests in an executor's life with the hook")]
    for result in (told_one, told_many):
        result["goals"] = [goal(result["per_minute"], 4, f"at most 4 requests a minute at idle with a companion, {result['warm']} executors")]
    return {"idle_1": one, "idle_many": many, "companion_1": told_one, "companion_many": told_many,
            "life_gate": gate, "life_hook": hook, "life_companion": told}
