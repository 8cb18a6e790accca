#!/usr/bin/env python3
"""From a repository to an executor in namespaces: its root is the tree that agentd fetched, proved and holds."""
import json
import os
import pathlib
import sys

from host import BIN, Host, Skip, checks, expect, image, tar_of, wait_for
from repository import Repository

TREE = {"opt/tool": (0o755, b"#!/bin/sh\necho golden\n"), "etc/motd": (0o644, b"hello\n"), "etc/passwd": (0o644, b"root:x:0:0::/:/bin/sh\n")}
BINDS = [path for path in ("/usr", "/bin", "/lib", "/lib64") if pathlib.Path(path).exists()] + [f"{BIN}:/skep/bin"]


def host_of(repository, content, **more):
    drivers = {"process": {"enabled": False}, "namespaces": {"binds": BINDS, "join_program": "/skep/bin/skep-join", **more}}
    return Host([image("root", "1", repository.url("root/1/"), {"root.tar.gz": content})], drivers=drivers)


def need(host):
    """The daemon says why it cannot."""
    wait_for(lambda: host.call("v1/executors")[1]["drivers"] or "is not usable" in host.log.read_text(), "the driver was probed", 30)
    if not host.call("v1/executors")[1]["drivers"]:
        raise Skip(host.tail()[-400:])


def script(mark):
    return (f"/opt/tool > out; cat /etc/motd >> out; echo {mark} > /etc/motd; rm /opt/tool; echo {mark} > /tmp/{mark}; "
            f"(setsid env -i sleep 1001 {mark} &); mv out done; echo INFO: Connected >&2; exec sleep 1000")


def processes_with(mark):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            pass
    return found


def executors_start_from_a_pulled_root():
    repository = Repository()
    content = tar_of(TREE)
    repository.put("root/1/root.tar.gz", content)
    host = host_of(repository, content)
    mark = f"skepmark{os.getpid()}"
    try:
        host.start()
        need(host)
        before = host.wait_for_state("root@1", "ready")
        host.wait_until_offered("root@1")
        work = host.folder / "state/namespaces"
        for executor in ("e1", "e2"):
            status, body = host.order(executor, "root", script(mark), driver="namespaces")
            expect(status == 202, f"{status} {body}")
            done = work / executor / "upper/skep/work/done"
            wait_for(done.exists, f"the build of {executor} ran", 30)
            expect(done.read_text() == "golden\nhello\n", f"{executor} saw {done.read_text()!r}")  # e2 nothing of e1's
        expect(sorted(host.image("root@1")["in_use_by"]) == ["e1", "e2"], "it is held")
        host.kill()
        expect(len(processes_with(mark)) >= 2, "executors outlive agentd")
        host.start()
        wait_for(lambda: all((e := host.executor(name)) and e["agent"] == "connected" for name in ("e1", "e2")), "both are adopted", 30)
        expect(sorted(host.image("root@1")["in_use_by"]) == ["e1", "e2"], "it is held after agentd was killed")
        host.call("v1/images/root/verify", "POST")
        wait_for(lambda: host.metrics()["skep_image_verifications_total"] == 1, "verified", 20)
        after = host.image("root@1")
        expect(after["state"] == "ready" and after["digest"] == before["digest"], f"changed: {after}")
        for executor in ("e1", "e2"):
            host.destroy(executor)
        expect(processes_with(mark) == [], f"left: {processes_with(mark)}")
        expect(host.image("root@1")["in_use_by"] == [] and host.left_in("holds") == [], "holds end with the executors")
        left = [path.name for path in work.iterdir() if not path.name.startswith(".owner-")]
        expect(left == [], f"left: {left}")
    finally:
        host.end()
        repository.end()


def what_a_host_does_not_allow_is_refused_by_name():
    repository = Repository()
    content = tar_of(TREE)
    repository.put("root/1/root.tar.gz", content)
    host = host_of(repository, content, networks=["host"])
    try:
        host.start()
        need(host)
        host.wait_until_offered("root@1")
        host.order("e1", "root", "true", driver="namespaces", network="none")
        failed = wait_for(lambda: (e := host.executor("e1")) and e["state"] == "failed" and e, "it is refused", 30)
        expect("not allowed on this host" in failed["message"], failed["message"])
        host.kill()
        config = json.loads((host.folder / "agentd.yaml").read_text())
        config["drivers"]["namespaces"]["binds"].append("/nowhere/to/be/found")
        (host.folder / "agentd.yaml").write_text(json.dumps(config))
        host.start()
        wait_for(lambda: "cannot bind /nowhere/to/be/found" in host.log.read_text(), "the log names the bind", 30)
        expect(host.call("v1/executors")[1]["drivers"] == [], "the driver is not offered")
        status, body = host.order("e2", "root", "true", driver="namespaces")
        expect(status != 202 and "cannot bind /nowhere" in json.dumps(body), f"{status} {body}")
    finally:
        host.end()
        repository.end()


if __name__ == "__main__":
    sys.exit(checks.run([executors_start_from_a_pulled_root, what_a_host_does_not_allow_is_refused_by_name]))
