#!/usr/bin/env python3
"""From a repository to a virtual machine: real QEMU and the tiny guest, whose files agentd fetches."""
import hashlib
import json
import pathlib
import sys

from host import BIN, Host, Skip, checks, expect, image, wait_for
from repository import Repository

from machines_of_farm import MachinesOfFarm  # tests/demo, whose path host.py has set

AGENT = "echo INFO: Connected >&2; exec sleep 1000"


class Bench:
    """A repository with the tiny guest, and a host that fetches it."""

    def __init__(self, leave_out=(), manifest=None):
        self.machines = MachinesOfFarm(BIN, BIN)
        self.machines.start()
        if self.machines.skipped:
            self.machines.end()
            raise Skip(self.machines.skipped)
        self.repository = Repository()
        try:
            tiny, built = self.machines.image, pathlib.Path(self.machines.image["folder"])
            self.files = {tiny[part]["file"]: (built / tiny[part]["file"]).read_bytes() for part in ("kernel", "initrd", "disk")}
            parts = {part: tiny[part]["file"] for part in ("kernel", "initrd", "disk")}
            self.files["vm.json"] = json.dumps(manifest or {**parts, "command_line": tiny["command_line"]}).encode()
            for name in leave_out:
                del self.files[name]
            for name, content in self.files.items():
                self.repository.put("guest/1/" + name, content)
            drivers = {"process": {"enabled": False},
                       "qemu": {"root": self.machines.folder + "/vms", "accelerator": "tcg", "networks": ["none"], "first_user": 73000,
                                "users": 8}}
            self.host = Host([image("guest", "1", self.repository.url("guest/1/"), self.files, format="vm")], drivers=drivers)
        except BaseException:
            self.end()
            raise

    def order(self, executor, start):
        status, body = self.host.order(executor, "guest@1", AGENT, driver="qemu", start=start,
                                       resources={"cpu_millis": 500, "memory_bytes": 96 << 20, "disk_bytes": 0, "countable": {}})
        expect(status == 202, f"{status} {body}")

    def start(self, executor, start):
        self.order(executor, start)

        def connected():
            seen = self.host.executor(executor)
            expect(seen is None or seen["state"] != "failed", f"{executor} failed: {seen}")
            return seen and seen["agent"] == "connected"
        wait_for(connected, f"the agent in {executor} is connected", 120, 0.05)

    def records(self):
        return {path.parent.name: json.loads(path.read_text()) for path in pathlib.Path(self.machines.folder).glob("vms/run/*/record.json")}

    def templates(self):
        return [path.parent for path in pathlib.Path(self.machines.folder).glob("vms/owner-*/warm/*/ram")]

    def digests(self):
        folder = next(self.host.images.glob("ready/guest@1-*/files"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    def end(self):
        if hasattr(self, "host"):
            self.host.end()
        self.repository.end()
        self.machines.end()


def machines_start_from_a_pulled_image_and_hold_it():
    bench = Bench()
    host = bench.host
    try:
        bench.repository.break_it("guest/1/disk.qcow2", "stall", 1000)
        host.start()
        host.wait_for_state("guest@1", "fetching")
        wait_for(lambda: host.call("v1/executors")[1]["drivers"], "the driver was probed", 30)
        expect(host.offered() == [], f"what is not there is not offered: {host.offered()}")
        bench.order("early", "cold")
        failed = wait_for(lambda: (e := host.executor("early")) and e["state"] == "failed" and e, "it is refused", 30)
        expect("cannot be started yet: it is fetching" in failed["message"], failed["message"])
        bench.repository.mend("guest/1/disk.qcow2")
        host.wait_for_state("guest@1", "ready", 60)
        host.wait_until_offered("guest@1")
        before = bench.digests()
        expect(before == {name: hashlib.sha256(content).hexdigest() for name, content in bench.files.items()}, "it is what was published")
        bench.start("e1", "cold")
        bench.start("e2", "warm_clone")
        bench.start("e3", "warm_clone")
        expect("cloned from template" in bench.records()["e3"]["detail"], f"no clone: {bench.records()['e3']}")
        expect(sorted(host.image("guest@1")["in_use_by"]) == ["e1", "e2", "e3"], "it is held")
        host.kill()
        host.start()
        wait_for(lambda: all((e := host.executor(name)) and e["agent"] == "connected" for name in ("e1", "e2", "e3")), "all are adopted", 60)
        expect(sorted(host.image("guest@1")["in_use_by"]) == ["e1", "e2", "e3"], "it is held after agentd was killed")
        expect(host.call("v1/images/guest/verify", "POST")[0] == 202, "verify is taken on")
        wait_for(lambda: host.metrics()["skep_image_verifications_total"] == 1, "verified", 60)
        expect(host.metrics()["skep_image_verify_failures_total"] == 0, "its digest is the same")
        for name in ("e1", "e2", "e3"):
            host.destroy(name)
        wait_for(lambda: host.left_in("holds") == [], "holds end with the executors", 30)
        expect(bench.digests() == before, "the image was changed")
        expect(len(bench.templates()) == 1, f"templates: {bench.templates()}")
    finally:
        bench.end()


def a_template_goes_with_the_copy_that_it_was_made_from():
    bench = Bench()
    host = bench.host
    try:
        host.start()
        host.wait_for_state("guest@1", "ready", 60)
        host.wait_until_offered("guest@1")
        bench.start("e1", "warm_clone")
        [template] = bench.templates()
        inode = (template / "ram").stat().st_ino
        disk = next(host.images.glob("ready/guest@1-*/files/disk.qcow2"))
        disk.chmod(0o644)
        with open(disk, "r+b") as file:
            file.seek(300_000)
            file.write(b"changed by somebody")
        host.call("v1/images/guest/verify", "POST")
        host.wait_for_state("guest@1", "broken", 60)
        wait_for(lambda: host.offered() == [], "a broken copy is not offered", 30)
        wait_for(lambda: bench.templates() == [], "its template and the memory of it go", 30)
        bench.order("e2", "warm_clone")
        failed = wait_for(lambda: (e := host.executor("e2")) and e["state"] == "failed" and e, "it is refused", 30)
        expect("broken" in failed["message"], failed["message"])
        host.destroy("e1")
        host.wait_for_state("guest@1", "ready", 60)  # fetched again
        host.wait_until_offered("guest@1")
        bench.start("e3", "warm_clone")
        expect("cloned" in bench.records()["e3"]["detail"], f"no clone: {bench.records()['e3']}")
        expect([(path / "ram").stat().st_ino != inode for path in bench.templates()] == [True], "it was made anew")
        host.destroy("e3")
    finally:
        bench.end()


def what_is_no_machine_is_not_offered_and_the_reason_is_told():
    for leave_out, manifest, text in ((("vm.json",), None, "it has no file vm.json"),
                                      ((), {"kernel": "kernel", "initrd": "other"}, "which is not one of the image's files")):
        bench = Bench(leave_out, manifest)
        host = bench.host
        try:
            host.start()
            host.wait_for_state("guest@1", "ready", 60)
            wait_for(lambda host=host, text=text: text in host.log.read_text(), f"the log says {text!r}", 30)
            expect(host.offered() == [], f"offered: {host.offered()}")
            bench.order("e1", "cold")
            failed = wait_for(lambda: (e := host.executor("e1")) and e["state"] == "failed" and e, "it is refused", 30)
            expect(text in failed["message"], failed["message"])
            wait_for(lambda: host.left_in("holds") == [], "and holds nothing", 30)
        finally:
            bench.end()


if __name__ == "__main__":
    sys.exit(checks.run([machines_start_from_a_pulled_image_and_hold_it, a_template_goes_with_the_copy_that_it_was_made_from,
                         what_is_no_machine_is_not_offered_and_the_reason_is_told]))
