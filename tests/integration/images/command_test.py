#!/usr/bin/env python3
"""`skep images` through a real scheduler to real hosts: tables, JSON, progress on a terminal, exit codes."""
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile

from host import BIN, ENVIRONMENT, Host, checks, die_with_us, expect, image, tar_of, wait_for
from farm import SOURCE  # noqa: E402: host.py set the path
from repository import Repository

TREE = tar_of({"hello": (0o644, b"hello\n")})
DISK = b"disk" * 50_000


class Farm:
    """A scheduler whose controller is away, which is of no account here, and two hosts that announce themselves."""

    def __init__(self):
        self.repository = Repository()
        self.repository.put("base/1/base.tar.gz", TREE)
        self.repository.put("vm/disk", DISK)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-images-farm-"))
        (self.folder / "token").write_text("t\n")
        (self.folder / "token").chmod(0o600)
        config = {"farm": "f", "listen": "127.0.0.1:0", "state_dir": str(self.folder / "state"), "registry": {"type": "embedded"},
                  "controllers": [{"name": "main", "url": "http://127.0.0.1:1/", "user": "u", "token_file": str(self.folder / "token")}],
                  "templates": [{"name": "linux", "labels": ["linux"], "driver": "process", "image": "base",
                                 "resources": {"cpu": 0.5, "memory": "64MiB"}, "maximum": 1}]}
        (self.folder / "scheduler.yaml").write_text(json.dumps(config))
        (self.folder / "state").mkdir()
        with open(self.folder / "scheduler.log", "ab") as log:
            self.scheduler = subprocess.Popen([BIN / "skep-scheduler", "--config", self.folder / "scheduler.yaml", "--print-url"],
                                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, preexec_fn=die_with_us)
        self.url = json.loads(self.scheduler.stdout.readline())["listening"]
        self.hosts = []
        for name in ("h1", "h2"):
            url = self.repository.url
            host = Host([image("base", "1", url("base/1/"), {"base.tar.gz": TREE}),
                         image("guest", "7", url("vm/"), {"disk": DISK}, format="vm", prefetch=False)])
            text = json.loads((host.folder / "agentd.yaml").read_text())
            text.update(host=name, registry={"type": "embedded", "scheduler_url": self.url})
            (host.folder / "agentd.yaml").write_text(json.dumps(text))
            self.hosts.append(host.start())

    def __enter__(self):
        wait_for(lambda: len(json.loads(self.skep("hosts", "-o", "json")[1])) == 2, "both hosts are known", 20)
        for host in self.hosts:
            host.wait_for_state("base@1", "ready")
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            host.end()
        self.scheduler.send_signal(signal.SIGKILL)
        self.scheduler.wait(20)
        self.scheduler.stdout.close()
        shutil.rmtree(self.folder)
        self.repository.end()

    def skep(self, *arguments):
        done = subprocess.run([BIN / "skep", "--server", self.url, *arguments], env=ENVIRONMENT, capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def on_terminal(self, *arguments, mark, then):
        """(exit code, what its standard error showed on a terminal); calls `then` when it showed `mark`"""
        main, side = pty.openpty()
        process = subprocess.Popen([BIN / "skep", "--server", self.url, *arguments], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=side)
        os.close(side)
        text = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
            if mark in text.decode():
                then()
        os.close(main)
        return process.wait(30), text.decode()


def images_are_listed_pulled_and_verified():
    with Farm() as farm:
        code, out, err = farm.skep("images", "list")
        expect(code == 0 and err == "", f"{code} {err}")
        lines = [line.split() for line in out.splitlines()]
        expect(lines[0] == ["IMAGE", "HOST", "STATE", "CHANNEL", "SIZE", "IN", "USE", "VERIFIED"], out)
        expect(sorted(line[:4] for line in lines[1:]) == [["base@1", "h1", "ready", "stable"], ["base@1", "h2", "ready", "stable"],
                                                          ["guest@7", "h1", "absent", "stable"], ["guest@7", "h2", "absent", "stable"]], out)
        code, out, err = farm.skep("images", "pull", "guest", "--host", "h1", "--wait")
        expect((code, out, err) == (0, "guest@7 on h1: ready\n", ""), f"{code} {out} {err}")
        code, out, _ = farm.skep("images", "list", "--host", "h1", "-o", "json")
        hosts = json.loads(out)["hosts"]
        expect([h["host"] for h in hosts] == ["h1"] and {i["state"] for i in hosts[0]["images"]} == {"ready"}, out)
        code, out, err = farm.skep("images", "verify", "base@1", "--all", "--wait")
        expect((code, err) == (0, "") and sorted(out.splitlines()) == ["base@1 on h1: verified", "base@1 on h2: verified"], f"{code} {out} {err}")
        expect(all(h.metrics()["skep_image_verifications_total"] == 1 for h in farm.hosts), "they were read")


def the_example_is_a_good_file():
    file = str(SOURCE / "docs/examples/agentd-images.yaml")
    done = subprocess.run([BIN / "skep", "config", "check", "--agentd", file], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, done.stdout + done.stderr)


def what_goes_wrong_has_its_exit_code():
    with Farm() as farm:
        expect(farm.skep("images", "pull", "base")[0] == 2, "no host was named")
        code, _, err = farm.skep("images", "pull", "bas@1", "--host", "h1")
        expect(code == 4 and "did you mean base@1?" in err, f"{code} {err}")
        code, _, err = farm.skep("images", "pull", "base", "--host", "h7")
        expect(code == 4 and "no host is called h7" in err, f"{code} {err}")
        code, _, err = farm.skep("images", "verify", "guest", "--host", "h1")
        expect(code == 7 and "it is absent" in err, f"{code} {err}")
        farm.repository.break_it("vm/disk", "status", 404)
        code, _, err = farm.skep("images", "pull", "guest", "--host", "h1", "--wait")
        expect(code == 1 and "answered with 404" in err, f"{code} {err}")
        code, out, _ = farm.skep("images", "list")
        expect(code == 0 and "! guest@7 on h1: " in out and "404" in out, out)
        farm.hosts[1].kill()
        code, out, err = farm.skep("images", "list")
        expect(code == 1 and "agentd on h2" in err and "base@1" in out, f"{code} {out} {err}")


def who_waits_sees_progress_and_a_limit():
    with Farm() as farm:
        farm.repository.break_it("vm/disk", "stall", 100_000)
        code, _, err = farm.skep("images", "pull", "guest", "--host", "h1", "--wait", "--timeout", "500ms")
        expect(code == 5 and "it goes on without this command" in err, f"{code} {err}")
        expect(farm.hosts[0].image("guest@7")["done_bytes"] == 100_000, "half of it came")
        code, out, _ = farm.skep("images", "list", "--host", "h1")
        expect("fetching 50 %" in out, out)
        farm.repository.go_on.set()
        farm.hosts[0].wait_for_state("guest@7", "ready")
        farm.repository.go_on.clear()
        farm.repository.break_it("vm/disk", "stall", 100_000, times=1)
        half = "[###############               ] 50 % of 195"
        code, text = farm.on_terminal("images", "pull", "guest", "--host", "h2", "--wait", mark=half, then=farm.repository.go_on.set)
        expect(code == 0 and half in text, f"{code} {text!r}")


if __name__ == "__main__":
    sys.exit(checks.run([the_example_is_a_good_file, images_are_listed_pulled_and_verified, what_goes_wrong_has_its_exit_code, who_waits_sees_progress_and_a_limit]))
