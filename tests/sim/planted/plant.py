#!/usr/bin/env python3
"""Plants the bugs of bugs.py in copies of the two logics. The product's sources stay as they are.

    plant.py SOURCE_DIR OUT_DIR    writes the copies and planted_bugs.cpp below OUT_DIR
    plant.py --check SOURCE_DIR    only says whether every bug still fits the sources
    plant.py --files               the files that it would write, relative to OUT_DIR
    plant.py --list [--json]       names, and what each bug breaks
    plant.py --self-test           proves that each rule can fail

All bugs are in one set of copies; each is behind SKEP_PLANTED("its-name"), which becomes SKEP_PLANTED(its index).
"""
import json
import pathlib
import re
import sys
import tempfile

import bugs as catalogue
from bugs import Bug, Edit

# Not core/: the models that the logics are checked against are built on it, and would share the mistake. No header:
# what includes the original would disagree with the copy.
FOLDERS = ("scheduler/core/", "agentd/core/")
NAMES_FILE = "planted_bugs.cpp"
INCLUDE = '#include "tests/sim/planted/planted.h"\n'
CALL = re.compile(r'SKEP_PLANTED\("([^"]*)"\)')


def check_bug(bug):
    """What is wrong with an entry by itself."""
    problems = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", bug.name):
        problems.append(f"{bug.name}: the name is not kebab-case")
    for what in ("why", "seen"):
        text = getattr(bug, what)
        if not text or '"' in text or "\\" in text:
            problems.append(f"{bug.name}: '{what}' is empty or not plain text")
    if not bug.edits:
        problems.append(f"{bug.name}: it changes nothing")
    for edit in bug.edits:
        if not edit.file.startswith(FOLDERS) or not edit.file.endswith(".cpp"):
            problems.append(f"{bug.name}: {edit.file} is no .cpp below {' or '.join(FOLDERS)}")
        if set(CALL.findall(edit.replace)) != {bug.name}:
            problems.append(f'{bug.name}: its change of {edit.file} must be behind SKEP_PLANTED("{bug.name}")')
        if edit.find == edit.replace:
            problems.append(f"{bug.name}: its change of {edit.file} changes nothing")
    return problems


def place(all_bugs, read):
    """({file: [(start, end, text, name)]}, problems): where each change goes. `read` gives a file's text."""
    places, problems, names = {}, [], set()
    for index, bug in enumerate(all_bugs):
        if bug.name in names:
            problems.append(f"{bug.name}: the name is used twice")
        names.add(bug.name)
        problems += check_bug(bug)
        for edit in bug.edits:
            text = read(edit.file)
            count = text.count(edit.find) if text is not None and edit.find else 0
            if count != 1:
                where = "there is no such file" if text is None else f"its 'find' occurs {count} times"
                problems.append(f"{bug.name}: {edit.file}: {where}; it must fit exactly once: look at what became of "
                                f"this code and change the bug in bugs.py, so that it breaks the same promise")
                continue
            start = text.index(edit.find)
            numbered = CALL.sub(f"SKEP_PLANTED({index} /* {bug.name} */)", edit.replace)
            places.setdefault(edit.file, []).append((start, start + len(edit.find), numbered, bug.name))
    for file, found in places.items():
        found.sort()
        for before, after in zip(found, found[1:]):
            if after[0] < before[1]:
                problems.append(f"{after[3]}: {file}: it changes the same text as {before[3]}; choose another place")
    return places, problems


def mutate(text, places):
    for start, end, replacement, _ in reversed(places):
        text = text[:start] + replacement + text[end:]
    return INCLUDE + text


def names_text(all_bugs):
    rows = "".join(f'    Bug{{"{bug.name}",\n        "{bug.why}",\n        "{bug.seen}"}},\n' for bug in all_bugs)
    return ("// Made by plant.py.\n#include <array>\n#include <cstddef>\n\n" + INCLUDE + "\n"
            "namespace skep::planted {\nnamespace {\n"
            f"constexpr std::array<Bug, {len(all_bugs)}> table{{{{\n{rows}}}}};\n"
            "}  // namespace\n\n"
            "int active = none;\n\n"
            "std::span<const Bug> bugs() {\n  return table;\n}\n\n"
            "int index_of(std::string_view name) {\n"
            "  for (std::size_t i = 0; i < table.size(); ++i) {\n"
            "    if (table[i].name == name) return static_cast<int>(i);\n"
            "  }\n"
            "  return none;\n"
            "}\n\n"
            "}  // namespace skep::planted\n")


def reader(source):
    def read(name):
        path = source / name
        return path.read_text(encoding="utf-8") if path.is_file() else None
    return read


def write_if_changed(path, text):
    """What did not change keeps its time, so that it is not compiled again."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def report(problems, what):
    for problem in problems:
        print(f"planted bugs: {problem}", file=sys.stderr)
    print(f"{what}: {'ok' if not problems else f'{len(problems)} problem(s)'}")
    return 1 if problems else 0


def plant(source, out):
    read = reader(source)
    places, problems = place(catalogue.BUGS, read)
    if problems:
        return report(problems, "planted bugs")
    for file, found in places.items():
        write_if_changed(out / file, mutate(read(file), found))
    write_if_changed(out / NAMES_FILE, names_text(catalogue.BUGS))
    return report([], f"{len(catalogue.BUGS)} planted bugs")


def touched_files():
    return sorted({edit.file for bug in catalogue.BUGS for edit in bug.edits})


def show(as_json):
    if as_json:
        print(json.dumps([{"name": bug.name, "why": bug.why, "seen": bug.seen,
                           "files": sorted({edit.file for edit in bug.edits})} for bug in catalogue.BUGS], indent=1))
        return 0
    for bug in catalogue.BUGS:
        print(f"{bug.name}\n    {bug.why}\n    seen: {bug.seen}")
    return 0


def self_test():
    file = "agentd/core/a.cpp"
    text = "int a = 1;\nint b = 2;\nint c = 2;\n"

    def one(find="= 1", replace='= SKEP_PLANTED("x-y") ? 0 : 1', name="x-y", at=file, why="why"):
        return Bug(name, why=why, seen="seen", edits=[Edit(at, find, replace)])

    cases = [
        ("one that fits", [one()], None),
        ("a name that is not kebab-case", [one(name="x_y", replace='SKEP_PLANTED("x_y")')], "kebab-case"),
        ("a name that is used twice", [one(), one(find="int b")], "used twice"),
        ("no reason", [one(why="")], "'why'"),
        ("a file outside", [one(at="core/a.cpp")], "below"),
        ("a header", [one(at="agentd/core/a.h")], "no .cpp"),
        ("a change without its switch", [one(replace="= 0")], "must be behind"),
        ("the switch of another bug", [one(replace='SKEP_PLANTED("z")')], "must be behind"),
        ("a text that is not there", [one(find="= 3")], "occurs 0 times"),
        ("a text that is there twice", [one(find="= 2")], "occurs 2 times"),
        ("a file that is not there", [one(at="agentd/core/b.cpp")], "no such file"),
        ("two bugs in one place", [one(), one(find="a = 1", name="z", replace='SKEP_PLANTED("z")')], "same text"),
    ]
    problems = []
    for what, some_bugs, wanted in cases:
        _, found = place(some_bugs, {file: text, "core/a.cpp": text, "agentd/core/a.h": text}.get)
        if bool(found) != bool(wanted) or (wanted and not any(wanted in problem for problem in found)):
            problems.append(f"self-test: {what}: {found}")
    places, _ = place([one()], {file: text}.get)
    if mutate(text, places[file]) != INCLUDE + text.replace("= 1", "= SKEP_PLANTED(0 /* x-y */) ? 0 : 1"):
        problems.append("self-test: the copy is not what it should be")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "deep" / "a.cpp"
        write_if_changed(path, text)
        before = path.stat().st_mtime_ns
        write_if_changed(path, text)
        if path.read_text(encoding="utf-8") != text or path.stat().st_mtime_ns != before:
            problems.append("self-test: a copy that did not change was written again")
    return report(problems, "planted bugs self-test")


def main(argv):
    if argv == ["--self-test"]:
        return self_test()
    if argv == ["--files"]:
        print(";".join([NAMES_FILE] + touched_files()), end="")
        return 0
    if argv in (["--list"], ["--list", "--json"]):
        return show("--json" in argv)
    if len(argv) == 2 and argv[0] == "--check":
        return report(place(catalogue.BUGS, reader(pathlib.Path(argv[1])))[1], "planted bugs")
    if len(argv) == 2 and not argv[0].startswith("-"):
        return plant(pathlib.Path(argv[0]), pathlib.Path(argv[1]))
    print(__doc__.strip(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
