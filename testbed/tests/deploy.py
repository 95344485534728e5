"""Judges one rendered overlay of deploy/ (standard input) by rules that a schema cannot say.

Arguments: the overlay, and a file that holds the help texts of service and loadgen. The first rule that is broken ends
it with 1 and is named.
"""

import re
import sys

import yaml

DRAIN_S = 25
SIZES = {"small": {"redis": 1, "mongodb": 1}, "cluster": {"redis": 6, "mongodb": 3}, "generators": {}}
REDIS = {
    "--appendonly": "yes",
    "--appendfsync": "always",
    "--no-appendfsync-on-rewrite": "no",
    "--maxmemory-policy": "noeviction",
    "--save": "",
}
REDIS_CLUSTER = {
    "--cluster-enabled": "yes",
    "--cluster-require-full-coverage": "no",
    "--cluster-replica-no-failover": "yes",
    "--cluster-preferred-endpoint-type": "hostname",
}

overlay, help_file = sys.argv[1:]
known = set(re.findall(r"SLUICE_\w+", open(help_file).read()))
objects = list(yaml.safe_load_all(sys.stdin))
of_kind = {}
for one in objects:
    of_kind.setdefault(one["kind"], {})[one["metadata"]["name"]] = one


def demand(holds, rule):
    if not holds:
        sys.exit(f"{overlay}: {rule}")


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


workloads = {
    (kind, name): one for kind in ["Deployment", "StatefulSet", "Job"] for name, one in of_kind.get(kind, {}).items()
}
pods = {key: one["spec"]["template"] for key, one in workloads.items()}

demand("Secret" not in of_kind, "secrets are named, never held")
for (kind, name), pod in pods.items():
    spec, labels = pod["spec"], pod["metadata"]["labels"]
    demand(spec["automountServiceAccountToken"] is False, f"{name} has no business with the API server")
    demand(spec["securityContext"]["runAsNonRoot"] is True, f"{name} runs as nobody special")
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workloads[kind, name]["spec"].get("volumeClaimTemplates", [])}
    for container in spec["containers"]:
        demand(container["securityContext"]["allowPrivilegeEscalation"] is False, f"{name} cannot become root")
        demand("memory" in container["resources"]["limits"], f"the memory of {name} is bounded")
        for mount in container.get("volumeMounts", []):
            demand(mount["name"] in volumes, f"{name} mounts {mount['name']}, which is there")
        settings = {variable["name"] for variable in container.get("env", [])}
        for source in container.get("envFrom", []):
            settings |= set(of_kind["ConfigMap"][source["configMapRef"]["name"]]["data"])
        for setting in settings:
            demand(not setting.startswith("SLUICE_") or setting in known, f"{setting} of {name} is in no help text")
        for variable in container.get("env", []):
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            demand(secret is None or secret["name"] == "sluice", f"{variable['name']} of {name} is in the secret")
            hides = any(word in variable["name"] for word in ["TOKEN", "AUTH", "URI", "REDIS_URL"])
            demand(not hides or secret, f"{variable['name']} of {name} is a secret")
        if kind != "Job":
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
                demand(probe in container, f"{name} has a {probe}")
    if kind != "Job":
        budgets = [one["spec"] for one in of_kind["PodDisruptionBudget"].values()]
        hit = [one for one in budgets if matches(one["selector"]["matchLabels"], labels)]
        demand(len(hit) == 1 and hit[0]["maxUnavailable"] == 1, f"one disruption of {name} at a time")
        policies = [one["spec"]["podSelector"].get("matchLabels", {}) for one in of_kind["NetworkPolicy"].values()]
        demand(any(one and matches(one, labels) for one in policies), f"who reaches {name} is said")
        demand(matches(workloads[kind, name]["spec"]["selector"]["matchLabels"], labels), f"{name} selects its pods")

for name, service in of_kind.get("Service", {}).items():
    hit = [pod for pod in pods.values() if matches(service["spec"]["selector"], pod["metadata"]["labels"])]
    demand(len(hit) == 1, f"service {name} selects one kind of pod")

if overlay == "generators":
    job = of_kind["Job"]["generators"]["spec"]
    demand(job["completionMode"] == "Indexed" and job["backoffLimit"] == 0, "a shard runs once")
    demand(job["completions"] == job["parallelism"], "all shards run at once")
    text = " ".join(job["template"]["spec"]["containers"][0]["args"])
    demand(f"$((JOB_COMPLETION_INDEX + 1))/{job['completions']}" in text, "each shard knows its number and how many")
    conductor = of_kind["Job"]["conductor"]["spec"]
    demand(conductor["backoffLimit"] == 0, "a run is made once")
    arguments = conductor["template"]["spec"]["containers"][0]["args"]
    demand(arguments[arguments.index("--shards") + 1] == str(job["completions"]), "the conductor waits for all shards")
    open_to = of_kind["NetworkPolicy"]["conductor"]["spec"]["ingress"]
    label = job["template"]["metadata"]["labels"]["app"]
    demand([one["from"] for one in open_to] == [[{"podSelector": {"matchLabels": {"app": label}}}]], "only shards come to the conductor")
    for flag in re.findall(r"--[a-z-]+", " ".join([text, *arguments])):
        demand(flag in open(help_file).read(), f"loadgen knows {flag}")
    sys.exit()

demand("closed" in of_kind["NetworkPolicy"], "what is not said is closed")
for name, size in SIZES[overlay].items():
    demand(workloads["StatefulSet", name]["spec"]["replicas"] == size, f"{size} of {name}")
arguments = pods["StatefulSet", "redis"]["spec"]["containers"][0]["args"]
given = dict(zip(arguments[::2], arguments[1::2]))
for name, value in (REDIS | (REDIS_CLUSTER if overlay == "cluster" else {})).items():
    demand(given.get(name) == value, f"Redis has {name} {value}")
demand("--maxmemory" in given, "the memory of Redis is bounded")
for role, needs in [("api", "api,dashboard"), ("worker", "worker,persister")]:
    spec = pods["Deployment", role]["spec"]
    container = spec["containers"][0]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    demand(environment["SLUICE_ROLE"] == needs, f"{role} is {needs}")
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    demand(spec["terminationGracePeriodSeconds"] > before + DRAIN_S, f"{role} has time to drain")
    demand(container["livenessProbe"]["httpGet"]["path"] == "/healthz", f"{role} lives without the stores")
    demand(container["readinessProbe"]["httpGet"]["path"] == "/readyz", f"{role} is ready when it says so")
settings = next(one["data"] for name, one in of_kind["ConfigMap"].items() if name.startswith("settings"))
demand(settings["SLUICE_REQUIRE_DURABLE"] == "true", "a Redis that may lose loans is refused")

def environment(job):
    return {one["name"]: one.get("value") for one in pods["Job", job]["spec"]["containers"][0]["env"]}


demand(environment("mongodb-initiate")["MEMBERS"] == str(SIZES[overlay]["mongodb"]), "the set has all members")
if overlay == "cluster":
    form = environment("redis-form")
    names = [f"redis-{number}.redis" for number in range(SIZES[overlay]["redis"])]
    demand(form["NODES"].split() == names and form["REPLICAS"] == "1", "the cluster has all nodes")
    scaled = of_kind["ScaledObject"]["worker"]["spec"]
    demand(scaled["scaleTargetRef"]["name"] == "worker", "KEDA scales the workers")
    demand("replicas" not in workloads["Deployment", "worker"]["spec"], "nobody else does")
    demand("max(sluice_cluster_queue_depth" in scaled["triggers"][0]["metadata"]["query"], "by the depth, once")
