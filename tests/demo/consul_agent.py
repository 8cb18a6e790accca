"""A real Consul agent in development mode on loopback, on ports that the system picks. It keeps nothing: a restarted one
has forgotten every service, as the worst case of a Consul that comes back."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "house"))
import checks  # noqa: E402
import consul as house_consul  # noqa: E402: the path is set above

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TRIES = 5  # a port that was free a moment ago may be taken
READY_LIMIT_S = 30


def find():
    """The binary, or None: SKEP_CONSUL names one, else the one that scripts/setup brought, else one on PATH."""
    named = os.environ.get("SKEP_CONSUL")
    return shutil.which(named) if named else house_consul.find_consul()


def need():
    """For a check that cannot do without."""
    if find() is None:
        raise checks.Skip("no Consul is on this machine; scripts/setup tries to bring one, SKEP_CONSUL names another")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Consul:
    """With a token: access is denied to everybody else. With TLS: https besides, with a certificate that is its own CA."""

    def __init__(self, folder, token="", tls=False):
        self.binary, self.token = find(), token
        self.certificate, self.key = (pathlib.Path(folder) / f"consul.{end}" for end in ("pem", "key"))
        self.tls = tls
        self.log = pathlib.Path(folder) / "consul.log"
        self.name = "Consul"
        self.ports = None
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports[0]}/"

    @property
    def https_url(self):
        return f"https://127.0.0.1:{self.ports[4]}/"

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.certificate], stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def start(self):
        """Again after end() or kill(): on the same ports."""
        is_restart = self.ports is not None
        rules = ["-hcl", f'acl {{ enabled = true default_policy = "deny" tokens {{ master = "{self.token}" agent = "{self.token}" }} }}'] if self.token else []
        if self.tls and not is_restart:
            self.make_certificate()
        for _ in range(TRIES):
            self.ports = self.ports if is_restart else free_ports(5)
            http, lan, wan, server, https = self.ports
            tls = ["-hcl", f'ports {{ https = {https} }} cert_file = "{self.certificate}" key_file = "{self.key}"'] if self.tls else []
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [self.binary, "agent", "-dev", "-node", "skep-test", "-bind", "127.0.0.1", "-client", "127.0.0.1", f"-http-port={http}",
                     "-dns-port=-1", "-grpc-port=-1", f"-serf-lan-port={lan}", f"-serf-wan-port={wan}", f"-server-port={server}", *rules, *tls],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            end = time.monotonic() + READY_LIMIT_S
            while self.process.poll() is None and time.monotonic() < end:
                if self.has_leader():
                    return self
                time.sleep(0.05)
            self.kill()
        raise RuntimeError(f"Consul did not start:\n{self.tail()}")

    def has_leader(self):
        try:
            return bool(self.call("v1/status/leader")) and any(c["Status"] == "passing" for c in self.call("v1/health/state/passing"))
        except (OSError, ValueError):
            return False

    def call(self, path, method="GET", body=None, timeout=10):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": "application/json", "X-Consul-Token": self.token})
        with NO_PROXY.open(request, timeout=timeout) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def services(self, name="skep-agentd"):
        """{host: (meta, status of its TTL check)} of the catalogue."""
        out = {}
        for entry in self.call(f"v1/health/service/{name}"):
            checks = [check["Status"] for check in entry["Checks"] if check["ServiceID"]]
            out[entry["Service"]["Meta"].get("host")] = (entry["Service"]["Meta"], checks[0] if checks else None)
        return out

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    # It is a development agent without state: nothing is lost by ending it hard.
    end = kill
