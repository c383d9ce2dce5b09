# labkit: `make help` lists what there is to do.
# Needs make, git and Python 3.11, 3.12 or 3.13 with venv. Everything else goes into $(VENV).

VENV ?= .venv
# A version manager's python3.x may be on the path and yet not run.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell $(p) -c '' 2>/dev/null && command -v $(p))))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install report test test-fast mutate lint format bench lab lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## create .venv and install labkit with the pinned packages

report: $(STAMP)  ## run the baseline study: an HTML report and its figures
	$(BIN)/labkit report --only 00_anatomy_of_a_turn

test: $(STAMP)  ## run all tests
	$(BIN)/pytest

test-fast: $(STAMP)  ## run the tests that take seconds and ignore the real clock
	$(BIN)/pytest -m "not slow and not wall"

mutate: $(STAMP)  ## count the small mistakes that fast tests notice; MODULE=labkit/measure for one area
	@$(BIN)/python -c 'import cosmic_ray' 2>/dev/null || $(BIN)/pip install --quiet -c constraints.txt cosmic-ray
	$(BIN)/python tests/mutants/mutate.py $(MODULE)

lint: $(STAMP)  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## put style and formatting right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## measure simulated seconds per second; AGAINST=TREE compares with a checkout
	$(BIN)/python tests/benchmarks/$(if $(AGAINST),compare.py $(AGAINST) .,speed.py)

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

# Resolve with the oldest Python to be supported: newer ones take its pins, not the other way round.
lock:  ## pin the newest packages that pyproject.toml allows in constraints.txt
	@set -e; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	$(PYTHON) -m venv "$$new/venv"; \
	"$$new/venv/bin/pip" install --quiet -e '.[dev,mutate]'; \
	{ echo '# One tested set of versions inside the ranges of pyproject.toml. Written by `make lock`.'; \
	  "$$new/venv/bin/pip" freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort -f; } \
	  > "$$new/constraints.txt"; \
	cp "$$new/constraints.txt" constraints.txt

clean:  ## remove what can be made again, but not .venv
	rm -rf build dist reports .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -not -path '*/.venv/*' -prune -exec rm -rf {} +

# Installs again only when the project's metadata or its pins change.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "labkit needs Python 3.11, 3.12 or 3.13, and no python3 was found" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  "labkit needs Python 3.11, 3.12 or 3.13, and %s is %d.%d; choose one with make PYTHON=..." % (sys.executable, *v))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 2; }
	@echo "Installing labkit and its packages into $(VENV); the first time takes a few minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)
