"""What the recipes of guests for the QEMU driver share: initial file system, disk, and the configuration that is printed."""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "virtio_rng")
# TCG boots in a third of the time with it. A panic is a restart, upon which QEMU ends.
COMMAND_LINE = "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off random.trust_cpu=on nokaslr no_timer_check net.ifnames=0"
UUID = "5e1f0b6c-9a7d-4c3e-8f21-d0c4b3a29687"

# In the initial file system: the drivers, then the disk.
FIRST_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
while read module; do /bin/busybox insmod /modules/$module; done < /modules/order
/bin/busybox mount -t ext4 -o noatime,nodiratime /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""

# The whole of the guest's start.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t tmpfs -o mode=1777 tmp /tmp
$busybox mount -t tmpfs -o mode=0755 run /run
$busybox mkdir -p /dev/shm /dev/pts
$busybox mount -t tmpfs -o mode=1777 shm /dev/shm
$busybox mount -t devpts -o mode=620,ptmxmode=666 pts /dev/pts
$busybox ifconfig lo up
if [ -e /sys/class/net/eth0 ]; then
  $busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
  $busybox route add default gw 10.0.2.2
fi
# More than one machine may be resumed from here: what only one may have comes later, from the host.
skep-guest
$busybox poweroff -f
"""


class Unavailable(Exception):
    """Why no image can be built here."""


def need(program):
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise Unavailable(f"{program} is not installed")
    return found


def modules_in_order(folder):
    """Paths of MODULES and of what they need, each after what it needs."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {pathlib.Path(path).name.split(".ko")[0].replace("-", "_"): path for path in needs}
    order = []

    def add(path):
        if path not in order:
            for other in needs[path]:
                add(other)
            order.append(path)
    for name in MODULES:
        if name not in by_name:
            raise Unavailable(f"the kernel has no module {name}")
        add(by_name[name])
    return [folder / path for path in order]


def cpio(entries):
    """An archive as the kernel unpacks it (format newc) of (name, mode, bytes)."""
    out = bytearray()

    def put(number, name, mode, data):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data)
        out.extend(b"\0" * (-len(out) % 4))
    for number, (name, mode, data) in enumerate(entries, 1):
        put(number, name, mode, data)
    put(0, "TRAILER!!!", 0, b"")
    return bytes(out)


def build_initrd(modules, busybox):
    entries = [(name, 0o040755, b"") for name in ("bin", "dev", "modules", "root")]
    entries += [("bin/busybox", 0o100755, busybox), ("init", 0o100755, FIRST_INIT.encode())]
    entries += [(f"modules/{path.name}", 0o100644, path.read_bytes()) for path in modules]
    entries.append(("modules/order", 0o100644, "".join(f"{path.name}\n" for path in modules).encode()))
    return cpio(entries)


def build_disk(root, target, folder, size, is_the_same_each_time=False):
    """A file system of what is in `root`, without a journal: no executor's disk is used after a crash."""
    raw = folder / "disk.raw"
    with open(raw, "wb") as file:
        file.truncate(size)
    environment = {**os.environ, **({"E2FSPROGS_FAKE_TIME": "1"} if is_the_same_each_time else {})}
    plain = ",^metadata_csum,^dir_index" if is_the_same_each_time else ""
    subprocess.run([need("mkfs.ext4"), "-q", "-F", "-O", f"^has_journal,^resize_inode{plain}", "-m", "0", "-U", UUID,
                    "-E", f"hash_seed={UUID},root_owner=0:0,lazy_itable_init=0,nodiscard", "-d", root, raw], check=True, env=environment)
    if is_the_same_each_time:
        # The times of change of the files here came with them; 11 is the first inode that is not the file system's own.
        inodes = [2, *range(11, 12 + sum(1 for _ in root.rglob("*")))]
        subprocess.run([need("debugfs"), "-w", "-f", "-", raw], input="".join(f"sif <{each}> ctime @1\n" for each in inodes), text=True,
                       capture_output=True, check=True, env=environment)
    subprocess.run([need("qemu-img"), "convert", "-q", "-f", "raw", "-O", "qcow2", raw, target], check=True)
    raw.unlink()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def put_into(folder, kernel, initrd, disk):
    """What the recipes return: {"folder", "kernel": {"file", "sha256"}, "initrd", "disk", "command_line"}. The files are moved."""
    folder.mkdir(parents=True, exist_ok=True)
    image = {"folder": str(folder), "command_line": COMMAND_LINE}
    for key, path in (("kernel", kernel), ("initrd", initrd), ("disk", disk)):
        target = folder / path.name
        target.unlink(missing_ok=True)
        shutil.move(path, target)
        target.chmod(0o444)
        image[key] = {"file": path.name, "sha256": sha256(target)}
    return image


def programs_in(bin_folder, names):
    programs = [bin_folder / name for name in names]
    for program in programs:
        if not program.is_file():
            raise Unavailable(f"{program} is not built: scripts/demo builds it, or give --bin")
    return programs


def snippet(image, name="tiny", indent="      "):
    lines = [f"{name}:", f"  folder: {image['folder']}"]
    for key in ("kernel", "initrd", "disk"):
        lines.append(f"  {key}: {{file: {image[key]['file']}, sha256: {image[key]['sha256']}}}")
    lines.append(f"  command_line: {image['command_line']}")
    return "".join(f"{indent}{line}\n" for line in lines)


def run(name, about, recipe, add_options=lambda parser: None):
    """The command line of a recipe; `recipe(arguments)` returns an image."""
    parser = argparse.ArgumentParser(prog=f"scripts/images/{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="made when missing; files of the same names are replaced")
    parser.add_argument("--bin", type=pathlib.Path, default=TOP / "build/release/bin", help="where Skep's programs are")
    parser.add_argument("--json", action="store_true", help="print the image as JSON instead of as configuration")
    add_options(parser)
    arguments = parser.parse_args()
    arguments.folder, arguments.bin = arguments.folder.resolve(), arguments.bin.resolve()
    try:
        image = recipe(arguments)
    except (Unavailable, OSError, subprocess.CalledProcessError) as failure:
        print(f"{name}: no image: {failure}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(image))
    else:
        print("drivers:\n  qemu:\n    images:")
        print(snippet(image, name), end="")
    return 0
