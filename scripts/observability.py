#!/usr/bin/env python3
"""Tries deploy/observability: the dashboard for Grafana, the alerts and the configuration for Prometheus.

1. promtool reads the configuration and runs the tests of the alerts.
2. The dashboard has the form that Grafana's own library of types knows: no key and no choice that it does not know.
3. A real Prometheus scrapes a real service that works on loans. Every query of the dashboard and of the alerts is carried
   out, and asks for nothing that the service does not tell; every query of the dashboard that is not about faults finds something.
"""

import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.parse
import urllib.request
from enum import Enum
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from live_service import PROJECT, LiveService

FOLDER = PROJECT / "deploy/observability"
# What the dashboard's variables stand for here.
VARIABLES = {"$job": "sluice", "$instance": ".*", "$__rate_interval": "10s"}
# Grafana's library does not know what only the Prometheus data source reads in an annotation.
BY_THE_DATA_SOURCE = re.compile(r"/annotations/list/\d+/(titleFormat|textFormat|step)")
# What finds nothing while all is well.
ABOUT_FAULTS = re.compile(r"ALERTS|max_memory_bytes")
# So long a state is waited for.
PATIENCE_S = 60


def promtool(*arguments):
    done = subprocess.run([PROJECT / ".sluice/bin/promtool", *arguments], cwd=FOLDER, capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"promtool {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}"]


# The dashboard's form


def lost(ours, theirs, place=""):
    """The places of what Grafana's library does not give back: keys that it does not know, values that it reads otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from lost(value, theirs[key], f"{place}/{key}")
            elif value is not None:
                yield f"{place}/{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (a, b) in enumerate(zip(ours, theirs)):
            yield from lost(a, b, f"{place}/{at}")
    elif ours != theirs:
        yield place


def wrong_choices(read, place=""):
    """The places of values that are none of their type's choices."""
    if isinstance(read, (list, tuple)):
        for at, part in enumerate(read):
            yield from wrong_choices(part, f"{place}/{at}")
    elif isinstance(read, dict):
        for key, part in read.items():
            yield from wrong_choices(part, f"{place}/{key}")
    elif type(read).__module__.startswith("grafana_foundation_sdk") and not isinstance(read, Enum):
        hints = typing.get_type_hints(type(read))
        for name, value in vars(read).items():
            choices = [hint for hint in (hints.get(name), *typing.get_args(hints.get(name))) if isinstance(hint, type) and issubclass(hint, Enum)]
            if choices and isinstance(value, str) and not any(value in {choice.value for choice in kind} for kind in choices):
                yield f"{place}/{name}: {value!r} is none of {', '.join(choice.value for kind in choices for choice in kind)}"
            yield from wrong_choices(value, f"{place}/{name}")


def check_form(dashboard):
    register_default_plugins()
    read = Dashboard.from_json(json.loads(json.dumps(dashboard)))
    back = json.loads(JSONEncoder(sort_keys=True).encode(read))
    faults = [f"dashboard.json: Grafana does not know {place}" for place in lost(dashboard, back) if not BY_THE_DATA_SOURCE.fullmatch(place)]
    faults += [f"dashboard.json: {place}" for place in wrong_choices(read)]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    if len(set(numbers)) != len(numbers):
        faults.append("dashboard.json: two panels have the same id")
    rows = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for line in range(place["y"], place["y"] + place["h"]):
            for column in range(place["x"], place["x"] + place["w"]):
                other = rows.setdefault((line, column), panel["title"])
                if other != panel["title"]:
                    faults.append(f"dashboard.json: {panel['title']!r} lies on {other!r}")
                    return faults
    return faults


# The queries


def queries_of(dashboard):
    """(where, query) of all that Grafana would ask."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]):
            yield f"${variable['name']}", f"count by ({found[2]}) ({found[1]})"


def with_values(query):
    for name, value in sorted(VARIABLES.items(), key=lambda pair: -len(pair[0])):
        query = query.replace(name, value)
    return query


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def send_loans(url, turn):
    """Good ones, one of each category that a client can cause, a replay and a refusal; other ones at each turn."""
    good = {"amount": 1169.0, "currency": "EUR", "termMonths": 6, "purpose": "education", "creditScore": 712, "applicant": {"name": "Ada", "email": "ada@example.org"}}
    loans = [{"loanId": f"O-{turn}-{number}", **good} for number in range(50)]
    loans += [{**loans[0]}, {**loans[1], "amount": 1}, {**good, "loanId": f"O-{turn}-a", "creditScore": 10}, {**good, "loanId": f"O-{turn}-b", "purpose": ""}]
    for loan in loans:
        request = urllib.request.Request(f"{url}/api/loans/request", json.dumps(loan).encode(), {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=20).read()
        except urllib.error.HTTPError as error:
            if error.code != 422:
                raise


def prometheus(folder, target):
    """A Prometheus on a free port that scrapes the service each second, and where it answers."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [target]}]
    file = Path(folder, "prometheus.yml")
    file.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [PROJECT / ".sluice/bin/prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"],
        stderr=subprocess.PIPE, text=True)
    address = None
    for line in process.stderr:
        if found := re.search(r'Listening on" address=(\S+)', line):
            address = f"http://{found[1]}"
        if "Server is ready to receive web requests" in line:
            break
    if not address:
        raise SystemExit("Prometheus did not start")
    return process, address


def check_queries(dashboard, alerts):
    service = LiveService()
    if not service.is_built():
        return ["target/debug holds no service; `make test` builds it"], 0
    process = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            url = service.url()
            process, address = prometheus(folder, urllib.parse.urlsplit(url).netloc)
            asked = [(place, query, False) for place, query in queries_of(dashboard)]
            asked += [(rule["alert"], rule["expr"], True) for group in alerts["groups"] for rule in group["rules"]]

            def ask(query):
                return json.loads(get(f"{address}/api/v1/query?" + urllib.parse.urlencode({"query": with_values(query)})))

            # A rate needs loans before and after a scrape: they are sent until every panel shows something.
            until, empty = time.monotonic() + PATIENCE_S, asked
            for turn in itertools.count():
                if not empty or time.monotonic() > until:
                    break
                send_loans(url, turn)
                time.sleep(0.5)
                empty = [(place, query, rule) for place, query, rule in empty
                         if not rule and not ABOUT_FAULTS.search(query) and not ask(query).get("data", {}).get("result")]
            faults = [f"{place}: finds nothing: {query}" for place, query, _ in empty]
            families = {family.name: family for family in text_string_to_metric_families(get(f"{url}/metrics"))}
            names = {sample.name for family in families.values() for sample in family.samples} | set(families)
            for place, query, _ in asked:
                answer = ask(query)
                if answer["status"] != "success":
                    faults.append(f"{place}: {answer['error']}: {query}")
                for name in re.findall(r"\b(?:sluice|process)_\w+", query):
                    # A counter that has one value for each reason has none before the first.
                    if name not in names and name.removesuffix("_total") not in families:
                        faults.append(f"{place}: the service does not tell {name}")
            return faults, len(asked)
        finally:
            if process:
                process.terminate()
                process.wait(timeout=60)
            service.end()


def main():
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    faults = promtool("check", "config", "prometheus.yml") + promtool("check", "rules", "alerts.yml") + promtool("test", "rules", "alerts.test.yml")
    page = (FOLDER / "README.md").read_text()
    faults += [f"README.md does not say what {rule['alert']} means" for group in alerts["groups"] for rule in group["rules"] if f"`{rule['alert']}`" not in page]
    faults += check_form(dashboard)
    more, count = check_queries(dashboard, alerts)
    for fault in faults + more:
        print(fault, file=sys.stderr)
    print(f"observability: {len(dashboard['panels'])} panels and rows, {count} queries on a real Prometheus; {len(faults + more)} faults")
    sys.exit(1 if faults or more else 0)


if __name__ == "__main__":
    main()
