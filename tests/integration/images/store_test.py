#!/usr/bin/env python3
"""Images from a repository to an executor: pulled, proven, offered, held while in use, removed for room."""
import stat
import sys

from host import Host, checks, expect, image, tar_of, wait_for
from repository import Repository

TREE = {"bin/tool": (0o755, b"#!/bin/sh\necho golden\n"), "etc/motd": (0o644, b"hello\n"), "big": (0o644, bytes(300_000))}


def executors_start_from_a_pulled_image():
    repository = Repository(user="reader", password="p w")
    content = tar_of(TREE, {"usr-bin": "bin", "etc/again": "../etc/motd"})
    repository.put("raw/base/1/base.tar.gz", content)
    host = Host([image("base", "1", repository.url("raw/base/1/"), {"base.tar.gz": content})])
    (host.folder / "who").write_text("reader:p w\n")
    (host.folder / "who").chmod(0o600)
    host.fetch = {"credentials_file": str(host.folder / "who")}
    host.write_config()
    try:
        host.start()
        before = host.wait_for_state("base@1", "ready")
        host.wait_until_offered("base")
        host.wait_until_offered("base@1")
        expect(before["references"] == ["base@1", "base"], f"references {before['references']}")
        answer = host.folder / "answer"
        # A build changes what it likes; its image must not notice.
        command = f"bin/tool > {answer}.1; cat usr-bin/tool etc/again > {answer}; echo evil > bin/tool; rm -r etc; exec sleep 1000"
        status, body = host.order("e1", "base", command)
        expect(status == 202, f"order answered {status} {body}")
        wait_for(lambda: answer.exists() and answer.read_text() == "#!/bin/sh\necho golden\nhello\n", "the build ran", 20)
        expect((host.folder / "answer.1").read_text() == "golden\n", "the tool of the image runs")
        expect(host.image("base@1")["in_use_by"] == ["e1"], "it is held")
        host.kill()
        host.start()  # the hold outlives agentd
        host.wait_for_state("base@1", "ready")
        expect(host.image("base@1")["in_use_by"] == ["e1"], "it is held after a restart")
        expect(host.call("v1/images/base/verify", "POST")[0] == 202, "verify is taken on")
        wait_for(lambda: host.metrics()["skep_image_verifications_total"] == 1, "verified", 20)
        after = host.image("base@1")
        expect(after["state"] == "ready" and after["digest"] == before["digest"], f"changed: {after}")
        expect(host.metrics()["skep_image_verify_failures_total"] == 0, "its digest is the same")
        wait_for(lambda: host.executor("e1"), "e1 is adopted", 20)
        host.destroy("e1")
        expect(host.image("base@1")["in_use_by"] == [] and host.left_in("holds") == [], "the hold ends with the executor")
        expect(len(repository.seen("raw/base/1/base.tar.gz")) == 1, "it was fetched once")
    finally:
        host.end()
        repository.end()


def files_of_a_machine_are_read_only_and_together():
    repository = Repository()
    files = {"disk.qcow2": b"Q" * 200_000, "kernel": b"K" * 5000}
    for name, content in files.items():
        repository.put("vm/" + name, content)
    host = Host([image("guest", "1.0", repository.url("vm/"), files, format="vm"),
                 image("other", "1", repository.url("vm/"), {"kernel": files["kernel"]}, format="vm", channel="edge", prefetch=False)])
    try:
        host.start()
        ready = host.wait_for_state("guest@1.0", "ready")
        folder = next(host.images.glob("ready/guest@1.0-*/files"))
        for name, content in files.items():
            path = folder / name
            expect(path.read_bytes() == content, f"{name} is as it was")
            expect(stat.S_IMODE(path.stat().st_mode) == 0o444, f"{name} is read-only")
        expect(ready["bytes"] == 205_000, f"bytes {ready['bytes']}")
        expect(host.offered() == [], "the process driver does not offer what it cannot start")
        status, body = host.order("e1", "guest", "true")
        expect(status == 202, f"{status} {body}")
        failed = wait_for(lambda: (e := host.executor("e1")) and e["state"] == "failed" and e, "e1 fails", 20)
        expect("format vm" in failed["message"], failed["message"])
        expect(host.image("other@1")["state"] == "absent", "on demand only")
        expect(host.pull("other")[0] == 202, "pull")
        host.wait_for_state("other@1", "ready")
    finally:
        host.end()
        repository.end()


def what_is_not_there_is_refused_with_the_reason():
    repository = Repository()
    content = tar_of(TREE)
    host = Host([image("base", "1", repository.url(), {"base.tar": content})])
    try:
        host.start()
        host.wait_for_problem("base@1", "404")
        wait_for(lambda: host.call("v1/executors")[1]["drivers"], "the driver was probed", 20)
        expect(host.offered() == [], "nothing is offered")
        host.order("e1", "base", "true")
        failed = wait_for(lambda: (e := host.executor("e1")) and e["state"] == "failed" and e, "e1 fails", 20)
        expect("cannot be started yet: it is waiting" in failed["message"] and "404" in failed["message"], failed["message"])
        host.order("e2", "bose", "true")
        failed = wait_for(lambda: (e := host.executor("e2")) and e["state"] == "failed" and e, "e2 fails", 20)
        expect('image "bose" is not on this host' in failed["message"], failed["message"])
        status, body = host.pull("bas@1")
        expect(status == 404 and "did you mean base@1?" in body["error"]["hint"], f"{status} {body}")
        expect(host.call("v1/images/base/verify", "POST")[0] == 409, "nothing to verify")
    finally:
        host.end()
        repository.end()


def room_is_made_by_what_nobody_wants():
    repository = Repository()
    contents = {version: bytes([version]) * 400_000 for version in (1, 2, 3)}
    for version, content in contents.items():
        repository.put(f"{version}/disk", content)

    def entry(version, **more):
        return image("vm", str(version), repository.url(f"{version}/"), {"disk": contents[version]}, format="vm", **more)

    host = Host([entry(1)], max_bytes="1000000")
    try:
        host.start()
        host.wait_for_state("vm@1", "ready")
        host.kill()
        host.catalogue = [entry(2)]
        host.write_config()
        host.start()
        host.wait_for_state("vm@2", "ready")
        old = host.image("vm@1")
        expect(old["state"] == "ready" and not old["is_wanted"], f"the old one stays while there is room: {old}")
        host.kill()
        host.catalogue = [entry(2), entry(3, channel="canary")]
        host.write_config()
        host.start()
        host.wait_for_state("vm@3", "ready")
        expect(host.image("vm@1") is None, "the unwanted one made room")
        expect(host.image("vm@2")["state"] == "ready", "the wanted one stays")
        wait_for(lambda: host.left_in("leaving") == [], "it is removed", 20)
        numbers = host.metrics()
        expect(numbers["skep_image_evictions_total"] == 1, "one went")
        expect(numbers["skep_image_cache_bytes"] == 800_000, f"{numbers['skep_image_cache_bytes']}")
    finally:
        host.end()
        repository.end()


if __name__ == "__main__":
    sys.exit(checks.run([executors_start_from_a_pulled_image, files_of_a_machine_are_read_only_and_together,
                         what_is_not_there_is_refused_with_the_reason, room_is_made_by_what_nobody_wants]))
