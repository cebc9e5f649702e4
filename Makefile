# The whole developer interface. `make` alone lists it.
VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: help install emulators run test flink unit check bench docs clean

help:            ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

install: $(VENV)/.installed   ## make the virtual environment from the lock file, get Prism

$(VENV)/.installed: requirements.lock pyproject.toml scripts/make-venv scripts/get-prism
	scripts/make-venv $(VENV)
	$(PYTHON) -m pip install --quiet --requirement requirements.lock
	$(PYTHON) -m pip install --quiet --no-deps --editable .
	scripts/get-prism $(VENV)
	touch $@

emulators:       ## get the BigQuery emulator of the tests, once, below .cache/
	scripts/get-bigquery-emulator .cache/bqemulator

run: install     ## start the whole system on this machine; Ctrl-C stops it
	@$(VENV)/bin/headwater up

test: install emulators    ## all tests: unit, contracts, and journeys in real processes
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

flink: install   ## get Flink's jars with Maven, then its journeys: about ten minutes
	mvn -q -f deploy/flink dependency:copy-dependencies
	$(PYTHON) -m pytest -m journey tests/journeys/test_flink.py tests/journeys/test_pubsub_flink.py

unit: install    ## only the fast tests
	$(PYTHON) -m pytest -m "not journey and not browser"

check: install   ## format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: install   ## all figures, side by side, into benchmarks/results/: hours
	$(PYTHON) -m benchmarks

docs: install    ## write docs/reference.md anew from the code
	$(PYTHON) -m headwater.reference > docs/reference.new
	mv docs/reference.new docs/reference.md

clean:           ## remove the virtual environment and caches, never data/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
