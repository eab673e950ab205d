# Each target does its own set-up: a fresh machine needs Python >= 3.10 and make, no more.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint bench reproduce clean

demo: .venv/.installed
	$(BIN)/imgcap-demo

test: .venv/.installed
	$(BIN)/python -m pytest

# The best recipe, from raw photos to scores and the rows of TABLE:
#   make reproduce RAW=flickr8k [ENCODER=FILE.keras] [SEED=0] [OUT=runs/reproduce] [TABLE=README.md]
RAW ?= flickr8k
ENCODER ?= densenet201
SEED ?= 0
OUT ?= runs/reproduce
TABLE ?= README.md
RUNS = $(OUT)/attention $(OUT)/scst
reproduce: .venv/.installed
	$(BIN)/imgcap-prepare --raw_dir=$(RAW) --output_dir=$(OUT)/data
	$(BIN)/imgcap-train --flagfile=configs/flickr8k_attention.cfg --encoder=$(ENCODER) --seed=$(SEED) \
		--data_dir=$(OUT)/data --workdir=$(OUT)/attention
	$(BIN)/imgcap-train --flagfile=configs/flickr8k_scst.cfg --finetune_from=$(OUT)/attention --seed=$(SEED) \
		--data_dir=$(OUT)/data --workdir=$(OUT)/scst
	for run in $(RUNS); do $(BIN)/imgcap-evaluate --workdir=$$run --data_dir=$(OUT)/data --split=dev+test || exit; done
	$(BIN)/imgcap-compare $(RUNS) --split=dev+test --table=$(TABLE)
	$(BIN)/imgcap-evaluate --workdir=$(OUT)/scst --data_dir=$(OUT)/data --sweep
	$(BIN)/imgcap-evaluate --workdir=$(OUT)/scst --data_dir=$(OUT)/data --split=dev+test
	$(BIN)/imgcap-compare $(RUNS) --split=dev+test --table=$(TABLE)

# Preparing, training, exporting; with MODELS=models/imgcap serving, too.
bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m imgcap.cli.bench --output=bench.json
	$(BIN)/python -m export.benchmark --output=bench.json
	$(if $(MODELS),$(BIN)/python -m serving.measurement --model_base_path=$(MODELS) --output=bench.json)

lint: .venv/.installed
	$(BIN)/python -m pip install --quiet ruff
	$(BIN)/ruff check .

.venv/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo
