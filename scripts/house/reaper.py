#!/usr/bin/env python3
"""Runs a command, and reaps what its descendants leave behind, as the init of a whole system does.

    reaper.py COMMAND [ARGUMENT...]

scripts/test adopts orphans, to find leftovers, but looks at them after a tier only. Thousands of zombies until then make
every look at the processes of a machine slow, which drivers and their tests take often. What is alive when the command
ends is left to the caller. Ends with the command's status.
"""
import os
import signal
import subprocess
import sys

import processes


def main(argv):
    processes.adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the command is told, too, and ends first
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(argv)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        sys.exit(0 if len(sys.argv) > 1 else 2)
    sys.exit(main(sys.argv[1:]))
