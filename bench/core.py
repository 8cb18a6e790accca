"""The pure part: bench_core's scenarios, their goals, and instructions counted by callgrind."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from farm import BIN, Failure
from results import goal, say

LIMIT_S = 600


def call(argv, **more):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)
    if done.returncode != 0:
        raise Failure(f"{' '.join(str(a) for a in argv)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done


def scenario(name, samples=None):
    say(f"core: {name}")
    return json.loads(call([BIN / "bench_core", name, *(["--samples", samples] if samples else [])]).stdout)


def calibration():
    return json.loads(call([BIN / "bench_core", "calibrate"]).stdout)["calibration_ms"]


def instructions(name):
    """Of one sample, inside of what is measured; null where there is no valgrind."""
    if shutil.which("valgrind") is None:
        return None
    say(f"core: {name}, counting instructions")
    with tempfile.TemporaryDirectory(prefix="skep-bench-") as folder:
        out = pathlib.Path(folder) / "callgrind"
        done = call(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*measured_*",
                     BIN / "bench_core", name, "--count"], env=dict(os.environ, LC_ALL="C"))
    found = re.search(r"Collected : (\d+)", done.stderr)
    return int(found.group(1)) if found else None


def run(quick):
    few = 20 if quick else None
    full, unlimited = scenario("full-pass", few), scenario("full-pass-unlimited", 3 if quick else None)
    items, hosts = scenario("incremental", few), scenario("changed-hosts", few)
    poll, growth, memory = scenario("poll", 5 if quick else None), scenario("growth", 5 if quick else None), scenario("memory")
    reply, launches = scenario("queue-reply", few), scenario("launches", 3 if quick else None)
    full["instructions"], reply["instructions"] = instructions("full-pass"), instructions("queue-reply")
    items["instructions"], hosts["instructions"] = instructions("incremental"), instructions("changed-hosts")
    unlimited["instructions"] = instructions("full-pass-unlimited")
    full["goals"] = [goal(full["p99"], 10, "P1: a full pass with cold caches, p99, takes at most 10 ms of one core"),
                     goal(full["instructions"], 40_000_000, "P1: at most 40 M instructions")]
    items["goals"] = [goal(items["p99"], 0.2, "P2: a pass after 100 changed items, p99, takes at most 0.2 ms")]
    hosts["goals"] = [goal(hosts["p99"], 0.2, "P2: a pass after 100 changed hosts, p99, takes at most 0.2 ms")]
    growth["goals"] = [goal(round(growth["time_exponent"], 3), 1.10, "P3: the time of a full pass grows with an exponent of at most 1.10"),
                       goal(round(growth["memory_exponent"], 3), 1.00, "P3: memory grows with executors with an exponent of at most 1.00")]
    memory["goals"] = [goal(memory["bytes_per_executor"], 2048, "P12: at most 2 KiB per executor"),
                       goal(memory["bytes_per_item"], 1024, "P12: at most 1 KiB per item of the queue")]
    reply["goals"] = [goal(reply["p99"], 40, "P11: a queue reply of 10 MB, p99, is read in at most 40 ms"),
                      goal(round(reply["peak_heap_of_body"], 3), 1.5, "P11: the heap beside the body peaks at 1.5 times the body at most")]
    launches["goals"] = [goal(round(launches["lowest"]), 5000, "P4: at least 5,000 launches/s from the reply to the durable record", is_at_least=True)]
    return {"full_pass": full, "full_pass_unlimited": unlimited, "incremental": items, "changed_hosts": hosts, "poll": poll,
            "growth": growth, "memory": memory, "queue_reply": reply, "launches": launches}
