#!/usr/bin/env python3
"""Builds a part of a preset for a script that is about to run it: quiet, with the output in build/logs.

    prepare.py PRESET programs     what is shipped and the stand-ins, without tests and benchmarks
    prepare.py PRESET bench        the benchmarks and the programs
    prepare.py PRESET TARGET...    targets of ninja, e.g. bin/skep
"""
import signal
import sys

import build
import processes


def main(argv):
    if len(argv) < 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    preset, *targets = argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Ninja configures again by itself when that is needed.
        if not (build.folder(preset) / "build.ninja").exists():
            print(f"configuring {preset} in build/{preset}", file=sys.stderr, flush=True)
            if not build.configure(preset):
                return 1
        if targets == ["programs"]:
            targets = build.programs(preset)
        elif targets == ["bench"]:
            targets = build.programs(preset) + build.benchmarks(preset)
        if not targets:
            print(f"there is nothing to build in preset {preset}", file=sys.stderr)
            return 1
        print(f"building {preset} (the first time takes minutes; output in build/logs/build-{preset}.log)",
              file=sys.stderr, flush=True)
        return 0 if build.build(preset, targets) else 1
    except KeyboardInterrupt:
        processes.end_all()
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
