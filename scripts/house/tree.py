"""What the checks know about the tree: where it is and which files belong to it."""
import os
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
CPP_SUFFIXES = (".h", ".cpp")


def files():
    """Paths relative to TOP of all files that are, or could be, committed; sorted."""
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=TOP, check=True,
                                stdin=subprocess.DEVNULL, capture_output=True).stdout.decode("utf-8", "replace")
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive has no git
        names = []
        for folder, folders, found in os.walk(TOP):
            folders[:] = [name for name in folders if name not in (".git", "build", ".cache", "__pycache__")]
            names += [os.path.relpath(os.path.join(folder, name), TOP) for name in found]
    return sorted(name for name in set(names) if (TOP / name).is_file())


def cpp_files():
    return [name for name in files() if name.endswith(CPP_SUFFIXES)]


def read(name):
    return (TOP / name).read_text(encoding="utf-8", errors="replace")


def is_recording(name):
    return name.startswith("tests/recordings/")


def python_files():
    """Python programs, also those without a suffix."""
    return [name for name in files() if name.endswith(".py") or _shebang(name, "python")]


def shell_files():
    return [name for name in files() if name.endswith(".sh") or _shebang(name, "bash", "/sh")]


def _shebang(name, *words):
    if os.path.splitext(name)[1] or is_recording(name):
        return False
    with open(TOP / name, "rb") as stream:
        first = stream.readline(200)
    return first.startswith(b"#!") and any(word.encode() in first for word in words)


def report(problems, what):
    """Prints the findings; the exit status of a check."""
    for problem in problems:
        print(problem)
    print(f"{what}: {'ok' if not problems else f'{len(problems)} problem(s)'}")
    return 1 if problems else 0
