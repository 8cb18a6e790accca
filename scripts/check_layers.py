#!/usr/bin/env python3
"""Checks who includes whom, against the table below, and what a pure core may name.

    scripts/check_layers.py               checks the tree
    scripts/check_layers.py --self-test   proves that each rule can fail

The first rule whose prefix fits a file decides. `project` lists the folders of this tree that the file may include
from, `third` the groups of other libraries. The C++ standard library is always allowed.
"""
import pathlib
import re
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "house"))
import tree  # noqa: E402

# Group of a header that is not ours: the first pattern that fits. What fits none and is not C++ belongs to "os".
THIRD_PARTY = [
    ("cpprest", r"(cpprest|pplx)/"),
    ("boost_process", r"boost/process(/|\.hpp)"),
    ("boost_beast", r"boost/beast(/|\.hpp)"),
    ("boost", r"boost/"),
    ("nlohmann", r"nlohmann/"),
    ("spdlog", r"(spdlog|fmt)/"),
    ("yaml", r"yaml-cpp/"),
    ("sqlite", r"sqlite3(ext)?\.h$"),
    ("prometheus", r"prometheus/"),
    ("cli11", r"CLI/"),
    ("openssl", r"openssl/"),
    ("libarchive", r"archive(_entry)?\.h$"),
    ("zlib", r"(zlib|zconf)\.h$"),
    ("test", r"(catch2/|rapidcheck)"),
    ("benchmark", r"benchmark/"),
]

STANDARD = set("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits
clocale cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint
cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem forward_list fstream functional
future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory
memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore
set shared_mutex source_location span sstream stack stdexcept stop_token streambuf string string_view syncstream
system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector
version""".split())

# Folders whose logic is pure: std and core only, no clock, thread, randomness, environment, file or socket.
PURE = ("core/", "scheduler/core/", "agentd/core/", "drivers/api/", "drivers/fake/host_model", "join/core/",
        "drivers/qemu/vm_image.", "drivers/qemu/qemu_texts.", "drivers/qemu/net_filter_texts.",
        "simulation/", "scheduler/jenkins/labels.", "scheduler/jenkins/texts.", "scheduler/jenkins/scripts.h",
        "scheduler/jenkins/requests.h", "scheduler/jenkins/companion.", "scheduler/jenkins/companion_scripts.h")

BANNED_IN_PURE = [
    ("a clock", r"\b(system_clock|steady_clock|high_resolution_clock)\s*::\s*now\b"),
    ("a clock", r"(?<![\w.>:])(std::)?(time|clock)\s*\(\s*(0|NULL|nullptr)?\s*\)"),
    ("a thread", r"\bstd::(thread|jthread|async)\b"),
    ("a lock", r"\bstd::(mutex|recursive_mutex|shared_mutex|timed_mutex|condition_variable(_any)?|atomic)\b"),
    ("sleep", r"\b(sleep_for|sleep_until|usleep|nanosleep)\b"),
    ("randomness of the platform", r"\b(random_device|mt19937(_64)?|\w+_distribution<|srand)\b"),
    ("the environment", r"\b(getenv|setenv|putenv)\b"),
    ("an unordered container", r"\bunordered_(multi)?(map|set)\b"),
    ("a file", r"\b(std::)?(i|o)?fstream\b|\bfopen\b"),
]
BANNED_HEADERS_IN_PURE = {"thread", "mutex", "shared_mutex", "condition_variable", "future", "random", "fstream",
                          "filesystem", "unordered_map", "unordered_set", "atomic", "semaphore", "latch", "barrier",
                          "stop_token", "iostream", "ctime", "csignal"}


class Rule(NamedTuple):
    prefix: str
    project: tuple
    third: tuple = ()


EVERYTHING = ("",)
# What a driver may use of common: never HTTP, the journal or a daemon's shell.
SMALL_COMMON = ("common/json/", "common/log/", "common/shell/clock.h", "common/shell/files.h")
RULES = [
    # The pure part.
    Rule("core/", ("core/",)),
    Rule("scheduler/core/", ("core/", "scheduler/core/")),
    Rule("agentd/core/", ("core/", "agentd/core/")),
    Rule("drivers/api/", ("core/", "drivers/api/")),
    Rule("join/core/", ("core/", "join/core/")),
    # common: several small targets, none knows a daemon; each library is behind one of them.
    Rule("common/json/", ("core/", "common/json/"), ("nlohmann",)),
    Rule("common/http/", ("core/", "common/"), ("cpprest", "boost", "boost_beast", "openssl", "zlib", "os")),
    Rule("common/log/", ("core/", "common/"), ("spdlog",)),
    Rule("common/config/", ("core/", "common/"), ("yaml",)),
    Rule("common/archive/", ("core/", "common/archive/"), ("libarchive",)),
    Rule("common/digest/", ("core/", "common/digest/"), ("openssl",)),
    Rule("common/journal/", ("core/", "common/"), ("sqlite",)),
    Rule("common/metrics/", ("core/", "common/"), ("prometheus",)),
    Rule("common/", ("core/", "common/")),
    # The two folders where the platform lives.
    Rule("linux/", ("core/", "common/", "drivers/api/", "linux/"), ("boost", "boost_process", "os")),
    Rule("windows/", ("core/", "common/", "drivers/api/", "windows/"), ("boost", "boost_process", "os")),
    # The farm in virtual time: both logics as they ship, and models of what is around them.
    Rule("simulation/controller/direct", ("core/", "scheduler/core/", "scheduler/jenkins/companion.h",
                                          "scheduler/jenkins/labels.h",
                                          "scheduler/jenkins/requests.h", "scheduler/jenkins/scripts.h",
                                          "simulation/controller/")),
    Rule("simulation/controller/", ("core/", "simulation/controller/")),
    Rule("simulation/", ("core/", "scheduler/core/", "agentd/core/", "drivers/api/", "drivers/fake/host_model.h",
                         "simulation/")),
    # Drivers: the contract, the host adapters, JSON and log; third-party code only in a raw layer.
    Rule("drivers/fake/host_model", ("core/", "drivers/api/", "drivers/fake/host_model.h")),
    Rule("drivers/fake/", ("core/", "drivers/api/", "drivers/fake/")),
    # The process driver of Linux is its own raw layer: it waits on inotify and eventfd. Its header stays portable.
    Rule("drivers/process/sandbox_texts.", ("core/", "drivers/process/sandbox_texts.h", "linux/linux_sandbox.h")),
    Rule("drivers/process/sandbox_plan.cpp", ("core/", "drivers/api/", "drivers/shared/", "drivers/process/",
                                              *SMALL_COMMON, "linux/"), ("os",)),
    Rule("drivers/process/process_driver.cpp", ("core/", "drivers/api/", "drivers/shared/", "drivers/process/",
                                                *SMALL_COMMON, "linux/"), ("os",)),
    Rule("drivers/process/", ("core/", "drivers/api/", "drivers/shared/", "drivers/process/", *SMALL_COMMON, "linux/",
                              "windows/")),
    # What several drivers do in the same way.
    Rule("drivers/shared/", ("core/", "drivers/api/", "drivers/shared/", *SMALL_COMMON, "linux/")),
    # The container engine is asked by HTTP over a unix socket, in one file; what is said and read are plain texts.
    Rule("drivers/container/engine.", ("core/", "drivers/api/", "drivers/container/", "common/http/unix_client.h",
                                       "common/http/http_types.h")),
    Rule("drivers/container/engine_texts.", ("core/", "drivers/api/", "drivers/container/engine_texts.h",
                                             "common/json/")),
    Rule("drivers/container/archive_texts.", ("core/", "drivers/container/archive_texts.h", "common/json/")),
    Rule("drivers/container/image_plan.", ("core/", "drivers/container/image_plan.h", "drivers/shared/short_hash.h",
                                           "common/json/")),
    # Archives are read and proven on their way to the engine.
    Rule("drivers/container/host_images.", ("core/", "drivers/api/", "drivers/container/", *SMALL_COMMON, "linux/",
                                            "common/archive/", "common/digest/")),
    Rule("drivers/container/container_driver.cpp", ("core/", "drivers/api/", "drivers/shared/", "drivers/container/",
                                                    *SMALL_COMMON, "linux/"), ("os",)),
    Rule("drivers/container/", ("core/", "drivers/api/", "drivers/shared/", "drivers/container/", *SMALL_COMMON,
                                "linux/")),
    # Texts of virtual machines are plain; what touches the system is in linux/, but for the thread that waits on sockets.
    Rule("drivers/qemu/vm_image.", ("core/", "drivers/qemu/vm_image.h")),
    Rule("drivers/qemu/vm_manifest.", ("core/", "drivers/qemu/vm_manifest.h", "drivers/qemu/vm_image.h", "common/json/")),
    Rule("drivers/qemu/qemu_texts.", ("core/", "drivers/qemu/vm_image.h", "drivers/qemu/qemu_texts.h")),
    Rule("drivers/qemu/net_filter_texts.", ("core/", "drivers/qemu/net_filter_texts.h")),
    Rule("drivers/qemu/qmp_texts.", ("core/", "drivers/qemu/qmp_texts.h", "common/json/")),
    Rule("drivers/qemu/guest_texts.", ("core/", "drivers/qemu/guest_texts.h", "common/json/")),
    *(Rule(f"drivers/qemu/{name}.cpp", ("core/", "drivers/api/", "drivers/shared/", "drivers/qemu/", "common/digest/",
                                        *SMALL_COMMON, "linux/"),
           ("os",)) for name in ("qemu_driver", "guest_bridge", "image_check", "overlay", "warm_templates")),
    Rule("drivers/qemu/", ("core/", "drivers/api/", "drivers/shared/", "drivers/qemu/", *SMALL_COMMON, "linux/")),
    Rule("drivers/hyperv/raw/", ("core/", "drivers/api/", "drivers/hyperv/", *SMALL_COMMON),
         ("nlohmann", "os")),
    Rule("drivers/hyperv/", ("core/", "drivers/api/", "drivers/hyperv/", *SMALL_COMMON, "windows/")),
    Rule("drivers/", ("core/", "drivers/api/")),
    # Adapters and shells: JSON goes through common/json, HTTP through common/http.
    Rule("scheduler/jenkins/companion.", ("core/", "scheduler/core/", "scheduler/jenkins/companion.h",
                                          "scheduler/jenkins/companion_scripts.h")),
    Rule("scheduler/jenkins/labels", ("core/", "scheduler/core/", "scheduler/jenkins/labels.h",
                                      "scheduler/jenkins/texts.h")),
    Rule("scheduler/jenkins/texts", ("core/", "scheduler/jenkins/texts.h")),
    Rule("scheduler/jenkins/", ("core/", "scheduler/core/", "scheduler/jenkins/", "common/")),
    Rule("scheduler/registry/", ("core/", "scheduler/core/", "scheduler/registry/", "common/")),
    Rule("scheduler/shell/", ("core/", "scheduler/", "common/", "linux/", "windows/")),
    Rule("scheduler/main", ("core/", "scheduler/", "common/", "linux/", "windows/"), ("cli11",)),
    Rule("scheduler/", ("core/", "scheduler/", "common/")),
    Rule("agentd/images/", ("core/", "agentd/core/images/", "agentd/images/", "drivers/api/", "common/", "linux/", "windows/")),
    Rule("agentd/shell/", ("core/", "agentd/", "drivers/", "common/", "linux/", "windows/")),
    Rule("agentd/main", ("core/", "agentd/", "drivers/", "common/", "linux/", "windows/"), ("cli11",)),
    Rule("agentd/", ("core/", "agentd/", "drivers/", "common/")),
    # Start-up of one system, named after it.
    *(Rule(f"join/{main}_linux", ("core/", "join/", "common/", "linux/"), ("cli11", "os")) for main in ("main", "guest_main", "fetch_main")),
    Rule("join/", ("core/", "join/", "common/")),
    # The command line checks configuration files, so it sees their readers (and the values that these return); and it
    # runs the farm in virtual time, and prints the companion's scripts.
    Rule("cli/", ("core/", "common/", "cli/", "linux/", "windows/", "scheduler/core/", "scheduler/shell/config_file.h",
                  "scheduler/jenkins/companion.h", "agentd/core/config.h", "agentd/shell/config_file.h",
                  "simulation/whatif/"), ("cli11",)),
    # Tests and benchmarks may see anything, but only the stand-in's shell speaks HTTP by itself.
    Rule("tests/controller_sim/", ("core/", "common/json/", "simulation/controller/", "tests/", "linux/", "windows/"),
         ("nlohmann", "boost", "boost_beast", "cli11", "openssl", "zlib", "os")),
    Rule("tests/sim/main", EVERYTHING, ("nlohmann", "cli11")),
    Rule("tests/", EVERYTHING, ("nlohmann", "test", "openssl", "sqlite", "zlib", "yaml", "os")),
    Rule("bench/", EVERYTHING, ("benchmark", "nlohmann", "os")),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
PLATFORM_CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*\b(_WIN32|_WIN64|WIN32|_MSC_VER|__linux__|__unix__)\b")


def group_of(header):
    if header in STANDARD:
        return "std"
    for name, pattern in THIRD_PARTY:
        if re.match(pattern, header):
            return name
    return "os"


def include_problem(name, rule, bracket, header):
    if bracket == '"':
        if "/" not in header:
            return f'includes "{header}": write the path from the root of the repository'
        if not header.startswith(tuple(rule.project)):
            return f'includes "{header}"; files of {rule.prefix or name} may include {", ".join(rule.project)}'
        if name.startswith(PURE) and not name.startswith("tests/") and not header.startswith(PURE):
            return f'includes "{header}", which is not pure'
        return None
    group = group_of(header)
    if group == "std":
        if name.startswith(PURE) and header in BANNED_HEADERS_IN_PURE:
            return f"includes <{header}>, which has no place in a pure folder"
        return None
    if group not in rule.third:
        return f"includes <{header}> ({group}); files of {rule.prefix} may use {', '.join(rule.third) or 'std only'}"
    return None


def check_text(name, text):
    """The problems of one file, as lines 'path:line: what'."""
    rule = next((rule for rule in RULES if name.startswith(rule.prefix)), None)
    if rule is None:
        return [f"{name}:1: no layer rule covers this folder; add one to scripts/check_layers.py"]
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        found = []
        match = INCLUDE.match(line)
        if match:
            found.append(include_problem(name, rule, match[1], match[2]))
        elif name.startswith(PURE):
            found += [f"names {what}: {line.strip()}" for what, pattern in BANNED_IN_PURE if re.search(pattern, line)]
        if PLATFORM_CONDITION.match(line) and not name.startswith(("linux/", "windows/")):
            found.append("asks for the platform; that is for linux/ and windows/")
        problems += [f"{name}:{number}: {problem}" for problem in found if problem]
    return problems


# path, line, whether it is a violation. Each line stands alone in a file.
SELF_TEST = [
    ("core/a.h", '#include "core/result.h"', False),
    ("core/a.h", "#include <vector>", False),
    ("core/a.h", '#include "common/json/json.h"', True),
    ("core/a.h", '#include "result.h"', True),
    ("core/a.h", "#include <nlohmann/json.hpp>", True),
    ("core/a.h", "#include <unistd.h>", True),
    ("core/a.h", "#include <mutex>", True),
    ("core/a.cpp", "auto now = std::chrono::system_clock::now();", True),
    ("core/a.cpp", "auto now = std::chrono::steady_clock::now();", True),
    ("core/a.cpp", "auto now = time(nullptr);", True),
    ("core/a.cpp", "wake_at = view.time();", False),
    ("core/a.cpp", "std::thread worker;", True),
    ("core/a.cpp", "std::mutex lock;", True),
    ("core/a.cpp", "std::this_thread::sleep_for(x);", True),
    ("core/a.cpp", "std::random_device seed;", True),
    ("core/a.cpp", 'std::getenv("HOME");', True),
    ("core/a.cpp", "std::unordered_map<int, int> m;", True),
    ("core/a.cpp", "std::ofstream out(path);", True),
    ("core/a.cpp", "std::map<int, int> m;", False),
    ("scheduler/core/a.cpp", '#include "scheduler/core/logic.h"', False),
    ("scheduler/core/a.cpp", '#include "agentd/core/logic.h"', True),
    ("scheduler/core/a.cpp", '#include "scheduler/shell/records.h"', True),
    ("scheduler/core/a.cpp", "std::unordered_set<int> s;", True),
    ("agentd/core/a.cpp", '#include "drivers/api/driver.h"', True),
    ("drivers/api/driver.h", '#include "agentd/core/logic.h"', True),
    ("join/core/a.cpp", '#include "common/http/http_client.h"', True),
    ("simulation/controller/a.cpp", "#include <nlohmann/json.hpp>", True),
    ("simulation/controller/a.cpp", '#include "common/json/json.h"', True),
    ("simulation/controller/direct.cpp", '#include "scheduler/jenkins/labels.h"', False),
    ("simulation/controller/direct.cpp", '#include "scheduler/jenkins/answers.h"', True),
    ("simulation/controller/queue.cpp", '#include "scheduler/core/facts.h"', True),
    ("scheduler/jenkins/labels.cpp", "#include <mutex>", True),
    ("scheduler/jenkins/labels.cpp", '#include "scheduler/jenkins/replies.h"', True),
    ("common/json/json.h", "#include <nlohmann/json.hpp>", False),
    ("common/http/http_client.cpp", "#include <cpprest/http_client.h>", False),
    ("common/shell/a.cpp", "#include <pplx/pplxtasks.h>", True),
    ("common/http/http_client.cpp", '#include "scheduler/core/facts.h"', True),
    ("common/http/wire.cpp", "#include <boost/beast/http.hpp>", False),
    ("common/json/a.cpp", "#include <boost/beast/http.hpp>", True),
    ("common/consul/a.cpp", '#include "common/http/http_client.h"', False),
    ("common/consul/a.cpp", "#include <cpprest/http_client.h>", True),
    ("common/consul/a.cpp", "#include <nlohmann/json.hpp>", True),
    ("common/consul/a.cpp", '#include "scheduler/shell/registry.h"', True),
    ("common/journal/a.cpp", "#include <sqlite3.h>", False),
    ("common/log/a.cpp", "#include <sqlite3.h>", True),
    ("common/archive/unpack.cpp", "#include <archive_entry.h>", False),
    ("common/digest/a.cpp", "#include <archive.h>", True),
    ("common/digest/sha256.cpp", "#include <openssl/evp.h>", False),
    ("common/archive/a.cpp", "#include <openssl/evp.h>", True),
    ("agentd/images/a.cpp", '#include "linux/linux_files.h"', False),
    ("agentd/images/a.cpp", '#include "agentd/core/logic.h"', True),
    ("agentd/images/a.cpp", "#include <archive.h>", True),
    ("drivers/process/a.cpp", '#include "agentd/images/image_store.h"', True),
    ("scheduler/jenkins/a.cpp", "#include <cpprest/http_client.h>", True),
    ("scheduler/jenkins/a.cpp", "#include <nlohmann/json.hpp>", True),
    ("scheduler/jenkins/a.cpp", '#include "common/json/json.h"', False),
    ("scheduler/shell/a.cpp", "#include <yaml-cpp/yaml.h>", True),
    ("agentd/shell/a.cpp", '#include "scheduler/core/logic.h"', True),
    ("agentd/shell/a.cpp", "#include <boost/process.hpp>", True),
    ("linux/linux_process_launcher.cpp", "#include <boost/process.hpp>", False),
    ("linux/linux_process_launcher.cpp", "#include <sys/wait.h>", False),
    ("linux/linux_process_launcher.cpp", '#include "agentd/core/logic.h"', True),
    ("drivers/process/a.cpp", '#include "drivers/fake/fake_driver.h"', True),
    ("drivers/process/a.cpp", '#include "common/http/http_client.h"', True),
    ("drivers/process/a.h", "#include <unistd.h>", True),
    ("drivers/process/process_driver.cpp", "#include <poll.h>", False),
    ("join/main_linux.cpp", "#include <unistd.h>", False),
    ("join/fetch.cpp", "#include <unistd.h>", True),
    ("drivers/container/a.cpp", "#include <boost/beast.hpp>", True),
    ("drivers/container/engine.cpp", "#include <boost/beast.hpp>", True),
    ("drivers/container/engine.cpp", '#include "common/http/unix_client.h"', False),
    ("drivers/container/engine.cpp", '#include "common/http/http_client.h"', True),
    ("drivers/container/a.cpp", '#include "common/http/unix_client.h"', True),
    ("drivers/container/engine_texts.cpp", '#include "drivers/container/engine.h"', True),
    ("drivers/container/image_plan.cpp", '#include "drivers/container/engine_texts.h"', True),
    ("drivers/container/host_images.cpp", '#include "common/archive/tar_copy.h"', False),
    ("drivers/container/container_driver.cpp", '#include "common/archive/tar_copy.h"', True),
    ("drivers/qemu/qemu_texts.cpp", '#include "common/json/json.h"', True),
    ("drivers/qemu/qmp_texts.cpp", '#include "drivers/qemu/qmp.h"', True),
    ("drivers/qemu/qmp.cpp", "#include <sys/socket.h>", True),
    ("drivers/qemu/guest_bridge.cpp", "#include <poll.h>", False),
    ("cli/a.cpp", '#include "scheduler/shell/api.h"', True),
    ("cli/a.cpp", '#include "simulation/whatif/run.h"', False),
    ("cli/a.cpp", '#include "simulation/controller/controller_model.h"', True),
    ("cli/a.cpp", "#include <CLI/CLI.hpp>", False),
    ("tests/unit/a.cpp", "#include <boost/beast.hpp>", True),
    ("tests/unit/a.cpp", "#include <boost/process.hpp>", True),
    ("tests/unit/a.cpp", "#include <cpprest/json.h>", True),
    ("tests/controller_sim/shell/a.cpp", "#include <boost/beast.hpp>", False),
    ("tests/unit/a.cpp", "#include <catch2/catch.hpp>", False),
    ("agentd/shell/a.cpp", "#ifdef _WIN32", True),
    ("core/a.h", "#if defined(_WIN32)", True),
    ("windows/a.cpp", "#ifdef _WIN32", False),
    ("elsewhere/a.cpp", "int x = 0;", True),
]


def self_test():
    problems = []
    for name, line, wrong in SELF_TEST:
        if bool(check_text(name, line + "\n")) != wrong:
            problems.append(f"self-test: '{line}' in {name} should {'fail' if wrong else 'pass'}")
    for rule in RULES:  # no rule may be a dead letter: each must be able to refuse something
        if rule.project != EVERYTHING and not check_text(rule.prefix + "x.cpp", '#include "elsewhere/x.h"\n'):
            problems.append(f"self-test: the rule for {rule.prefix} refuses nothing")
        if "os" not in rule.third and not check_text(rule.prefix + "x.cpp", "#include <gtk/gtk.h>\n"):
            problems.append(f"self-test: the rule for {rule.prefix} lets an unknown library in")
        if next(other for other in RULES if rule.prefix.startswith(other.prefix)) is not rule:
            problems.append(f"self-test: the rule for {rule.prefix} is hidden by an earlier one")
    return tree.report(problems, "layers self-test")


def main(argv):
    if argv == ["--self-test"]:
        return self_test()
    if argv:
        print("usage: check_layers.py [--self-test]", file=sys.stderr)
        return 2
    problems = []
    for name in tree.cpp_files():
        problems += check_text(name, tree.read(name))
    return tree.report(problems, "layers")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
