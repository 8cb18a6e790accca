"""One build per executor in the worst case: a crowd of empty pipeline blocks of 50 to 150 ms that all match, with the gate and
with a companion. The stand-in's record is compared with our audits."""
import collections
import time

from farm import wait_for
from farms import BenchFarm
from results import goal, say, summary


def history(farm):
    """All audits, newest first."""
    page = 10000
    found = farm.api(f"v1/history?limit={page}")
    while len(found) % page == 0 and found:
        older = farm.api(f"v1/history?limit={page}&before={found[-1]['number']}")
        if not older:
            break
        found += older
    return found


def are_used(farm, executors):
    """Enough of them; the whole record is asked for only when it can be so."""
    return farm.sim("counts")["builds"] >= executors and len({b["node"] for b in farm.sim("truth")["builds"]}) >= executors


def crowd(executors, gate_poll, limit_s, gates=4, at_once=12, controller_tls=False, companion=False):
    with BenchFarm({"crowd": ("crowd", 0)}, poll="500ms", creations=100 if companion else 20, open_gates=gates, gate_poll=gate_poll,
                   one_build="hook" if companion else "gate", maximum=at_once, max_executors=at_once + 8, controller_tls=controller_tls,
                   companion=companion) as farm:
        way = "companion" if companion else f"gate polled every {gate_poll}{', over TLS' if controller_tls else ''}"
        farm.job("crowd", "crowd", kind="pipeline", empty_block=True)
        began = time.monotonic()
        last = 0
        while not are_used(farm, executors) and time.monotonic() < began + limit_s:
            counts = farm.sim("counts")
            if counts["queue_length"] < 60:
                farm.schedule("crowd", 60)
            if counts["builds"] >= last + 100:
                last = counts["builds"]
                say(f"one-build: {way}, {last} builds")
            time.sleep(0.3)
        used_s = time.monotonic() - began
        is_told = farm.is_told()
        farm.api("v1/pause", "POST", {"reason": "the benchmark ends"})
        wait_for(lambda: not farm.ours(), "all executors are gone", 180, 0.5)
        builds = collections.defaultdict(list)
        for build in farm.sim("truth")["builds"]:
            builds[build["node"]].append(f"job/{build['job']}/{build['number']}/")
        audits = {a["id"]: a for a in history(farm)}
    second = {node for node, found in builds.items() if len(found) > 1}
    proved = {node for node, audit in audits.items() if audit["is_violation"]}
    reported = proved | {node for node, audit in audits.items() if audit["may_hide_build"]}
    unwatched = [a["gate_unwatched_ms"] for a in audits.values() if a["was_used"]]
    opened = [a["gate_open_ms"] for a in audits.values() if a["was_opened"]]
    return {"executors": len(builds), "builds": sum(map(len, builds.values())), "seconds": round(used_s, 1),
            "gate_poll": None if companion else gate_poll, "is_told": is_told,
            "second_builds": sum(len(builds[node]) - 1 for node in second), "nodes_with_second_builds": len(second),
            "proved": len(second & proved), "reported": len(second & reported), "not_reported": sorted(second - reported)[:20],
            "not_ruled_out_without_cause": len(reported - second), "without_audit": len(set(builds) - set(audits)),
            "builds_not_in_audit": sum(1 for node, found in builds.items() for b in found if b not in audits.get(node, {}).get("builds_seen", [])),
            "gate_unwatched_ms": summary(unwatched, "ms"), "gate_open_ms_mean": round(sum(opened) / len(opened), 1) if opened else None}


def run(quick, executors=None):
    kept = crowd(60 if quick else 1000, "8ms", 120 if quick else 600)
    kept["goals"] = [goal(kept["second_builds"], 0, "no second build with gate and kick"),
                     goal(kept["executors"], 60 if quick else 1000, "enough executors were used", is_at_least=True)]
    tls = crowd(30 if quick else 300, "8ms", 120 if quick else 300, controller_tls=True)
    tls["goals"] = [goal(tls["second_builds"], 0, "no second build with gate and kick, the controller behind TLS")]
    wanted = executors or (200 if quick else 1000)
    told = crowd(wanted, "8ms", max(120, wanted), companion=True)
    told["goals"] = [goal(told["second_builds"], 0, "no second build with a companion"),
                     goal(told["executors"], wanted, "enough executors were used", is_at_least=True),
                     goal(int(told["is_told"]), 1, "the companion told at the end", is_at_least=True)]
    slow = crowd(40 if quick else 200, "200ms", 120 if quick else 400)
    missed = slow["nodes_with_second_builds"] - slow["reported"]
    slow["goals"] = [goal(missed, 0, "with polls of 200 ms every executor with a second build is reported by its audit"),
                     goal(slow["nodes_with_second_builds"], 1, "there were second builds to report", is_at_least=True)]
    return {"gate": kept, "gate_over_tls": tls, "companion": told, "slow_on_purpose": slow}
