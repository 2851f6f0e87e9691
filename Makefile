# Two commands do everything: `make demo` and `make test`. Each makes .venv and installs into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Pinned where there is no NVIDIA driver, so that everybody without one runs the same CPU build.
TORCH ?= $(if $(shell command -v nvidia-smi 2>/dev/null),torch,torch==2.13.0)

SOURCES := pyproject.toml CMakeLists.txt README.md $(shell find csrc python cmake -type f -not -name '*.so' -not -path '*__pycache__*')
CXX_FILES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test lint format bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/expansive demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

bench: $(VENV)/bench.stamp
	$(BIN)/python -m pytest benchmarks/bench_*.py

clean:
	rm -rf $(VENV) build dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/torch.stamp: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	touch $@

$(VENV)/demo.stamp: $(SOURCES) $(VENV)/torch.stamp
	$(BIN)/python -m pip install --quiet ".[train]"
	touch $@

$(VENV)/test.stamp: $(SOURCES) $(VENV)/torch.stamp
	$(BIN)/python -m pip install --quiet ".[train,triton,test,dev]"
	touch $@

$(VENV)/bench.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet ".[bench]"
	touch $@
