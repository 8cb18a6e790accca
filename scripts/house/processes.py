"""Starts programs so that they can always be ended: process groups, time limits, and no orphan left behind.

The runner adopts orphans (PR_SET_CHILD_SUBREAPER): a program that a test left running becomes our child, is seen by
`end_leftovers`, reported and ended. Only processes that descend from this runner are ever signalled.
"""
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
HEARTBEAT_S = 30

_live = {}
_lock = threading.Lock()
_is_over = False


def adopt_orphans():
    """False where the system cannot; leftovers are then not seen."""
    try:
        return ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _end(process, patience_s=10):
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    _signal_group(process, signal.SIGKILL)
    process.wait()


def end_all():
    """Ends what runs; nothing is started any more."""
    global _is_over
    with _lock:
        _is_over = True
        processes = list(_live.values())
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    for process in processes:
        _end(process, 5)


def _leave_room_for_others(pid):
    """Where sessions share the processor, the nice value of one of their processes says nothing to the others."""
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("19", encoding="ascii")
    except OSError:
        pass


def run(argv, limit_s, cwd=None, env=None, log=None, name=None, is_background=False):
    """(exit status, whether the limit ended it). With `log` the output goes there, with `name` a heartbeat to stderr.
    In the background it takes what others leave of the processor."""
    argv = ["nice", "-n", "19", *argv] if is_background else argv
    stream = open(log, "ab") if log else None
    try:
        with _lock:  # so that end_all misses nothing
            if _is_over:
                return 130, False
            process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stream or None,
                                       stderr=subprocess.STDOUT if stream else None, start_new_session=True)
            _live[process.pid] = process
    except OSError as error:
        print(f"{argv[0]} could not be started: {error}", file=sys.stderr)
        return 127, False
    finally:
        if stream:
            stream.close()
    if is_background:
        _leave_room_for_others(process.pid)
    deadline = time.monotonic() + limit_s
    try:
        while True:
            left = deadline - time.monotonic()
            try:
                return process.wait(max(0.0, min(HEARTBEAT_S, left))), False
            except subprocess.TimeoutExpired:
                if time.monotonic() >= deadline:
                    _end(process)
                    return process.returncode, True
                if log and name:
                    print(f"   {name}: {last_line(log)}", file=sys.stderr, flush=True)
    except BaseException:
        _end(process)
        raise
    finally:
        with _lock:
            _live.pop(process.pid, None)


def tail(log, lines=60):
    try:
        return pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def head(log, lines=60):
    return pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[:lines]


def last_line(log):
    return next((line[:120] for line in reversed(tail(log, 5)) if line.strip()), "...")


def _parents():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = pathlib.Path("/proc", entry, "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
                parents[int(entry)] = (int(fields[1]), fields[0])
            except (OSError, IndexError, ValueError):
                pass
    return parents


def _descendants():
    """Pids below this process that nobody here started and awaits; zombies of that kind are reaped."""
    parents = _parents()
    with _lock:
        known = set(_live)
    found, level = [], {os.getpid()}
    while level:
        children = {pid for pid, (parent, _) in parents.items() if parent in level and pid not in known}
        for pid in sorted(children):
            if parents[pid][1] == "Z":
                if parents[pid][0] == os.getpid():
                    try:
                        os.waitpid(pid, os.WNOHANG)
                    except ChildProcessError:
                        pass
            else:
                found.append(pid)
        level = children
    return found


def _command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
    except OSError:
        return "?"


def end_leftovers(patience_s=3.0):
    """Command lines of the processes that a finished stage left running; they are ended."""
    deadline = time.monotonic() + patience_s
    while _descendants() and time.monotonic() < deadline:
        time.sleep(0.1)
    names = [f"{pid} {_command_of(pid)}" for pid in _descendants()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 2
        for pid in _descendants():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        while _descendants() and time.monotonic() < deadline:
            time.sleep(0.05)
    return names
