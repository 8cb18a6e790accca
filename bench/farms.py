"""A farm for benchmarks: the demo's daemons with templates of their own, and a wire tap before the controller."""
import base64
import json
import pathlib
import random
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from farm import BIN, Farm, Failure, wait_for

# What a real controller's compilation of a script cost; the stand-in runs none, so it is told to be as late with each answer.
COMPILATION_MS = 22
ADMIN = "Basic " + base64.b64encode(b"admin:admin-token").decode()


class Tap:
    """Forwards bytes between the scheduler and the stand-in and notes when which of them passed."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.requests = []  # (when its first byte came, method, path)
        self.replies = []   # (when its last byte so far went out, path, bytes)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            state = {"path": ""}
            threading.Thread(target=self._up, args=(client, server, state), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, state), daemon=True).start()

    def _up(self, client, server, state):
        self._pump(client, server, lambda data, now: self._request(data, now, state))

    def _down(self, client, server, state):
        self._pump(server, client, None, lambda size, now: self._reply(size, now, state))

    @staticmethod
    def _pump(source, sink, before, after=None):
        try:
            while data := source.recv(1 << 18):
                if before:
                    before(data, time.monotonic())
                sink.sendall(data)
                if after:
                    after(len(data), time.monotonic())
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _request(self, data, now, state):
        found = re.match(rb"(GET|POST) (\S+) HTTP/1", data)
        is_other = re.search(rb"name=[^&]*-(kick-|sentinel)", data)  # made for a kick, or once: no order
        if not found:
            with self.lock:
                if is_other and "request" in state:
                    self.requests[state["request"]] = (now, "POST", "other createSlave's body")
            return
        state["path"] = found.group(2).decode(errors="replace")
        with self.lock:
            state["request"] = len(self.requests)
            self.requests.append((now, found.group(1).decode(), "other" if is_other else state["path"]))
            state["reply"] = len(self.replies)
            self.replies.append((now, state["path"], 0))

    def _reply(self, size, now, state):
        if "reply" not in state:
            return
        with self.lock:
            _, path, before = self.replies[state["reply"]]
            self.replies[state["reply"]] = (now, path, before + size)

    def clear(self):
        with self.lock:
            self.requests, self.replies = [(0.0, "", "")] * len(self.requests), [(0.0, "", 0)] * len(self.replies)

    def close(self):
        self.listener.close()


class BenchFarm(Farm):
    """`templates`: name -> (labels, minimum_idle). The capacities are stated, not those of this machine."""

    def __init__(self, templates, poll="2s", creations=20, open_gates=4, is_tapped=False, **more):
        super().__init__(poll=poll, **more)
        self.templates, self.creations, self.open_gates, self.is_tapped = templates, creations, open_gates, is_tapped
        self.tap = None

    def scheduler_config(self):
        url = self.controller.url
        if self.is_tapped:
            parts = urllib.parse.urlsplit(url)
            self.tap = Tap((parts.hostname, parts.port))
            url = f"http://127.0.0.1:{self.tap.port}{parts.path}"
        command = json.dumps([str(BIN / "skep-agent-sim"), "-url", self.controller.url, "-secret", "@{secret_file}", "-name", "{name}",
                              "-workDir", "{work_dir}", "-webSocket", "-noReconnect"])
        templates = "".join(f"""  - name: {name}
    labels: [{labels}]
    driver: process
    image: base
    resources: {{cpu: 0.5, memory: 64MiB}}
    maximum: {self.maximum}
    minimum_idle: {minimum}
    agent_command: {command}
    join_deadline: 60s
    boot_deadline: 60s
    idle_limit: 10m
{self.agent_environment()}""" for name, (labels, minimum) in self.templates.items())
        return f"""farm: {self.tag}
listen: 127.0.0.1:0
state_dir: {self.folder}/scheduler
policy: {{max_creations_per_second: {self.creations}, max_coming_per_host: 64}}
controllers:
  - name: main
    url: {url}
    user: skep
    token_file: {self.folder}/token{self.controller_ca()}
    sentinel_node: {self.tag}-sentinel
    poll_interval: {self.poll}
    idle_poll_interval: {self.poll}
    gate_poll: {self.gate_poll}
    max_open_gates: {self.open_gates}
    one_build: {self.one_build}
    companion: {"true" if self.companion else "false"}
templates:
{templates}"""

    def agentd_config(self):
        return super().agentd_config().replace("cpu: 4, memory: 4GiB", "cpu: 64, memory: 64GiB")

    def __enter__(self):
        try:
            self.start()
            wait_for(lambda: any(host["is_known"] for host in self.api("v1/hosts")), "the host is known", 60)
            wait_for(lambda: self.api("v1/status")["controllers"][0]["is_known"], "the controller is known", 60)
            # It is made once, at the second look at the nodes: no part of what is measured.
            wait_for(lambda: any(n["name"] == self.tag + "-sentinel" for n in self.sim("truth")["nodes"]), "the sentinel node is there", 90)
            wait_for(lambda: self.is_told() == self.companion, "the companion tells", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.end()
        if self.tap:
            self.tap.close()

    def be_late_with_scripts(self):
        """As late as a real controller is with what it answers to the companion's scripts."""
        self.sim("faults", "POST", {"path_prefix": "scriptText", "kind": "delay", "value": COMPILATION_MS})

    def is_told(self):
        return self.api("v1/status")["controllers"][0]["is_told"]

    def job(self, path, label, **more):
        self.sim("jobs", "POST", {"path": path, "label": label, "concurrent": True, **more})

    def schedule(self, path, count=1):
        return self.sim("schedule", "POST", {"path": path, "count": count, "distinct": True})["ids"]

    def build_of(self, item, limit_s=60):
        """The stand-in's record of what became of an item, once it runs."""
        def started():
            return next((b for b in self.sim("truth")["builds"] if b["queue_id"] == item), None)
        return wait_for(started, f"item {item} runs", limit_s, 0.02)

    def ours(self, state=None):
        return [e for e in self.api("v1/executors") if e["state"] != "gone" and (state is None or e["state"] == state)]

    def random_moment(self, dice, most_s):
        """Somewhere between two polls: an item must not always come at the same distance from one."""
        time.sleep(dice.uniform(0, most_s))

    # -- the same without Skep
    def post(self, path, fields=None):
        data = urllib.parse.urlencode(fields or {}).encode()
        request = urllib.request.Request(self.controller.url + path, data=data, method="POST", headers={"Authorization": ADMIN})
        with self.opener.open(request, timeout=10) as reply:
            return reply.read().decode()

    def start_agent_by_hand(self, name, label):
        """createSlave and the agent, at once and without a gate; returns the process."""
        folder = self.folder / "by-hand" / name
        folder.mkdir(parents=True)
        answer = self.post("plugin/swarm/createSlave", {"name": name, "executors": 1, "remoteFsRoot": str(folder), "labels": label, "mode": "EXCLUSIVE",
                                                        "deleteExistingClients": "false", "keepDisconnectedClients": "false"})
        secret = re.search(r"^secret=(\S+)", answer, re.MULTILINE)
        if secret is None:
            raise Failure(f"createSlave told no secret: {answer[:200]}")
        path = pathlib.Path(folder / "secret")
        path.write_text(secret.group(1) + "\n")
        return subprocess.Popen([BIN / "skep-agent-sim", "-url", self.controller.url, "-secret", f"@{path}", "-name", name, "-workDir", str(folder),
                                 "-webSocket", "-noReconnect"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class BareController(BenchFarm):
    """The stand-in alone: what it takes by itself."""

    def __init__(self):
        super().__init__({})

    def start(self):
        self.write_users()
        self.start_controller()
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def is_online(self, node):
        return any(n["name"] == node and n["online"] for n in self.sim("truth")["nodes"])


def dice():
    return random.Random(1)


def latency(build):
    """Milliseconds from buildable to running, by the stand-in's own record."""
    return build["started_at_ms"] - build["buildable_at_ms"]
