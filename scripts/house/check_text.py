#!/usr/bin/env python3
"""Text that must not be committed: paths of this machine, hosts of its package sources, work left open, CR and tabs;
and test files without a test.

Paths and hosts are derived when the check runs, so that none of them is written here. `--self-test` proves each rule.
"""
import glob
import pathlib
import re
import subprocess
import sys

import tree

# Parents that say nothing about a machine: texts may name them freely.
COMMON_FOLDERS = {"/", "/tmp", "/var", "/var/tmp", "/var/lib", "/home", "/home/agent", "/root", "/opt", "/srv", "/usr",
                  "/usr/src", "/usr/local", "/usr/local/src", "/mnt", "/media", "/run", "/etc"}
COMMON_HOSTS = re.compile(r"^(localhost|127\.|\[?::1|github\.com$)")
CODE = (".h", ".cpp", ".py", ".sh", ".js", ".cmake", ".json", ".yaml", ".yml", "CMakeLists.txt")
# Written in two halves, so that this file passes its own check.
OPEN_WORK = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "HA" + "CK", "XX" + "X", "NO" + "MERGE"]) + r")\b")
EXCUSE = re.compile(r"\b(not " + "implemented yet|" + "st" + r"ubbed out)\b", re.IGNORECASE)
CONFLICT = re.compile(r"^(<{7} |>{7} |={7}$)")
ISSUE_NUMBER = re.compile(r"(?<![\w#/-])issue #?\d{1,3}\b", re.IGNORECASE)


def test_file_problems(name, text):
    """Test files are compiled many as one, so what each defines is in a namespace named as the file."""
    if not re.match(r"tests/(unit|contract|integration)/.*_test\.cpp$", name):
        return []
    problems = [] if "TEST_CASE(" in text else [f"{name}:1: no test is in it"]
    stem = pathlib.PurePath(name).stem
    if not re.search(rf"^namespace (\w+::)*{stem} {{$", text, re.MULTILINE):
        problems.append(f"{name}:1: what it defines is not in a namespace '{stem}'")
    return problems


def machine_words(top, source_texts):
    """(what, pattern) of the texts that only this machine would write."""
    folders = {str(top)}
    if str(top.parent) not in COMMON_FOLDERS:
        folders.add(str(top.parent))
    words = [("a path of this machine", re.compile(r"(?<![\w.\-])(?<!:/)" + re.escape(folder) + r"(?![\w\-])"))
             for folder in sorted(folders)]
    hosts = set()
    for text in source_texts:
        hosts |= {host.rsplit("@", 1)[-1].split(":", 1)[0] for host in re.findall(r"https?://([^/\s\]]+)", text)}
    words += [("the host of a package source", re.compile(r"(?<![\w.\-])" + re.escape(host) + r"(?![\w.\-])"))
              for host in sorted(hosts) if host and not COMMON_HOSTS.match(host)]
    return words


def package_source_texts():
    for name in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*")):
        try:
            yield pathlib.Path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            pass
    try:
        yield subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        pass


def check_bytes(name, data, words):
    if b"\0" in data[:8000] or name.endswith((".png", ".jar", ".zip")) or name.startswith("tests/fuzz/corpus/"):
        return []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"{name}:1: not UTF-8 ({error.reason} at byte {error.start})"]
    problems = test_file_problems(name, text)
    is_code = name.endswith(CODE) or name.startswith(("scripts/", ".ci/"))
    if b"\r" in data:
        problems.append(f"{name}:1: has carriage returns")
    if data and not data.endswith(b"\n"):
        problems.append(f"{name}:1: does not end with a newline")
    for number, line in enumerate(text.splitlines(), 1):
        found = [what for what, pattern in words if pattern.search(line)]
        if is_code and OPEN_WORK.search(line):
            found.append(f"work left open: '{OPEN_WORK.search(line)[0]}'")
        if is_code and EXCUSE.search(line):
            found.append(f"an excuse: '{EXCUSE.search(line)[0]}'")
        if CONFLICT.match(line):
            found.append("a conflict that was not resolved")
        if ISSUE_NUMBER.search(line):
            found.append(f"the number of an issue: '{ISSUE_NUMBER.search(line)[0]}' (say what it was about)")
        if name.endswith(tree.CPP_SUFFIXES + (".py",)) and "\t" in line:
            found.append("a tab")
        problems += [f"{name}:{number}: {what}" for what in found]
    return problems


def self_test():
    words = machine_words(pathlib.Path("/builds/team/skep"), ["URIs: http://mirror.example.net:80/debian\n",
                                                             "deb https://user@deb.example.org/x y\n"])
    cases = [
        ("core/a.h", b"int x;\n", False),
        ("core/a.h", b"// see /builds/team/skep/core\n", True),
        ("docs/a.md", b"run it in /builds/team/other\n", True),
        ("docs/a.md", b"scripts/builds/team/other\n", False),
        ("docs/a.md", b"http://mirror.example.net/debian\n", True),
        ("docs/a.md", b"http://deb.example.org/\n", True),
        ("docs/a.md", b"http://notdeb.example.org/\n", False),
        ("core/a.cpp", b"// " + b"TO" + b"DO: later\n", True),
        ("core/a.cpp", b"// " + b"FIX" + b"ME\n", True),
        ("core/a.cpp", b"mktemp /tmp/x.XXXXXX\n", False),
        ("docs/a.md", b"as asked in issue " + b"12\n", True),
        ("docs/a.md", b"JENKINS-12345\n", False),
        ("docs/a.md", b"<<<<<<" + b"< ours\n", True),
        ("docs/a.md", b"a heading\n========\n", False),
        ("core/a.cpp", b"int x;\r\n", True),
        ("core/a.cpp", b"int x;", True),
        ("core/a.cpp", b"\tint x;\n", True),
        ("core/a.cpp", b"\xff\n", True),
        ("tests/unit/core/a_test.cpp", b"#include <catch2/catch.hpp>\n", True),
        ("tests/unit/core/a_test.cpp", b"namespace a_test {\nTEST_CASE(\"a\") {}\n}\n", False),
        ("tests/unit/core/a_test.cpp", b"namespace skep::a_test {\nTEST_CASE(\"a\") {}\n}\n", False),
        ("tests/unit/core/a_test.cpp", b"namespace skep {\nTEST_CASE(\"a\") {}\n}\n", True),
    ]
    problems = [f"self-test: {data!r} in {name} should {'fail' if wrong else 'pass'}"
                for name, data, wrong in cases if bool(check_bytes(name, data, words)) != wrong]
    return tree.report(problems, "text self-test")


def main(argv):
    if argv == ["--self-test"]:
        return self_test()
    words = machine_words(tree.TOP, package_source_texts())
    problems = []
    for name in tree.files():
        if tree.is_recording(name) or name == "LICENSE":
            continue
        problems += check_bytes(name, (tree.TOP / name).read_bytes(), words)
    for name in tree.cpp_files():  # told, not refused: is it one thing?
        lines = tree.read(name).count("\n")
        if lines > 600:
            print(f"note: {name} has {lines} lines (600 is the habit)")
    return tree.report(problems, "text")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
