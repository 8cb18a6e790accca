#!/usr/bin/env python3
"""The consul registry against a real Consul: registration, a killed and a silent host, Consul away in the middle of builds,
and what leaves when it is told to. The controller's own record decides which builds ran."""
import collections
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
import consul_agent  # noqa: E402
from checks import expect  # noqa: E402
from farm import BIN, SOURCE, Farm, wait_for  # noqa: E402

TTL_S = 3  # as Farm configures it
# A host that says nothing is noticed by its blocking query after 40 s; Consul's check must be quicker than that.
SILENT_LIMIT_S = 30


@contextlib.contextmanager
def started_farm(**more):
    consul_agent.need()
    farm = Farm(registry="consul", one_build="gate", **more)
    try:
        farm.start()
        wait_for(lambda: (host(farm) or {}).get("is_known"), "the host is known", 30)
        yield farm
    except BaseException:
        for program in (farm.scheduler, farm.agentd):
            if program is not None:
                print(f"--- end of {program.name}'s log\n{program.tail()}")
        raise
    finally:
        farm.end()


def host(farm):
    """The scheduler's view of the one host, or None."""
    hosts = farm.api("v1/hosts")
    return hosts[0] if hosts else None


def in_consul(farm):
    """(metadata, status of the check) or None."""
    return farm.consul.services().get(f"{farm.tag}-host")


def status_in_consul(farm):
    found = in_consul(farm)
    return found[1] if found else None


def problem(farm):
    return farm.api("v1/status")["registry"]["problem"]


def ended(farm):
    return sum(1 for build in farm.sim("truth")["builds"] if build["ended_at_ms"] is not None)


def every_build_ran_once(farm, count):
    truth = wait_for(lambda: ended(farm) >= count and farm.sim("truth"), f"{count} builds have ended", 120, 0.2)
    builds = collections.Counter((b["job"], b["number"], b["block"]) for b in truth["builds"])
    expect(len(builds) == count and max(builds.values()) == 1, f"a build ran twice or never: {builds}")
    expect({b["result"] for b in truth["builds"]} == {"SUCCESS"}, f"a build was hurt: {truth['builds']}")
    expect(len({b["node"] for b in truth["builds"]}) == count, "an executor served two builds")
    wait_for(lambda: not farm.leaks(), "nothing is left over", 60, 0.2)


def the_examples_are_good_configurations():
    for arguments in (["scheduler-consul.yaml"], ["--agentd", "agentd-consul.yaml"]):
        done = subprocess.run([BIN / "skep", "config", "check", *arguments], cwd=SOURCE / "docs" / "examples", capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}")


def the_demo_runs_over_consul():
    consul_agent.need()
    done = subprocess.run([sys.executable, SOURCE / "tests" / "demo" / "demo.py", "--json", "--registry", "consul"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=240, check=False)
    expect(done.returncode == 0 and done.stdout, f"exit status {done.returncode}: {done.stdout}\n{done.stderr[-3000:]}")
    summary = json.loads(done.stdout)
    expect(summary["builds_run"] == summary["executors_used"] == 29 and summary["second_builds"] == summary["leaks"] == 0, f"{summary}")


def a_host_registers_its_capacity_and_leaves_when_it_ends():
    with started_farm() as farm:
        meta, status = wait_for(lambda: in_consul(farm), "the host is in Consul", 10)
        expect(status == "passing", f"the check is {status}")
        expect(meta["cpu_millis"] == "4000" and meta["memory_bytes"] == str(4 << 30) and meta["max_executors"] == "6", f"capacity: {meta}")
        expect(meta["os"] == "linux" and meta["drivers"] == "process" and meta["version"] and int(meta["disk_bytes"]) > 0, f"facts: {meta}")
        entry = farm.consul.call("v1/health/service/skep-agentd")[0]["Service"]
        expect(f"http://{entry['Address']}:{entry['Port']}/" == farm.agentd.url == meta["url"], f"address: {entry}")
        expect(entry["ID"] == f"skep-agentd-{farm.tag}-host", f"the ID is not stable: {entry['ID']}")
        expect(farm.api("v1/status")["registry"] == {"type": "consul", "problem": ""}, "the registry is well")
        farm.agentd.end()
        expect(in_consul(farm) is None, "agentd has ended and is still in Consul")
        wait_for(lambda: host(farm) is None, "the host left the farm", 60)


def a_silent_host_is_unseen_and_comes_back():
    with started_farm() as farm:
        farm.agentd.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: status_in_consul(farm) == "critical", "the check is critical", 4 * TTL_S)
            wait_for(lambda: not host(farm)["is_known"], "the host is unseen", SILENT_LIMIT_S)
        finally:
            farm.agentd.process.send_signal(signal.SIGCONT)
        wait_for(lambda: status_in_consul(farm) == "passing", "the check passes again", 20)
        wait_for(lambda: host(farm)["is_known"], "the host is seen again", SILENT_LIMIT_S / 2)


def a_killed_host_is_unseen_not_departed():
    with started_farm() as farm:
        first = in_consul(farm)[0]["url"]
        farm.agentd.kill()
        wait_for(lambda: status_in_consul(farm) == "critical", "the check is critical", 4 * TTL_S)
        wait_for(lambda: not host(farm)["is_known"], "the host is unseen", 10)
        expect(host(farm)["unseen_reason"], "no reason is given")
        farm.start_agentd()  # on another port
        wait_for(lambda: status_in_consul(farm) == "passing", "it passes its check", 20)
        expect(in_consul(farm)[0]["url"] == farm.agentd.url != first, "the new address is not in Consul")
        wait_for(lambda: host(farm)["is_known"], "the host is seen again", 20)


def consul_away_in_the_middle_of_builds():
    with started_farm(maximum=2, max_executors=2) as farm:
        farm.sim("jobs", "POST", {"path": "free", "label": "linux", "duration_ms": 300, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "free", "count": 15})
        wait_for(lambda: ended(farm) >= 3, "some builds have run", 60)
        farm.consul.kill()
        wait_for(lambda: problem(farm), "the scheduler says that Consul is away", 20)
        before = ended(farm)
        wait_for(lambda: ended(farm) >= before + 4, "builds go on without Consul", 60)
        expect(host(farm)["is_known"], "the host is gone because Consul is")
        farm.scheduler.kill()
        farm.start_scheduler()  # knows no host before Consul is back, and must take that for unknown
        wait_for(lambda: problem(farm), "the new scheduler says that Consul is away", 20)
        farm.consul.start()
        wait_for(lambda: status_in_consul(farm) == "passing", "the host is registered again", 4 * TTL_S)
        wait_for(lambda: not problem(farm), "the scheduler says that Consul is back", 30)
        farm.sim("schedule", "POST", {"path": "free", "count": 5, "distinct": True})
        every_build_ran_once(farm, 20)


def a_host_that_consul_forgot_stays_while_it_answers():
    with started_farm() as farm:
        farm.consul.call(f"v1/agent/service/deregister/skep-agentd-{farm.tag}-host", "PUT")
        expect(in_consul(farm) is None, "it is still in Consul")

        def is_back():
            expect(host(farm) and host(farm)["is_known"], "a host that answers has left the farm")
            return status_in_consul(farm) == "passing"

        wait_for(is_back, "the host registers again", 4 * TTL_S)


def a_host_that_left_with_a_build_running_is_unseen_until_it_is_back():
    with started_farm() as farm:
        farm.agentd.end()
        farm.write("agentd.yaml", farm.agentd_config().replace("on_stop: remove", "on_stop: keep"))
        farm.start_agentd()
        wait_for(lambda: (host(farm) or {}).get("is_known"), "the host is known again", 60)
        farm.sim("jobs", "POST", {"path": "long", "label": "linux", "duration_ms": 12000})
        farm.sim("schedule", "POST", {"path": "long"})
        wait_for(lambda: [e for e in farm.api("v1/executors") if e["state"] == "busy"], "the build runs", 60)
        farm.agentd.end()
        expect(in_consul(farm) is None, "agentd has ended and is still in Consul")
        wait_for(lambda: not host(farm)["is_known"], "the host is unseen", 20)
        expect([e for e in farm.api("v1/executors") if e["state"] == "unknown"], "its executor is not unknown")
        # The next answer of Consul, without the host, makes no difference while the build may run.
        farm.consul.call("v1/agent/service/register", "PUT", {"ID": "other", "Name": "skep-agentd", "Meta": {"host": "other-host", "url": "http://127.0.0.1:9/"}})
        wait_for(lambda: "other-host" in pathlib.Path(farm.scheduler.log).read_text(), "the scheduler saw the new list", 20)
        expect(host(farm)["host"] == f"{farm.tag}-host", "a host with a running build has departed")
        farm.start_agentd()
        every_build_ran_once(farm, 1)


def a_host_with_a_critical_check_goes_on_while_it_answers():
    with started_farm() as farm:
        for _ in range(10):
            farm.consul.call(f"v1/agent/check/fail/service:skep-agentd-{farm.tag}-host", "PUT")

            def is_passed_again():
                expect(host(farm) and host(farm)["is_known"], "a host that answers is unseen")
                return status_in_consul(farm) == "passing"

            wait_for(is_passed_again, "agentd passes its check", 4 * TTL_S)


def https_with_a_private_ca():
    with started_farm(consul_tls=True) as farm:
        expect(status_in_consul(farm) == "passing" and not problem(farm), "the registry is not well")
        farm.scheduler.end()
        farm.write("scheduler.yaml", re.sub(r", ca_file: '[^']*'", "", farm.scheduler_config()))
        farm.start_scheduler()
        wait_for(lambda: "SSL" in problem(farm), "a Consul whose CA is unknown is refused", 20)
        expect(host(farm) is None, "a host is known from a Consul that was not trusted")


# As docs/how-to/consul.md has them.
AGENTD_POLICY = 'service "skep-agentd" { policy = "write" }'
SCHEDULER_POLICY = """
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
service "skep-scheduler" { policy = "write" }
session_prefix "" { policy = "write" }
key_prefix "skep/" { policy = "write" }
"""


def make_token(farm, name, rules):
    farm.consul.call("v1/acl/policy", "PUT", {"Name": name, "Rules": rules})
    return farm.consul.call("v1/acl/token", "PUT", {"Policies": [{"Name": name}]})["SecretID"]


def tokens_are_needed_used_and_kept_out_of_logs():
    wrong = "99999999-2222-3333-4444-555555555555"
    with started_farm(consul_token="11111111-2222-3333-4444-555555555555", leader_lock="leader_lock: {}") as farm:
        secrets = ["-2222-3333-"]
        for restart, policy in ((farm.start_scheduler, SCHEDULER_POLICY), (farm.start_agentd, AGENTD_POLICY)):
            name = "agentd" if policy == AGENTD_POLICY else "scheduler"
            token = make_token(farm, name, policy)
            secrets.append(token)
            farm.write("consul-token", token + "\n")
            getattr(farm, name).end()
            restart()
        wait_for(lambda: not problem(farm), "the scheduler reads hosts with its own rights", 20)
        wait_for(lambda: status_in_consul(farm) == "passing", "agentd registers with its own rights", 20)
        wait_for(lambda: (host(farm) or {}).get("is_known"), "the host is known", 20)
        farm.write("consul-token", wrong + "\n")
        farm.agentd.kill()
        farm.start_agentd()
        wait_for(lambda: "cannot announce this host" in farm.agentd.tail(), "agentd says that it cannot register", 20)
        farm.scheduler.end()
        farm.write("scheduler.yaml", farm.scheduler_config().replace("leader_lock: {}", ""))  # it would stand by for ever
        farm.start_scheduler()
        wait_for(lambda: "403" in problem(farm), "the scheduler cannot read hosts with a wrong token", 20)
        for program in (farm.scheduler, farm.agentd):
            text = pathlib.Path(program.log).read_text()
            expect(not [secret for secret in secrets if secret in text], f"a token is in {program.name}'s log")


if __name__ == "__main__":
    sys.exit(checks.run([the_examples_are_good_configurations, the_demo_runs_over_consul,
                         a_host_registers_its_capacity_and_leaves_when_it_ends, a_silent_host_is_unseen_and_comes_back,
                         a_killed_host_is_unseen_not_departed, consul_away_in_the_middle_of_builds,
                         a_host_that_consul_forgot_stays_while_it_answers, a_host_with_a_critical_check_goes_on_while_it_answers,
                         a_host_that_left_with_a_build_running_is_unseen_until_it_is_back,
                         tokens_are_needed_used_and_kept_out_of_logs, https_with_a_private_ca]))
