"""A whole farm on loopback, for the demo and for tests: stand-in controller, scheduler, agentd; found and ended by what
they are, and looked through for anything left behind."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from certificates import make_certificates
from consul_agent import Consul
from engine_of_farm import EngineOfFarm
from machines_of_farm import MachinesOfFarm

SOURCE = pathlib.Path(os.environ.get("SKEP_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("SKEP_BIN_DIR", SOURCE / "build" / "release" / "bin"))
# A sanitizer examines what is shipped: the stand-ins may come from another build.
STAND_INS = pathlib.Path(os.environ.get("SKEP_STAND_INS_DIR", BIN))
TOKEN = "demo-token"
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """Something that the person who runs the demo must read."""


def call(url, method="GET", body=None, timeout=10, opener=NO_PROXY):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with opener.open(request, timeout=timeout) as reply:
        text = reply.read()
    return json.loads(text) if text else None


def wait_for(condition, what, limit_s, pause_s=0.05):
    """Waits for a condition, never for time; says what was missing when the limit is reached."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {limit_s} s")
        time.sleep(pause_s)


class Program:
    """One daemon of the farm; its first line on stdout says where it listens."""

    def __init__(self, name, argv, log):
        self.name, self.argv, self.log = name, argv, log
        self.process = None
        self.url = None

    def start(self):
        with open(self.log, "ab") as log:
            # A session of its own, so that Ctrl-C reaches us only and we end them in the right order.
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            start_new_session=True, preexec_fn=None)
        line = self.process.stdout.readline().decode()
        if not line:
            raise Failure(f"{self.name} did not start:\n{self.tail()}")
        reply = json.loads(line)
        self.url = reply.get("listening") or reply.get("url")
        return self

    def tail(self):
        try:
            return pathlib.Path(self.log).read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def end(self, limit_s=15):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Farm:
    def __init__(self, farm_name=None, core="2.479.3", one_build="auto", administrator=False, minimum_idle=0, maximum=6,
                 poll="500ms", gate_poll="8ms", max_executors=6, keep=False, registry="embedded",
                 consul_token="", consul_tls=False, leader_lock="", controller_tls=False, companion=False, driver="process", engine="", capacity="{cpu: 4, memory: 4GiB}"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-demo-"))
        self.tag = farm_name or "d" + self.folder.name[-8:].lower().replace("_", "x")
        self.core, self.one_build, self.administrator = core, one_build, administrator or companion
        self.companion = companion
        self.minimum_idle, self.maximum, self.poll, self.gate_poll = minimum_idle, maximum, poll, gate_poll
        self.max_executors, self.keep = max_executors, keep
        self.controller = self.scheduler = self.agentd = None
        self.leader_lock = leader_lock
        self.more_programs = []  # of a test, which ends them
        self.controller_tls = controller_tls
        self.capacity = capacity
        self.opener = make_certificates(self.folder) if controller_tls else NO_PROXY
        self.consul = Consul(self.folder, consul_token, consul_tls) if registry == "consul" else None
        self.driver = driver
        self.engine = EngineOfFarm(engine, BIN) if driver == "container" else None
        self.machines = MachinesOfFarm(BIN, STAND_INS) if driver == "qemu" else None

    # -- set-up
    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def permissions(self):
        if self.administrator:
            return ["Overall/Administer"]
        return ["Overall/Read", "Job/Read", "Agent/Create", "Agent/Connect", "Agent/Disconnect", "Agent/Delete"]

    def write_users(self):
        users = [{"name": "skep", "token": TOKEN, "password": "", "permissions": self.permissions()},
                 {"name": "admin", "token": "admin-token", "password": "", "permissions": ["Overall/Administer"]}]
        self.write("users.json", json.dumps(users))

    def start(self):
        self.write_users()
        if self.engine:
            self.engine.start()
            if self.engine.skipped:
                raise Failure(f"no container engine can run here: {self.engine.skipped}")
        if self.machines:
            self.machines.start()
            if self.machines.skipped:
                raise Failure(f"no virtual machine can run here: {self.machines.skipped}")
        self.start_controller()
        self.write("token", TOKEN + "\n")
        image = self.folder / "image"
        image.mkdir()
        (image / "README").write_text("golden\n")
        if self.consul:
            self.consul.start()
            self.write("consul-token", self.consul.token + "\n")
        self.write("scheduler.yaml", self.scheduler_config())
        self.start_scheduler()
        self.write("agentd.yaml", self.agentd_config())
        self.start_agentd()
        return self

    def start_controller(self):
        argv = [STAND_INS / "skep-controller-sim", "--core-version", self.core, "--prefix", "/jenkins", "--users-file", self.folder / "users.json"]
        if self.controller_tls:
            argv += ["--cert", self.folder / "farm.pem", "--key", self.folder / "farm.key"]
        self.controller = Program("the stand-in controller", argv, self.folder / "controller.log").start()

    def start_scheduler(self):
        argv = [BIN / "skep-scheduler", "--config", self.folder / "scheduler.yaml", "--print-url"]
        if self.scheduler is not None and self.scheduler.url:
            argv += ["--listen", self.scheduler.url.split("//")[1].rstrip("/")]
        self.scheduler = Program("skep-scheduler", argv, self.folder / "scheduler.log").start()

    def start_agentd(self):
        argv = [BIN / "skep-agentd", "--config", self.folder / "agentd.yaml", "--print-url"]
        self.agentd = Program("skep-agentd", argv, self.folder / "agentd.log").start()

    def scheduler_config(self):
        agent = "/usr/bin/skep-agent-sim" if self.engine or self.machines else str(STAND_INS / "skep-agent-sim")
        if self.driver == "namespaces":
            agent = "/skep/stand-ins/skep-agent-sim"
        command = json.dumps([agent, "-url", "{url}", "-secret", "@{secret_file}", "-name", "{name}",
                              "-workDir", "{work_dir}", "-webSocket", "-noReconnect"])

        # A machine boots for some seconds, more where several do.
        resources, deadlines = "{cpu: 0.5, memory: 128MiB}", "join_deadline: 30s"
        if self.machines:
            resources, deadlines = "{cpu: 1, memory: 96MiB}", "start: warm_clone\n    boot_deadline: 120s\n    join_deadline: 120s"

        # With a tenth of a processor the kernel would stop each start for most of 100 ms.
        def template(name, labels, extra=""):
            return f"""  - name: {name}
    labels: [{labels}]
    driver: {self.driver}
    image: base
    resources: {resources}
    maximum: {self.maximum}
    minimum_idle: {self.minimum_idle}
    agent_command: {command}
    {deadlines}
    idle_limit: 5s
{self.agent_environment()}{extra}"""
        return f"""farm: {self.tag}
listen: 127.0.0.1:0
state_dir: {self.folder}/scheduler
registry: {self.registry_config() if self.consul else "{type: embedded}"}
{self.leader_lock}
policy: {{max_creations_per_second: 20, max_coming_per_host: 16, facts_stale_after: 10s, backoff_first: 1s, backoff_last: 8s, breaker_open: 5s, lease: 30s}}
controllers:
  - name: main
    url: {self.controller.url}
    user: skep
    token_file: {self.folder}/token{self.controller_ca()}
    sentinel_node: {self.tag}-sentinel
    poll_interval: {self.poll}
    idle_poll_interval: {self.poll}
    gate_poll: {self.gate_poll}
    one_build: {self.one_build}
    companion: {"true" if self.companion else "false"}
templates:
{template("linux", "linux, x86")}{template("tools", "linux, x86, docker, git", "    takes_unlabelled: true")}
"""

    def controller_ca(self):
        return f"\n    ca_file: {self.folder}/ca.pem" if self.controller_tls else ""

    def agent_environment(self):
        return f"    environment: {{SSL_CERT_FILE: {self.folder}/ca.pem}}\n" if self.controller_tls else ""

    def registry_config(self, *more):
        """As agentd has it; the scheduler has the same for Consul."""
        if self.consul:
            place = [f"address: '{self.consul.https_url}'", f"ca_file: '{self.consul.certificate}'"] if self.consul.tls else [f"address: '{self.consul.url}'"]
            keys = ["type: consul", *place] + ([f"token_file: '{self.folder}/consul-token'"] if self.consul.token else [])
        else:
            keys = ["type: embedded", f"scheduler_url: '{self.scheduler.url}'"]
        return "{" + ", ".join([*keys, *more]) + "}"

    def agentd_config(self):
        return f"""host: {self.tag}-host
listen: 127.0.0.1:0
state_dir: {self.folder}/agentd
capacity: {self.capacity[:-1]}, max_executors: {self.max_executors}}}
on_stop: remove
registry: {self.registry_config("ttl: 3s")}
drivers:
{self.drivers_config()}"""

    def drivers_config(self):
        if self.machines:
            return f"""  process: {{enabled: false}}
  qemu:
    root: {self.machines.folder}/executors
    accelerator: tcg
    networks: [filtered]
    first_user: {72_000 + os.getpid() % 90 * 10}
    users: 10
    images:
{self.machines.snippet()}"""
        if self.driver == "namespaces":
            shown = [path for path in ("/usr", "/bin", "/lib", "/lib64") if pathlib.Path(path).exists()]
            return f"""  process: {{enabled: false}}
  namespaces:
    root: {self.folder}/executors
    images: {{base: {self.folder}/image}}
    binds: {json.dumps([*shown, f"{BIN}:/skep/bin", f"{STAND_INS}:/skep/stand-ins"])}
    join_program: /skep/bin/skep-join
    first_user: {76_000 + os.getpid() % 90 * 10}
    users: 10
"""
        if not self.engine:
            return f"""  process:
    root: {self.folder}/executors
    images: {{base: {self.folder}/image}}
"""
        # The controller listens on loopback, which only the host's own network reaches.
        return f"""  process: {{enabled: false}}
  container:
    socket: {self.engine.socket}
    root: {self.folder}/executors
    images: {{base: '{self.engine.image}'}}
    networks: [host]
    default_disk: 64MiB
"""

    # -- looking
    def api(self, path, method="GET", body=None):
        return call(self.scheduler.url + path, method, body)

    def sim(self, path, method="GET", body=None):
        return call(self.controller.url.split("/jenkins")[0] + "/_sim/" + path, method, body, opener=self.opener)

    def executors_root(self):
        """Executors' folders; the driver's own notes (owner mark, ids that are gone) are none."""
        if self.machines:
            root = pathlib.Path(self.machines.folder) / "executors"
            return [entry.name for part in ("run", "owner-*/new", "owner-*/leaving") for entry in root.glob(f"{part}/*")]
        root = self.folder / "executors"
        if not root.is_dir():
            return []
        if self.engine:
            return [entry.name for entry in root.glob("*/run/*")]
        folders = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        notes = {"gone", "locks"}
        for owner in root.glob(".owner-*"):
            folders += [f"{part.name}/{entry.name}" for part in owner.iterdir() if part.is_dir() and part.name not in notes for entry in part.iterdir()]
        return folders

    def processes(self):
        """Processes that carry the mark of one of our executors, or run from our folder."""
        found = []
        folders = [str(self.folder).encode()] + ([self.machines.folder.encode()] if self.machines and self.machines.folder else [])
        ours = {p.process.pid for p in (self.controller, self.scheduler, self.agentd, self.consul, *self.more_programs) if p and p.process}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in ours or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            is_ours = any(folder in command or (b"SKEP_EXECUTOR=" in environment and folder in environment) for folder in folders)
            if state != "Z" and is_ours:
                found.append((int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip()))
        return found

    def nodes(self):
        request = urllib.request.Request(self.controller.url + "computer/api/json?tree=computer%5BdisplayName%5D")
        request.add_header("Authorization", "Basic YWRtaW46YWRtaW4tdG9rZW4=")
        with self.opener.open(request, timeout=10) as reply:
            names = [c["displayName"] for c in json.load(reply)["computer"]]
        return [n for n in names if n.startswith(self.tag + "-") and n != self.tag + "-sentinel"]

    def leaks(self):
        return ([f"process {pid}: {command}" for pid, command in self.processes()] +
                [f"directory {name}" for name in self.executors_root()] +
                [f"node {name}" for name in self.nodes()] + (self.engine.leaks() if self.engine else []) +
                (self.machines.leaks() if self.machines else []))

    # -- the end
    def end(self):
        for program in (self.agentd, self.scheduler, self.controller, self.consul):
            if program is not None:
                try:
                    program.end()
                except OSError:
                    pass
        for pid, _ in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if self.engine:
            self.engine.end()
        if self.machines:
            self.machines.end()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
