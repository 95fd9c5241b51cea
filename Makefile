# One word for everything; `make` alone says which.  Every target first makes sure that `.venv` is complete.

# 3.11 is what the tests run on; any newer one is taken where it is missing.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
works = $(shell $(1) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(1))
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(call works,$(name))) python3)
LOG ?= sqlite
ARGS ?=
SEEDS ?=
WORKERS ?= 2
UPGRADE ?=

BIN := .venv/bin
STAMP := .venv/.complete
IMAGE := proto/released.binpb
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links $(UPGRADE)

.PHONY: help setup demo test test-postgres-16 check lint types imports protos proto bench simulate pins wheel release-image

help:
	@echo 'make demo        the bank on this machine: transfers, some compensated, tables at the end'
	@echo '                 LOG=sqlite (default) or rocketmq; ARGS="…" go to `bennu demo`'
	@echo 'make test        every test, two at a time (WORKERS=0: one); ARGS="-k name" go to pytest'
	@echo 'make test-postgres-16   those of tables and snapshots, on Postgres 16'
	@echo 'make check       format, lint, types, import contracts, protos'
	@echo 'make simulate    the suite in one process, under misfortune; SEEDS=2000 many runs, ARGS="--seed 7" one again'
	@echo 'make bench       everything measured, here, into docs/benchmarks.md: three quarters of an hour'
	@echo 'make proto       generate Python from proto/'
	@echo 'make pins        compile requirements/ again; UPGRADE=--upgrade takes newer versions'
	@echo 'make wheel       build the wheel into dist/'
	@echo 'make release-image   record proto/ as released: later changes must not break it'
	@echo 'make setup       only make .venv'

setup: $(STAMP)

# uv installs in seconds what takes pip two minutes; pip takes over where uv cannot (a mirror that only pip is told of).
$(STAMP): pyproject.toml requirements/bootstrap.txt requirements/dev.txt tools/validate_proto.py tools/protoc.py
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
	  echo 'Bennu needs Python 3.11 or newer and `$(PYTHON)` is not: run `make setup PYTHON=/path/to/python3.11`.' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo '`$(PYTHON) -m venv` failed, see above: some systems have it in a package of its own (python3-venv).' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt \
	  || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m tools.validate_proto
	@touch $@

demo: $(STAMP)
	$(BIN)/bennu demo --log $(LOG) $(ARGS)

test: $(STAMP)
	$(BIN)/pytest --numprocesses $(WORKERS) $(ARGS)

test-postgres-16: $(STAMP)
	BENNU_STACK_POSTGRES=16 $(BIN)/pytest tests/qserver tests/snapshots tests/stack/test_postgres.py tests/cli/test_deadletters.py $(ARGS)

bench: $(STAMP)
	$(BIN)/bennu bench report $(ARGS)

simulate: $(STAMP)
	$(BIN)/bennu simulate $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

check: lint types imports protos

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

protos: $(STAMP)
	$(BIN)/python -m tools.generate --check
	$(BIN)/buf lint
	@test -f $(IMAGE) || { echo '$(IMAGE) is missing, so nothing says which protos are released:' \
	  'run `make release-image` and commit the file.' >&2; exit 1; }
	$(BIN)/buf breaking proto --against $(IMAGE)

proto: $(STAMP)
	$(BIN)/python -m tools.generate

release-image: $(STAMP)
	$(BIN)/buf build proto --exclude-source-info --output $(IMAGE)

wheel: $(STAMP)
	$(BIN)/uv build --quiet --wheel --python $(BIN)/python --no-build-isolation --out-dir dist

# dev first, the others held to it, so that all four name the same versions.
pins: $(STAMP)
	$(COMPILE) pyproject.toml --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) --group pyproject.toml:build --constraint requirements/dev.txt --output-file requirements/build.txt
	echo uv | $(COMPILE) - --constraint requirements/dev.txt --output-file requirements/bootstrap.txt
