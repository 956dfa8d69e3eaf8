# The commands of a developer; CI runs the same. PYTHON may point anywhere that has '.[all,dev]' installed.
PYTHON ?= python3
CODE = curate classifiers pipelines

.PHONY: help install format lint test test-all bench docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

install:  ## everything, pinned, into the current environment
	$(PYTHON) -m pip install -c constraints.txt -e '.[all,dev]'

format:  ## rewrite the code in its one form
	$(PYTHON) -m ruff check --fix-only $(CODE) tests
	$(PYTHON) -m ruff format $(CODE) tests

lint:  ## rules, form, types, direction of imports
	$(PYTHON) -m ruff check $(CODE) tests
	$(PYTHON) -m mypy
	lint-imports

test:  ## the default suite, about four minutes on two cores once kernels are compiled
	$(PYTHON) -m pytest -n 2

test-all:  ## the slow ones too
	$(PYTHON) -m pytest -n 2 -m 'not bench and not peers'

bench:  ## measured figures as JSON lines; peers need CURATE_PEERS_PYTHON (tests/benchmarks/README.md)
	$(PYTHON) -m pytest -s -m 'bench or peers' tests/benchmarks

docs:  ## the generated parts of README and docs, schema.json
	$(PYTHON) docs/generate.py

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
