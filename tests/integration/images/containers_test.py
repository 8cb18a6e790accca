#!/usr/bin/env python3
"""From a repository to a container: real engines of this test's own, whose images agentd fetches and loads."""
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading

from host import BIN, Host, Skip, checks, expect, image, wait_for
from repository import Repository, sha256

from engine_of_farm import EngineOfFarm, container_engine  # tests/demo, whose path host.py has set

KIND = os.environ.get("SKEP_TEST_ENGINE", "docker")
AGENT = "echo INFO: Connected >&2; exec sleep 1000"
COPY = "skep.local/"


def archive_of(parts, compression=""):
    """A tar of `parts`: name -> bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:
        for name, content in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def parts_of(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}


def zstd(content):
    return subprocess.run(["zstd", "-q", "-c"], input=content, stdout=subprocess.PIPE, check=True).stdout


class Images:
    """Archives of one small image, and variants that differ in one small layer."""

    def __init__(self, exported):
        self.parts = parts_of(exported)
        [self.manifest] = json.loads(self.parts["manifest.json"])
        self.config = json.loads(self.parts[self.manifest["Config"]])

    def make(self, mark, names=("skep-test/base:latest",), padding=0, **changes):
        """(archive, ID): with a file /etc/version that holds `mark`."""
        layer = archive_of({"etc/version": mark.encode(), "padding": os.urandom(padding)} if padding else {"etc/version": mark.encode()})
        config = {**self.config, **changes}
        config["rootfs"] = {"type": "layers", "diff_ids": self.config["rootfs"]["diff_ids"] + ["sha256:" + sha256(layer)]}
        config["history"] = []
        text = json.dumps(config).encode()
        name = sha256(text) + ".json"
        parts = {layer: self.parts[layer] for layer in self.manifest["Layers"]}
        parts |= {"added.tar": layer, name: text}
        manifest = {"Config": name, "RepoTags": list(names), "Layers": self.manifest["Layers"] + ["added.tar"]}
        parts["manifest.json"] = json.dumps([manifest]).encode()
        return parts, "sha256:" + sha256(text)

    def make_oci(self, mark):
        parts, image_id = self.make(mark)
        [manifest] = json.loads(parts["manifest.json"])
        blobs = {}

        def blob(content, kind):
            blobs["blobs/sha256/" + sha256(content)] = content
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + sha256(content), "size": len(content)}
        text = json.dumps({"schemaVersion": 2, "config": blob(parts[manifest["Config"]], "config.v1+json"),
                           "layers": [blob(parts[layer], "layer.v1.tar") for layer in manifest["Layers"]]}).encode()
        index = {"schemaVersion": 2, "manifests": [blob(text, "manifest.v1+json")]}
        return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}, image_id


class Bench:
    """An engine, archives for it, a repository; hosts are made by each check."""

    def __init__(self):
        self.engine = EngineOfFarm(KIND, BIN)
        self.engine.start()
        if self.engine.skipped:
            raise Skip(self.engine.skipped)
        self.images = Images(self.export())
        self.before = self.all_images()
        self.repository = Repository()

    def export(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(60)
            peer.connect(self.engine.socket)
            peer.sendall(f"GET /v1.41/images/{self.engine.image}/get HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            answer = b""
            while chunk := peer.recv(1 << 20):
                answer += chunk
        return answer.partition(b"\r\n\r\n")[2]

    def ask(self, method, target, body=b""):
        return container_engine.ask(self.engine.socket, method, target, body)

    def all_images(self):
        """ID -> names."""
        return {each["Id"]: sorted(name for name in each.get("RepoTags") or [] if not name.startswith("<none>"))
                for each in json.loads(self.ask("GET", "images/json?all=1")[1])}

    def ours(self):
        return {each: name for each, names in self.all_images().items() for name in names if name.startswith(COPY)}

    def nothing_is_left(self):
        wait_for(lambda: self.all_images() == self.before, f"nothing of ours is left: {self.all_images()}", 20, 0.05)

    def publish(self, version, content, **more):
        name = f"app-{version}.tar"
        self.repository.put(f"app/{version}/{name}", content)
        return image("app", version, self.repository.url(f"app/{version}/"), {name: content}, format="container", **more)

    def host(self, catalogue, sock=None, **more):
        drivers = {"process": {"enabled": False},
                   "container": {"socket": sock or self.engine.socket, "networks": ["none"], "user": "0:0"}}
        return Host(catalogue, drivers=drivers, **more)

    def end(self):
        self.engine.end()


def order(host, executor, image_name, **more):
    status, body = host.order(executor, image_name, AGENT, driver="container", **more)
    expect(status == 202, f"{status} {body}")


def wait_connected(host, executor):
    def connected():
        seen = host.executor(executor)
        expect(seen is None or seen["state"] != "failed", f"{executor} failed: {seen}")
        return seen and seen["agent"] == "connected"
    wait_for(connected, f"the agent in {executor} is connected", 60, 0.05)


def wait_failed(host, executor):
    return wait_for(lambda: (e := host.executor(executor)) and e["state"] == "failed" and e["message"], f"{executor} fails", 30, 0.05)


def image_of(bench, executor):
    return json.loads(bench.ask("GET", f"containers/skep-{executor}/json")[1])["Image"].removeprefix("sha256:")


def from_a_repository_to_an_executor_and_out_again():
    parts, image_id = BENCH.images.make("one")
    host = BENCH.host([BENCH.publish("1", zstd(archive_of(parts)))])
    try:
        host.start()
        host.wait_until_offered("app@1")
        expect(sorted(host.offered()) == ["app", "app@1"], f"{host.offered()}")
        expect(list(BENCH.ours()) == [image_id], f"{BENCH.ours()} is not {image_id}")
        expect(BENCH.all_images()[BENCH.engine.image] == BENCH.before[BENCH.engine.image], "the names of others stay where they were")
        order(host, "e1", "app@1")
        wait_connected(host, "e1")
        expect("sha256:" + image_of(BENCH, "e1") == image_id, "made from the ID")
        expect(host.image("app@1")["in_use_by"] == ["e1"], "it is held")
        host.kill()
        host.catalogue = []
        host.write_config()
        host.start()
        wait_for(lambda: (e := host.executor("e1")) and e["agent"] == "connected", "adopted", 30)
        expect(list(BENCH.ours()) == [image_id], "an image that is held stays")
        host.destroy("e1")
        BENCH.nothing_is_left()
    finally:
        host.end()


class SlowSocket:
    """The engine's socket, behind one that stops in the middle of a load until it is told to go on, or answers itself."""

    def __init__(self, target, answer=None):
        self.target, self.answer = target, answer
        self.folder = tempfile.mkdtemp(prefix="slow-", dir=BENCH.engine.folder)  # goes with it, also when we are killed
        self.path = self.folder + "/s"
        self.loads, self.is_stuck, self.go_on = 0, threading.Event(), threading.Event()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(50)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            with peer, socket.socket(socket.AF_UNIX) as engine:
                engine.connect(self.target)
                head = peer.recv(65536)
                is_load = b"/images/load" in head
                if is_load:
                    self.loads += 1
                    body = peer.recv(65536)
                    if self.answer is None:
                        engine.sendall(head + body)
                    self.is_stuck.set()
                    if self.answer is not None:
                        text = self.answer(head + body)
                        if not text:
                            return
                        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text))
                        return
                    self.go_on.wait(60)
                else:
                    engine.sendall(head)
                ends = [threading.Thread(target=self.pump, args=pair, daemon=True) for pair in ((peer, engine), (engine, peer))]
                for end in ends:
                    end.start()
                for end in ends:
                    end.join()
        except OSError:
            pass

    @staticmethod
    def pump(source, target):
        try:
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
        except OSError:
            pass
        for end, how in ((target, socket.SHUT_RDWR), (source, socket.SHUT_RDWR)):
            try:
                end.shutdown(how)
            except OSError:
                pass

    def end(self):
        self.go_on.set()
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def killed_while_it_is_loaded_and_found_again():
    parts, image_id = BENCH.images.make("two", padding=8 << 20)
    slow = SlowSocket(BENCH.engine.socket)
    host = BENCH.host([BENCH.publish("2", archive_of(parts, "gz"))], slow.path)
    try:
        host.start()
        expect(slow.is_stuck.wait(20), "a load begins")
        order(host, "early", "app@2")
        expect("the container engine is loading it" in wait_failed(host, "early"), f"{host.executor('early')}")
        shown = host.image("app@2")
        expect(shown["state"] == "ready" and "loading it" in shown["problem"] and shown["references"] == [], f"{shown}")
        expect(host.offered() == [], "what is not loaded is not offered")
        host.kill()
        slow.go_on.set()
        host.start()
        host.wait_until_offered("app@2")
        expect(slow.loads == 2 and list(BENCH.ours()) == [image_id], f"{slow.loads} loads, {BENCH.ours()}")
        host.kill()
        host.start()
        host.wait_until_offered("app@2")
        expect(slow.loads == 2, "what is there is not loaded again")
        slow.go_on.clear()
        slow.is_stuck.clear()
        expect(BENCH.ask("DELETE", "images/" + BENCH.ours()[image_id])[0] == 200, "pruned by hand")
        expect(host.call("v1/images/app/verify", "POST")[0] == 202, "verify is taken on")
        expect(slow.is_stuck.wait(20), "it is loaded again")
        order(host, "e1", "app@2")
        expect("loading it" in wait_failed(host, "e1"), f"{host.executor('e1')}")
        wait_for(lambda: host.offered() == [], "it is not offered while it is not there", 20, 0.02)
        host.kill()  # and the catalogue lets it go before it is started again
        host.catalogue = []
        host.write_config()
        slow.go_on.set()
        host.start()
        BENCH.nothing_is_left()
    finally:
        host.end()
        slow.end()


def two_hosts_on_one_engine_leave_each_others_images_alone():
    parts, image_id = BENCH.images.make("three")
    entry = BENCH.publish("3", zstd(archive_of(BENCH.images.make_oci("three")[0])))
    hosts = [BENCH.host([entry]), BENCH.host([BENCH.publish("3b", archive_of(parts))])]
    try:
        for name, host in zip(("h1", "h2"), hosts):
            text = (host.folder / "agentd.yaml").read_text().replace('"host": "h1"', f'"host": "{name}"')
            (host.folder / "agentd.yaml").write_text(text)
            host.start()
        hosts[0].wait_until_offered("app@3")
        hosts[1].wait_until_offered("app@3b")
        expect(len(BENCH.all_images()[image_id]) == 2, f"each has its own name for it: {BENCH.all_images()}")
        hosts[0].kill()
        (hosts[0].folder / "agentd.yaml").write_text((hosts[0].folder / "agentd.yaml").read_text().replace('"catalogue": [', '"unused": [').replace(
            '"unused": [' + json.dumps(entry) + "]", '"catalogue": []'))
        hosts[0].start()
        wait_for(lambda: len(BENCH.all_images().get(image_id, [])) == 1, f"the first lets go: {BENCH.all_images()}", 20, 0.05)
        order(hosts[1], "e2", "app")
        wait_connected(hosts[1], "e2")
        hosts[1].destroy("e2")
        hosts[1].kill()
        (hosts[1].folder / "agentd.yaml").write_text(json.dumps({**json.loads((hosts[1].folder / "agentd.yaml").read_text()),
                                                                 "images": {"folder": str(hosts[1].images), "catalogue": []}}))
        hosts[1].start()
        BENCH.nothing_is_left()
    finally:
        for host in hosts:
            host.end()


def what_cannot_be_loaded_is_told_once_and_leaves_nothing():
    whole = archive_of(BENCH.images.make("bad")[0])
    two = BENCH.images.make("bad")[0]
    two["manifest.json"] = json.dumps(json.loads(two["manifest.json"]) * 2).encode()
    foreign = BENCH.images.make("bad", architecture="s390x")[0]
    layer = BENCH.images.make("bad")[0]
    layer["added.tar"] = b"no tar" * 1000
    cases = {"cut": (whole[:len(whole) // 2], "cannot be read as an archive"), "cut-gz": (archive_of(BENCH.images.make("bad")[0], "gz")[:100_000], "cannot be read"),
             "none": (os.urandom(5000), "cannot be read as an archive"), "no-image": (archive_of({"a": b"x"}), "neither manifest.json nor index.json"),
             "two": (archive_of(two), "it holds 2 images"), "foreign": (archive_of(foreign), "linux/s390x"),
             "layer": (archive_of(layer), "the container engine answers")}
    host = BENCH.host([BENCH.publish(version, content, channel=version) for version, (content, _) in cases.items()])
    try:
        host.start()
        for version, (_, reason) in cases.items():
            def told(version=version, reason=reason):
                return (seen := host.image("app@" + version)) and reason in seen["problem"]
            try:
                wait_for(told, f"{version} says {reason}", 20, 0.05)
            except Exception:
                raise AssertionError(f"{version}: {host.image('app@' + version)}") from None
        order(host, "e1", "app@foreign")
        expect(cases["foreign"][1] in wait_failed(host, "e1"), f"{host.executor('e1')}")
        expect(host.offered() == [] and host.left_in("holds") == [], f"{host.offered()} {host.left_in('holds')}")
        expect(BENCH.all_images() == BENCH.before, f"{BENCH.all_images()}")
    finally:
        host.end()


def an_engine_that_lies_or_ends_is_found():
    parts, image_id = BENCH.images.make("lie")

    def another(request):
        tag = re.search(rb"skep\.local/[^\"]+", request)[0].decode().rpartition(":")
        status, _ = BENCH.ask("POST", f"images/{BENCH.engine.image}/tag?repo={tag[0]}&tag={tag[2]}")
        expect(status == 201, f"{status}")
        return b'{"stream":"Loaded image"}'

    cases = ((lambda _: b'{"errorDetail":{"message":"write /x: no space left on device"},"error":"x"}', ["no space left on device"]),
             (lambda _: b'{"stream":"Loaded image"}', ["says that it loaded it, and does not have it"]),
             (lambda _: b"", ["broke off"]), (another, [image_id, BENCH.engine.image]))
    slow = SlowSocket(BENCH.engine.socket)
    slow.go_on.set()
    host = BENCH.host([BENCH.publish("4", archive_of(parts))], slow.path)
    try:
        for answer, reasons in cases:
            slow.answer = answer
            host.start()
            wait_for(lambda reasons=reasons: (seen := host.image("app@4")) and all(each in seen["problem"] for each in reasons),
                     f"{reasons} is told", 20, 0.05)
            expect(host.offered() == [], f"{host.offered()}")
            host.kill()  # what it tries next would wait
            BENCH.nothing_is_left() if answer is not another else None
        slow.answer = None
        host.start()
        host.wait_until_offered("app@4")
        expect(BENCH.ours().keys() == {image_id}, f"{BENCH.ours()}")
        expect(BENCH.all_images()[BENCH.engine.image] == BENCH.before[BENCH.engine.image], "the lie is undone")
        host.kill()
        host.catalogue = []
        host.write_config()
        host.start()
        BENCH.nothing_is_left()
    finally:
        host.end()
        slow.end()


CHECKS = [from_a_repository_to_an_executor_and_out_again, killed_while_it_is_loaded_and_found_again,
          two_hosts_on_one_engine_leave_each_others_images_alone, what_cannot_be_loaded_is_told_once_and_leaves_nothing,
          an_engine_that_lies_or_ends_is_found]

if __name__ == "__main__":
    try:
        BENCH = Bench()
    except Skip as reason:
        print(f"SKIPPED: {reason}\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    try:
        sys.exit(checks.run([each for each in CHECKS if not sys.argv[1:] or each.__name__ in sys.argv[1:]]))
    finally:
        BENCH.end()
