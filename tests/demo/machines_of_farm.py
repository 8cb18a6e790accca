"""What virtual machines of a farm need: the tiny guest and a folder, in a process that takes both away when this one ends in whatever way."""
import json
import os
import pathlib
import subprocess
import sys

SUPPORT = pathlib.Path(__file__).resolve().parents[1] / "support"
sys.path.insert(0, str(SUPPORT))
import tiny_image  # noqa: E402: the path is set above


class MachinesOfFarm:
    def __init__(self, programs, stand_ins):
        self.programs, self.stand_ins = programs, stand_ins
        self.process = None
        self.image, self.folder, self.skipped = {}, "", ""

    def start(self):
        """`skipped` says why no machine can run here."""
        self.process = subprocess.Popen([sys.executable, SUPPORT / "tiny_image.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        start_new_session=True,
                                        env={**os.environ, "SKEP_BIN_DIR": str(self.programs), "SKEP_STAND_INS_DIR": str(self.stand_ins)})
        answer = json.loads(self.process.stdout.readline() or '{"skipped": "it did not answer"}')
        self.skipped = answer.get("skipped", "")
        if self.skipped:
            return
        self.image = answer
        self.folder = answer["machines"]

    def snippet(self):
        """The image as drivers.qemu.images has it."""
        return tiny_image.load_builder().snippet(self.image, "base", "      ")

    def leaks(self):
        """What QEMU and the driver may leave outside of folders and processes."""
        return [f"filter {table}" for table in tiny_image.tables() if table.startswith("skep-vm-72")]

    def end(self):
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.process = None
