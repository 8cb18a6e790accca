"""Remembers which files passed a check, so that a repeated run only looks at what changed.

The key of a file is made of its own text, the headers of ours that it can reach, the command line, the settings and
the installed packages. Only clean results are kept, below build/cache.
"""
import hashlib
import os
import re
import subprocess

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


class CleanCache:
    def __init__(self, name, settings=b""):
        self._folder = tree.TOP / "build" / "cache" / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._base = hashlib.sha256(_installed_packages() + settings).hexdigest()
        self._direct = {}
        self._digest = {}

    def key(self, name, command):
        parts = [self._base, name, command] + [f"{header} {self._digest_of(header)}" for header in self._reach(name)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def is_clean(self, key):
        return (self._folder / key).exists()

    def remember(self, key):
        (self._folder / key).touch()

    def _includes(self, name):
        """Read textually, conditions ignored: perhaps too many, never too few."""
        if name not in self._direct:
            found = []
            for header in INCLUDE.findall(tree.read(name)):
                beside = os.path.normpath(os.path.join(os.path.dirname(name), header))
                found += [candidate for candidate in (header, beside) if (tree.TOP / candidate).is_file()]
            self._direct[name] = found
        return self._direct[name]

    def _reach(self, name):
        seen, waiting = {name}, [name]
        while waiting:
            for header in self._includes(waiting.pop()):
                if header not in seen:
                    seen.add(header)
                    waiting.append(header)
        return sorted(seen)

    def _digest_of(self, name):
        if name not in self._digest:
            self._digest[name] = hashlib.sha256((tree.TOP / name).read_bytes()).hexdigest()
        return self._digest[name]


def _installed_packages():
    """System headers and compilers change only with packages."""
    try:
        return subprocess.run(["dpkg-query", "-W"], stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
    except OSError:
        return b""
