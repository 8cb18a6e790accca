#!/usr/bin/env python3
"""agentd killed at random moments while it fetches, unpacks, verifies and removes: never a half image, and it comes to an end."""
import os
import random
import sys
import time

from host import Failure, Host, checks, expect, image, tar_of, wait_for
from repository import Repository

SEED = int(os.environ.get("SKEP_SEED", "0")) or random.randrange(1, 1 << 32)


def agentd_is_killed_while_it_pulls():
    print(f"replay: SKEP_SEED={SEED} {sys.argv[0]}", flush=True)
    dice = random.Random(SEED)
    repository = Repository()
    tree = {f"d{i}/f{j}": (0o644, dice.randbytes(3000)) for i in range(10) for j in range(15)}
    tar = tar_of(tree)
    disk = {"disk": dice.randbytes(6_000_000), "kernel": dice.randbytes(400_000)}
    repository.put("tree/base.tar.gz", tar)
    for name, content in disk.items():
        repository.put(f"vm/{name}", content)
    host = Host([image("base", "1", repository.url("tree/"), {"base.tar.gz": tar}),
                 image("guest", "1", repository.url("vm/"), disk, format="vm")], max_bytes="90000000")
    names = ["base@1", "guest@1"]
    rounds = halves = 0
    try:
        for rounds in range(1, 26):
            host.start()
            time.sleep(dice.uniform(0, 0.15))  # the random moment
            host.kill()
            halves += bool(host.left_in("making"))
            # What is in `ready` is whole, whatever agentd says of it.
            for folder in host.images.glob("ready/*"):
                expect((folder / "manifest.json").exists(), f"{folder} has no manifest")
                if folder.name.startswith("guest"):
                    found = {path.name: path.read_bytes() for path in (folder / "files").iterdir()}
                    expect(found == disk, f"{folder} is not whole")
                else:
                    found = {str(p.relative_to(folder / "tree")): p.read_bytes() for p in (folder / "tree").rglob("*") if p.is_file()}
                    expect(found == {name: content for name, (_, content) in tree.items()}, f"{folder} is not whole")
            if dice.random() < 0.3:  # from the beginning: the catalogue loses an image, and gets it back
                host.catalogue, kept = [], host.catalogue
                host.max_bytes = "1000"
                host.write_config()
                host.start()
                time.sleep(dice.uniform(0, 0.05))
                host.kill()
                host.catalogue, host.max_bytes = kept, "90000000"
                host.write_config()
        host.start()
        for name in names:
            host.wait_for_state(name, "ready", 60)
            host.call(f"v1/images/{name}/verify", "POST")
        wait_for(lambda: host.metrics()["skep_image_verifications_total"] >= 2, "both are verified", 30)
        expect(host.metrics()["skep_image_verify_failures_total"] == 0, "and what they should be")
        wait_for(lambda: host.left_in("making") == [] and host.left_in("leaving") == [],
                 f"nothing is left: {host.left_in('making')} {host.left_in('leaving')}", 20)
        expect(halves > 0, f"no kill of {rounds} fell into a fetch: the test proves nothing")
    except BaseException:
        print(f"in round {rounds}\n{host.tail()}", flush=True)
        raise
    finally:
        host.end()
        repository.end()


def holds_outlive_kills_and_end_with_their_executors():
    repository = Repository()
    tar = tar_of({"hello": (0o644, b"hello\n")})
    repository.put("base.tar.gz", tar)
    host = Host([image("base", "1", repository.url(), {"base.tar.gz": tar})], max_bytes="90000000")
    try:
        host.start()
        host.wait_for_state("base@1", "ready")
        host.wait_until_offered("base")
        for number in range(6):
            host.order(f"e{number}", "base", "exec sleep 1000")
            if number % 2:
                host.kill()
                host.start()
                host.wait_for_state("base@1", "ready")
                wait_for(lambda: host.call("v1/executors")[1]["drivers"], "the driver was probed", 20)
            # A kill between order and start leaves it failed; its hold goes with it when it is destroyed.
            wait_for(lambda n=number: (e := host.executor(f"e{n}")) and e["state"] in ("booting", "joining", "idle", "failed"),
                     f"e{number} is started or failed", 30)
        running = {e["id"] for e in host.call("v1/executors")[1]["executors"] if e["state"] != "failed"}
        expect(running and running <= set(host.image("base@1")["in_use_by"]), f"{running} hold {host.image('base@1')['in_use_by']}")
        # While it is held, a catalogue without it and a limit that it exceeds do not remove it.
        host.kill()
        host.catalogue, host.max_bytes = [], "1"
        host.write_config()
        host.start()
        wait_for(lambda: host.image("base@1"), "it is seen", 20)
        wait_for(lambda: all(host.executor(e) for e in running), "they are adopted", 20)
        expect(host.image("base@1")["state"] == "ready" and not host.image("base@1")["is_wanted"], "it stays")
        for number in range(6):
            host.destroy(f"e{number}")
        wait_for(lambda: host.image("base@1") is None, "it goes when nobody holds it", 20)
        parts = ("holds", "ready", "making", "leaving")
        try:
            wait_for(lambda: not any(host.left_in(part) for part in parts), "nothing is left", 20)
        except Failure as failure:
            raise Failure(f"{failure}: {[host.left_in(part) for part in parts]}\n{host.tail()}") from None
    finally:
        host.end()
        repository.end()


if __name__ == "__main__":
    sys.exit(checks.run([agentd_is_killed_while_it_pulls, holds_outlive_kills_and_end_with_their_executors]))
