"""What an executor costs over what its driver's bare calls cost, both in one run, one after the other: made, its first words
heard, removed. Ours is ordered from agentd and seen in what it tells; `raw` makes the same calls without us."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from engine_of_farm import container_engine
from farm import Failure
from one_host import Host
from raw_machine import RawMachine
from results import goal, say, summary

KINDS = ("process", "namespaces", "docker", "podman", "qemu", "qemu-warm")
SPEAK = "echo INFO: Connected >&2; exec sleep 3000"


def ms_since(begin):
    return (time.monotonic() - begin) * 1000


class RawProcess:
    """A copy of the image, a process in it, and both away."""

    def __init__(self, host):
        self.image = host.folder / "image"
        self.root = pathlib.Path(tempfile.mkdtemp(dir=host.folder))

    def cycle(self, number):
        place = self.root / str(number)
        begin = time.monotonic()
        shutil.copytree(self.image, place)
        process = subprocess.Popen(["/bin/sh", "-c", SPEAK], cwd=place, stderr=subprocess.PIPE, start_new_session=True)
        process.stderr.readline()
        joined = ms_since(begin)
        return joined, self.end(process, place)

    @staticmethod
    def end(process, place):
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        shutil.rmtree(place)
        return ms_since(begin)


class RawNamespaces(RawProcess):
    """The same in namespaces of its own, on an overlay over the image with the system's folders in it."""

    def cycle(self, number):
        place = self.root / str(number)
        begin = time.monotonic()
        for name in ("upper", "scratch", "merged"):
            (place / name).mkdir(parents=True)
        shown = [path for path in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(path)]
        mounts = [f"mount -t overlay overlay -o lowerdir={self.image},upperdir={place}/upper,workdir={place}/scratch {place}/merged"]
        mounts += [f"mkdir {place}/merged{path} && mount --bind -o ro {path} {place}/merged{path}" for path in shown]
        script = f"{' && '.join(mounts)} && exec chroot {place}/merged /bin/sh -c '{SPEAK}'"
        process = subprocess.Popen(["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "/bin/sh", "-c", script],
                                   stderr=subprocess.PIPE, start_new_session=True)
        if b"Connected" not in (said := process.stderr.readline()):
            raise Failure(f"bare namespaces cannot be had: {said.decode().strip()}")
        joined = ms_since(begin)
        return joined, self.end(process, place)


def has_helper(container):
    """Podman's conmon ends some time after its container, Docker's shim before that."""
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if pathlib.Path(os.fsdecode(words[0])).name.startswith(("conmon", "containerd-shim")) and container.encode() in words:
            return True
    return False


class RawContainer:
    """Three requests to the engine: create, start, delete. The container is as ours are; it is gone when what the engine runs beside
    it is, as with ours."""

    def __init__(self, host):
        self.engine = host.engine
        self.root = pathlib.Path(tempfile.mkdtemp(dir=host.folder))

    def ask(self, method, target, body=None):
        return container_engine.must(self.engine.socket, method, target, json.dumps(body).encode() if body else b"")

    def cycle(self, number):
        told = self.root / str(number)
        told.mkdir()
        body = {"Image": self.engine.image, "Entrypoint": ["/bin/sh", "-c", "echo INFO: Connected > /skep/control/told; exec sleep 3000"],
                "HostConfig": {"ReadonlyRootfs": True, "NetworkMode": "host", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
                               "Memory": 96 << 20, "MemorySwap": 96 << 20, "NanoCpus": 10**9, "PidsLimit": 4096,
                               "Ulimits": [{"Name": name, "Soft": 4096, "Hard": 4096} for name in ("nofile", "nproc")],
                               "Tmpfs": {place: "rw,size=67108864" for place in ("/skep/work", "/tmp", "/var/tmp", "/run")},
                               "Mounts": [{"Type": "bind", "Source": str(told), "Target": "/skep/control"}]}}
        begin = time.monotonic()
        made = json.loads(self.ask("POST", "containers/create", body))["Id"]
        self.ask("POST", f"containers/{made}/start")
        while not (told / "told").exists():
            if ms_since(begin) > 60_000:
                raise Failure("the bare container says nothing")
            time.sleep(0.001)
        joined = ms_since(begin)
        begin = time.monotonic()
        self.ask("DELETE", f"containers/{made}?force=1&v=1")
        while has_helper(made):
            if ms_since(begin) > 60_000:
                raise Failure("something outlives the bare container")
            time.sleep(0.002)
        shutil.rmtree(told)
        return joined, ms_since(begin)


def ours(host, raw, number):
    name = f"bench-{number}"
    begin = time.monotonic()
    host.order(name, SPEAK)
    host.wait(lambda: host.reports.get(name, {}).get("agent") == "connected", f"the agent of {name}")
    joined = ms_since(begin)
    if isinstance(raw, RawMachine):
        raw.learn()
    begin = time.monotonic()
    host.destroy(name)
    return joined, ms_since(begin)


def one(kind, rounds):
    host = Host(kind, 1)
    times = {"raw": ([], []), "ours": ([], [])}
    try:
        host.start()
        raw = (RawContainer(host) if host.engine else RawMachine(host) if host.machines
               else RawNamespaces(host) if kind == "namespaces" else RawProcess(host))
        for number in range(rounds + 1):
            for name, cycle in (("ours", lambda n: ours(host, raw, n)), ("raw", raw.cycle)):
                joined, destroyed = cycle(number)
                if number > 0:  # the first one warms up
                    times[name][0].append(joined)
                    times[name][1].append(destroyed)
    finally:
        host.end()
    result = {name: {"start_to_words": summary(joined, "ms"), "destroy": summary(destroyed, "ms"),
                     "recycle": summary([a + b for a, b in zip(joined, destroyed)], "ms")} for name, (joined, destroyed) in times.items()}
    raw_all, our_all = result["raw"]["recycle"], result["ours"]["recycle"]
    over = {at: round(our_all[at] - raw_all[at], 3) for at in ("p50", "p99")}
    result["goals"] = [
        goal(over["p50"], round(max(50, 0.03 * raw_all["p50"]), 3), "P7: recycle over raw, median, ms: 50 or 3 %"),
        goal(over["p99"], round(max(150, 0.10 * raw_all["p99"]), 3), "P7: recycle over raw, p99, ms: 150 or 10 %")]
    if kind == "qemu-warm":
        result["goals"].append(goal(result["ours"]["start_to_words"]["p50"], 1000, "a warm clone from the order to its agent's words, median, ms"))
    return result


def run(quick, driver=None):
    results = {}
    for kind in KINDS:
        if driver not in (None, kind):
            continue
        say(f"drivers: {kind}")
        try:
            results[kind] = one(kind, 5 if quick else 40)
        except Failure as failure:
            results[kind] = {"error": str(failure)}
    if not results:
        raise Failure(f"no driver is called {driver}; there are {', '.join(KINDS)}")
    return results
