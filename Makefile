# pool3's tasks. `make` or `make help` lists them; every target sets up what it needs.
VENV ?= .venv
OUT ?= out
BIN := $(VENV)/bin
# The first interpreter of 3.11 to 3.13 that really runs: some systems have names that only print an error.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run cifar10 cifar10-lite test test-browser lint types format bench bench-quick bench-gate bench-peers setup-gpu test-gpu bench-gpu wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "pool3 needs Python 3.11, 3.12 or 3.13 on the PATH; or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.setup: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.setup-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,clean,dev,faiss,hog,intelex,models,report,tables,umap]'
	@touch $@ $(VENV)/.setup

$(VENV)/.setup-hog: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[hog,intelex]'
	@touch $@ $(VENV)/.setup

setup: $(VENV)/.setup ## a virtual environment with pool3 in it

setup-dev: $(VENV)/.setup-dev ## the same, with what tests and checks need

run: setup ## the main job on an embedded default: digit images → features → SVM → accuracy
	$(BIN)/pool3 demo --output-dir $(OUT) $(if $(OVERWRITE),--overwrite)

cifar10: setup ## the blog's experiment; with files of your own: WEIGHTS=file CIFAR10=file
	$(BIN)/pool3 cifar10 --output-dir $(OUT) $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(CIFAR10),--data '$(CIFAR10)') $(if $(OVERWRITE),--overwrite)

cifar10-lite: $(VENV)/.setup-hog ## HOG, EfficientNet-Lite0, pool_3 on CIFAR-10 as images: DATA=folder; WEIGHTS=file
	@test -d '$(DATA)' || { echo "name a folder with train/CLASS/*.jpg and test/CLASS/*.jpg: make cifar10-lite DATA=folder" >&2; exit 1; }
	$(BIN)/pool3 cifar10-lite --data '$(DATA)' --output-dir $(OUT) $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(OVERWRITE),--overwrite)

test: setup-dev ## the whole test suite
	$(BIN)/python -m pytest $(PYTEST)

lint: setup-dev ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev ## static types, strict
	$(BIN)/mypy

format: setup-dev ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## images a second, beside the blog's 33.3 and the blog's own loop
	$(BIN)/python -m bench --output-dir $(OUT)/bench

bench-gate: setup ## is this tree slower than another commit? BASE=origin/main; more: GATE='--budget 30 --strict'
	@test -n "$(BASE)" || { echo "name the commit to compare with: make bench-gate BASE=origin/main" >&2; exit 1; }
	$(BIN)/python -m bench gate --base '$(BASE)' --environments $(OUT)/gate --markdown $(OUT)/gate/gate.md --junit $(OUT)/gate/gate.xml --json $(OUT)/gate/gate.json $(GATE)

bench-quick: setup ## a look at a few cases, in about a minute
	$(BIN)/python -m bench run --quick --output-dir $(OUT)/bench

bench-peers: setup ## the same beside OpenVINO, ONNX Runtime and torch-fidelity; a short look: QUICK=1
	$(BIN)/python -m bench.peers --output-dir $(OUT)/bench --environment $(OUT)/peers-venv $(if $(QUICK),--quick --rounds 3)

setup-gpu: setup-dev ## the same for a machine with NVIDIA GPUs: CUDA's libraries and cuML
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench,gpu,intelex,models,tables]'
	$(BIN)/pool3 doctor

test-browser: setup-dev ## the tests of HTML pages in Chromium, which is installed where it is missing
	@for name in "$$POOL3_CHROMIUM" chromium chromium-browser google-chrome; do \
		if [ -n "$$name" ] && command -v "$$name" >/dev/null; then exit 0; fi; done; \
	if ! command -v apt-get >/dev/null; then sudo=none; elif [ "$$(id -u)" = 0 ]; then sudo=; \
	elif sudo -n true 2>/dev/null; then sudo=sudo; else sudo=none; fi; \
	if [ "$$sudo" = none ]; then \
		echo "no Chromium here: install the package chromium, or set POOL3_CHROMIUM=/path/to/chromium" >&2; exit 1; fi; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	$(BIN)/python -m pytest -m browser $(PYTEST)

test-gpu: setup-gpu ## the tests that need a GPU
	$(BIN)/python -m pytest -m gpu $(PYTEST)

bench-gpu: setup-gpu ## GPUs beside their own limit, by count, precision and batch size; some of them: DEVICES=gpu:0,1
	$(BIN)/python -m bench.gpu --output-dir $(OUT)/bench $(if $(DEVICES),--devices $(DEVICES))

wheel: setup-dev ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove the virtual environment, outputs and caches
	rm -rf $(VENV) $(OUT) dist build .mypy_cache .pytest_cache .ruff_cache
