"""QEMU's bare calls for one machine: an overlay, QEMU with the command line of one of ours but for its own user, what the
guest is to start through its control port (docs/design/qemu-driver.md), then stop and kill. A clone is resumed by QMP."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from farm import Failure

AGENT = "echo INFO: Connected >&2; exec sleep 3000"
WITHIN_S = 120
STOP_GRACE_S = 1  # as one_host.py orders it


class RawMachine:
    def __init__(self, host):
        self.host = host
        self.root = pathlib.Path(tempfile.mkdtemp(dir=host.folder))
        self.command, self.memory = None, None  # of a clone: its template's memory

    def learn(self):
        """From a machine of the driver's that runs now."""
        if self.command:
            return
        for pid, command in self.host.processes():
            if "qemu-system" not in command.split(" ", 1)[0]:
                continue
            words = [word.decode() for word in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
            at = words.index("-runas") if "-runas" in words else None
            self.command = words if at is None else words[:at] + words[at + 2:]
            for word in words:
                if word.startswith("memory-backend-file"):
                    self.memory = pathlib.Path(dict(part.split("=") for part in word.split(",")[1:])["mem-path"])
            return
        raise Failure("no machine runs whose command line could be taken")

    # -- the sockets of QEMU
    @staticmethod
    def connect(path):
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(WITHIN_S)
            try:
                stream.connect(str(path))
                return stream
            except OSError:
                stream.close()
                time.sleep(0.002)
        raise Failure(f"QEMU does not listen on {path.name}")

    @staticmethod
    def lines(stream):
        text = b""
        while True:
            read = stream.recv(65536)
            if not read:
                raise Failure("QEMU ended")
            *whole, text = (text + read).split(b"\n")
            yield from (json.loads(line) for line in whole if line.strip())

    def resume(self, folder):
        with self.connect(folder / "qmp.sock") as qmp, open(self.memory.parent / "state", "rb") as state:
            replies = self.lines(qmp)
            next(replies)

            def ask(name, arguments=None, file=None):
                line = json.dumps({"execute": name, **({"arguments": arguments} if arguments else {})}).encode() + b"\n"
                socket.send_fds(qmp, [line], [file.fileno()] if file else [])
                while "return" not in (reply := next(replies)):
                    if "error" in reply:
                        raise Failure(f"{name}: {reply['error']}")
                return reply["return"]
            ask("qmp_capabilities")
            ask("migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": True}]})
            ask("getfd", {"fdname": "saved"}, state)
            ask("migrate-incoming", {"uri": "fd:saved"})
            while ask("query-status")["status"] == "inmigrate":
                time.sleep(0.002)
            ask("cont")

    def start_guest(self, control, number):
        start = {"type": "start", "version": 1, "name": f"raw-{number}", "machine_id": os.urandom(16).hex(), "entropy": os.urandom(64).hex(),
                 "hosts": {}, "environment": {"HOME": "/skep/work", "TMPDIR": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                 "argv": ["/usr/bin/skep-join", "--ticket", "/skep/control/ticket", "--status", "/skep/control/status", "--work-dir", "/skep/work",
                          "--linger", "30", "--stop-grace", "1", "--", "/bin/sh", "-c", AGENT, "agent"],
                 "ticket": {"url": "http://10.0.2.2:9/", "node_name": f"raw-{number}", "secret": "0" * 64, "attempt": 1},
                 "time_ms": int(time.time() * 1000)}
        control.sendall(b'\n{"type":"hello"}\n')
        for word in self.lines(control):
            if word["type"] == "hello" and word.get("waits"):
                control.sendall(json.dumps(start).encode() + b"\n")
            elif word["type"] == "status" and "connected" in json.dumps(word):
                return

    def cycle(self, number):
        folder = self.root / str(number)
        folder.mkdir()
        begin = time.monotonic()
        base = self.memory.parent / "overlay.qcow2" if self.memory else pathlib.Path(self.host.machines.image["folder"]) / self.host.machines.image["disk"]["file"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-o", f"backing_file={base}", folder / "overlay.qcow2"], check=True)
        with open(folder / "qemu.log", "wb") as log:
            process = subprocess.Popen(self.command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if self.memory:
                self.resume(folder)
            with self.connect(folder / "serial.sock"), self.connect(folder / "control.sock") as control:
                self.start_guest(control, number)
                joined = (time.monotonic() - begin) * 1000
                begin = time.monotonic()
                control.sendall(b'{"type":"stop"}\n')
                try:
                    process.wait(STOP_GRACE_S)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder)
        return joined, (time.monotonic() - begin) * 1000
