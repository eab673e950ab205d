# Each target does its own set-up: a fresh machine needs Python >= 3.10 and make, no more.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: caption page demo docs test axe check bench campaign contract reproduce clean

# make caption PHOTO=photo.jpg: installs what captioning needs, no more.
caption: .venv/.captioner
	$(BIN)/imgcap-caption "$(or $(PHOTO),imgcap/data/samples/park.jpg)" --local

# The page, with a server of the captioner in the box until Ctrl-C. The first start exports it.
page: .venv/.page
	$(BIN)/imgcap-serve & server=$$!; trap "kill $$server 2>/dev/null" EXIT; \
	until $(BIN)/python -c 'import socket; socket.create_connection(("localhost", 8500))' 2>/dev/null; \
	do kill -0 $$server 2>/dev/null || exit 1; sleep 1; done; \
	$(BIN)/imgcap-page

demo: .venv/.installed
	$(BIN)/imgcap-demo

# JOBS processes share the test files, in their order: some tests must come before those that make
# TensorFlow deterministic for the rest of a process.
JOBS ?= 2
test: .venv/.installed
	$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

# What the tests of the page ask whether it can be used without eyes or hands; without it they skip.
axe:
	@if command -v npm >/dev/null; then \
		npm install --prefix .venv/npm --no-audit --no-fund --silent axe-core@4.14.1; \
	else echo 'no npm: axe-core is not installed, and the tests that need it skip' >&2; fi

# Style, types and who may import whom; takes seconds.
check: .venv/.checkers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p imgcap -p export -p serving
	$(BIN)/lint-imports --no-logo

# The site, into docs/_build/html. A warning, such as a link or a name that leads nowhere, is an error.
# EXECUTE=off leaves the notebook as it is stored.
EXECUTE ?= force
docs: .venv/.docs
	$(BIN)/sphinx-build --builder=html --nitpicky --fail-on-warning --keep-going --quiet \
		-D nb_execution_mode=$(EXECUTE) docs docs/_build/html
	@echo 'the site: docs/_build/html/index.html'

# The best recipe, from raw photos to scores and the rows of TABLE:
#   make reproduce RAW=flickr8k [ENCODER=FILE.keras] [SEED=0] [OUT=runs/reproduce] [TABLE=FILE.md]
RAW ?= flickr8k
ENCODER ?= densenet201
SEED ?= 0
OUT ?= runs/reproduce
TABLE ?= docs/train/recipes.md
RUNS = $(OUT)/attention $(OUT)/scst
# $(call timed,NAME,COMMAND) runs a stage and says how long it took.
timed = @echo '$(2)'; begun=$$(date +%s); $(2) || exit; \
	echo "stage $(1): $$(( ($$(date +%s) - begun + 30) / 60 )) min"
score = for run in $(RUNS); do \
	$(BIN)/imgcap-evaluate --workdir=$$run --data_dir=$(OUT)/data --split=dev+test || exit; done
compare = $(BIN)/imgcap-compare $(RUNS) --split=dev+test --table=$(TABLE)
reproduce: .venv/.installed
	$(call timed,prepare,$(BIN)/imgcap-prepare --raw_dir=$(RAW) --output_dir=$(OUT)/data)
	$(call timed,attention,$(BIN)/imgcap-train --flagfile=flickr8k_attention --encoder=$(ENCODER) \
		--seed=$(SEED) --data_dir=$(OUT)/data --workdir=$(OUT)/attention)
	$(call timed,self-critical,$(BIN)/imgcap-train --flagfile=flickr8k_scst \
		--finetune_from=$(OUT)/attention --seed=$(SEED) --data_dir=$(OUT)/data --workdir=$(OUT)/scst)
	$(call timed,scores,$(score))
	$(compare)
	$(call timed,sweep,$(BIN)/imgcap-evaluate --workdir=$(OUT)/scst --data_dir=$(OUT)/data --sweep)
	$(call timed,scores of the sweep,$(BIN)/imgcap-evaluate --workdir=$(OUT)/scst \
		--data_dir=$(OUT)/data --split=dev+test)
	$(compare)

# Ratios of preparing, training and exporting; with MODELS=models/imgcap of serving, too. PyTorch's own
# index has builds for CPUs alone, which weigh a tenth of PyPI's.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]' --extra-index-url $(TORCH_INDEX)
	$(BIN)/python -m tests.bench $(if $(MODELS),--model_base_path=$(MODELS))

# What TensorFlow Serving answers, does and bears, asked of the embedded server and, with
# SERVER=path/to/tensorflow_model_server, of the real one: "embedded | real" for each question.
contract: .venv/.installed
	$(BIN)/python -m tests.serving.server.contract $(if $(SERVER),--server=$(SERVER))

# Random attempts to break commands, server and page; all of them without a NAME.
campaign: .venv/.installed
	$(BIN)/python -m tests.campaign $(NAME) $(if $(SIZE),--size=$(SIZE)) $(if $(SEED),--seed=$(SEED))

.venv/.captioner: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	touch $@

.venv/.page: .venv/.captioner
	$(BIN)/python -m pip install --quiet --editable '.[app]'
	touch $@

# EXTRAS with `dev` among them is all in one go.
EXTRAS ?= test
.venv/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

.venv/.docs: .venv/.installed
	$(if $(findstring docs,$(EXTRAS)),,$(BIN)/python -m pip install --quiet --editable '.[docs]')
	touch $@

.venv/.checkers: .venv/.installed
	$(if $(findstring dev,$(EXTRAS)),,$(BIN)/python -m pip install --quiet --editable '.[dev]')
	touch $@

clean:
	rm -rf .venv demo
