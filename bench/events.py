"""What a busy controller costs the scheduler: 1,000 events a second of a queue and of nodes that are not ours, told by a
companion; the processor time of the scheduler's process, and whether each event came."""
import contextlib
import os
import re
import time

from farm import NO_PROXY, Failure, wait_for
from farms import BenchFarm
from results import goal, say

RATE = 1000
ASKED = 1020          # a little more, so that what came in the window is not less because of its ends
OF_NODES = 100        # of them
STANDING = 500        # items in the queue
WARM_UP_S = 5


def processor_s(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii", errors="replace").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counted(farm, name):
    """By the scheduler, in its metrics."""
    with NO_PROXY.open(farm.scheduler.url + "metrics", timeout=10) as reply:
        text = reply.read().decode()
    return int(float(re.search(rf"^skep_{name}_total(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE).group(1)))


def sample(farm):
    return {"at": time.monotonic(), "processor": processor_s(farm.scheduler.process.pid), "events": counted(farm, "companion_events"),
            "answers": counted(farm, "companion_answers"), "told": farm.sim("counts")["companion_events"]}


def run(quick):
    window_s = 10 if quick else 40
    with BenchFarm({"one": ("one", 0)}, poll="2s", companion=True) as farm:
        farm.be_late_with_scripts()
        jobs = [f"load-{number}" for number in range(20)]
        for number, job in enumerate(jobs):
            farm.job(job, f"nobody-{number}")
        farm.sim("block", "POST", {"path": jobs[0]})
        nodes = [f"other-{number}" for number in range(10)]
        for node in nodes:
            farm.sim("nodes", "POST", {"name": node, "labels": "other"})
        say(f"events: {ASKED} a second")
        farm.sim("load", "POST", {"jobs": jobs, "nodes": nodes, "standing": STANDING, "events_per_second": ASKED,
                                  "node_events_per_second": OF_NODES, "duration_ms": (WARM_UP_S + window_s + 3) * 1000})
        time.sleep(WARM_UP_S)
        farm.sim("requests", "DELETE")
        first = sample(farm)
        time.sleep(window_s)  # the window itself
        last = sample(farm)
        requests = farm.sim("requests")
        wait_for(lambda: not farm.sim("counts")["is_loaded"], "the load is over", 60)
        told = farm.sim("counts")["companion_events"]
        with contextlib.suppress(Failure):
            wait_for(lambda: counted(farm, "companion_events") >= told, "all events came", 10)
        came = counted(farm, "companion_events")
        bases = farm.sim("requests").get("POST jenkins/scriptText companion install", 0)
        differences = counted(farm, "companion_differences")
    length = last["at"] - first["at"]
    out = {"window_s": round(length, 1), "events_per_second": round((last["events"] - first["events"]) / length, 1),
           "told_per_second": round((last["told"] - first["told"]) / length, 1),
           "answers_per_second": round((last["answers"] - first["answers"]) / length, 1),
           "percent_of_a_core": round(100 * (last["processor"] - first["processor"]) / length, 2),
           "told": told, "came": came, "bases": bases, "differences": differences,
           "requests_per_minute": {kind: round(count * 60 / length, 1) for kind, count in sorted(requests.items())}}
    out["goals"] = [goal(out["events_per_second"], RATE, "at least 1,000 events a second came", is_at_least=True),
                    goal(out["percent_of_a_core"], 10, "at most 10 % of a core"),
                    goal(abs(told - came), 0, "each event that was told came, once"),
                    goal(differences, 0, "the queue that was told is the one that was read")]
    return out
