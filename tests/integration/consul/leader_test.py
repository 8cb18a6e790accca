#!/usr/bin/env python3
"""Two schedulers and one lock in a real Consul: one leads, the other takes over when the first is killed, silent or ended,
and a leader without Consul stops leading before anybody else can."""
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
import consul_agent  # noqa: E402
from checks import expect  # noqa: E402
from farm import BIN, Farm, call, wait_for  # noqa: E402

TTL_S = 3
# Consul ends the session one ttl after the last pass, and keeps the lock for one second more; the rest is a slow machine.
TAKEOVER_LIMIT_S = TTL_S + 1 + 6
ENDS_AS_FORMER_LEADER = 75


class Scheduler:
    """One of several; unlike the farm's own, its start does not wait until it leads."""

    def __init__(self, farm, name, state_dir):
        self.name, self.log = name, farm.folder / f"{name}.log"
        text = re.sub(r"(?m)^state_dir: .*$", f"state_dir: {state_dir}", farm.scheduler_config())
        config = farm.write(f"{name}.yaml", text)
        self.out = farm.folder / f"{name}.out"
        with open(self.log, "ab") as log, open(self.out, "wb") as out:
            self.process = subprocess.Popen([BIN / "skep-scheduler", "--config", config, "--print-url"], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=log, start_new_session=True)

    def url(self):
        """None while it stands by."""
        text = self.out.read_text()
        return json.loads(text)["listening"] if text.endswith("\n") else None

    def epoch(self):
        return call(self.url() + "v1/status")["epoch"]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def two_schedulers(is_state_shared=True):
    """(farm, leader, standby)"""
    consul_agent.need()
    farm = Farm(registry="consul", one_build="gate", leader_lock="leader_lock: {}")
    all_of_them = farm.more_programs
    farm.start_scheduler = lambda: None
    try:
        farm.start()
        for name in ("one", "two"):
            state = farm.folder / ("scheduler" if is_state_shared else f"scheduler-{name}")
            all_of_them.append(Scheduler(farm, name, state))
            if name == "one":
                wait_for(all_of_them[0].url, "the first scheduler leads", 20)
        wait_for(lambda: "another scheduler leads" in all_of_them[1].log.read_text(), "the second stands by", 20)
        yield farm, *all_of_them
    except BaseException:
        for one in all_of_them:
            print(f"--- end of {one.name}'s log\n{one.log.read_text()[-3000:]}")
        raise
    finally:
        for one in all_of_them:
            one.kill()
        farm.end()


def takes_over(leader_epoch, standby):
    started = time.monotonic()
    wait_for(standby.url, "the second scheduler takes over", TAKEOVER_LIMIT_S)
    took = time.monotonic() - started
    print(f"      takeover after {took:.1f} s")
    expect(standby.epoch() > leader_epoch, f"the epoch did not grow: {leader_epoch}, {standby.epoch()}")
    return took


def a_killed_leader_is_followed_by_the_standby_and_builds_run_once():
    with two_schedulers() as (farm, leader, standby):
        farm.sim("jobs", "POST", {"path": "free", "label": "linux", "duration_ms": 2000, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "free", "count": 12, "distinct": True})
        ended = lambda: sum(1 for b in farm.sim("truth")["builds"] if b["ended_at_ms"] is not None)  # noqa: E731
        wait_for(lambda: ended() >= 2, "some builds have run", 60)
        epoch = leader.epoch()
        leader.kill()
        expect(standby.url() is None, "two leaders at once")
        took = takes_over(epoch, standby)
        expect(took > 1, "the lock changed hands before its holder's session can have ended")
        wait_for(lambda: ended() >= 12, "every build has run", 120, 0.2)
        builds = farm.sim("truth")["builds"]
        expect(len(builds) == 12 and {b["result"] for b in builds} == {"SUCCESS"}, f"a build was hurt: {builds}")
        expect(len({b["node"] for b in builds}) == 12, "an executor served two builds")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 60, 0.2)


def a_leader_that_ends_gives_the_lock_back():
    with two_schedulers(is_state_shared=False) as (farm, leader, standby):
        epoch = leader.epoch()
        farm.consul.call(f"v1/kv/skep/{farm.tag}/leader-epoch?flags=100", "PUT", 100)  # as an operator may
        leader.process.send_signal(signal.SIGTERM)
        takes_over(epoch, standby)
        expect(standby.epoch() == 101, f"epoch {standby.epoch()}")
        expect(leader.process.wait(20) == 0, f"exit status {leader.process.returncode}")


def a_leader_that_was_silent_ends_when_it_wakes_up():
    with two_schedulers(is_state_shared=False) as (_, leader, standby):
        epoch = leader.epoch()
        leader.process.send_signal(signal.SIGSTOP)
        try:
            takes_over(epoch, standby)
        finally:
            leader.process.send_signal(signal.SIGCONT)
        expect(leader.process.wait(20) == ENDS_AS_FORMER_LEADER, f"exit status {leader.process.returncode}")
        expect("no longer leads" in leader.log.read_text(), "it does not say why it ends")
        expect(standby.process.poll() is None and not standby.process.returncode, "the new leader ended too")


def a_leader_without_consul_stops_leading_and_a_standby_waits():
    with two_schedulers(is_state_shared=False) as (farm, leader, standby):
        epoch = leader.epoch()
        farm.consul.pause()  # it takes connections and says nothing
        started = time.monotonic()
        try:
            expect(leader.process.wait(TTL_S + 10) == ENDS_AS_FORMER_LEADER, f"exit status {leader.process.returncode}")
            expect(time.monotonic() - started > TTL_S / 3, "it gave up before its time")
            expect(standby.url() is None and standby.process.poll() is None, "the standby leads without a lock")
        finally:
            farm.consul.go_on()
        takes_over(epoch, standby)


def a_standby_ends_when_it_is_told():
    with two_schedulers(is_state_shared=False) as (farm, leader, standby):
        standby.process.send_signal(signal.SIGTERM)
        expect(standby.process.wait(20) == 0, f"exit status {standby.process.returncode}")
        expect(leader.process.poll() is None, "the leader ended too")
        left = [entry["Service"]["ID"] for entry in farm.consul.call("v1/health/service/skep-scheduler")]
        expect(len(left) == 1, f"the standby is still in Consul: {left}")


if __name__ == "__main__":
    sys.exit(checks.run([a_killed_leader_is_followed_by_the_standby_and_builds_run_once, a_leader_that_ends_gives_the_lock_back,
                         a_leader_that_was_silent_ends_when_it_wakes_up, a_leader_without_consul_stops_leading_and_a_standby_waits,
                         a_standby_ends_when_it_is_told]))
