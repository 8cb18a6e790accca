#!/usr/bin/env python3
"""What a repository, a disk or a catalogue can get wrong: one clear error on that image, nothing left, the rest undisturbed."""
import io
import os
import resource
import signal
import subprocess
import sys
import tarfile

from host import Host, Skip, checks, expect, image, tar_of, wait_for
from repository import Repository, sha256

CONTENT = b"golden " * 40_000  # 280,000 bytes: more than one piece


class Stage:
    """A host with an image that is broken as the check likes, and one that is as it should be."""

    def __init__(self, **more):
        self.repository = Repository()
        self.repository.put("good/disk", b"good" * 10_000)
        self.repository.put("bad/disk", CONTENT)
        url = self.repository.url
        self.host = Host([image("bad", "1", url("bad/"), {"disk": CONTENT}, format="vm"),
                          image("good", "1", url("good/"), {"disk": b"good" * 10_000}, format="vm")], **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.host.end()
        self.repository.end()

    def break_it(self, kind, value=None, times=None):
        self.repository.break_it("bad/disk", kind, value, times)

    def expect_problem(self, *texts, limit_s=30):
        seen = self.host.wait_for_problem("bad@1", texts[0], limit_s)
        for text in texts[1:]:
            expect(text in seen["problem"] + "; " + seen["hint"], f"{text!r} is not in {seen['problem']}; {seen['hint']}")
        self.host.wait_for_state("good@1", "ready")
        expect(self.host.metrics()['skep_image_ready{image="bad@1"}'] == 0, "it is not offered")
        return seen

    def parts(self):
        return [name for name in self.host.left_in("making") if name.endswith((".part", ".etag"))]

    def heal(self):
        self.repository.mend("bad/disk")
        expect(self.host.pull("bad@1")[0] == 202, "pull is taken on")
        self.host.wait_for_state("bad@1", "ready")
        expect(self.host.left_in("making") == [], f"left: {self.host.left_in('making')}")


def statuses_are_told_apart():
    for status, text, hint in ((404, "answered with 404", "under that name"), (401, "answered with 401", "credentials"),
                               (403, "answered with 403", "credentials"), (500, "answered with 500", ""), (503, "503", "")):
        with Stage() as stage:
            stage.break_it("status", status)
            stage.host.start()
            seen = stage.expect_problem(text, hint)
            hopeless = status < 500
            expect((seen["retry_in_ms"] > 300_000) == hopeless, f"{status}: tried again in {seen['retry_in_ms']} ms")
            expect(stage.parts() == [], f"left: {stage.parts()}")
            if status in (404, 500):
                stage.heal()


def a_redirect_is_not_followed():
    elsewhere = Repository()
    elsewhere.put("disk", CONTENT)
    try:
        with Stage() as stage:
            stage.break_it("redirect", elsewhere.url("disk"))
            stage.host.start()
            stage.expect_problem("a redirect to " + elsewhere.url("disk"), "not followed")
            expect(elsewhere.requests == [], "nobody was asked elsewhere")
    finally:
        elsewhere.end()


def a_flipped_bit_is_seen_and_nothing_is_kept():
    with Stage() as stage:
        stage.break_it("flip", 200_000)
        stage.host.start()
        stage.expect_problem("has the digest", sha256(CONTENT), "damaged on its way")
        expect(stage.parts() == [], f"left: {stage.parts()}")
        stage.heal()


def another_file_under_that_name_is_refused():
    with Stage() as stage:
        stage.break_it("swap", b"x" * len(CONTENT))
        stage.host.start()
        stage.expect_problem("has the digest")
    for wrong in (b"short", CONTENT + b"x"):
        with Stage() as stage:
            stage.break_it("swap", wrong)
            stage.host.start()
            stage.expect_problem(f"has {len(wrong)} bytes")
            expect(stage.parts() == [], f"left: {stage.parts()}")


def what_broke_off_is_gone_on_with():
    with Stage() as stage:
        stage.break_it("close", 100_000, times=1)
        stage.host.start()
        stage.expect_problem("broke off after 100000")
        expect(sorted(part.split("/")[-1] for part in stage.parts()) == ["disk.etag", "disk.part"], f"kept: {stage.parts()}")
        stage.heal()
        second = stage.repository.seen("bad/disk")[1]
        expect(second["range"] == "bytes=100000-" and second["if_range"].startswith('"'), f"resumed: {second}")
        got = stage.host.metrics()["skep_image_fetched_bytes_total"]
        expect(got == len(CONTENT) + 40_000, f"no byte came twice: {got}")


def a_server_without_range_or_with_another_file_starts_over():
    for kind in ("ignore_range", "no_etag"):
        with Stage() as stage:
            stage.break_it("close", 100_000, times=1)
            stage.host.start()
            stage.expect_problem("broke off")
            stage.break_it(kind)
            expect(stage.host.pull("bad@1")[0] == 202, "pull")
            stage.host.wait_for_state("bad@1", "ready")
    with Stage() as stage:  # the file was another one, and is the right one now
        stage.repository.put("bad/disk", b"y" * len(CONTENT))
        stage.break_it("close", 100_000, times=1)
        stage.host.start()
        stage.expect_problem("broke off")
        stage.repository.put("bad/disk", CONTENT)
        stage.heal()
    with Stage() as stage:  # the part on the disk was spoilt, the ETag is the same
        stage.break_it("close", 100_000, times=1)
        stage.host.start()
        stage.expect_problem("broke off")
        part = next(stage.host.images.glob("making/*/files/disk.part"))
        with open(part, "r+b") as file:
            file.seek(50_000)
            file.write(b"spoilt")
        stage.heal()
        expect([each["range"] for each in stage.repository.seen("bad/disk")] == ["", "bytes=100000-", ""], "then from the beginning")


def a_server_that_falls_silent_is_left():
    with Stage() as stage:
        stage.break_it("stall", 100_000)
        stage.host.start()
        stage.expect_problem("fell silent after 100000 bytes", limit_s=40)
        stage.heal()
    with Stage(fetch={"timeout": "1s"}) as stage:
        stage.break_it("stall", 100_000)
        stage.host.start()
        stage.expect_problem("did not come whole within 1 s")


def nobody_listens():
    with Stage() as stage:
        closed = Repository()
        url = closed.url("bad/")
        closed.end()
        stage.host.catalogue[0]["url"] = url
        stage.host.write_config()
        stage.host.start()
        stage.expect_problem("cannot connect to 127.0.0.1")


def a_full_disk_leaves_nothing():
    with Stage() as stage:
        stage.repository.put("bad/disk", CONTENT)

        def limits():  # as a full disk: files may not grow beyond this
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

        stage.host.start(limits)
        stage.expect_problem("cannot write", "make room on that disk")
        expect(stage.host.left_in("making") == [], f"left: {stage.host.left_in('making')}")
        stage.host.kill()
        stage.host.start()
        stage.heal()


def a_real_full_disk():
    folder = "/tmp/skep-images-full-" + str(os.getpid())
    os.mkdir(folder)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Skip(f"no file system can be mounted here: {done.stderr.strip()}")
        try:
            with Stage(folder=folder) as stage:
                stage.host.start()
                stage.expect_problem("has", "bytes left", "make room")
                expect(stage.host.left_in("making") == [], f"left: {stage.host.left_in('making')}")
        finally:
            subprocess.run(["umount", folder], check=True)
    finally:
        os.rmdir(folder)


def a_tar_that_leads_out_is_refused():
    def special(**fields):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo("ok")
            entry.size = 2
            tar.addfile(entry, io.BytesIO(b"ok"))
            entry = tarfile.TarInfo(fields.pop("name", "bad"))
            for key, value in fields.items():
                setattr(entry, key, value)
            tar.addfile(entry)
        return out.getvalue()

    tars = {"up": (special(name="../escaped"), "leads out of its folder"),
            "absolute": (special(name="/escaped"), "leads out of its folder"),
            "link": (special(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "leads out of its folder"),
            "deep-link": (special(name="a/b", type=tarfile.SYMTYPE, linkname="../../x"), "leads out of its folder"),
            "hard-link": (special(type=tarfile.LNKTYPE, linkname="../../../secret"), "leads out of its folder"),
            "device": (special(type=tarfile.CHRTYPE, devmajor=1, devminor=3), "is no file, folder or link"),
            "pipe": (special(type=tarfile.FIFOTYPE), "is no file, folder or link"),
            "through": (tar_of({"d/escaped": (0o644, b"x")}, {"d": "."}, ""), "both a link and something else"),
            "bomb": (tar_of({"zeros": (0o644, bytes(3_000_000))}), "unpacks to more than 1000000 bytes"),
            "cut": (tar_of({"a": (0o644, os.urandom(100_000))})[:60_000], "cannot be unpacked"),
            "noise": (os.urandom(5000), "cannot be unpacked")}
    repository = Repository()
    for name, (content, _) in tars.items():
        repository.put(f"{name}/base.tar", content)
    host = Host([image(name, "1", repository.url(f"{name}/"), {"base.tar": content}, unpacked_bytes="1000000")
                 for name, (content, _) in tars.items()])
    (host.folder / "secret").write_text("secret\n")
    try:
        host.start()
        for name, (_, text) in tars.items():
            host.wait_for_problem(f"{name}@1", text)
        trees = [each for each in host.left_in("making") if "/tree" in each]
        expect(trees == [] and host.left_in("ready") == [], f"left: {trees}")
        escaped = [p for p in host.folder.rglob("escaped")]
        expect(escaped == [], f"escaped: {escaped}")
    finally:
        host.end()
        repository.end()


def a_copy_that_was_changed_is_started_no_more_and_fetched_again():
    with Stage(verify_every="0s") as stage:
        stage.host.start()
        stage.host.wait_for_state("bad@1", "ready")
        disk = next(stage.host.images.glob("ready/bad@1-*/files/disk"))
        disk.chmod(0o644)
        with open(disk, "r+b") as file:
            file.seek(1000)
            file.write(b"\xff")
        stage.host.call("v1/images/bad@1/verify", "POST")
        wait_for(lambda: stage.host.metrics()["skep_image_verify_failures_total"] == 1, "it is seen", 20)
        stage.host.wait_for_state("bad@1", "ready")
        expect(next(stage.host.images.glob("ready/bad@1-*/files/disk")).read_bytes() == CONTENT, "it is as it was")
        expect(len(stage.repository.seen("bad/disk")) == 2, "fetched again")
        expect("changed on this host" in stage.host.tail(), "the log tells")


def a_folder_has_one_owner():
    with Stage() as stage:
        stage.host.start()
        other = Host([], folder=stage.host.images)
        try:
            other.start()
            raise AssertionError("a second agentd started with the same folder")
        except Exception as failure:  # noqa: BLE001: what it says is looked at
            expect("is in use" in str(failure), f"{failure}")
        finally:
            other.process.wait(30)
            other.process.stdout.close()
            other.process = None
            other.end()


if __name__ == "__main__":
    sys.exit(checks.run([statuses_are_told_apart, a_redirect_is_not_followed, a_flipped_bit_is_seen_and_nothing_is_kept,
                         another_file_under_that_name_is_refused, what_broke_off_is_gone_on_with,
                         a_server_without_range_or_with_another_file_starts_over, a_server_that_falls_silent_is_left,
                         nobody_listens, a_full_disk_leaves_nothing, a_real_full_disk, a_tar_that_leads_out_is_refused,
                         a_copy_that_was_changed_is_started_no_more_and_fetched_again, a_folder_has_one_owner]))
