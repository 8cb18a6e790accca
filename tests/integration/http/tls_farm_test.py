#!/usr/bin/env python3
"""A farm wholly over TLS with tokens and a private CA; who has no token, or the wrong one, gets nothing; no secret is seen
where it does not belong."""
import collections
import json
import os
import pathlib
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
import checks  # noqa: E402: the path is set above
import farm as farms  # noqa: E402
from checks import expect  # noqa: E402
from farm import BIN, Farm, wait_for  # noqa: E402

BUILDS = 4
# What must be seen in no log, command line or environment, and in no file that others can read.
MARKS = {name: f"MARKED{name}{os.urandom(8).hex()}" for name in ("jenkins", "scheduler", "agentd")}


class TlsFarm(Farm):
    def start(self):
        for name, mark in MARKS.items():
            self.write(f"{name}.token", mark + "\n")
        return super().start()

    def common_config(self, name):
        return f"""token_file: {self.folder}/{name}.token
tls: {{certificate: {self.folder}/farm.pem, key: {self.folder}/farm.key}}
log: {{level: debug}}
"""

    def scheduler_config(self):
        return super().scheduler_config() + self.common_config("scheduler") + f"agentd: {{token_file: {self.folder}/agentd.token, ca_file: {self.folder}/ca.pem}}\n"

    def agentd_config(self):
        return super().agentd_config() + self.common_config("agentd")

    def registry_config(self, *more):
        return super().registry_config(*more, f"scheduler_token_file: '{self.folder}/scheduler.token'", f"scheduler_ca_file: '{self.folder}/ca.pem'")

    def open(self, url, token=None, method="GET", body=None, timeout=10):
        request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with self.opener.open(request, timeout=timeout) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def api(self, path, method="GET", body=None):
        return self.open(self.scheduler.url + path, MARKS["scheduler"], method, body)


def status_of(farm, url, token):
    try:
        farm.open(url, token)
        return 200
    except urllib.error.HTTPError as error:
        return error.code


def check_doors(farm):
    """Every door of both daemons is shut for who has no token or another one, before anything is looked up."""
    for base, right in ((farm.scheduler.url, MARKS["scheduler"]), (farm.agentd.url, MARKS["agentd"])):
        expect(base.startswith("https://127.0.0.1:"), f"not over TLS: {base}")
        for path in ("v1/status", "v1/executors", "v1/queue", "v1/config", "metrics", "healthz", "nowhere"):
            for token in (None, "", "wrong", right[:-1], right + "x"):
                expect(status_of(farm, base + path, token) == 401, f"{base}{path} is open to {token!r}")
        expect(status_of(farm, base + "v1/executors", right) == 200, f"{base} refuses the right token")
    other = MARKS["agentd"]
    expect(status_of(farm, farm.scheduler.url + "v1/status", other) == 401, "agentd's token opens the scheduler")
    strangers = ssl.create_default_context()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=strangers))
    try:
        opener.open(farm.scheduler.url, timeout=10)
        raise AssertionError("a certificate of an unknown CA was taken")
    except urllib.error.URLError as error:
        expect("CERTIFICATE_VERIFY_FAILED" in str(error), str(error))


def check_token_is_not_sent_in_the_open(farm):
    """Whoever may announce a host must not get agentd's token by naming a plain address."""
    farm.api("v1/hosts/stranger", "PUT", {"host": "stranger", "agentd_url": "http://stranger.example:1/", "ttl_ms": 3000})
    wait_for(lambda: "would get our token unprotected" in farm.scheduler.tail(), "the refusal is logged", 20)
    expect([h["host"] for h in farm.api("v1/hosts")] == [f"{farm.tag}-host"], "the stranger became a host")


def check_cli(farm):
    def skep(*arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        return subprocess.run([BIN / "skep", "--url", farm.scheduler.url, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, env=environment, timeout=60, check=False)
    token, ca = ["--token-file", farm.folder / "scheduler.token"], ["--ca-file", farm.folder / "ca.pem"]
    good = skep(*token, *ca, "status")
    expect(good.returncode == 0, f"skep status over TLS: {good.stderr}")
    expect(skep(*token, "status").returncode != 0, "the CLI took a certificate of an unknown CA")
    wrong = skep("--token-file", farm.folder / "agentd.token", *ca, "status")
    expect(wrong.returncode != 0 and "token" in wrong.stderr, f"a wrong token: {wrong.stderr}")
    for done in (good, wrong):
        for mark in MARKS.values():
            expect(mark not in done.stdout + done.stderr, "the CLI prints a token")


def seen_marks(farm):
    """Where a marked secret is seen and must not be."""
    marks = [mark.encode() for mark in MARKS.values()]
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        for part in ("cmdline", "environ"):
            try:
                text = (entry / part).read_bytes()
            except OSError:
                continue
            if any(mark in text for mark in marks):
                found.append(f"/proc/{entry.name}/{part}")
    for path in farm.folder.rglob("*"):
        try:
            if not path.is_file() or (path.stat().st_mode & 0o077 == 0 and (path.name == "token" or path.suffix in (".token", ".json"))):
                continue
            if any(mark in path.read_bytes() for mark in marks):
                found.append(str(path))
        except OSError:
            continue
    return found


def builds_run_wholly_over_tls():
    farm = TlsFarm(maximum=2, max_executors=4, controller_tls=True)
    try:
        farm.start()
        expect(farm.controller.url.startswith("https://"), "the controller is not over TLS")
        farm.sim("jobs", "POST", {"path": "free", "label": "linux", "duration_ms": 1500, "concurrent": True})
        farm.sim("schedule", "POST", {"path": "free", "count": BUILDS, "distinct": True})
        wait_for(lambda: any(not b["ended_at_ms"] for b in farm.sim("truth")["builds"]), "a build runs", 60)
        decoy = farm.write("decoy", MARKS["jenkins"], 0o644)
        expect(seen_marks(farm) == [str(decoy)], f"the search finds its decoy, and nothing else: {seen_marks(farm)}")
        decoy.unlink()
        check_doors(farm)
        check_token_is_not_sent_in_the_open(farm)
        check_cli(farm)
        truth = wait_for(lambda: (t := farm.sim("truth")) and sum(1 for b in t["builds"] if b["ended_at_ms"]) >= BUILDS and t,
                         "every build has run", 120, 0.2)
        expect(max(collections.Counter(b["node"] for b in truth["builds"]).values()) == 1, "an executor served two builds")
        wait_for(lambda: not farm.processes() and not farm.executors_root(), "nothing is left over", 60, 0.2)
        expect(not seen_marks(farm), f"a secret is seen: {seen_marks(farm)}")
        logs = farm.scheduler.tail() + farm.agentd.tail()
        expect("agentd" in logs, "nothing was logged, so nothing is proven")
    except BaseException:
        for program in (farm.controller, farm.scheduler, farm.agentd):
            print(f"--- end of {program.name if program else '?'}'s log\n{program.tail() if program else ''}")
        raise
    finally:
        farm.end()


def refused(argv):
    """What a daemon says that must not start."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    expect(done.returncode not in (0, None) and done.returncode > 0, f"{argv[0]} started, or broke: {done.returncode} {done.stderr}")
    return done.stderr


def nothing_listens_in_the_open():
    farm = Farm()
    try:
        (farm.folder / "image").mkdir()
        farm.write("token", "x\n")
        nowhere = type("Nowhere", (), {"url": "http://127.0.0.1:1/"})
        farm.controller = farm.scheduler = nowhere
        configs = {"skep-scheduler": farm.scheduler_config(), "skep-agentd": farm.agentd_config()}
        for program, text in configs.items():
            config = farm.write(f"{program}.yaml", text)
            message = refused([BIN / program, "--config", config, "--listen", "0.0.0.0:0"])
            expect("refusing to listen on 0.0.0.0:0 without a token file" in message, f"{program}: {message}")
            config.write_text(text.replace("listen: 127.0.0.1:0", "listen: '[::]:0'"))
            expect("without a token file" in refused([BIN / program, "--config", config]), f"{program} listens on [::]")
            loose = farm.write("loose.token", "x\n", 0o644)
            config.write_text(text + f"token_file: {loose}\n")
            message = refused([BIN / program, "--config", config])
            expect(str(loose) in message and "chmod 600" in message, f"{program}: {message}")
            config.write_text(text + f"tls: {{certificate: {farm.folder}/absent.pem, key: {farm.folder}/token}}\n")
            expect("absent.pem" in refused([BIN / program, "--config", config]), f"{program} starts without its certificate")
        plain = configs["skep-agentd"].replace("http://127.0.0.1:1/", "http://skep.example:7070/")
        expect("skep.example" in plain, plain)
        config = farm.write("plain.yaml", plain)
        expect("allow_http" in refused([BIN / "skep-agentd", "--config", config]), "agentd sends its token over plain http")
    finally:
        farm.controller = farm.scheduler = None
        farm.end()


if __name__ == "__main__":
    farms.TOKEN = MARKS["jenkins"]
    sys.exit(checks.run([nothing_listens_in_the_open, builds_run_wholly_over_tls]))
