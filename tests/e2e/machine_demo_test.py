#!/usr/bin/env python3
"""The demo in virtual machines of the tiny guest: all builds, and agentd killed on the way."""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from demo_test import demo, ended  # noqa: E402: the path is set above; it sets more
import checks  # noqa: E402
from checks import Skip, expect  # noqa: E402
from farm import BIN, STAND_INS, Farm, wait_for  # noqa: E402
from machines_of_farm import MachinesOfFarm, tiny_image  # noqa: E402

cannot_run = []


def need():
    """Once: can a machine run here?"""
    if not cannot_run:
        machines = MachinesOfFarm(BIN, STAND_INS)
        machines.start()
        cannot_run.append(machines.skipped)
        machines.end()
    if cannot_run[0]:
        raise Skip(cannot_run[0])


def all_builds_in_machines():
    need()
    demo("--driver", "qemu", "--limit", "220", builds=10)


def a_killed_agentd_finds_its_machines_again():
    """Killed while builds run, and once more while machines are made: the builds end well, each in its first machine."""
    need()
    farm = Farm(one_build="gate", driver="qemu", maximum=2, max_executors=2)
    try:
        farm.start()
        farm.sim("jobs", "POST", {"path": "work", "kind": "freestyle", "label": "linux", "duration_ms": 5000, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "work", "count": 4, "distinct": True})

        def machines():
            return {pid for pid, command in farm.processes() if "qemu-system" in command and "guest=skep-template" not in command}

        wait_for(lambda: len([b for b in farm.sim("truth")["builds"] if b["started_at_ms"]]) == 2, "two builds run", 120)
        before = machines()
        expect(len(before) == 2, f"machines: {before}")
        farm.agentd.kill()
        farm.start_agentd()
        wait_for(lambda: [h for h in farm.api("v1/hosts") if h["is_known"]], "the host is known again", 30)
        expect(before <= machines(), "a machine went with agentd")
        wait_for(lambda: any(e["state"] in ("creating", "destroying") for e in farm.api("v1/executors")), "machines come or go", 60, 0.01)
        farm.agentd.kill()
        farm.start_agentd()
        truth = wait_for(lambda: (t := ended(farm)) and len(t["builds"]) >= 4 and t, "all builds have run", 180, 0.3)
        expect({b["result"] for b in truth["builds"]} == {"SUCCESS"}, f"a build was hurt: {truth['builds']}")
        expect(len({b["node"] for b in truth["builds"]}) == 4, f"an executor served two builds: {truth['builds']}")
        wait_for(lambda: not farm.leaks(), "nothing is left over", 90)
    except BaseException:
        print(f"--- end of agentd's log\n{farm.agentd.tail() if farm.agentd else ''}")
        raise
    finally:
        farm.end()


def the_tiny_guest_is_the_same_each_time_and_its_configuration_is_good():
    need()
    with tempfile.TemporaryDirectory(prefix="skep-tiny-") as folder:
        folder = pathlib.Path(folder)
        builder = tiny_image.load_builder()
        one, two = builder.build(folder / "one", STAND_INS), builder.build(folder / "two", STAND_INS)
        for key in ("kernel", "initrd", "disk"):
            expect(one[key] == two[key], f"{key} differs: {one[key]} {two[key]}")
        text = f"state_dir: {folder}\nregistry: {{type: none}}\ndrivers:\n  qemu:\n    images:\n{builder.snippet(one)}"
        (folder / "agentd.yaml").write_text(text)
        checked = subprocess.run([BIN / "skep", "config", "check", "--agentd", folder / "agentd.yaml"], capture_output=True, text=True, check=False)
        expect(checked.returncode == 0, f"{checked.stdout}{checked.stderr}\n{text}")


if __name__ == "__main__":
    sys.exit(checks.run([the_tiny_guest_is_the_same_each_time_and_its_configuration_is_good, all_builds_in_machines, a_killed_agentd_finds_its_machines_again]))
