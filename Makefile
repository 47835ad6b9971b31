# Everything a person or a machine does with this repository; each target sets up what it needs in .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

unexport PYTHONDONTWRITEBYTECODE # what is imported by every process of every test is compiled once

# All but the training's. A browser's files, the longest first, stand at the end, each beside one that computes:
# by then the part on the real clock is done, which Chromium would disturb.
OTHERS := find tests -name 'test_*.py' ! -path 'tests/browser/*' ! -path 'tests/train/*' | sort
TESTS := { $(OTHERS) | head -n -60; paste -d '\n' <(ls -S tests/browser/test_*.py) <($(OTHERS) | tail -n 60); }

.PHONY: demo test test-train check bench coverage mutation faults deaths screenshots no-avx clean

demo: .venv/.ready          ## three laps of the HIL car by the shipped policy (KEEP=1 leaves the page up)
	$(BIN)/lapwing demo $(if $(KEEP),--keep)

# What stands on the real clock mostly waits. All else takes what is left of the processor meanwhile: it is as
# nice as can be, and in another session, for Linux shares a processor between sessions first. One process
# reads it beforehand, so that its four workers need not compile it each.
test: .venv/.ready-dev .venv/.ready-chromium      ## every test but the training one
	@failed=; mkdir -p .cache/realtime; \
	judge() { [ "$$1" = 0 ] || { [ "$$1" = 1 ] && failed="$$failed $$2"; } || exit 1; }; \
	setsid $(BIN)/python -m pytest -o cache_dir=.cache/realtime -m realtime \
	  $$(grep -lr --include='test_*.py' mark.realtime tests) \
	  &> .cache/realtime/said & realtime=$$!; trap 'kill $$realtime 2> /dev/null' EXIT; \
	nice -n 19 $(BIN)/python -m pytest --collect-only -qq --ignore tests/train &> /dev/null; \
	nice -n 19 $(BIN)/python -m pytest -o cache_dir=.cache/timeless --numprocesses 4 --dist loadfile \
	  --no-loadscope-reorder -m "not realtime" $$($(TESTS)); judge $$? timeless; \
	wait $$realtime; said=$$?; cat .cache/realtime/said; judge $$said realtime; \
	[ -z "$$failed" ] || { \
	  echo "Once more, alone, what failed: on a busy computer a test counts as failed when it fails twice."; \
	  for part in $$failed; do \
	    $(BIN)/python -m pytest -o cache_dir=.cache/$$part --last-failed --last-failed-no-failures none || exit 1; \
	  done; }

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
