#!/usr/bin/env python3
"""`skep simulate` as people use it: the traces that come with Skep, bad input, and that the same input gives the same bytes."""
import json
import pathlib
import re
import sys
import tempfile

from support import NOWHERE, checks, expect, skep

TRACES = pathlib.Path(__file__).resolve().parents[3] / "docs" / "examples" / "traces"
POLICY = str(TRACES / "scheduler.yaml")


def simulate(*arguments):
    return skep(NOWHERE, "simulate", *map(str, arguments), timeout=300)


def morning(folder, name, jobs):
    """The first jobs of a trace: a whole day takes too long where the program is built for debugging."""
    path = pathlib.Path(folder) / f"{name}.csv"
    path.write_text("".join((TRACES / f"{name}.csv").read_text().splitlines(keepends=True)[:jobs + 2]))
    return path


def the_traces_are_what_the_generator_makes():
    for name in ("office-day", "release-day"):
        code, out, err = simulate("--make-trace", name)
        expect(code == 0 and not err, f"{name}: {code} {err}")
        expect(out == (TRACES / f"{name}.csv").read_text(), f"{name}.csv is not what --make-trace {name} prints")


def bad_input_is_told_with_its_place():
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "bad.csv"
        for text, wanted in [("arrival,label,duration\n5,a,60\n3,a,60\nx,a,60\n", [":3:1: found an arrival 2 s before", ":4:1: arrival: found \"x\""]),
                             ("1,a,60\n", [":1:1: found no header"]), ("", [":1:1: found no job"]),
                             ('{"arrival": 1, "label": "a\x1b[2J", "duration": 1}\n', [":1:27: found the byte 0x1b"]),
                             ("arrival,label,duration\n1,a,\x1b[2J\n", [":2:5: duration: found"])]:
            trace.write_text(text)
            code, out, err = simulate(trace, "--config", POLICY)
            expect(code == 2 and not out, f"{text!r}: {code} {out} {err}")
            expect("\x1b" not in err, f"{text!r}: {err!r}")
            for each in wanted:
                expect(f"{trace}{each}" in err, f"{text!r}: {err}")
        trace.write_text("arrival,label,duration\n0,linux,1\n")
        config = pathlib.Path(folder) / "bad.yaml"
        config.write_text("farm: [\n")
        fleet = pathlib.Path(folder) / "fleet.yaml"
        fleet.write_text("hosts:\n  - {cuont: 3}\n")
        for arguments, code_wanted, wanted in [
                ([trace], 2, "--config FILE"), ([], 2, "skep simulate TRACE"), ([folder, "--config", POLICY], 1, "regular file"),
                ([trace.with_name("none"), "--config", POLICY], 1, "cannot read the trace"), ([trace, "--config", config], 6, "bad.yaml"),
                ([trace, "--config", POLICY, "--policy", config], 6, "bad.yaml"), ([trace, "--config", POLICY, "--fleet", fleet], 6, "did you mean"),
                ([trace, "--config", POLICY, "--hosts", "0"], 2, "1"), ([trace, "--config", POLICY, "--boot", "20s..8s"], 2, "--boot"),
                ([trace, "--config", POLICY, "--host-cpu", "0.5"], 2, "no template fits"), ([trace, "--config", POLICY, "--host-memory", "x"], 2, "--host-memory"),
                ([trace, "--config", POLICY, "--html", f"{folder}/none/report.html"], 2, "--html"), (["--make-trace", "x"], 2, "office-day"),
                ([trace, "--config", POLICY, "--price-host-hour", "-1"], 2, "--price-host-hour")]:
            code, out, err = simulate(*arguments)
            expect(code == code_wanted and wanted in err and not out, f"{arguments}: {code} {out} {err}")


def the_same_input_gives_the_same_bytes():
    with tempfile.TemporaryDirectory() as folder:
        pages, answers = [], []
        trace = morning(folder, "office-day", 60)
        for i in (1, 2):
            page = pathlib.Path(folder) / f"{i}.html"
            code, out, err = simulate(trace, "--config", POLICY, "--hosts", "6,8", "--output", "json", "--html", page)
            expect(code == 0 and not err, f"{code} {err}")
            pages.append(page.read_bytes())
            answers.append(out)
        expect(pages[0] == pages[1] and answers[0] == answers[1], "two runs differ")
        expect(not re.search(rb"//|src=|href=|url\(", pages[0]), "the page refers to something")
        found = json.loads(answers[0])
        expect(found["trace"]["jobs"] == 60, found["trace"])
        expect([each["name"] for each in found["alternatives"]] == ["6 hosts", "8 hosts"], answers[0][:200])
        for each in found["alternatives"]:
            expect(each["never_started"] == 0 and each["still_running"] == 0 and each["second_builds"] == 0, f"{each['name']}: {str(each)[:300]}")
            expect(each["executor_time"]["busy_ms"] >= found["trace"]["work_ms"] * 0.99, f"{each['name']}: builds took less than they do")


def alternatives_are_named_and_priced():
    with tempfile.TemporaryDirectory() as folder:
        trace = morning(folder, "release-day", 40)
        code, out, err = simulate(trace, "--config", POLICY, "--hosts", "8", "--fleet", TRACES / "hosts.yaml", "--price-host-hour", "0.5")
    expect(code == 0 and not err, f"{code} {err}")
    expect("8 hosts" in out and "hosts.yaml" in out and "COST" in out and "seed 1" in out, out)


if __name__ == "__main__":
    sys.exit(checks.run([the_traces_are_what_the_generator_makes, bad_input_is_told_with_its_place, the_same_input_gives_the_same_bytes,
                         alternatives_are_named_and_priced]))
