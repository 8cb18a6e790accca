"""One host's agentd without a scheduler: the benchmark orders executors from it directly."""
import hashlib
import pathlib
import threading
import time
import urllib.error

from farm import Farm, Failure, call

WITHIN_S = 240  # what one executor may take to come, to end or to go


class Refused(Exception):
    """What agentd answered with a status of 4xx."""


class Host(Farm):
    """`kind`: process, namespaces, docker, podman, qemu or qemu-warm, whose machines are clones of one that was saved."""

    def __init__(self, kind, slots, **more):
        engine = kind if kind in ("docker", "podman") else ""
        self.kind, self.driver_name = kind, "container" if engine else kind.split("-", maxsplit=1)[0]
        super().__init__(driver=self.driver_name, engine=engine, max_executors=slots, **more)
        self.changed = threading.Condition()
        self.reports = {}  # by id, as agentd told last
        self.heard = 0     # how often it told
        self.is_over = False
        self.follower = threading.Thread(target=self._follow)

    def start(self):
        for each in (self.engine, self.machines):
            if each:
                each.start()
                if each.skipped:
                    raise Failure(f"driver {self.kind} cannot run here: {each.skipped}")
        self.make_image(self.folder / "image")
        self.write("agentd.yaml", self.agentd_config())
        self.start_agentd()
        self.follower.start()
        return self

    def make_image(self, image):
        """Open to all, so that only the driver keeps executors from what is another's."""
        for folder in (image, *((image / name) for name in ("etc", "root", "var/tmp", "var/spool/cron"))):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        for name in ("README", "etc/passwd", "etc/golden"):
            (image / name).write_text("golden\n")
            (image / name).chmod(0o666)

    def end(self):
        self.is_over = True
        if self.follower.is_alive():
            self.follower.join()
        super().end()

    def registry_config(self, *_more):
        return "{type: none}"

    def nodes(self):
        return []

    def image_digest(self):
        """Of all that executors are made from."""
        if self.engine:
            return self.engine.image_digest()
        digest = hashlib.sha256()
        place = self.machines.image["folder"] if self.machines else self.folder / "image"
        for path in sorted(pathlib.Path(place).rglob("*")):
            digest.update(f"{path} {path.stat().st_mode}".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    def leaks(self):
        mounts = [line.split()[1] for line in open("/proc/self/mounts", encoding="utf-8", errors="replace") if str(self.folder) in line]
        return super().leaks() + [f"mount {place}" for place in mounts]

    # -- what agentd tells, by blocking queries
    def _follow(self):
        index = 0
        while not self.is_over:
            try:
                told = call(f"{self.agentd.url}v1/executors?index={index}&wait=2s", timeout=20)
            except (OSError, ValueError, AttributeError):
                time.sleep(0.02)
                index = 0
                continue
            index = told["index"]
            with self.changed:
                self.reports = {each["id"]: each for each in told["executors"]}
                self.heard += 1
                self.changed.notify_all()

    def wait(self, condition, what):
        end = time.monotonic() + WITHIN_S
        with self.changed:
            while not (value := condition()):
                if not self.changed.wait(min(5, max(0, end - time.monotonic()))) and time.monotonic() > end:
                    raise Failure(f"{what}: not within {WITHIN_S} s")
        return value

    # -- orders
    def ask(self, target, method, body=None):
        """Until agentd answers, for it may have been killed just now."""
        end = time.monotonic() + WITHIN_S
        while True:
            try:
                return call(self.agentd.url + target, method, body, timeout=20)
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read().decode(errors="replace")
                if error.code < 500 and error.code != 429:
                    raise Refused(f"{method} {target}: {error.code} {text[:200]}") from error
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise Failure(f"agentd does not answer {method} {target}")
            time.sleep(0.05)

    def order(self, name, script, is_clone=False):
        """An executor whose agent is this shell script. `is_clone`: where machines can be, it is one."""
        spec = {"id": name, "template": "bench", "driver": self.driver_name, "image": "base",
                "resources": {"cpu_millis": 1000, "memory_bytes": 96 << 20},
                "agent_command": ["/bin/sh", "-c", script, "agent"], "environment": {},
                "start": "warm_clone" if is_clone or self.kind == "qemu-warm" else "cold",
                "boot_deadline_ms": 120_000, "join_deadline_ms": 120_000, "stop_grace_ms": 1_000}
        ticket = {"url": "http://127.0.0.1:9/", "node_name": name, "secret": "0" * 64, "attempt": 1}
        self.ask(f"v1/executors/{name}", "PUT", {"epoch": 1, "spec": spec, "ticket": ticket, "lease_ms": 1_800_000, "is_busy": True})

    def destroy(self, name):
        try:
            self.ask(f"v1/executors/{name}?epoch=1", "DELETE")
        except Refused:
            pass  # agentd knows of none
        heard = self.heard
        self.wait(lambda: (self.heard > heard and name not in self.reports) or self.reports.get(name, {}).get("state") == "gone",
                  f"the removal of {name}")
