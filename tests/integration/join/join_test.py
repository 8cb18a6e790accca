#!/usr/bin/env python3
"""skep-join as an executor runs it: tickets, agents that come and go, a controller that restarts, jars that do not come."""
import base64
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
from checks import expect  # noqa: E402
from farm import BIN, NO_PROXY, STAND_INS, Program, call, wait_for  # noqa: E402

AGENT = [str(STAND_INS / "skep-agent-sim"), "-url", "{url}", "-secret", "@{secret_file}", "-name", "{name}", "-workDir", "{work_dir}",
         "-webSocket", "-noReconnect"]
CONNECTED = "echo INFO: Connected >&2; "


def processes_with(text):
    """Living processes whose command line or environment holds the text."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if text.encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


class Executor:
    """A folder with a ticket, and skep-join in it."""

    def __init__(self, *flags, command=None, ticket=None, path=None, environment=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-join-test-"))
        self.flags, self.command, self.ticket = list(flags), command, self.folder / "ticket"
        self.environment = {"PATH": path or os.environ["PATH"], "SKEP_TEST_EXECUTOR": str(self.folder), **(environment or {})}
        self.process, self.program = None, BIN / "skep-join"
        if ticket is not None:
            self.write_ticket(ticket)

    def write_ticket(self, ticket, mode=0o600):
        new = self.folder / "ticket.part"
        new.write_text(ticket if isinstance(ticket, str) else json.dumps(ticket))
        new.chmod(mode)
        new.rename(self.ticket)

    def start(self, ticket_argument=None, stdin=subprocess.DEVNULL):
        argv = [self.program, "--ticket", ticket_argument or self.ticket, "--status", self.folder / "status",
                "--work-dir", self.folder, *self.flags, *(["--", *self.command] if self.command else [])]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(argv, stdin=stdin, stdout=log, stderr=log, env=self.environment, start_new_session=True)
        return self

    def status(self):
        try:
            return json.loads((self.folder / "status").read_text())
        except (OSError, ValueError):
            return {}

    def reaches(self, phase, limit_s=20, attempt=1):
        return wait_for(lambda: (s := self.status()) and s.get("phase") == phase and s["attempt"] == attempt and s, f"{phase}; {self.log()}", limit_s)

    def ends(self, limit_s=30):
        return self.process.wait(limit_s)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def secret_files(self):
        return [name for name in ("secret", "ticket", "ticket.taken", "secret.new") if (self.folder / name).exists()]

    def clean_up(self):
        """Ends what is left, and says what should not have been."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        left = processes_with(str(self.folder))
        for line in left:
            with contextlib.suppress(OSError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        return left


@contextlib.contextmanager
def executor(*flags, **named):
    one = Executor(*flags, **named)
    try:
        yield one
        ended = one.process is not None and one.process.poll() is not None
        left = processes_with(str(one.folder)) if ended else []
        expect(not left, f"outlived skep-join: {left}")
    finally:
        one.clean_up()


class Controller:
    """The stand-in, below a path prefix, as Jenkins often is."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-join-sim-"))
        self.program = Program("the stand-in controller", [STAND_INS / "skep-controller-sim", "--prefix", "/jenkins"], self.folder / "log").start()
        self.url = self.program.url

    def post(self, path, **fields):
        request = urllib.request.Request(self.url + path, data=urllib.parse.urlencode(fields).encode(), method="POST")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"admin:admin-token").decode())
        with NO_PROXY.open(request, timeout=10) as reply:
            return reply.read().decode()

    def ticket(self, name, attempt=1, **more):
        body = self.post("plugin/swarm/createSlave", name=name, executors=1, remoteFsRoot="/w", labels="linux", mode="NORMAL")
        secret = next(line.split("=", 1)[1] for line in body.splitlines() if line.startswith("secret="))
        return {"url": self.url, "node_name": name, "secret": secret, "attempt": attempt, **more}

    def control(self, verb, method="POST", **body):
        return call(self.url.split("/jenkins")[0] + "/_sim/" + verb, method, body if method == "POST" else None)

    def truth(self):
        return self.control("truth", "GET")

    def is_online(self, name):
        return any(node["name"] == name and node["online"] for node in self.truth()["nodes"])

    def end(self):
        self.program.end()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def controller():
    one = Controller()
    try:
        yield one
    finally:
        one.end()


def ticket_to(url, **more):
    return {"url": url, "node_name": "n1", "secret": "s3cr3t", "attempt": 1, **more}


# -- tickets

def a_ticket_file_joins_and_no_secret_is_left():
    with controller() as sim, executor(command=AGENT, ticket=sim.ticket("n1")) as one:
        secret = json.loads(one.ticket.read_text())["secret"]
        one.start().reaches("connected")
        wait_for(lambda: sim.is_online("n1"), "the node is online", 10)
        expect(one.secret_files() == [], f"left: {one.secret_files()}")
        expect(not processes_with(secret), "the secret is in a command line or environment")
        expect(secret not in one.log(), "the secret is in the log")
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "SIGTERM: exit code 0")
        wait_for(lambda: not sim.is_online("n1"), "the node is offline", 10)


def a_ticket_comes_through_standard_input_or_a_named_pipe():
    with controller() as sim:
        for name in ("stdin", "fifo"):
            with executor(command=AGENT) as one:
                ticket = json.dumps(sim.ticket("n-" + name)).encode()
                if name == "stdin":
                    one.start("-", stdin=subprocess.PIPE)
                    one.process.stdin.write(ticket)
                    one.process.stdin.close()
                else:
                    os.mkfifo(one.ticket, 0o600)
                    one.start()
                    with open(one.ticket, "wb") as pipe:
                        pipe.write(ticket)
                one.reaches("connected")
                expect("secret" not in one.secret_files(), "the secret is left")
                one.process.send_signal(signal.SIGINT)
                expect(one.ends() == 0, "SIGINT: exit code 0")
        with executor(command=AGENT) as one:
            one.start("-", stdin=subprocess.PIPE)
            one.process.stdin.write(b'{"url":')
            one.process.stdin.close()
            expect(one.ends() == 3, "a broken ticket through a pipe: exit code 3")
        with executor(command=AGENT) as one:
            one.start("-", stdin=subprocess.PIPE)
            descriptors = pathlib.Path(f"/proc/{one.process.pid}/fd")
            wait_for(lambda: any("signalfd" in os.readlink(fd) for fd in descriptors.iterdir()), "it takes signals", 10)
            one.process.send_signal(signal.SIGTERM)
            expect(one.ends() == 0, "SIGTERM while it waits for a ticket: exit code 0")
            one.process.stdin.close()


def exit_codes_are_as_the_help_says():
    text = subprocess.run([BIN / "skep-join", "--help"], capture_output=True, text=True, check=True).stdout
    for code in (0, 2, 3, 4, 5, 6):
        expect(f"\n  {code}  " in text, f"--help does not explain exit code {code}")
    expect(subprocess.run([BIN / "skep-join", "--nonsense"], capture_output=True, check=False).returncode == 2, "2: command line")
    cases = [("missing", None, 0o600), ("open to others", ticket_to("http://h/"), 0o644), ("empty", "", 0o600),
             ("cut short", json.dumps(ticket_to("http://h/"))[:-5], 0o600), ("no address", ticket_to("gopher://h/"), 0o600),
             ("path trick", ticket_to("http://h/") | {"node_name": "../x"}, 0o600), ("huge", " " * 70000, 0o600)]
    for what, ticket, mode in cases:
        with executor(command=["true"]) as one:
            if ticket is not None:
                one.write_ticket(ticket, mode)
            expect(one.start().ends() == 3, f"3: ticket {what}: {one.log()}")
            expect("s3cr3t" not in one.log(), f"the secret is in the log: {what}")
            expect(len(one.log().splitlines()) == 1, f"one clear error: {one.log()}")
    for command in ("/no/such/program", "/etc/passwd", "no-such-program"):
        with executor(command=[command], ticket=ticket_to("http://h/")) as one:
            expect(one.start().ends() == 4, f"4: {command}: {one.log()}")
            expect(one.secret_files() == [], f"left: {one.secret_files()}")
    with executor("--linger", "0", command=["sh", "-c", CONNECTED], ticket=ticket_to("http://h/")) as one:
        expect(one.start().ends() == 6, "6: lingered")


# -- agents

def a_wrong_secret_ends_in_bounded_time():
    with controller() as sim:
        ticket = sim.ticket("n1") | {"secret": "0" * 64}
        with executor("--linger", "1", command=AGENT, ticket=ticket) as one:
            expect(one.start().ends() == 6, f"exit code 6: {one.log()}")
            expect(one.status()["phase"] == "ended" and one.status()["exit_code"] == 255, f"{one.status()}")
            expect(one.log().count("SEVERE") == 3, f"one try and two retries: {one.log()}")
            expect(not sim.is_online("n1"), "it must not have joined")
            expect(one.secret_files() == [], f"left: {one.secret_files()}")


def a_node_that_is_deleted_ends_the_agent_and_then_the_sandbox():
    with controller() as sim, executor("--linger", "1", command=AGENT, ticket=sim.ticket("n1")) as one:
        one.start().reaches("connected")
        wait_for(lambda: sim.is_online("n1"), "the node is online", 10)
        sim.post("computer/n1/doDelete")
        ended = one.reaches("ended")
        expect(ended["exit_code"] == 0, f"{ended}")
        expect(one.ends() == 6, "no new ticket: exit code 6")


def an_agent_that_tries_for_ever_is_ended():
    refused = "echo hudson.remoting.Launcher >&2; trap '' TERM; while :; do sleep 1; done"
    deleted = f"echo hudson.remoting.Launcher >&2; {CONNECTED} echo INFO: Terminated >&2; while :; do sleep 1; done"
    for script in (refused, deleted):
        with executor("--linger", "1", "--connect-limit", "1", "--stop-grace", "1", command=["sh", "-c", script], ticket=ticket_to("http://h/")) as one:
            expect(one.start().ends() == 6, f"exit code 6: {one.log()}")
            expect("without a connection" in one.status()["message"], f"{one.status()}")
    with executor("--connect-limit", "0", command=["sh", "-c", "echo my own log; sleep 3; " + CONNECTED + "sleep 1000"], ticket=ticket_to("http://h/")) as one:
        one.start().reaches("connected")  # silence alone is no reason
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "exit code 0")


def a_controller_that_is_away_at_the_start():
    with executor("--linger", "1", command=AGENT, ticket=ticket_to("http://127.0.0.1:1/")) as one:
        expect(one.start().ends() == 6, f"exit code 6: {one.log()}")
        expect(one.status()["phase"] == "ended", f"{one.status()}")


def a_build_goes_on_over_a_restart_of_the_controller():
    with controller() as sim, executor(command=AGENT, ticket=sim.ticket("n1")) as one:
        one.start().reaches("connected")
        release = one.folder / "release"
        sim.control("jobs", path="flow", kind="pipeline", label="linux", duration_ms=0,
                    command=f"echo $$ > {one.folder}/build; while [ ! -e {release} ]; do sleep 0.05; done")
        sim.control("schedule", path="flow")
        build = int(wait_for(lambda: (one.folder / "build").exists() and (one.folder / "build").read_text().strip(), "the build runs", 20))
        sim.control("restart", keep_queue=True, down_ms=300, starting_ms=300)
        one.reaches("ended")
        expect(one.process.poll() is None, "the sandbox stays")
        os.kill(build, 0)  # and so does the build's own process

        def create_again():
            try:
                return sim.ticket("n1", attempt=2)
            except OSError:
                return None
        one.write_ticket(wait_for(create_again, "the controller is back", 30))
        one.reaches("connected", attempt=2)
        os.kill(build, 0)
        release.write_text("")

        def success():
            try:
                return [b for b in sim.truth()["builds"] if b["result"] == "SUCCESS" and b["resumed"] == 1]
            except OSError:
                return None
        wait_for(success, "the build ends well, resumed once", 30)
        expect(len(sim.truth()["builds"]) == 1, f"{sim.truth()['builds']}")
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "exit code 0")


def sigterm_ends_agent_and_whatever_the_build_left():
    left = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &) ; (env -i setsid sh -c 'sleep 1000; : {work_dir}' >/dev/null 2>&1 &) ; "
    script = left + CONNECTED + "trap '' TERM; while :; do sleep 1; done"
    with executor("--stop-grace", "1", command=["sh", "-c", script], ticket=ticket_to("http://h/")) as one:
        one.start().reaches("connected")
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "exit code 0 after the agent was killed")
        expect(one.status()["exit_code"] == 128 + signal.SIGKILL, f"{one.status()}")


# -- agent.jar

JAR = b"PK\x03\x04" + b"j" * 20000


class JarServer:
    """Answers /MODE/jnlpJars/agent.jar as MODE says."""

    def __init__(self, certificate=None):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                mode, body, status, length = self.path.split("/")[1], JAR, 200, None
                if mode == "html":
                    body = b"<html><body>Please sign in</body></html>"
                elif mode == "cut":
                    length = len(JAR) + 5000
                elif mode == "large":
                    length = (64 << 20) + 1000
                elif mode == "missing":
                    body, status = b"<html>404</html>", 404
                elif mode == "starting" and server.requests.count(self.path) == 1:
                    body, status = b"<html>Jenkins is getting ready</html>", 503
                self.send_response(status)
                self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    for _ in range(1 if mode != "large" else 70 * 52):
                        self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_):
                pass
        self.requests = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def recording_java(folder):
    """A `java` that notes how it was called, and says that it is connected."""
    (folder / "bin").mkdir()
    java = folder / "bin" / "java"
    java.write_text(f"""#!/bin/sh
printf '%s\\n' "$@" > {folder}/java.args
for word in "$@"; do case $word in @*) cp "${{word#@}}" {folder}/java.secret; stat -c %a "${{word#@}}" > {folder}/java.mode;; esac; done
cp "$2" {folder}/java.jar
{CONNECTED}
exec sleep 1000
""")
    java.chmod(0o755)
    return f"{folder}/bin:{os.environ['PATH']}"


def the_default_command_is_java_with_the_fetched_jar():
    with JarServer() as jars, executor() as one:
        one.environment["PATH"] = recording_java(one.folder)
        one.write_ticket(ticket_to(jars.url + "good/jenkins"))
        one.start().reaches("connected")
        expect(jars.requests == ["/good/jenkins/jnlpJars/agent.jar"], f"below the path prefix: {jars.requests}")
        words = (one.folder / "java.args").read_text().split("\n")[:-1]
        expect(words == ["-jar", f"{one.folder}/agent.jar", "-url", jars.url + "good/jenkins/", "-secret", f"@{one.folder}/secret",
                         "-name", "n1", "-workDir", str(one.folder), "-webSocket", "-noReconnect"], f"{words}")
        expect((one.folder / "java.jar").read_bytes() == JAR, "the jar came whole")
        expect((one.folder / "java.secret").read_text() == "s3cr3t", "the secret is in the file")
        expect((one.folder / "java.mode").read_text() == "600\n", "and nobody else may read it")
        expect(not (one.folder / "secret").exists(), "and it is gone when the agent is connected")
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "exit code 0")


def a_jar_that_does_not_come_whole_is_never_run():
    with JarServer() as jars, contextlib.ExitStack() as stack:
        ones = {}
        for mode in ("html", "cut", "large", "missing"):
            one = ones[mode] = stack.enter_context(executor())
            one.environment["PATH"] = recording_java(one.folder)
            one.write_ticket(ticket_to(f"{jars.url}{mode}/"))
            one.start()
        for mode, one in ones.items():
            expect(one.ends(60) == 5, f"{mode}: exit code 5: {one.log()}")
            expect(one.status()["phase"] == "ended" and one.status()["message"], f"{mode}: {one.status()}")
            expect(not (one.folder / "java.args").exists() and not (one.folder / "agent.jar").exists(), f"{mode}: it was kept")
        tries = {mode: sum(1 for path in jars.requests if path.startswith(f"/{mode}/")) for mode in ones}
        expect(tries == {"html": 1, "cut": 5, "large": 1, "missing": 1}, f"{tries}")


def a_controller_that_starts_is_waited_for():
    with JarServer() as jars, executor() as one:
        one.environment["PATH"] = recording_java(one.folder)
        one.write_ticket(ticket_to(jars.url + "starting/"))
        one.start().reaches("connected")
        expect(len(jars.requests) == 2, f"{jars.requests}")
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends() == 0, "exit code 0")


def without_its_fetcher_it_says_what_to_do():
    with executor(ticket=ticket_to("http://127.0.0.1:1/")) as one:
        (one.folder / "alone").mkdir()
        one.program = shutil.copy(BIN / "skep-join", one.folder / "alone")
        expect(one.start().ends() == 5, "exit code 5: not tried again")
        told = one.status()["message"]
        expect("skep-join-fetch" in told and "put it beside" in told and "give an agent command" in told, f"it says what to do: {told}")


def sigterm_while_the_jar_is_fetched():
    with executor(ticket=ticket_to("http://127.0.0.1:1/")) as one:
        one.start()
        wait_for(lambda: "127.0.0.1" in one.log(), "a try has failed", 10)
        one.process.send_signal(signal.SIGTERM)
        expect(one.ends(10) == 0, "exit code 0")


def https_with_a_private_ca():
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "ca"],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        expect(made.returncode == 0, made.stderr.decode())
        (folder / "both").write_text((folder / "key").read_text() + (folder / "ca").read_text())
        jars = stack.enter_context(JarServer(folder / "both"))
        # cpprestsdk's threads live until exit, and so does what OpenSSL keeps per thread: no leak that grows.
        sanitizer = {"ASAN_OPTIONS": "detect_leaks=0"}
        for flags, environment in ((["--ca-file", folder / "ca"], {}), ([], {"SKEP_CA_FILE": str(folder / "ca")})):
            one = stack.enter_context(executor(*flags, environment=environment | sanitizer))
            one.environment["PATH"] = recording_java(one.folder)
            one.write_ticket(ticket_to(jars.url + "good/"))
            one.start().reaches("connected")
            one.process.send_signal(signal.SIGTERM)
            expect(one.ends() == 0, "exit code 0")
        expect(len(jars.requests) == 2, f"{jars.requests}")
        one = stack.enter_context(executor(ticket=ticket_to(jars.url + "good/"), environment=sanitizer))
        expect(one.start().ends(60) == 5, f"an unknown CA is not trusted: {one.log()}")
        expect(len(jars.requests) == 2, f"nothing was sent: {jars.requests}")
        one = stack.enter_context(executor("--ca-file", "/etc/passwd", ticket=ticket_to(jars.url + "good/"), environment=sanitizer))
        expect(one.start().ends() == 5 and "/etc/passwd" in one.log() + one.status()["message"], f"a CA file that is none: {one.log()}")


if __name__ == "__main__":
    sys.exit(checks.run([
        a_ticket_file_joins_and_no_secret_is_left, a_ticket_comes_through_standard_input_or_a_named_pipe,
        exit_codes_are_as_the_help_says, a_wrong_secret_ends_in_bounded_time,
        a_node_that_is_deleted_ends_the_agent_and_then_the_sandbox, an_agent_that_tries_for_ever_is_ended,
        a_controller_that_is_away_at_the_start, a_build_goes_on_over_a_restart_of_the_controller,
        sigterm_ends_agent_and_whatever_the_build_left, the_default_command_is_java_with_the_fetched_jar,
        a_jar_that_does_not_come_whole_is_never_run, a_controller_that_starts_is_waited_for,
        without_its_fetcher_it_says_what_to_do, sigterm_while_the_jar_is_fetched, https_with_a_private_ca]))
