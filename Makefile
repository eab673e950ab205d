# Each target does its own set-up: a fresh machine needs Python >= 3.10 and make, no more.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test bench lint clean

demo: .venv/.installed
	$(BIN)/imgcap-demo

test: .venv/.installed
	$(BIN)/python -m pytest

bench: .venv/.installed
	$(BIN)/python -m imgcap.cli.bench --output=bench.json
	$(BIN)/python -m export.benchmark --output=bench.json

lint: .venv/.installed
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .

.venv/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo
