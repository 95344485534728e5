"""Judges a composition (standard input) by rules that its form cannot say.

Arguments: its name, and a file that holds the help texts of service and loadgen. The first rule that is broken ends it
with 1 and is named.
"""

import re
import sys
from pathlib import Path

import yaml

REDIS = {
    "--appendonly": "yes",
    "--appendfsync": "always",
    "--no-appendfsync-on-rewrite": "no",
    "--maxmemory-policy": "noeviction",
}
REDIS_CLUSTER = {"--cluster-require-full-coverage": "no", "--cluster-replica-no-failover": "yes"}
SIZES = {"compose.yaml": (1, 1), "compose.cluster.yaml": (6, 3)}

composition, help_file = sys.argv[1:]
help_text = open(help_file).read()
known = set(re.findall(r"SLUICE_\w+", help_text))
text = sys.stdin.read()
services = yaml.safe_load(text)["services"]
of = {image: {name: one for name, one in services.items() if one["image"] == image} for image in (one["image"] for one in services.values())}


def demand(holds, rule):
    if not holds:
        sys.exit(f"{composition}: {rule}")


def kept(name):
    """Servers that keep something have a volume of their own."""
    return [volume.partition(":")[0] for volume in services[name].get("volumes", [])] == [name]


is_cluster = composition == "compose.cluster.yaml"
redis = [name for name in of["redis:7"] if not name.endswith("-form")]
mongodb = [name for name in of["mongo:6"] if not name.endswith("-initiate")]
demand((len(redis), len(mongodb)) == SIZES[composition], "all servers are there")
for name in redis:
    demand(kept(name), f"{name} has a volume of its own")
    words = (services[name].get("command") or services[name]["entrypoint"][-1].split())
    given = dict(zip(words, words[1:]))
    for setting, value in (REDIS | (REDIS_CLUSTER if is_cluster else {})).items():
        demand(given.get(setting) == value, f"{name} has {setting} {value}")
    # Without one the service has nothing that it could keep free.
    demand("--maxmemory" in given, f"the memory of {name} is bounded")
for name in mongodb:
    demand(kept(name), f"{name} has a volume of its own")
    demand("--replSet sluice" in " ".join(services[name]["command"]), f"{name} is of a replica set")
for name, one in of["sluice-service"].items():
    environment = one["environment"]
    demand(environment["SLUICE_REQUIRE_DURABLE"] == "true", f"{name} refuses a Redis that may lose loans")
    demand(environment["SLUICE_MONGODB_URI"].count("mongodb") == len(mongodb) + 1, f"{name} knows every member")
    for setting in environment:
        demand(setting in known, f"{setting} of {name} is in no help text")
    for other, waited in one["depends_on"].items():
        demand(waited["condition"] != "service_started", f"{name} waits until {other} is ready")
for name, one in of.get("sluice-loadgen", {}).items():
    for setting in one["environment"]:
        demand(setting in known, f"{setting} of {name} is in no help text")
    command = next(line for line in text.splitlines() if f" {name} run " in line)
    demand(command.split()[command.split().index("--reports") + 1] == one["volumes"][0].partition(":")[2], "the report is written where it is kept")
    demand("--user" in command, "the report is written by whoever owns the folder")
    for flag in re.findall(r"--[a-z-]+", command.partition(f" {name} run ")[2]):
        demand(flag in help_text, f"loadgen knows {flag}")
for name, one in services.items():
    for port in one.get("ports", []):
        demand(port.startswith("127.0.0.1:"), f"port {port} of {name} is this machine's alone")
    for volume in one.get("volumes", []):
        source = volume.partition(":")[0]
        demand(not source.startswith("./") or Path(source).exists(), f"{name} mounts {source}, which is there")
if is_cluster:
    form = services["redis-form"]["environment"]
    demand(form["NODES"].split() == redis and form["REPLICAS"] == "1", "the cluster has all nodes")
