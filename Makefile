# `make study` and `make test` are all that a newcomer needs; each sets up .venv on its first call.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help study test lint format peers lock clean

PROFILE = quick
IS_311 = -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
PYTHON = $(shell for name in python3.11 python3 python; do \
	if $$name $(IS_311) 2>/dev/null; then command -v $$name; break; fi; done)
VENV_PYTHON = .venv/bin/python
# Written last, so that an interrupted set-up is never taken for a finished one.
READY = .venv/.ready

define check_python
	@"$(PYTHON)" $(IS_311) 2>/dev/null || { echo "Python 3.11 was not found. Install it" \
		"(Debian: apt install python3.11), or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual" \
		"environments: venv or ensurepip is missing (Debian: apt install python3-venv)." >&2; exit 1; }
endef

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

study: $(READY) ## Run the study; PROFILE=tiny|quick|paper, quick unless said (minutes)
	.venv/bin/rvd study --profile $(PROFILE)

# Both suites run even if the first one fails.
test: $(READY) ## Test the library, then every executed tiny notebook
	@status=0; \
	$(VENV_PYTHON) -m pytest tests || status=$$?; \
	if ls results/tiny/*.ipynb >/dev/null 2>&1; then \
		RVD_PROGRESS=/dev/null RVD_OUTPUT_DIR="$(CURDIR)/.cache/nbval" \
			$(VENV_PYTHON) -m pytest -p tests.nbval_within --nbval --nbval-current-env \
			results/tiny || status=$$?; \
	fi; \
	exit $$status

lint: $(READY) ## Check style and format, notebooks included
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .

format: $(READY) ## Bring style and format in order
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

peers: $(READY) ## Measure other people's recommenders, the peers of the victims
	$(VENV_PYTHON) -m pip install --constraint requirements.lock --no-build-isolation -e ".[peers]"
	$(VENV_PYTHON) -m rvdlib.study.peers

lock: ## Resolve pyproject.toml anew and write requirements.lock
	$(check_python)
	"$(PYTHON)" -m venv --clear .cache/lock
	.cache/lock/bin/python -m pip install --upgrade setuptools -e ".[dev]"
	.cache/lock/bin/python -m pip freeze --all --exclude pip --exclude rvdlib > .cache/lock/frozen
	@# Kept out: torch's build tag and its CUDA libraries, which differ between machines.
	{ grep '^#' requirements.lock; sed -E '/^(cuda|nvidia|triton)/d; s/\+.*//' .cache/lock/frozen; } \
		> .cache/lock/lock
	mv .cache/lock/lock requirements.lock
	rm -rf .cache/lock

clean: ## Remove .venv, the cell store and all caches; results and figures stay
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis build dist rvdlib.egg-info
	find rvdlib tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# The .venv of a copied or moved checkout still points at the old one: set up again.
ifneq "$(shell cat $(READY) 2>/dev/null)" "$(CURDIR)"
.PHONY: $(READY)
endif

# Nothing unpinned is fetched: the package itself comes without dependencies and is built by the
# setuptools of the lock. An unfinished or foreign .venv is cleared, a finished one brought up to date.
$(READY): requirements.lock pyproject.toml
	$(check_python)
	@echo "Setting up .venv: once, a few minutes."
	test "$$(cat $(READY) 2>/dev/null)" = "$(CURDIR)" || "$(PYTHON)" -m venv --clear .venv
	rm -f $(READY)
	$(VENV_PYTHON) -m pip install -r requirements.lock
	$(VENV_PYTHON) -m pip install --no-deps --no-build-isolation -e .
	echo "$(CURDIR)" > $(READY)
