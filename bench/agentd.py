"""agentd by itself: its memory, what each executor adds to it, and how long an order takes over a kept TLS connection."""
import http.client
import pathlib
import ssl
import time
import urllib.parse

from certificates import make_certificates
from farm import Failure
from one_host import Host
from results import goal, say, summary

KEEP = "echo INFO: Connected >&2; exec sleep 3000"
SETTLED_S = 0.5  # without a change, after which its memory is read


class TlsHost(Host):
    def agentd_config(self):
        return super().agentd_config() + f"tls: {{certificate: {self.folder}/farm.pem, key: {self.folder}/farm.key}}\n"


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failure(f"process {pid} has no memory")


def settled_bytes(pid):
    least = resident_bytes(pid)
    end = time.monotonic() + SETTLED_S
    while time.monotonic() < end:
        now = resident_bytes(pid)
        if now > least:
            least, end = now, time.monotonic() + SETTLED_S
        time.sleep(0.02)
    return least


def memory(executors):
    host = Host("process", executors, capacity="{cpu: 4000, memory: 4000GiB}")
    try:
        host.start()
        pid = host.agentd.process.pid
        base = settled_bytes(pid)
        for number in range(executors):
            host.order(f"kept-{number}", KEEP)
        host.wait(lambda: sum(1 for each in host.reports.values() if each["agent"] == "connected") == executors, "all agents")
        each = (settled_bytes(pid) - base) / executors
        for number in range(executors):
            host.destroy(f"kept-{number}")
    finally:
        host.end()
    return {"base_bytes": base, "executors": executors, "bytes_of_each": round(each),
            "goals": [goal(base, 20 << 20, "P12: agentd's memory at rest is at most 20 MiB"),
                      goal(round(each), 256 << 10, "P12: agentd's memory for an executor is at most 256 KiB")]}


def round_trips(count):
    """An order that finds nothing to do: to destroy what is not there. Its client's own time is in it."""
    host = TlsHost("process", 1)
    taken = []
    try:
        make_certificates(host.folder)
        host.make_image(host.folder / "image")
        host.write("agentd.yaml", host.agentd_config())
        host.start_agentd()
        context = ssl.create_default_context(cafile=host.folder / "ca.pem")
        connection = http.client.HTTPSConnection(urllib.parse.urlsplit(host.agentd.url).netloc, timeout=20, context=context)
        connection.connect()
        socket = connection.sock
        for number in range(count + 100):
            begin = time.perf_counter()
            connection.request("DELETE", "/v1/executors/none?epoch=1")
            reply = connection.getresponse()
            reply.read()
            if reply.status not in (200, 202, 404) or connection.sock is not socket:
                raise Failure(f"answered {reply.status}, on a connection that is {'' if connection.sock is socket else 'not '}kept")
            if number >= 100:
                taken.append((time.perf_counter() - begin) * 1000)
        connection.close()
    finally:
        host.end()
    result = summary(taken, "ms")
    result["goals"] = [goal(result["p99"], 1, "P14: an order's round trip over TLS, p99, ms")]
    return result


def run(quick):
    say("agentd: memory")
    result = {"memory": memory(10 if quick else 100)}
    say("agentd: round trips")
    result["round_trip_tls"] = round_trips(500 if quick else 5000)
    return result
