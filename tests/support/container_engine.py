#!/usr/bin/env python3
"""A container engine of one's own for tests and the demo: Docker or Podman in a private folder, on a private socket.

    container_engine.py docker|podman

Prints one JSON line: {"socket", "image", "folder", "version"}, or {"skipped": why it cannot run here}. It ends, and
removes all that it made, when its standard input ends: so also when who started it was killed. Each line on standard
input kills the engine and starts it again, which is answered by a line. `image` is the digest of a small image: static
busybox, skep-join and skep-agent-sim with the libraries that they need.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_BIN_DIR", SOURCE / "build" / "release" / "bin"))
# A sanitizer examines what is shipped: what runs in containers is from a build without.
INSIDE = pathlib.Path(os.environ.get("SKEP_STAND_INS_DIR", BIN))
PROGRAMS = ("skep-join", "skep-agent-sim")
STARTS_WITHIN_S = 30
CONTROL_GROUPS = pathlib.Path("/sys/fs/cgroup")


class Unavailable(Exception):
    """Why no engine can run here."""


# -- one request to an engine
def ask(path, method, target, body=b"", content_type="application/json", timeout=60):
    """(status, text). HTTP/1.0, so that the answer ends with the connection and nothing is chunked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(timeout)
        peer.connect(str(path))
        head = f"{method} /v1.41/{target} HTTP/1.0\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.sendall(head.encode() + body)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode(errors="replace")


def must(path, method, target, body=b"", **more):
    status, text = ask(path, method, target, body, **more)
    if status >= 400:
        raise Unavailable(f"the engine answers {status} to {method} {target.split('?')[0]}: {text.strip()[:400]}")
    return text


# -- the image
def libraries_of(program):
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return sorted(set(re.findall(r"(?:=> |^\s*)(/\S+)", done.stdout, re.MULTILINE)))


def make_image_tree(tree):
    busybox = shutil.which("busybox")
    if not busybox or libraries_of(busybox):
        raise Unavailable("no static busybox is here (package busybox-static)")
    for name in ("bin", "usr/bin", "etc", "tmp", "root", "var/tmp"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    for name in ("tmp", "var/tmp"):
        (tree / name).chmod(0o1777)
    (tree / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tree / "etc" / "golden").write_text("golden\n")
    for name in PROGRAMS:
        program = INSIDE / name
        if not program.is_file():
            raise Unavailable(f"{name} is not built")
        shutil.copy(program, tree / "usr" / "bin" / name)
        if shutil.which("strip"):  # for speed
            subprocess.run(["strip", tree / "usr" / "bin" / name], capture_output=True, check=False)
        for library in libraries_of(program):
            target = tree / library.lstrip("/")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(os.path.realpath(library), target)


def archive_of(tree):
    # Sorted, and without times and owners: the same programs make the same image.
    return subprocess.run(["tar", "-C", tree, "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-c", "."],
                          stdout=subprocess.PIPE, check=True).stdout


# -- the engines
def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Engine:
    kind = ""
    needs = ()

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"skep-{self.kind}-"))
        self.socket = self.folder / "engine.sock"
        self.log = self.folder / "log"
        self.process = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "HOME": str(self.folder), "TMPDIR": str(self.folder)}

    def start(self):
        missing = [name for name in self.needs if not shutil.which(name, path=self.environment()["PATH"])]
        if missing:
            raise Unavailable(f"not installed: {', '.join(missing)}")
        if os.geteuid() != 0:
            raise Unavailable(f"a private {self.kind} needs root")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                                            cwd=self.folder, start_new_session=True)  # conmon writes where it is
        end = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                ask(self.socket, "GET", "_ping")
                return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise Unavailable(f"{self.kind} does not start: {self.last_words()}")
            time.sleep(0.02)

    def restart(self):
        """What watches containers stays, as it does when an engine crashes."""
        self.process.kill()
        self.process.wait()
        # A new Docker waits in vain for a containerd that ends with the old one.
        while rest := [pid for pid in self.processes() if name_of(pid) == "containerd"]:
            for pid in rest:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            time.sleep(0.02)
        for left in self.left_by_crash():
            left.unlink(missing_ok=True)
        self.start()

    def left_by_crash(self):
        return []

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][-400:] if lines else "it says nothing"

    def load_image(self):
        tree = self.folder / "tree"
        tree.mkdir()
        make_image_tree(tree)
        archive = archive_of(tree)
        shutil.rmtree(tree)
        text = must(self.socket, "POST", "images/create?fromSrc=-&repo=skep-test/base&tag=latest", archive, content_type="application/x-tar")
        found = re.search(r"sha256:[0-9a-f]{64}", text)
        if not found:
            raise Unavailable(f"the image was not taken: {text.strip()[:400]}")
        return found[0]

    def check(self, image):
        """One container as the driver makes them; says why none can run."""
        body = {"Image": image, "Entrypoint": ["/bin/true"], "HostConfig": {
            "ReadonlyRootfs": True, "NetworkMode": "none", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Memory": 64 << 20,
            "PidsLimit": 64, "Ulimits": [{"Name": name, "Soft": 512, "Hard": 512} for name in ("nofile", "nproc")], "Tmpfs": {"/tmp": "rw,size=1048576"}}}
        made = json.loads(must(self.socket, "POST", "containers/create", json.dumps(body).encode()))["Id"]
        must(self.socket, "POST", f"containers/{made}/start")
        code = json.loads(must(self.socket, "POST", f"containers/{made}/wait"))["StatusCode"]
        must(self.socket, "DELETE", f"containers/{made}?force=1&v=1")
        if code != 0:
            raise Unavailable(f"a first container ends with exit code {code}")

    def version(self):
        return json.loads(must(self.socket, "GET", "version"))["Version"]

    # -- the end: nothing here may fail
    def end(self):
        self.remove_containers()
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for _ in range(3):
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            self.unmount()
            if not self.processes():
                break
            time.sleep(0.05)
        self.remove_control_groups()
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_containers(self):
        try:
            for container in json.loads(ask(self.socket, "GET", "containers/json?all=1", timeout=5)[1]):
                ask(self.socket, "DELETE", f"containers/{container['Id']}?force=1&v=1", timeout=20)
        except (OSError, ValueError, IndexError, KeyError, TypeError):
            pass

    def processes(self):
        """What runs from our folder: the engine itself, its helpers, what watches a container."""
        found = []
        mark = str(self.folder).encode()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def unmount(self):
        places = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        for place in sorted((place for place in places if place.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)

    def control_groups(self):
        return []

    def remove_control_groups(self):
        for name in self.control_groups():
            for group in [CONTROL_GROUPS / name, *CONTROL_GROUPS.glob(f"*/{name}")]:
                if group.is_dir():
                    for folder, _, _ in os.walk(group, topdown=False):
                        try:
                            os.rmdir(folder)
                        except OSError:
                            pass


class Docker(Engine):
    kind = "docker"
    needs = ("dockerd", "containerd", "runc")

    def command(self):
        return ["dockerd", "--data-root", self.folder / "root", "--exec-root", self.folder / "run", "-H", f"unix://{self.socket}",
                "-p", self.folder / "pid", "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
                "--cgroup-parent", f"/{self.folder.name}"]

    def control_groups(self):
        return [self.folder.name]

    def left_by_crash(self):
        """A containerd that is not reaped yet has this number, and Docker waits for its socket."""
        return [self.folder / "run" / "containerd" / "containerd.pid"]


class Podman(Engine):
    kind = "podman"
    needs = ("podman", "conmon", "runc")

    def command(self):
        (self.folder / "containers.conf").write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n')
        return ["podman", "--root", self.folder / "root", "--runroot", self.folder / "run", "--tmpdir", self.folder / "tmp",
                "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime", "runc", "system", "service", "-t", "0",
                f"unix://{self.socket}"]

    def environment(self):
        return {**super().environment(), "CONTAINERS_CONF": str(self.folder / "containers.conf")}

    def control_groups(self):
        return ["libpod_parent"]  # shared with other Podmans: goes only when it is empty


KINDS = {engine.kind: engine for engine in (Docker, Podman)}


def main(arguments):
    if len(arguments) != 1 or arguments[0] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the one sign
    engine = KINDS[arguments[0]]()
    try:
        try:
            engine.start()
            image = engine.load_image()
            engine.check(image)
            answer = {"socket": str(engine.socket), "image": image, "folder": str(engine.folder), "version": engine.version()}
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            answer = {"skipped": f"{arguments[0]}: {error}"}
        print(json.dumps(answer), flush=True)
        for _line in sys.stdin:
            try:
                engine.restart()
                answer = {"restarted": True}
            except (Unavailable, OSError) as error:
                answer = {"restarted": False, "why": str(error)}
            print(json.dumps(answer), flush=True)
    except OSError:
        pass
    finally:
        engine.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
