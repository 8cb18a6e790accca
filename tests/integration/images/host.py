"""One host for the tests of images: a real skep-agentd with the process driver or others, in a folder that goes away.

What cleans up is a process of its own that waits for the end of its standard input: so also when the test is killed.
"""
import ctypes
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402,F401: the path is set above
from checks import Skip, expect  # noqa: E402,F401
from farm import BIN, NO_PROXY, Failure, wait_for  # noqa: E402,F401

from repository import sha256  # noqa: E402

CLEANER = """
import pathlib, shutil, subprocess, sys
sys.stdin.read()
folder, program = sys.argv[1], sys.argv[2]
try:
    subprocess.run([program, "--config", folder + "/agentd.yaml", "--remove-all"], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=60, check=False)
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def tar_of(files, links=(), compression="gz"):
    """A tar as bytes; `files`: name -> (mode, content), `links`: name -> target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:
        for name, (mode, content) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        for name, target in dict(links).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return out.getvalue()


def image(name, version, url, files, **more):
    """An entry of the catalogue; `files`: name -> content."""
    listed = [{"name": n, "sha256": sha256(c), "bytes": len(c)} for n, c in files.items()]
    return {"name": name, "version": version, "url": url, "files": listed, **more}


class Host:
    def __init__(self, catalogue, max_bytes="1GiB", fetch=None, verify_every="24h", folder=None, drivers=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-images-"))
        self.catalogue, self.max_bytes, self.fetch, self.verify_every = catalogue, max_bytes, fetch or {}, verify_every
        self.drivers = drivers or {}
        self.images = pathlib.Path(folder) if folder else self.folder / "images"
        self.log = self.folder / "agentd.log"
        self.process = self.url = None
        self.write_config()
        self.cleaner = subprocess.Popen([sys.executable, "-c", CLEANER, str(self.folder), str(BIN / "skep-agentd")],
                                        stdin=subprocess.PIPE, start_new_session=True)

    def write_config(self):
        config = {"host": "h1", "state_dir": str(self.folder / "state"), "registry": {"type": "none"}, "drivers": self.drivers,
                  "capacity": {"cpu": 8, "memory": "8GiB", "disk": "10GiB"},
                  "images": {"folder": str(self.images), "max_bytes": self.max_bytes, "verify_every": self.verify_every,
                             "fetch": self.fetch, "catalogue": self.catalogue}}
        (self.folder / "agentd.yaml").write_text(json.dumps(config))  # JSON is YAML

    def start(self, limits=None):
        def prepare():
            die_with_us()
            if limits:
                limits()

        (self.folder / "state").mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / "skep-agentd", "--config", self.folder / "agentd.yaml", "--print-url"],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, preexec_fn=prepare,
                                            restore_signals=limits is None)
        line = self.process.stdout.readline()
        if not line:
            raise Failure("agentd did not start:\n" + self.tail())
        self.url = json.loads(line)["listening"]
        return self

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self, how=signal.SIGKILL):
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()
        self.process = None

    def end(self):
        self.kill()
        self.cleaner.stdin.close()
        self.cleaner.wait(90)
        expect(not self.folder.exists(), f"{self.folder} is left")

    def call(self, target, method="GET", body=None):
        """(status, JSON or text)"""
        request = urllib.request.Request(self.url + target, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with NO_PROXY.open(request, timeout=30) as reply:
                status, text = reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def image(self, name):
        """By "name@version"."""
        images = self.call("v1/images")[1]["images"]
        return next((each for each in images if f"{each['name']}@{each['version']}" == name), None)

    def pull(self, name):
        return self.call(f"v1/images/{name}/pull", "POST")

    def wait_for_state(self, name, state, limit_s=30):
        return wait_for(lambda: (seen := self.image(name)) and seen["state"] == state and seen, f"{name} is {state}", limit_s,
                        0.02)

    def wait_for_problem(self, name, text, limit_s=30):
        def look():
            seen = self.image(name)
            return seen and seen["state"] == "waiting" and text in seen["problem"] and seen
        try:
            return wait_for(look, f"{name} says {text!r}", limit_s, 0.02)
        except Failure as failure:
            raise Failure(f"{failure}; it says {self.image(name)}") from None

    def offered(self):
        return self.call("v1/executors")[1]["images"]

    def wait_until_offered(self, name):
        wait_for(lambda: name in self.offered(), f"{name} is offered to schedulers", 20, 0.02)

    def metrics(self):
        text = self.call("metrics")[1]
        return {m[1]: float(m[2]) for m in re.finditer(r"^(skep_image\S*(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}

    def order(self, executor, image_name, command, **more):
        """`more`: of the specification, such as driver="qemu"."""
        spec = {"id": executor, "template": "t1", "driver": "process", "image": image_name,
                "resources": {"cpu_millis": 100, "memory_bytes": 1 << 26, "disk_bytes": 0, "countable": {}},
                "agent_command": ["/bin/sh", "-c", command], "environment": {}, "boot_deadline_ms": 60000, "join_deadline_ms": 60000,
                "stop_grace_ms": 200, **more}
        ticket = {"url": "http://127.0.0.1:1/", "node_name": executor, "secret": "s", "attempt": 1}
        return self.call(f"v1/executors/{executor}", "PUT",
                         {"epoch": 1, "spec": spec, "ticket": ticket, "lease_ms": 600000, "is_busy": False})

    def executor(self, name):
        return next((each for each in self.call("v1/executors")[1]["executors"] if each["id"] == name), None)

    def destroy(self, executor):
        self.call(f"v1/executors/{executor}?epoch=1", "DELETE")
        wait_for(lambda: self.executor(executor) is None, f"{executor} is gone", 30)

    def left_in(self, part):
        """Names below a part of the store: ready, making, leaving, holds."""
        folder = self.images / part
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)


ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("SKEP_")}
