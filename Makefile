# Everything a person or a machine does with this repository; each target sets up what it needs in .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

unexport PYTHONDONTWRITEBYTECODE # what is imported by every process of every test is compiled once

# All but the training's; a file of the browser's, which mostly waits, beside one that computes.
TESTS := paste -d '\n' <(ls tests/browser/test_*.py) <(find tests -name 'test_*.py' ! -path 'tests/browser/*' ! -path 'tests/train/*' | sort)

.PHONY: demo test test-train check bench coverage mutation faults deaths screenshots no-avx clean

demo: .venv/.ready          ## three laps of the HIL car by the shipped policy (KEEP=1 leaves the page up)
	$(BIN)/lapwing demo $(if $(KEEP),--keep)

# Two processes read the tests beforehand, so that the four workers need not compile them each.
test: .venv/.ready-dev .venv/.ready-chromium      ## every test but the training one
	@failed=; \
	run() { $(BIN)/python -m pytest "$$@" || { [ $$? = 1 ] && failed=1; } || exit 1; }; \
	$(TESTS) | xargs --max-procs 2 --max-args 90 $(BIN)/python -m pytest --collect-only -qq &> /dev/null; \
	run --numprocesses 4 --dist loadfile --no-loadscope-reorder -m "not realtime" $$($(TESTS)); \
	run -m realtime $$(grep -lr --include='test_*.py' mark.realtime tests); \
	[ -z "$$failed" ] || { \
	  echo "Once more, alone, what failed: on a busy computer a test counts as failed when it fails twice."; \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

test-train: .venv/.ready-train ## a short real training that must learn
	$(BIN)/python -m pytest tests/train -m ""

check: .venv/.ready-dev     ## lint, format, types (of Python and of the page's scripts), import contracts
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/python tests/page/typescript.py

bench: .venv/.ready-chromium ## the budgets, measured
	$(BIN)/lapwing bench --chromium "$$($(BIN)/python tests/browser/chromium.py)"

coverage: .venv/.ready-dev  ## every branch of the safety core is covered
	$(BIN)/python -m tests.mutation.coverage

mutation: .venv/.ready-dev  ## every small change of the safety core is noticed by a test (half an hour)
	$(BIN)/python -m tests.mutation

faults: .venv/.ready        ## every part broken in every way in every moving state, as a table
	$(BIN)/lapwing faults

deaths: .venv/.ready-dev    ## every process ended by every signal, in real time, as a table (on a quiet computer)
	$(BIN)/python -m tests.hil.deaths

screenshots: .venv/.ready-chromium ## pictures of every page at two widths, into docs/screenshots
	PYTHONPATH=. $(BIN)/python tests/browser/screenshots.py

no-avx: .venv/.ready-dev    ## a processor without AVX runs what a car runs (needs qemu-user)
	$(BIN)/python tests/no_avx/prove.py

clean:                      ## forget the environment and every cache
	rm -rf .venv .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.ready: pyproject.toml constraints.txt | python-is-there
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.ready-dev: .venv/.ready
	$(PIP) --editable '.[dev]'
	touch $@

.venv/.ready-chromium: .venv/.ready-dev tests/browser/chromium.py
	$(BIN)/python tests/browser/chromium.py
	touch $@

.venv/.ready-train: .venv/.ready-dev
	$(PIP) --editable '.[dev,train]'
	touch $@

.PHONY: python-is-there
python-is-there:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Lapwing needs Python 3.11 or newer: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing: sudo apt-get install python3-venv"; exit 1; }
