#!/usr/bin/env python3
"""Gets a real Consul 1.8.7 for the tests, without touching the system's package sources.

Debian 12 has no consul package, Debian 11 has one. The mirror and the keyring are read from the system's own source
list, the package is downloaded by apt with private lists, checked against a known digest and unpacked (never
installed) into the cache folder. Whatever goes wrong, the tests that need Consul are skipped, visibly.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from apt_sources import main_archive

SUITE = "bullseye"
# consul 1.8.7+dfsg1-2+b3, amd64: other architectures have other digests and are not pinned yet.
SHA256 = "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9"
RETRY_AFTER_S = 24 * 3600
APT_TIME_LIMIT_S = 90


def say(text):
    print(f"setup: {text}", file=sys.stderr)


def cache_folder():
    """One folder per user; inside the tree when the account has no home."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = pathlib.Path(os.environ["XDG_CACHE_HOME"])
    elif os.environ.get("HOME"):
        base = pathlib.Path(os.environ["HOME"]) / ".cache"
    else:
        base = pathlib.Path(__file__).resolve().parents[2] / ".cache"
    return base / "skep" / "consul"


def binary_path():
    return cache_folder() / "consul"


def find_consul():
    """The Consul that tests use: ours, else one on PATH, else None."""
    if os.access(binary_path(), os.X_OK):
        return str(binary_path())
    return shutil.which("consul")


def private_source_line(release):
    """One line for SUITE: same mirror and keyring as the system's main archive."""
    entry = main_archive(release)
    if entry is None:
        return None
    keyring = entry["signed_by"]
    # A key written into the list itself cannot be named in a one-line entry; the archive keyring serves.
    option = f"[signed-by={keyring}] " if keyring.startswith("/") else ""
    return f"deb {option}{entry['uri']} {SUITE} main\n"


def run(argv, cwd):
    return subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=APT_TIME_LIMIT_S, text=True, check=False)


def download(work):
    """Returns an error text, or None when the binary is in the cache."""
    release = ""
    for line in pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            release = line.split("=", 1)[1].strip('"')
    source = private_source_line(release)
    if source is None:
        return f"no package source for suite '{release}' is configured"
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "sources.list").write_text(source, encoding="utf-8")
    options = ["-o", f"Dir::Etc::SourceList={work}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}/cache",
               "-o", "Acquire::Languages=none", "-o", "Acquire::Check-Valid-Until=false"]
    # As root, apt would drop to a user that may not write into our private folder.
    options += ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    for verb in (["update"], ["download", "consul"]):
        done = run(["apt-get", *options, *verb], work)
        if done.returncode != 0:
            return f"apt-get {verb[0]} for suite {SUITE} failed: {done.stdout.strip().splitlines()[-1:]}"
    packages = list(work.glob("consul_*.deb"))
    if len(packages) != 1:
        return f"expected one consul package, got {len(packages)}"
    digest = hashlib.sha256(packages[0].read_bytes()).hexdigest()
    if digest != SHA256:
        return f"{packages[0].name} has sha256 {digest}, expected {SHA256}"
    done = run(["dpkg-deb", "-x", str(packages[0]), str(work / "x")], work)
    if done.returncode != 0:
        return "the consul package could not be unpacked"
    # Within one file system a rename is atomic, so two set-ups at once do no harm.
    os.replace(work / "x" / "usr" / "bin" / "consul", binary_path())
    return None


def main():
    if "--path" in sys.argv[1:]:
        print(find_consul() or binary_path())
        return 0
    if find_consul():
        return 0
    folder = cache_folder()
    mark = folder / "not-available"
    if mark.exists() and time.time() - mark.stat().st_mtime < RETRY_AFTER_S:
        return 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="get-") as work:
            problem = download(pathlib.Path(work))
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem is None:
        mark.unlink(missing_ok=True)
        return 0
    say(f"no Consul for the tests: {problem}; the tests that need one will be skipped (next try in a day, or remove {mark})")
    try:
        mark.touch()
    except OSError:
        pass
    return 1


if __name__ == "__main__":
    sys.exit(main())
