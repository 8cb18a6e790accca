#!/usr/bin/env python3
"""From a repository to a container: real engines of this test's own, whose images agentd fetches and loads."""
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tarfile
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


CHECKS = [from_a_repository_to_an_executor_and_out_again]

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
