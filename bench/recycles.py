"""Whether anything is left of an executor: as many as asked for on one host, one after the other, while agentd, the container
engine or the machines are killed at random. Every executor writes markers wherever it can, and looks for those of others."""
import os
import random
import signal
import threading
import time

from farm import Failure, wait_for
from one_host import Host, Refused
from results import goal, say, summary

SLOTS = 4
COUNTS = {"process": 1000, "namespaces": 1000, "docker": 2000, "podman": 200, "qemu": 200}
MARK = "skep-canary"
FOUND = 77  # exit code of an executor that met what another one left

# Where an executor may leave something. Processes share the host's folders: of them only what the driver gives each is looked at.
PLACES = {"process": '"{work_dir}" "$HOME" "$TMPDIR"',
          "namespaces": '"{work_dir}" "$HOME" /tmp /var/tmp /dev/shm /run /skep /etc /root /var/spool/cron',
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
(setsid sh -c 'while :; do sleep 5; done' {mark} >/dev/null 2>&1 &)
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


class Recycling:
    def __init__(self, host, recycles, kill_every, seed):
        self.host, self.recycles, self.kill_every = host, recycles, kill_every
        self.random = random.Random(seed)
        self.changed = threading.Condition()
        self.next_number = self.done = 0
        self.hits, self.cut, self.problems = [], 0, []
        self.kills = {}
        self.lives_ms = []
        self.is_over = False
        self.started = time.monotonic()

    # -- one executor
    def live(self, name):
        began = time.monotonic()
        host = self.host
        try:
            host.order(name, canary(host.driver_name), is_clone=int(name.rsplit("-", 1)[1]) % 2 == 1)
            heard = host.heard

            def ended():
                report = host.reports.get(name)
                if report is None:
                    return "gone" if host.heard > heard + 1 else None
                is_over = report["agent"] == "ended" or report["state"] in ("failed", "finished", "destroying")
                return report if is_over else None
            report = host.wait(ended, f"the end of {name}")
            code = None if report == "gone" else report.get("agent_exit_code")
            if code == FOUND:
                self.hits.append(f"{name} met what another one left")
            elif code != 0:
                raise Cut(f"{name}: {report}")
        except (Cut, Refused):
            self.cut += 1
        host.destroy(name)
        return (time.monotonic() - began) * 1000

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
        if self.host.machines:
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
                say(f"recycles: {self.host.kind}: {self.done} of {self.recycles}, {rate:.1f}/s, {sum(self.kills.values())} kills, {len(self.hits)} hits")

    def run(self):
        threads = [threading.Thread(target=self.work, args=(slot,)) for slot in range(SLOTS)]
        others = [threading.Thread(target=each) for each in (self.disturb, self.progress)]
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


def one(kind, recycles, seed):
    host = Host(kind, SLOTS)
    try:
        host.start()
        before = host.image_digest()
        recycling = Recycling(host, recycles, max(2, recycles // 50), seed)
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
    for kind, count in COUNTS.items():
        if driver not in (None, kind):
            continue
        say(f"recycles: {kind}, seed {seed}")
        try:
            results[kind] = one(kind, recycles or (20 if quick else count), seed)
        except Failure as failure:
            results[kind] = {"error": str(failure)}
    if not results:
        raise Failure(f"no driver is called {driver}; there are {', '.join(COUNTS)}")
    return results
