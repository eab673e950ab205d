# Each target does its own set-up: a fresh machine needs Python >= 3.10 and make, no more.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint bench reproduce clean

demo: .venv/.installed
	$(BIN)/imgcap-demo

test: .venv/.installed
	$(BIN)/python -m pytest

# The best recipe, from raw photos to scores: make reproduce RAW=flickr8k [ENCODER=FILE.keras] [OUT=runs/reproduce]
RAW ?= flickr8k
ENCODER ?= densenet201
OUT ?= runs/reproduce
reproduce: .venv/.installed
	$(BIN)/imgcap-prepare --raw_dir=$(RAW) --output_dir=$(OUT)/data
	$(BIN)/imgcap-train --flagfile=configs/flickr8k_attention.cfg --encoder=$(ENCODER) --data_dir=$(OUT)/data \
		--workdir=$(OUT)/attention
	$(BIN)/imgcap-train --flagfile=configs/flickr8k_scst.cfg --finetune_from=$(OUT)/attention --data_dir=$(OUT)/data \
		--workdir=$(OUT)/scst
	for run in attention scst; do \
		$(BIN)/imgcap-evaluate --workdir=$(OUT)/$$run --data_dir=$(OUT)/data --split=dev+test || exit; done
	$(BIN)/imgcap-compare $(OUT)/attention $(OUT)/scst --split=dev+test

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
