"""A service of its own for a script: `testbed` starts it on private servers, and ends all of them with the script."""

import json
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BINARIES = PROJECT / "target/debug"


class LiveService:
    """Started at the first use of `url`, ended by `end`."""

    def __init__(self):
        self.process = self.folder = self.address = self.told = None

    def is_built(self):
        return all((BINARIES / name).exists() for name in ("service", "testbed"))

    def url(self):
        """Where it answers, without a slash behind it."""
        if not self.process:
            self.folder = tempfile.TemporaryDirectory()
            self.process = subprocess.Popen(
                [BINARIES / "testbed", "run", "--data", self.folder.name, "--port", "0", "--control"],
                cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            told = self.process.stdout.readline()
            if not told:
                raise SystemExit(f"testbed did not start: {self.process.stderr.read().strip()}")
            # Where the service and both stores are.
            self.told = json.loads(told)
            self.address = self.told["service"].rstrip("/")
        return self.address

    def end(self):
        if self.process:
            self.process.stdin.close()
            self.process.terminate()
            self.process.wait(timeout=60)
            self.folder.cleanup()
