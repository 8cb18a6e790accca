#!/usr/bin/env python3
"""The tiny guest (scripts/images/tiny) and a folder for machines, for one test program or demo.

Answers with one line of JSON: {"folder", "kernel", "initrd", "disk", "command_line", "machines"} or {"skipped": why}. When standard input
ends, whatever runs from the folder is killed, and its filters, control groups and files are removed.
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_STAND_INS_DIR", os.environ.get("SKEP_BIN_DIR", TOP / "build/release/bin")))


def load_builder():
    loader = importlib.machinery.SourceFileLoader("tiny", str(TOP / "scripts/images/tiny"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tiny", loader))
    loader.exec_module(module)
    return module


def processes_of(folder):
    found = []
    mark = str(folder).encode()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if state != "Z":
                    found.append(int(entry.name))
        except OSError:
            pass
    return found


def records_of(folder):
    for path in folder.rglob("record.json"):
        try:
            yield json.loads(path.read_text())
        except (OSError, ValueError):
            pass


def tables():
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False,
                            env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"}).stdout
    return [line.split()[-1] for line in listed.splitlines() if "skep-vm-" in line]


def clean_up(folder):
    records = list(records_of(folder))
    for _ in range(100):
        running = processes_of(folder)
        if not running:
            break
        for pid in running:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.05)
    for record in records:
        if record.get("filter"):
            subprocess.run(["nft", "delete", "table", "inet", record["filter"]], capture_output=True, check=False,
                           env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"})
        for group in record.get("cgroups", []):
            try:
                os.rmdir(group)
            except OSError:
                pass
    shutil.rmtree(folder, ignore_errors=True)


def unavailable():
    for program in ("qemu-system-x86_64", "qemu-img"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "machines with users of their own need root"
    return ""


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the one sign
    folder = pathlib.Path(tempfile.mkdtemp(prefix="skep-vms-"))
    builder = load_builder()
    try:
        try:
            why = unavailable()
            answer = {"skipped": why} if why else {**builder.build(folder / "image", BIN), "machines": str(folder)}
        except (builder.Unavailable, OSError, subprocess.SubprocessError) as error:
            answer = {"skipped": f"no tiny guest: {error}"}
        print(json.dumps(answer), flush=True)
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    finally:
        clean_up(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
