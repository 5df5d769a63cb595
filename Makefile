# Every target makes .venv by itself when it is missing. PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

SOAK ?= 22

# What `make bench` measures: BENCH="throughput quota" for parts of it, ROUNDS and SIZE to shorten it, KEEP=--keep to
# write even the figures of fewer than five rounds into docs/.
BENCH ?=
ROUNDS ?= 5
SIZE ?= 10000
KEEP ?=

.PHONY: demo test soak bench screenshots docs lint types clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/batchmod demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The tests that try to break the protocol, SOAK times as many as in `make test`: with 22, more than 5,000 schedules in
# process and some 90 by SIGKILL; and as many times the examples of every fuzz and state machine.
SOAKING := tests/breaking tests/whole/test_killed.py tests/whole/test_files_fuzz.py tests/cloud/test_cloud_fuzz.py \
  tests/model/test_manifest_fuzz.py tests/sim/test_sim_fuzz.py tests/secrets/test_store_walk.py \
  tests/engine/test_machine_walk.py tests/engine/test_budget_walk.py tests/whole/test_budget_resumes.py \
  tests/model/test_window.py tests/cluster tests/journal/test_journal_postgres.py \
  tests/whole/test_cluster_together.py tests/whole/test_cluster_mended.py

# The campaign whose workers are killed goes by itself, after the others: how soon a lane is taken over is measured there.
ALONE := tests/cluster/test_workers_break.py::test_the_soak

soak: $(VENV)/.installed
	SOAK=$(SOAK) $(BIN)/python -m pytest $(SOAKING) --deselect $(ALONE) --timeout=3600 $(PYTEST_ARGS)
	SOAK=$(SOAK) $(BIN)/python -m pytest $(ALONE) --numprocesses=0 $(PYTEST_ARGS)

bench: $(VENV)/.installed
	$(BIN)/python tests/bench/bench.py $(BENCH) --rounds $(ROUNDS) --size $(SIZE) $(KEEP)

# The images of the HTML report in docs/images, of a run against the simulator; needs chromium.
screenshots: $(VENV)/.installed
	$(BIN)/python tests/screenshots.py

lint: $(VENV)/.installed
	$(BIN)/ruff check batchmod tests
	$(BIN)/ruff format --check batchmod tests

types: $(VENV)/.installed
	$(BIN)/mypy

# The reference is made from the code, then the site from docs/: site/index.html opens in a browser, without a network.
# (`--quiet` would keep its warnings from being counted.)
docs: $(VENV)/.installed
	$(BIN)/python tests/site_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
