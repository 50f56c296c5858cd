# Two commands on a fresh machine: make demo, make test. Each sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# Importing jwst takes 3-5 s with compiled code and 16-20 s without.
unexport PYTHONDONTWRITEBYTECODE
# Several exposures at once use the cores better than several threads in one.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test check docs clean

demo: $(VENV)/.ready
	$(BIN)/python scripts/demo.py demo --processes $(CORES)

test: $(VENV)/.ready-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

check: $(VENV)/.ready-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

docs: $(VENV)/.ready-dev
	$(BIN)/python scripts/make_docs.py

clean:
	rm -rf $(VENV) demo

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "webbmosaic needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib src || true
	touch $@

$(VENV)/.ready-dev: requirements-dev.lock $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true
	touch $@
