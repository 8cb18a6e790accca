"""Runs `skep` as people and programs do, against a farm, a scripted scheduler or nothing; compares with kept outputs."""
import difflib
import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402,F401: the path is set above
from checks import expect  # noqa: E402
from farm import BIN, SOURCE, Farm, Failure, wait_for  # noqa: E402,F401

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
NOWHERE = "http://127.0.0.1:1/"  # nothing listens on port 1
WORDS_OF_TIME = re.compile(r"\b(\d+(\.\d+)? (ms|s)|\d+m( \d+s)?|\d+h( \d+m)?)(?![\w/])")


def environment(server, **more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SKEP_") and key not in ("NO_COLOR", "TERM")}
    return {**kept, "SKEP_SERVER": server, **more}


def skep(server, *arguments, stdin="", timeout=120, **more):
    """(exit code, stdout, stderr)"""
    done = subprocess.run([BIN / "skep", *arguments], env=environment(server, **more), input=stdin, capture_output=True, text=True,
                          timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def on_terminal(server, *arguments, columns=80, **more):
    """What a terminal of so many columns gets."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([BIN / "skep", *arguments], env=environment(server, TERM="xterm", **more), stdin=subprocess.DEVNULL,
                               stdout=side, stderr=subprocess.PIPE)
    os.close(side)
    text = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        text += part
    os.close(main)
    process.stderr.close()
    process.wait(30)
    return text.decode().replace("\r\n", "\n")


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def steady(text, farm=None):
    """Times, addresses and names that differ from run to run, made equal; then the gaps between columns."""
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://ADDRESS", text)
    text = re.sub(r"\b(cli-(?:linux|tools))-(\d+)-[0-9a-z]+", r"\1-\2-ID", text)
    text = WORDS_OF_TIME.sub("TIME", text)
    text = re.sub(r"[\d.]+ GiB disk", "SIZE disk", text)
    if farm is not None:
        text = text.replace(str(farm.folder), "FOLDER")
    return re.sub(r"(?<=\S) {2,}(?=\S)", "  ", text)


def shape(value):
    """Keys and kinds of a JSON value: what programs rely on."""
    if isinstance(value, dict):
        return {key: ["text"] if key == "warnings" else shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}[type(value)]


def compare(name, text):
    """With what is kept in golden/; SKEP_UPDATE_GOLDEN=1 writes it."""
    path = GOLDEN / name
    if os.environ.get("SKEP_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return
    kept = path.read_text() if path.exists() else ""
    difference = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm=""))
    expect(text == kept, f"{name} differs (SKEP_UPDATE_GOLDEN=1 keeps the new one)\n{difference}")


class ScriptedScheduler:
    """Answers GET and POST with what it was given for a path, with its query or without; everything else is 404."""

    def __init__(self, answers):
        scripted = self
        self.answers, self.posted = answers, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command == "POST":
                    scripted.posted.append((self.path, json.loads(body or b"{}")))
                known = scripted.answers.get(self.path, scripted.answers.get(self.path.split("?")[0]))
                status, text = known or (404, '{"error":{"message":"no such thing"}}')
                data = (text if isinstance(text, str) else json.dumps(text)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class LookingFarm(Farm):
    """A farm whose configuration is written again, and at which tests look closely."""

    def write_config(self, change):
        text = change(self.scheduler_config())
        self.write("scheduler.yaml", text)

    def hang_up(self):
        self.scheduler.process.send_signal(signal.SIGHUP)

    def reload(self, *flags):
        return skep(self.scheduler.url, "config", "reload", *flags)

    def configuration(self):
        return self.api("v1/status")["configuration"]

    def idle(self):
        return [e for e in self.api("v1/executors") if e["state"] == "idle"]

    def busy(self):
        return [e for e in self.api("v1/executors") if e["state"] == "busy"]

    def log(self):
        return (self.folder / "scheduler.log").read_text(errors="replace")

    def built(self, job):
        return [b for b in self.sim("truth")["builds"] if b["job"] == job and b["ended_at_ms"] is not None]

    def is_ready(self):
        return any(host["is_known"] for host in self.api("v1/hosts")) and self.api("v1/status")["controllers"][0]["is_known"]

    def status(self):
        return skep(self.scheduler.url, "status")[1]


def with_farm(kind=LookingFarm, waits=True, **options):
    """Gives a check a farm of its own that is ready, and shows the scheduler's log when it fails."""
    def decorate(check):
        def run():
            farm = kind(**{"one_build": "gate", **options})
            try:
                farm.start()
                if waits:
                    wait_for(farm.is_ready, "host and controller are known", 40)
                check(farm)
            except (AssertionError, Failure):
                print(farm.scheduler.tail(), flush=True)
                raise
            finally:
                farm.end()
        run.__name__ = check.__name__
        return run
    return decorate
