# `make study` and `make test` are all that a newcomer needs; each sets up .venv on its first call.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help study paper test lint format site peers lock clean

PROFILE = quick
PYTHONS = 3.13 3.12 3.11
IS_SUPPORTED = -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())'
MAKES_VENVS = -c 'import ensurepip, venv'
RELEASE = -c 'import sys; print("%d.%d" % sys.version_info[:2])'
# The newest that runs (a version manager's command may not) and can make virtual environments.
PYTHON = $(shell for name in $(PYTHONS:%=python%) python3 python; do \
	$$name $(IS_SUPPORTED) 2>/dev/null || continue; \
	if $$name $(MAKES_VENVS) 2>/dev/null; then found=$$name; break; fi; \
	found=$${found:-$$name}; done; command -v "$$found")
VENV_PYTHON = .venv/bin/python
# Written last, so that an interrupted set-up is never taken for a finished one.
READY = .venv/.ready

define check_python
	@python="$(PYTHON)"; \
	"$$python" $(IS_SUPPORTED) 2>/dev/null || { \
		echo "$${python:+$$python will not do. }Python is needed, one of: $(PYTHONS). Install it" \
		"(Debian, Ubuntu: apt install python3-venv), or name it:" \
		"make PYTHON=/path/to/python$(firstword $(PYTHONS)) ..." >&2; exit 1; }; \
	"$$python" $(MAKES_VENVS) 2>/dev/null || { \
		echo "$$python cannot make virtual environments: venv or ensurepip is missing" \
		"(Debian, Ubuntu: apt install python$$("$$python" $(RELEASE))-venv)." >&2; exit 1; }
endef

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

study: $(READY) ## Run the study; PROFILE=tiny|quick|paper, quick unless said (twenty minutes)
	.venv/bin/rvd study --profile $(PROFILE)

# What README quotes of the paper profile.
PAPER = 01 03 06 07 08 09 10 11
paper: $(READY) ## Regenerate the paper profile's tables and figures from committed rows
	.venv/bin/rvd study --profile paper $(PAPER:%=--only %)

# On two processes or more, a file or notebook on one of them.
PYTEST = $(VENV_PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Both suites run even if the first one fails.
test: $(READY) ## Test the library, then every executed tiny notebook
	@status=0; \
	$(PYTEST) tests || status=$$?; \
	if ls results/tiny/*.ipynb >/dev/null 2>&1; then \
		RVD_PROGRESS=/dev/null RVD_OUTPUT_DIR="$(CURDIR)/.cache/nbval" \
			$(PYTEST) -p tests.nbval_within --nbval --nbval-current-env results/tiny || status=$$?; \
	fi; \
	exit $$status

lint: $(READY) ## Check style and format, notebooks included, and the library's types
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

format: $(READY) ## Bring style and format in order
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

# Offline, and nothing is executed: the pages are the executed notebooks of the results.
site: $(READY) ## Build the searchable report, build/site/index.html, from the executed notebooks
	$(VENV_PYTHON) -m rvdlib.lab.runner.site build/site-source
	$(VENV_PYTHON) -m sphinx -b html -E -W --keep-going -q -c site build/site-source build/site
	@echo "Read it: $(CURDIR)/build/site/index.html"

peers: $(READY) ## Measure other people's recommenders, the peers of the victims
	$(VENV_PYTHON) -m pip install --constraint requirements.lock --no-build-isolation -e ".[peers]"
	$(VENV_PYTHON) -m rvdlib.lab.tuning.peers

# What the oldest Python takes, the newer ones take too; the tests hold the lock against each.
lock: PYTHONS := $(lastword $(PYTHONS))
lock: ## Resolve pyproject.toml anew and write requirements.lock
	$(check_python)
	"$(PYTHON)" -m venv --clear .cache/lock
	.cache/lock/bin/python -m pip install --upgrade setuptools -e ".[dev]"
	.cache/lock/bin/python -m pip freeze --all --exclude pip --exclude rvdlib > .cache/lock/frozen
	@# Kept out: torch's build tag and its CUDA libraries, which differ between machines.
	{ grep '^#' requirements.lock; sed -E '/^(cuda|nvidia|triton)/d; s/\+.*//; /^implicit/s/$$/ ; platform_machine == "x86_64"/' \
		.cache/lock/frozen; } \
		> .cache/lock/lock
	mv .cache/lock/lock requirements.lock
	rm -rf .cache/lock

clean: ## Remove .venv, the cell store and all caches; results and figures stay
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis build dist rvdlib.egg-info
	find rvdlib tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# Set up again: the .venv of a copied or moved checkout, which still points at the old one; one whose
# Python is gone or was replaced by another release; one of another release than PYTHON= names.
NAMED = $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
KEPT := $(shell { test "$$(cat $(READY))" = "$(CURDIR)" && \
	$(VENV_PYTHON) $(IS_SUPPORTED) && $(VENV_PYTHON) -c 'import pip' && { test -z "$(NAMED)" || \
	test "$$("$(NAMED)" $(RELEASE))" = "$$($(VENV_PYTHON) $(RELEASE))"; }; } 2>/dev/null && echo yes)
ifneq "$(KEPT)" "yes"
.PHONY: $(READY)
endif

define make_venv
	$(check_python)
	"$(PYTHON)" -m venv --clear .venv
endef

# Nothing unpinned is fetched: the package itself comes without dependencies and is built by the
# setuptools of the lock. An unfinished or foreign .venv is cleared, a finished one brought up to date.
$(READY): requirements.lock pyproject.toml
	$(if $(KEPT),,$(make_venv))
	@echo "Setting up .venv with Python $$($(VENV_PYTHON) $(RELEASE)): once, a few minutes."
	rm -f $(READY)
	$(VENV_PYTHON) -m pip install -r requirements.lock
	$(VENV_PYTHON) -m pip install --no-deps --no-build-isolation -e .
	echo "$(CURDIR)" > $(READY)
