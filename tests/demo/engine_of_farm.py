"""The container engine of a farm: Docker or Podman of its own, in a process that ends it when this one ends in whatever way."""
import json
import os
import pathlib
import subprocess
import sys

SUPPORT = pathlib.Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
import container_engine  # noqa: E402: the path is set above


class EngineOfFarm:
    def __init__(self, kind, programs):
        self.kinds = [kind] if kind else ["docker", "podman"]
        self.programs = programs
        self.process = None
        self.kind = self.socket = self.image = self.folder = self.version = ""
        self.skipped = ""

    def start(self):
        """The first kind that runs here; `skipped` says why none does."""
        reasons = []
        for kind in self.kinds:
            self.process = subprocess.Popen([sys.executable, SUPPORT / "container_engine.py", kind], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, start_new_session=True,
                                            env={**os.environ, "SKEP_BIN_DIR": str(self.programs)})
            answer = json.loads(self.process.stdout.readline() or '{"skipped": "it did not answer"}')
            if "skipped" not in answer:
                self.kind = kind
                self.socket, self.image, self.folder, self.version = (answer[key] for key in ("socket", "image", "folder", "version"))
                return
            reasons.append(answer["skipped"])
            self.end()
        self.skipped = "; ".join(reasons)

    def restart(self):
        """kill -9 of the engine, and a new one."""
        self.process.stdin.write(b"restart\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"why": "it ended"}')
        if not answer.get("restarted"):
            raise OSError(f"{self.kind} did not start again: {answer.get('why')}")

    def image_digest(self):
        """As the engine has it, with all layers."""
        found = json.loads(container_engine.must(self.socket, "GET", f"images/{self.image}/json"))
        return found["Id"], found["RootFS"]["Layers"]

    def leaks(self):
        """Containers, and the helpers that an engine has for each."""
        found = []
        if self.process is None:
            return found
        for container in json.loads(container_engine.must(self.socket, "GET", "containers/json?all=1")):
            found.append(f"container {container['Names'][0].lstrip('/')}")
        for entry in pathlib.Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if self.folder.encode() in command and (b"containerd-shim" in command or b"conmon" in command):
                found.append(f"process {entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace').strip()}")
        return found

    def end(self):
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process = None
