#!/usr/bin/env python3
"""`skep labels` through scripts/skep, against every text that was recorded on real controllers, and against bad input."""
import json
import os
import pathlib
import subprocess
import sys

from support import BIN, NOWHERE, checks, environment, expect, skep

SOURCE = pathlib.Path(__file__).resolve().parents[3]
RECORDED = json.loads((SOURCE / "tests" / "recordings" / "label-expressions.json").read_text())
SCRIPT = SOURCE / "scripts" / "skep"


def node_labels(labels):
    """One set as a node's label field holds it: a label with a blank stands in quotes."""
    return " ".join(f'"{label}"' if " " in label else label for label in labels)


def sets():
    flags = []
    for labels in RECORDED["label_sets"]:
        flags += ["--with", node_labels(labels)]
    return flags


def script(*arguments, stdin=""):
    # As it was built for this test: nothing is built while others are built or run.
    more = {"SKEP_NO_BUILD": "1", "SKEP_PRESET": BIN.parent.name}
    done = subprocess.run([SCRIPT, *arguments], env={**environment(NOWHERE), **more}, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def differs(case, answer):
    name = case["name"] if case["valid"] else case["controller"]["name"]
    wanted = {"text": case["text"], "valid": case["valid"], "name": name}
    if "matches" in case:
        wanted["matches"] = case["matches"]
    return any(answer[key] != value for key, value in wanted.items())


def every_recorded_text_is_read_as_the_controller_read_it():
    lines = "".join(json.dumps(case["text"]) + "\n" for case in RECORDED["cases"])
    code, out, err = script("labels", "--stdin", "--output", "json", *sets(), stdin=lines)
    answers = [json.loads(line) for line in out.splitlines()]
    expect(code == 0 and len(answers) == 429, f"exit code {code}, {len(answers)} answers: {err}")
    wrong = [(case, answer) for case, answer in zip(RECORDED["cases"], answers) if differs(case, answer)]
    expect(not wrong, f"{len(wrong)} are read differently, first {wrong[:3]}")
    expect(all(list(answer) == ["matches", "name", "text", "valid"] for answer in answers), "there are other keys")


def texts_as_arguments_are_read_the_same():
    texts = [case for case in RECORDED["cases"] if "\0" not in case["text"]]
    code, out, err = script("labels", "--output", "json", *sets(), "--", *[case["text"] for case in texts])
    answers = [json.loads(line) for line in out.splitlines()]
    expect(code == 0 and len(answers) == len(texts), f"exit code {code}, {len(answers)} answers of {len(texts)}: {err}")
    expect(not [case for case, answer in zip(texts, answers) if differs(case, answer)], "some are read differently")
    # What a parser of command lines likes to take apart.
    for text in ["[a]", "[a,b]", "++", "{}", "%%", "status", "@file", "'a'", "a=b", "\u2018a\u2019", "", " ", "a\nb"]:
        code, out, err = skep(NOWHERE, "labels", text, "--with", "[a]", "-o", "json")
        expect(code == 0 and json.loads(out)["text"] == text, f"{text!r}: {out} {err}")
    code, out, _ = skep(NOWHERE, "labels", "a", "--with", "[a]", "--with", "a", "--with", "", "-o", "json")
    expect(json.loads(out)["matches"] == [0, 1, 0], out)
    code, out, _ = skep(NOWHERE, "labels", "-o", "json", "--with", "-x", "--", "-x", "--", "-o")
    expect([json.loads(line)["text"] for line in out.splitlines()] == ["-x", "--", "-o"], out)


def a_bad_line_is_named_and_the_others_are_answered():
    lines = ['"a"', "", "nonsense", '{"a": 1}', '"a\\u0000b"', '"open', "  ", "7", "null", '["a"]', '"\\ud800"', '"' + "x" * (1 << 20) + '"',
             '"a" "b"', '"\u2018q\u2019 && \\"d e\\""', '"last"']
    code, out, err = skep(NOWHERE, "labels", "--stdin", "-o", "json", "--with", "a", stdin="\n".join(lines))
    expect(code == 2, f"exit code {code}")
    expect([json.loads(line)["text"] for line in out.splitlines()] == ["a", "a\0b", "\u2018q\u2019 && \"d e\"", "last"], out)
    numbers = [int(line.split()[2].rstrip(":")) for line in err.splitlines() if line.startswith("skep: line ")]
    expect(numbers == [3, 4, 6, 8, 9, 10, 11, 12, 13], err)
    expect("9 of the lines" in err, err)
    code, out, err = skep(NOWHERE, "labels", "--stdin", "-o", "json", "--with", "a", stdin="")
    expect((code, out, err) == (0, "", ""), f"empty input: {code} {out} {err}")
    done = subprocess.run([BIN / "skep", "labels", "--stdin", "-o", "json", "--with", "a"], input=b'"\xff"\n"a"\n\xff\xfe\n"b"\r\n',
                          env=environment(NOWHERE), capture_output=True, check=False)
    expect(done.returncode == 2 and len(done.stdout.splitlines()) == 2, f"{done.returncode} {done.stdout} {done.stderr}")


def each_line_is_answered_at_once_and_ten_thousand_pass():
    process = subprocess.Popen([BIN / "skep", "labels", "--stdin", "-o", "json", "--with", "a b7"], env=environment(NOWHERE), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, bufsize=1)
    for number in range(10_000):
        process.stdin.write(json.dumps(f"a && (b{number} || c)") + "\n")
        process.stdin.flush()
        if number % 1000 == 0 or number == 7:
            # Nothing more is written before this answer is there: a buffer would hang here until the test's limit.
            while True:
                answer = json.loads(process.stdout.readline())
                if answer["text"] == f"a && (b{number} || c)":
                    break
            expect(answer["matches"] == [1 if number == 7 else 0], f"{answer}")
    process.stdin.close()
    rest = process.stdout.read().splitlines()
    expect(process.wait() == 0 and json.loads(rest[-1])["text"] == "a && (b9999 || c)", f"{rest[-1:]}")


def people_read_sentences():
    code, out, err = skep(NOWHERE, "labels", "linux&& !arm", "!!a", "a b", "", "--with", "linux", "--with", "linux arm")
    expect(code == 0, err)
    expect(out == """linux&& !arm
  Jenkins reads it as linux&&!arm
  matches     linux
  matches not linux arm
!!a
  not a label expression: a second ! (write !(!a)) at column 2
  Jenkins takes the whole text as the name of one label
  matches not linux
  matches not linux arm
  nothing above can run it
a b
  not a label expression: an operator such as && is missing before this at column 3
  Jenkins takes the whole text as the name of one label
  matches not linux
  matches not linux arm
  nothing above can run it
an empty text: any node that takes unlabelled work
  matches     linux
  matches     linux arm
""", out)
    code, out, err = skep(NOWHERE, "labels", "linux&&x86")
    expect(code == 3 and "Jenkins reads it as linux&&x86" in out and "--with" in err, f"{code} {out} {err}")
    expect("\x1b" not in skep(NOWHERE, "labels", "\x1b[2J", "--with", "\x1b[2J")[1], "a text steers the terminal")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(checks.run([every_recorded_text_is_read_as_the_controller_read_it, texts_as_arguments_are_read_the_same,
                         a_bad_line_is_named_and_the_others_are_answered, each_line_is_answered_at_once_and_ten_thousand_pass,
                         people_read_sentences]))
