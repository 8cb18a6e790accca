#!/usr/bin/env python3
"""The scripts that are posted to a controller's script console, run by the Groovy that Jenkins has (2.4) against classes
with the names and signatures that they use of Jenkins. Needs Debian's groovy; without it the test says that it is skipped."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(os.environ["SKEP_SOURCE_DIR"])
HERE = pathlib.Path(__file__).resolve().parent
JARS = pathlib.Path("/usr/share/groovy/lib")
SMALL = {"hook": "one_build_hook_script", "labels": "label_listing_script", "kick": "kick_script", "probe": "probe_script"}


def java(*arguments):
    return subprocess.run(["java", "-XX:TieredStopAtLevel=1", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, timeout=200)


def why_not():
    if not (JARS / "groovy-2.4.21.jar").is_file() and not list(JARS.glob("groovy-2.4*.jar")):
        return "Debian's groovy (2.4) is not installed"
    try:
        return None if java("-version").returncode == 0 else "java does not run"
    except OSError as error:
        return f"java does not run: {error.strerror}"


def write_scripts(folder):
    for path in (TOP / "scheduler" / "companion").glob("*.groovy"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    header = (TOP / "scheduler" / "jenkins" / "scripts.h").read_text(encoding="utf-8")
    texts = dict(re.findall(r'const char\* (\w+) = R"GROOVY\((.*?)\)GROOVY"', header, re.DOTALL))
    for name, constant in SMALL.items():
        (folder / f"{name}.groovy").write_text(texts.pop(constant), encoding="utf-8")
    return texts


def main():
    reason = why_not()
    if reason:
        print(f"SKIPPED: {reason}; scripts/setup installs it")
        print("0 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory(prefix="skep-scripts-") as name:
        folder = pathlib.Path(name)
        unknown = write_scripts(folder)
        if unknown:
            print(f"FAILED: scripts.h has scripts that no check knows: {', '.join(unknown)}")
            return 1
        classes = folder / "classes"
        made = java("-cp", f"{JARS}/*", "org.codehaus.groovy.tools.FileSystemCompiler", "-d", str(classes), *map(str, sorted((HERE / "stubs").glob("*.groovy"))))
        if made.returncode != 0:
            print(made.stdout + made.stderr)
            return 1
        ran = java("-cp", f"{JARS}/*:{classes}", "groovy.ui.GroovyMain", str(HERE / "check.groovy"), str(folder))
        print(ran.stdout, end="")
        if ran.returncode != 0:
            print(ran.stderr)
        return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
