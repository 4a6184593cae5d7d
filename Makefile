# make demo    the main job, end to end, on simulated counts; results under demo-output/
# make test    everything a change must pass: ruff, mypy, codespell, pytest with doctests
# make stress  what tests do in short in full: jobs and workers killed, memory, hostile input; an hour, prints figures
# make study   error rates of xdelnx and its peers on data whose truth is known; hours, goes on where it stopped
#              (FORM=small: minutes; REAL=DIR: folder of the airway reference; PEERS=DIR: environments of Python's peers)
# make docs    the documentation, in docs/_build/html; a warning is an error
# make release-check  sdist and wheel into dist/, and a fit with the wheel in an environment without extras
# make lint    the checks without the tests;  make format  writes what ruff would
# make clean   removes .venv, demo-output and caches
#
# The first of them makes .venv, with python3 >= 3.11; another interpreter: make demo PYTHON=python3.12

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SOURCES := xdelnx tests examples tools $(wildcard validation benchmarks)

FORM ?= full

.PHONY: help demo test stress study lint docs release-check format clean python

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: python
	@$(PYTHON) tools/environment.py demo
	@$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest -n logical --dist loadfile

stress: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/python -m pytest -m stress -s

study: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/python -m validation.study --form $(FORM) $(if $(REAL),--real $(REAL)) $(if $(PEERS),--peers $(PEERS))

lint: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/codespell $(SOURCES) *.md

docs: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

release-check: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/python tools/release.py

format: python
	@$(PYTHON) tools/environment.py dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

python:
	@test -n "$(PYTHON)" || { echo "xdelnx needs python3 3.11 or newer, found none: make demo PYTHON=..." >&2; exit 1; }

clean:
	rm -rf .venv demo-output study-output docs/_build docs/generated .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find xdelnx tests examples tools -name __pycache__ -type d -exec rm -rf {} +
