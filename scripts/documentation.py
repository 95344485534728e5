#!/usr/bin/env python3
"""Reads README.md, the pages of docs/ and every other page of the project, and tries what they say.

    documentation.py links      every link leads somewhere, in the pages and in the built book (target/book); ARCHITECTURE.md
                                has a line for each file of the service and of the load generator
    documentation.py commands   every command runs, or would run; docs/api.md names every call of the service,
                                docs/operations.md every flag of it, docs/scenarios.md every key of a scenario

Commands are the blocks marked `sh`, and code within a line that begins with one of the project's programs. Unless a comment
before the block says otherwise, a command is tried without its effect: `make -n`, the program's own flags with `--help`
behind them, the names that `cargo` and `npm` are given. The comments:

    <!-- run: against a service -->   run as it stands, on a service that is started for it; a `json` block behind it is
                                      the expected answer
    <!-- not run: REASON -->          it cannot be tried here
"""

import itertools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

from live_service import BINARIES, PROJECT, LiveService

BOOK = PROJECT / "target/book"
# Programs of the project.
OWN = ("service", "loadgen", "testbed")
NOT_BUILT = "target/debug holds no such program; `make test` builds it"
# What may stand before a command, such as UPDATE_SCHEMA=1.
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def pages():
    """Every page that belongs to the project, as paths."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")
    return [PROJECT / name for name in listed if name and (PROJECT / name).exists()]


class Faults(list):
    """What is wrong, as lines that name the place."""

    def add(self, page, line, what):
        place = page.relative_to(PROJECT) if page.is_relative_to(PROJECT) else page
        self.append(f"{place}:{line}: {what}")


# Links


def slug(heading):
    """The anchor of a heading, as GitHub and mdBook make it."""
    text = re.sub(r"[`*_]", "", heading.strip().lower()) if "`" in heading else heading.strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(page):
    tokens = MarkdownIt().enable("table").parse(page.read_text())
    return {slug(tokens[at + 1].content) for at, token in enumerate(tokens) if token.type == "heading_open"}


def links_of(page):
    """(line, target) of each link and picture of a page."""
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        for child in token.children or []:
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield (token.map or [0])[0] + 1, target


class Html(HTMLParser):
    """The ids of a page of the book, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.targets.append((self.getpos()[0], value))


# Where the files of a part of ARCHITECTURE.md lie, as its first sentence says.
CODE = {"service/src/": "service/src", "loadgen/": "loadgen"}


def check_code_map(faults):
    """ARCHITECTURE.md has a line for each file of the service and of the load generator, and for no other; service/src/lib.rs
    declares its modules in that order."""
    page = PROJECT / "ARCHITECTURE.md"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "service/src/", "loadgen/*/src/*"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")
    # The roots of crates, and tests, are found where they belong.
    there = {
        name.replace("/src/", "/", 1) if name.startswith("loadgen/") else name
        for name in listed if name.endswith((".rs", ".lua")) and Path(name).name not in ("lib.rs", "main.rs", "tests.rs")
        and (PROJECT / name).exists()
    }
    told, below = {}, ""
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        if token.type == "heading_open":
            below = None
        elif token.type == "inline" and (said := re.match(r"All below `(.*?)`", token.content)):
            below = said[1]
        elif token.type == "fence" and below in CODE:
            for line, text in enumerate(token.content.split("\n"), token.map[0] + 2):
                if named := re.match(r"[a-z_/]+\.(rs|lua)(?= )", text):
                    name = f"{CODE[below]}/{named[0]}"
                    if name in told:
                        faults.add(page, line, f"{name} stands in line {told[name]} already")
                    told[name] = line
    for name in sorted(there - told.keys()):
        faults.add(page, 1, f"says nothing of {name}")
    for name in sorted(told.keys() - there):
        faults.add(page, told[name], f"there is no {name}")
    root = PROJECT / "service/src/lib.rs"
    in_order = [path.stem for path in map(Path, told) if path.parent.as_posix() == "service/src"]
    declared = re.findall(r"^(?:pub )?mod (\w+);", root.read_text(), re.MULTILINE)
    for want, name in zip(in_order, declared):
        if want != name:
            faults.add(root, 1, f"declares {name} where ARCHITECTURE.md has {want}")
            break


def check_links(faults):
    check_code_map(faults)
    count = 0
    for page in pages():
        for line, target in links_of(page):
            parts = urlsplit(target)
            if parts.scheme:
                continue
            count += 1
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not to.exists():
                faults.add(page, line, f"the link {target} leads nowhere")
            elif not to.is_relative_to(PROJECT):
                faults.add(page, line, f"the link {target} leads out of the project")
            elif parts.fragment and to.suffix == ".md" and parts.fragment not in anchors(to) and "#include" not in to.read_text():
                faults.add(page, line, f"{target}: no heading there is called so")
    if not BOOK.exists():
        sys.exit("documentation: there is no book; `make book` builds it")
    book = {page: Html(page.read_text()) for page in BOOK.rglob("*.html")}
    for page, html in book.items():
        for line, target in html.targets:
            parts = urlsplit(target)
            # The page for what is not found is served from anywhere, and names its parts from the root.
            if parts.scheme or page.name == "404.html":
                continue
            count += 1
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not to.exists():
                faults.add(page, line, f"the link {target} leads nowhere")
            # In the page of all pages, links to pages have become links within it.
            elif parts.fragment and page.name != "print.html" and to in book and parts.fragment not in book[to].ids:
                faults.add(page, line, f"{target}: nothing there is called so")
    return f"{count} links in {len(pages())} pages and {len(book)} pages of the book"


# Commands


@dataclass
class Command:
    """One command of a page."""

    page: Path
    line: int
    words: list
    text: str
    # "dry", "service", or why it is not run.
    how: str
    # What it must print, where the page says so.
    answer: object = None


def logical_lines(text):
    """(offset, words, text) of each command of a block; one goes on over lines while a quote or a backslash is open."""
    open_text, start = "", 0
    for offset, line in enumerate(text.split("\n")):
        if not open_text:
            start = offset
        open_text += line + "\n"
        if open_text.endswith("\\\n"):
            open_text = open_text[:-2] + " "
            continue
        try:
            words = shlex.split(open_text, comments=True)
        except ValueError:
            continue
        if words:
            yield start, words, open_text.strip()
        open_text = ""
    if open_text.strip():
        raise ValueError(f"a quote is never closed: {open_text.strip()}")


def commands_of(page, faults):
    tokens = MarkdownIt().enable("table").parse(page.read_text())
    how = "dry"
    last = []
    for token in tokens:
        line = (token.map or [0])[0] + 1
        if token.type == "html_block":
            if said := re.match(r"<!-- (run|not run): (.*) -->", token.content):
                how = "service" if said[1] == "run" else said[2]
                if said[1] == "run" and said[2] != "against a service":
                    faults.add(page, line, f"nobody knows how to run {said[2]!r}")
            continue
        if token.type == "fence":
            language = token.info.split()[0] if token.info else ""
            if language == "json" and len(last) == 1 and last[0].how == "service":
                last[0].answer = json.loads(token.content)
            if language == "sh":
                try:
                    last = [Command(page, line + 1 + offset, words, text, how) for offset, words, text in logical_lines(token.content)]
                except ValueError as error:
                    faults.add(page, line, error)
                yield from last
            elif not language and is_command(token.content.split()):
                faults.add(page, line, "commands stand in a block that is marked `sh`")
            how = "dry"
        for child in token.children or []:
            # `service` alone is a name, with words behind it a command. `npm run perf` is one, `cargo` is none.
            if child.type == "code_inline" and is_command(child.content.split()):
                try:
                    yield Command(page, line, shlex.split(child.content), child.content, "dry")
                except ValueError as error:
                    faults.add(page, line, f"{child.content}: {error}")


def is_command(words):
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if len(words) < 2:
        return bool(words) and words[0].startswith(("target/", "scripts/")) and words[0].endswith((".sh", *OWN))
    return words[0] in ("make", "cargo", "npm", "curl", "promtool") or Path(words[0]).name in OWN or words[0].startswith("scripts/")


class Metadata:
    """What cargo knows of the workspace."""

    def __init__(self):
        told = json.loads(subprocess.run(
            ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout)
        self.packages = {package["name"]: package for package in told["packages"]}

    def targets(self, kind, names):
        """What the packages of these names have of a kind; what all have where none is named."""
        packages = [self.packages[name] for name in names or self.packages]
        return {target["name"] for package in packages for target in package["targets"] if kind in target["kind"]}


def run(words, **more):
    """What a command says when it fails, or None."""
    try:
        done = subprocess.run(words, cwd=more.pop("cwd", PROJECT), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split("\n")[0]


def dry(words, metadata):
    """Why a command would not run, or None."""
    # Where its output goes is the shell's.
    words = list(itertools.takewhile(lambda word: word not in (">", ">>", "|", "&&"), words))
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    program, arguments = words[0], words[1:]
    for argument in arguments:
        if re.match(r"(scenarios|docs|deploy|reports/baseline)/", argument) and not (PROJECT / argument).exists():
            return f"there is no {argument}"
    name = Path(program).name
    if program == "make":
        for argument in arguments:
            key, _, value = argument.partition("=")
            if key in ("SCENARIO", "CAPACITY") and not (PROJECT / f"scenarios/{value}.toml").exists():
                return f"there is no scenarios/{value}.toml"
        # What it is given may be a placeholder: only the targets and what make itself says count.
        return run(["make", "--dry-run", "--no-print-directory", *arguments])
    if name in OWN and program.split("/")[0] in (name, "target"):
        binary = BINARIES / name
        if not binary.exists():
            return NOT_BUILT
        if arguments[:1] == ["check"] and (PROJECT / arguments[-1]).exists():
            return run([binary, *arguments])
        return run([binary, *arguments, *([] if "--help" in arguments else ["--help"])])
    if program == "cargo":
        return cargo(arguments, metadata)
    if program == "npm":
        scripts = json.loads((PROJECT / "service/dashboard/package.json").read_text())["scripts"]
        script = arguments[1] if arguments[:1] == ["run"] else None
        return None if script in scripts or arguments == ["ci"] else f"service/dashboard/package.json has no script {script}"
    if program == "promtool":
        return run([PROJECT / ".sluice/bin/promtool", *arguments], cwd=PROJECT / "deploy/observability")
    if program.startswith("scripts/"):
        return run(["bash", "-n", program]) if program.endswith(".sh") else (None if (PROJECT / program).exists() else "there is no such script")
    return "nobody here knows this program; say <!-- not run: REASON --> before the block"


def cargo(arguments, metadata):
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    pairs = list(zip(before, before[1:]))
    packages = [value for flag, value in pairs if flag in ("-p", "--package")]
    for package in packages:
        if package not in metadata.packages:
            return f"no package is called {package}"
    for flag, value in pairs:
        for kind in ("example", "test", "bench", "bin"):
            if flag == f"--{kind}" and value not in metadata.targets(kind, packages):
                return f"no {kind} is called {value}{' in ' + ', '.join(packages) if packages else ''}"
        if flag == "--features":
            package, _, feature = value.rpartition("/")
            if feature not in metadata.packages.get(package, {"features": {}})["features"]:
                return f"there is no feature {value}"
    return None if before[0] in ("bench", "build", "run", "test") else f"nobody here knows cargo {before[0]}"


def try_on(service, command):
    """Why a command failed on the service, or None."""
    if command.words[0] != "curl":
        return "only curl is run against a service"
    if not service.is_built():
        return NOT_BUILT
    words = [word.replace("http://127.0.0.1:8080", service.url()) for word in command.words]
    done = subprocess.run([*words, "--silent", "--show-error", "--fail-with-body", "--max-time", "60"], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode != 0:
        return (done.stderr + done.stdout).strip().split("\n")[0]
    if command.answer is not None and json.loads(done.stdout) != command.answer:
        return f"answered {done.stdout.strip()}"
    return None


def check_keys(faults):
    """docs/scenarios.md has a section for each table of a scenario file, and a row for each of its keys, as its schema has them."""
    page = PROJECT / "docs/scenarios.md"
    printed = subprocess.run([BINARIES / "loadgen", "schema", "scenario"], capture_output=True, text=True)
    if printed.returncode != 0:
        # A load generator from before it printed its schemas.
        return
    schema = json.loads(printed.stdout)

    def table(part):
        """The part of the schema behind references, lists and what may be missing, where it is a table of the file."""
        if "$ref" in part:
            return table(schema["$defs"][part["$ref"].rsplit("/", 1)[-1]])
        for inner in (*part.get("anyOf", []), *part.get("allOf", []), part.get("items", {})):
            if inner and (found := table(inner)):
                return found
        return part if "properties" in part else None

    wanted = {"At the top": set()}
    for key, part in schema["properties"].items():
        if found := table(part):
            wanted[f"`[[{key}]]`" if part.get("type") == "array" else f"`[{key}]`"] = set(found["properties"])
        else:
            wanted["At the top"].add(key)
    told, section = {}, None
    for line in page.read_text().split("\n"):
        if line.startswith("## "):
            section = line[3:]
            told[section] = set()
        # The rows of a table of keys; the metrics of a check stand in a table of their own.
        elif line.startswith("| key"):
            is_keys = True
        elif line.startswith("| ") and section and is_keys:
            told[section] |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
        elif not line.startswith("|"):
            is_keys = False
    for section, keys in wanted.items():
        for key in sorted(keys - told.get(section, set())):
            faults.add(page, 1, f"{section} says nothing of {key}")
        for key in sorted(told.get(section, set()) - keys):
            faults.add(page, 1, f"{section}: a scenario has no {key}")


def check_settings(faults):
    """docs/operations.md has a row for each flag of the service, with its default, and for no other."""
    page = PROJECT / "docs/operations.md"
    printed = subprocess.run([BINARIES / "service", "--help"], capture_output=True, text=True, check=True).stdout
    there = {}
    for about in re.split(r"\n {2,6}(?=-)", printed.partition("Options:")[2])[1:]:
        flag, default = re.search(r"--[a-z-]+", about)[0], re.search(r"\[default: (.*)\]", " ".join(about.split()))
        there[flag] = default[1] if default else None
    for flag in ("--help", "--version"):
        del there[flag]
    told, section = {}, None
    for line, text in enumerate(page.read_text().split("\n"), 1):
        section = text[3:] if text.startswith("## ") else section
        if section == "Settings" and text.startswith("| `--"):
            flags, default = text.split("|")[1:3]
            told |= {flag: (line, default.strip()) for flag in re.findall(r"--[a-z-]+", flags)}
    for flag in sorted(there.keys() - told.keys()):
        faults.add(page, 1, f"says nothing of {flag}")
    for flag, (line, default) in told.items():
        if flag not in there:
            faults.add(page, line, f"the service has no {flag}")
        elif (there[flag] is None) == ("`" in default) or there[flag] and default != f"`{there[flag]}`":
            faults.add(page, line, f"the default of {flag} is {there[flag] or 'none'}, not {default}")


def check_calls(faults):
    """docs/api.md names every call of the service, and no other."""
    page = PROJECT / "docs/api.md"
    told = json.loads(subprocess.run([BINARIES / "service", "--openapi"], capture_output=True, text=True, check=True).stdout)["paths"]
    # A loan may be called `retry`: what a path with a variable takes is named by that one alone.
    there = {
        f"{method.upper()} {path}" for path, methods in told.items() for method in methods
        if not any(method in told[other] and re.fullmatch(re.sub(r"{\w+}", "[^/{}]+", other), path) for other in told if "{" in other and other != path)
    }
    named = {code: line for line, text in enumerate(page.read_text().split("\n"), 1) for code in re.findall(r"`([A-Z]+ /[^`]*)`", text) if text.startswith("|")}
    for call in sorted(there - set(named)):
        faults.add(page, 1, f"says nothing of {call}")
    for call in sorted(set(named) - there - {"GET /"}):
        faults.add(page, named[call], f"the service has no {call}")


def check_commands(faults):
    metadata, service = Metadata(), LiveService()
    tried, counts = {}, {"tried without effect": 0, "run": 0, "not run": 0}
    if all((BINARIES / name).exists() for name in OWN):
        check_calls(faults)
        check_settings(faults)
        check_keys(faults)
    try:
        for page in pages():
            for command in commands_of(page, faults):
                if command.how == "service":
                    counts["run"] += 1
                    fault = try_on(service, command)
                elif command.how == "dry":
                    counts["tried without effect"] += 1
                    if command.text not in tried:
                        tried[command.text] = dry(command.words, metadata)
                    fault = tried[command.text]
                else:
                    counts["not run"] += 1
                    fault = None
                if fault:
                    faults.add(page, command.line, f"{command.text.splitlines()[0]}: {fault}")
    finally:
        service.end()
    return "commands: " + ", ".join(f"{count} {what}" for what, count in counts.items())


def main():
    checks = {"links": check_links, "commands": check_commands}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    faults = Faults()
    said = checks[sys.argv[1]](faults)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"documentation: {said}; {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
