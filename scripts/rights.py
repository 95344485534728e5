#!/usr/bin/env python3
"""Tries the user of Redis that docs/operations.md makes: an instance that has no other rights does all that it is for, and Redis
refuses it nothing.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from live_service import BINARIES, PROJECT, LiveService

TOKEN = "token-of-the-tests"
# So long a state is waited for.
PATIENCE_S = 60
LOAN = {
    "loanId": "RIGHTS-1", "amount": 1169.00, "termMonths": 6, "purpose": "radio/television", "creditScore": 712,
    "applicant": {"name": "Elke Hartmann", "email": "elke@example.org", "annualIncome": 42000.00, "ageYears": 67},
}


def rights():
    """The words behind the user's name and password."""
    (line,) = re.findall(r"^user sluice on >PASSWORD (.*)$", (PROJECT / "docs/operations.md").read_text(), re.MULTILINE)
    return line.split()


def redis(address, *words):
    """What Redis answers to one command, as it comes: every answer here is short."""
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words))
        return connection.recv(65536).decode()


def wait_until(what, holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"rights: never came: {what}")
        time.sleep(0.05)


class Instance:
    """An instance of the service as the user `sluice`, at a free port."""

    def __init__(self, settings):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [BINARIES / "service", *settings, "--listen", urlsplit(self.url).netloc],
            env=os.environ | {"SLUICE_ADMIN_TOKEN": TOKEN}, stderr=subprocess.DEVNULL)

    def call(self, method, path, body=None):
        """The answer's code, and its body."""
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, {}
        except OSError:
            return 0, {}

    def status(self, loan):
        return self.call("GET", f"/api/loans/{loan}")[1].get("status")


def work(instance, settings):
    """All that an instance asks of Redis, as far as one can have it asked."""
    wait_until("an instance that is ready", lambda: instance.call("GET", "/readyz") == (200, {"status": "ready"}))
    for loan in (LOAN, LOAN | {"loanId": "RIGHTS-2", "termMonths": -1}, LOAN | {"loanId": "RIGHTS-3", "termMonths": -1}):
        instance.call("POST", "/api/loans/request", loan)
    wait_until("a recorded loan", lambda: instance.status("RIGHTS-1") == "recorded")
    wait_until("failures", lambda: instance.call("GET", "/api/errors/count")[1].get("waiting") == 2)
    instance.call("POST", "/api/loans/request", LOAN)
    instance.call("PATCH", "/api/loans/retry", {"loanIds": ["RIGHTS-2"], "correction": LOAN | {"loanId": "RIGHTS-2"}})
    wait_until("a corrected loan", lambda: instance.status("RIGHTS-2") == "recorded")
    instance.call("POST", "/api/tasks", {"kind": "discard", "loanIds": ["RIGHTS-3"], "reason": "a test"})
    wait_until("a discarded loan", lambda: instance.status("RIGHTS-3") == "discarded")
    instance.call("POST", "/api/control/pause")
    instance.call("POST", "/api/control/resume")
    forgotten = subprocess.run([BINARIES / "service", *settings, "forget", "--applicant", "elke@example.org"], capture_output=True, text=True)
    if forgotten.returncode != 0:
        sys.exit(f"rights: service forget: {forgotten.stderr.strip()}")


def main():
    live = LiveService()
    instance = None
    try:
        live.url()
        address = urlsplit(live.told["redis"])
        # What follows is done by the instance that is tried, and by no other.
        live.process.stdin.write("kill service\n")
        live.process.stdin.flush()
        live.process.stdout.readline()
        if not redis(address, "ACL", "SETUSER", "sluice", "on", ">password", *rights()).startswith("+OK"):
            sys.exit("rights: Redis does not take the user of docs/operations.md")
        settings = ["--redis-url", f"redis://sluice:password@{address.netloc}{address.path}", "--mongodb-uri", live.told["mongodb"], "--record-interval", "20ms"]
        instance = Instance(settings)
        work(instance, settings)
        refused = redis(address, "ACL", "LOG")
        if refused != "*0\r\n":
            sys.exit(f"rights: Redis refused: {' '.join(refused.split())}")
    finally:
        if instance:
            instance.process.terminate()
            instance.process.wait(timeout=PATIENCE_S)
        live.end()
    print("rights: the user of docs/operations.md suffices")


if __name__ == "__main__":
    main()
