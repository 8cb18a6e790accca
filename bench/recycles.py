"""Whether anything is left of an executor: thousands of them on one host, one after the other, while agentd, the container
engine or the machines are killed at random. Every executor writes markers wherever it can, and looks for those of others."""
import hashlib
import os
import pathlib
import random
import signal
import threading
import time
import urllib.error

from farm import Farm, Failure, call, wait_for
from results import goal, say, summary

SLOTS = 4
ONE_LIFE_WITHIN_S = 240
MARK = "skep-canary"
FOUND = 77  # exit code of an executor that met what another one left

# Where an executor may leave something. Processes share the host's folders: of them only what the driver gives each is looked at.
PLACES = {"process": '"{work_dir}" "$HOME" "$TMPDIR"',
          "container": '"{work_dir}" "$HOME" /tmp /var/tmp /dev/shm /run /skep /etc /usr /bin /root /var /var/spool/cron',
          "qemu": '"{work_dir}" "$HOME" /tmp /var/tmp /dev/shm /run /skep /etc /usr /bin /root /var /var/spool/cron'}
# It says what an agent says once it has a connection: one that never had any is started again.
CANARY = """
echo INFO: Connected >&2
met=$(for place in {places}; do find "$place" -name "{mark}*" 2>/dev/null; done | head -3)
met="$met$(env | grep {mark})"
{processes}
for place in {places}; do echo mark > "$place/{mark}-$$" 2>/dev/null; done
for place in /bin/sh /etc/passwd /etc/golden; do {image}; done
export LEFT={mark}
(setsid sh -c 'exec sleep 3000' {mark} >/dev/null 2>&1 &)
[ -z "$met" ] || {{ echo "met: $met" >&2; exit {found}; }}
"""


class Cut(Exception):
    """An executor that a kill took: nothing can be said of what it would have met."""


def canary(driver):
    is_alone = driver != "process"
    processes = f'met="$met$(ps 2>/dev/null | grep "{MARK}" | grep -v grep)"' if is_alone else ":"
    # The image's own files: what can be written to is marked, and a later one would see it.
    image = f'grep -q {MARK} "$place" 2>/dev/null && met="$met $place"; echo "# {MARK}" >> "$place" 2>/dev/null' if is_alone else ":"
    return CANARY.format(places=PLACES[driver].replace("{work_dir}", "$PWD"), mark=MARK, processes=processes, image=image, found=FOUND)


class Host(Farm):
    """agentd alone: the benchmark is its scheduler."""

    def start(self):
        for each in (self.engine, self.machines):
            if each:
                each.start()
                if each.skipped:
                    raise Failure(f"driver {self.driver_name} cannot run here: {each.skipped}")
        (self.folder / "image").mkdir()
        (self.folder / "image" / "README").write_text("golden\n")
        self.write("agentd.yaml", self.agentd_config())
        self.start_agentd()
        return self

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


class Recycling:
    def __init__(self, host, driver, recycles, kill_every, seed):
        self.host, self.driver, self.recycles, self.kill_every = host, driver, recycles, kill_every
        self.random = random.Random(seed)
        self.changed = threading.Condition()
        self.reports = {}      # by id, as agentd told last
        self.heard = 0         # how often it told
        self.next_number = self.done = 0
        self.hits, self.cut, self.problems = [], 0, []
        self.kills = {}
        self.lives_ms = []
        self.is_over = False
        self.started = time.monotonic()

    # -- what agentd tells, by blocking queries
    def follow(self):
        index = 0
        while not self.is_over:
            try:
                told = call(f"{self.host.agentd.url}v1/executors?index={index}&wait=2s", timeout=20)
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
        end = time.monotonic() + ONE_LIFE_WITHIN_S
        with self.changed:
            while not (value := condition()):
                if not self.changed.wait(min(5, max(0, end - time.monotonic()))) and time.monotonic() > end:
                    raise Failure(f"{what}: not within {ONE_LIFE_WITHIN_S} s")
        return value

    # -- one executor
    def ask(self, target, method, body=None):
        """Until agentd answers, for it may be killed just now; what it refuses is raised."""
        end = time.monotonic() + ONE_LIFE_WITHIN_S
        while True:
            try:
                return call(self.host.agentd.url + target, method, body, timeout=20)
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read().decode(errors="replace")
                if error.code < 500 and error.code != 429:
                    raise Cut(f"{method} {target}: {error.code} {text[:200]}") from error
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise Failure(f"agentd does not answer {method} {target}")
            time.sleep(0.05)

    def order(self, name):
        spec = {"id": name, "template": "canary", "driver": self.driver, "image": "base",
                "resources": {"cpu_millis": 500, "memory_bytes": 96 << 20},
                "agent_command": ["/bin/sh", "-c", canary(self.driver), "agent"], "environment": {},
                "boot_deadline_ms": 120_000, "join_deadline_ms": 120_000, "stop_grace_ms": 1_000}
        ticket = {"url": "http://127.0.0.1:9/", "node_name": name, "secret": "0" * 64, "attempt": 1}
        self.ask(f"v1/executors/{name}", "PUT", {"epoch": 1, "spec": spec, "ticket": ticket, "lease_ms": 1_800_000, "is_busy": True})

    def live(self, name):
        began = time.monotonic()
        try:
            self.order(name)
            heard = self.heard

            def ended():
                report = self.reports.get(name)
                if report is None:
                    return "gone" if self.heard > heard + 1 else None
                is_over = report["agent"] == "ended" or report["state"] in ("failed", "finished", "destroying")
                return report if is_over else None
            report = self.wait(ended, f"the end of {name}")
            code = None if report == "gone" else report.get("agent_exit_code")
            if code == FOUND:
                self.hits.append(f"{name} met what another one left")
            elif code != 0:
                raise Cut(f"{name}: {report}")
        except Cut:
            self.cut += 1
        self.destroy(name)
        return (time.monotonic() - began) * 1000

    def destroy(self, name):
        try:
            self.ask(f"v1/executors/{name}?epoch=1", "DELETE")
        except Cut:
            pass  # agentd knows of none
        heard = self.heard
        self.wait(lambda: self.heard > heard and name not in self.reports or self.reports.get(name, {}).get("state") == "gone",
                  f"the removal of {name}")

    def work(self, slot):
        while not self.is_over:
            with self.changed:
                if self.next_number >= self.recycles or self.problems:
                    return
                self.next_number += 1
                number = self.next_number
            try:
                taken = self.live(f"canary-{slot}-{number}")
            except Failure as failure:
                self.problems.append(str(failure))
                return
            with self.changed:
                self.done += 1
                self.lives_ms.append(taken)
                self.changed.notify_all()

    # -- kills
    def kill_one(self):
        kinds = ["agentd", "agentd"]
        if self.host.engine:
            kinds.append("engine")
        if self.driver == "qemu":
            kinds.append("machine")
        kind = self.random.choice(kinds)
        if kind == "agentd":
            self.host.agentd.kill()
            time.sleep(self.random.random() * 0.3)
            self.host.start_agentd()
        elif kind == "engine":
            self.host.engine.restart()
        else:
            machines = [pid for pid, command in self.host.processes() if "qemu-system" in command]
            if not machines:
                return
            os.kill(self.random.choice(machines), signal.SIGKILL)
        self.kills[kind] = self.kills.get(kind, 0) + 1

    def disturb(self):
        due = self.kill_every
        while not self.is_over:
            with self.changed:
                while self.done < due and not self.is_over:
                    self.changed.wait(1)
            if self.is_over or self.done >= self.recycles:
                return
            time.sleep(self.random.random())  # anywhere in the lives that run now
            try:
                self.kill_one()
            except (Failure, OSError) as failure:
                self.problems.append(f"after a kill: {failure}")
                return
            due = self.done + self.random.randint(1, 2 * self.kill_every)

    def progress(self):
        reported = 0
        while not self.is_over:
            with self.changed:
                self.changed.wait(1)
            if self.done >= reported + max(1, self.recycles // 10):
                reported = self.done
                rate = self.done / (time.monotonic() - self.started)
                say(f"recycles: {self.driver}: {self.done} of {self.recycles}, {rate:.1f}/s, {sum(self.kills.values())} kills, {len(self.hits)} hits")

    def run(self):
        threads = [threading.Thread(target=self.work, args=(slot,)) for slot in range(SLOTS)]
        others = [threading.Thread(target=each) for each in (self.follow, self.disturb, self.progress)]
        for thread in [*others, *threads]:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self.is_over = True
            with self.changed:
                self.changed.notify_all()
            for thread in others:
                thread.join()


def one(driver, engine, recycles, seed):
    host = Host(driver=driver, engine=engine, max_executors=SLOTS)
    host.driver_name = engine or driver
    try:
        host.start()
        before = host.image_digest()
        recycling = Recycling(host, driver, recycles, max(2, recycles // 50), seed)
        recycling.run()
        try:
            wait_for(lambda: not host.leaks(), "nothing is left", 30)
        except Failure:
            pass
        leaks = host.leaks()
        after = host.image_digest()
    finally:
        host.end()
    result = {"recycles": recycling.done, "seconds": round(time.monotonic() - recycling.started, 1), "seed": seed,
              "kills": recycling.kills, "cut_off": recycling.cut, "life_ms": summary(recycling.lives_ms, "ms"),
              "hits": recycling.hits[:10], "leaks": leaks[:20], "problems": recycling.problems[:5]}
    result["goals"] = [goal(len(leaks), 0, "leaks"), goal(len(recycling.hits), 0, "executors that met another one's markers"),
                       goal(len(recycling.problems), 0, "executors that did not end or were not removed"),
                       goal(0 if before == after else 1, 0, "changed images"),
                       goal(recycling.done, recycles, "recycles", is_at_least=True)]
    return result


def run(quick, recycles=None, driver=None, seed=None):
    seed = random.randrange(1 << 32) if seed is None else seed
    results = {}
    for name, of_driver, engine, count in (("process", "process", "", 1000), ("docker", "container", "docker", 2000),
                                           ("podman", "container", "podman", 200), ("qemu", "qemu", "", 200)):
        if driver not in (None, name):
            continue
        say(f"recycles: {name}, seed {seed}")
        try:
            results[name] = one(of_driver, engine, recycles or (20 if quick else count), seed)
        except Failure as failure:
            results[name] = {"error": str(failure)}
    return results
