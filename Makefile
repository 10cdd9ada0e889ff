# From a fresh checkout: `make` installs what is missing and builds the shipped policy; `make help` lists the rest.
PYTHON ?= /usr/bin/python3
export PYTHON
VENV := .venv/bin

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: all install install-test test lint bench profiles fresh man site reference pyz doctor clean help

all: install ## install what is missing, build the shipped policy into build/, show what came out
	@$(VENV)/stockade build -o build
	@find build -type f -printf '%h %s\n' | sort | awk '{ n[$$1]++; b[$$1] += $$2 } \
	  END { for (d in n) printf "  %-32s %3d files %8.1f kB\n", d, n[d], b[d] / 1000 }' | sort

install: ## install what building needs: Debian packages, then .venv
	@tools/install build venv

install-test: ## install what the tests, the lab and the figures need as well
	@tools/install build test venv

test: install-test ## run the tests
	@$(VENV)/python -m pytest -q -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder --durations 25

lint: install ## ruff, formatting and mypy --strict
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy

bench: install-test ## measure the figures that the README quotes
	@$(VENV)/python bench

# The manifest stays out of profiles/: it names the compiler, and so would differ after every change of code.
profiles: all ## compile the shipped policy into profiles/, to be committed with a policy change
	@rm -rf profiles && mkdir profiles && cp -r build/host build/containers profiles/
	@$(VENV)/stockade matrix build --format svg -o docs/pictures/matrix.svg

fresh: all ## fail when profiles/ is not what the shipped policy compiles to
	@diff -r -x manifest.json build profiles || { \
	  echo "profiles/ is stale: run 'make profiles' and commit it" >&2; exit 1; }

man: install ## write a manual page for each command into .artefacts/man
	@$(VENV)/python tools/man.py .artefacts/man

site: install-test ## make the manual a site in .artefacts/site; a dead link is an error
	@$(VENV)/mkdocs build --strict --clean --config-file tools/mkdocs.yml --site-dir ../.artefacts/site

reference: install ## write docs/reference.md anew from the schemas
	@$(VENV)/python tools/reference.py docs/reference.md

pyz: install ## stockade.pyz: one file that audits a host where nothing is installed
	@$(VENV)/python tools/pyz.py stockade.pyz

doctor: install ## say what is missing here
	@$(VENV)/stockade doctor

clean: ## remove what was built; .venv stays
	@rm -rf build stockade.pyz .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find compiler tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
