# Every target makes .venv by itself when it is missing. PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

SOAK ?= 14

.PHONY: demo test soak lint types clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/batchmod demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The tests that try to break the protocol, SOAK times as many as in `make test`: with 14, more than 5,000 schedules in
# process and 224 by SIGKILL, about a quarter of an hour on two cores.
soak: $(VENV)/.installed
	SOAK=$(SOAK) $(BIN)/python -m pytest tests/breaking tests/whole/test_killed.py $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check batchmod tests
	$(BIN)/ruff format --check batchmod tests

types: $(VENV)/.installed
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
