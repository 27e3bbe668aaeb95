# Two commands do everything on a bare Debian or Ubuntu machine: `make demo` and `make test`.

PYTHON := .venv/bin/python

.PHONY: help setup demo test test-fast coverage trials screenshots soak bench world-tiny openapi docs lint fmt clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup:  ## install what is missing: system packages, .venv, Python packages
	@deploy/install.sh --for-tests

demo:  ## start a separate stack, ingest a small gallery and locate unseen photos
	@deploy/install.sh
	@.venv/bin/pinpoint demo

test: setup  ## all tests, about 16 minutes on two cores; nothing is left running
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 3 --dist loadfile -m "not ci"

test-fast: setup  ## tests without servers, about 90 s on two cores
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 3 --dist loadfile -m "not stack and not slow and not ci"

coverage: setup  ## lines and branches that all tests run, as a table and in build/coverage
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 3 --dist loadfile --cov --cov-report term --cov-report html

trials: setup  ## play real faults against a real stack
	@$(PYTHON) -m pytest tests/trials
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests -m ci

screenshots: setup  ## every view of the web page as PNG in build/screenshots; needs chromium and playwright
	@PINPOINT_TEST_SCREENSHOTS=build/screenshots $(PYTHON) -m pytest tests/trials/web/test_screenshots.py

soak: setup  ## play seeded faults until the first difference: make soak N=1000 SEED=1
	@.venv/bin/pinpoint bench faults -n $(or $(N),1000) $(if $(SEED),--seed $(SEED))

bench: setup  ## measure speed next to bare baselines
	@.venv/bin/pinpoint bench speed $(ARGS)

world-tiny: setup  ## train the shipped bundle again, below .pinpoint: about 20 minutes on two cores
	@.venv/bin/pinpoint synthetic create .pinpoint/planet-bench-7 --preset bench --seed 7
	@cp docs/configs/world-tiny.toml .pinpoint/planet-bench-7/
	@OMP_WAIT_POLICY=passive .venv/bin/pinpoint train embedder \
		--config .pinpoint/planet-bench-7/world-tiny.toml --out .pinpoint/train-world-tiny

openapi: setup  ## write docs/openapi.json, the OpenAPI document of this version
	@$(PYTHON) -m pinpoint.api.openapi_file docs/openapi.json

docs: setup  ## build the documentation site into site/, without network
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet
	@echo "open site/index.html"

lint: setup  ## ruff, mypy and the import contracts
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

fmt: setup  ## format the code
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

clean:  ## stop all stacks of this folder and remove caches; data and .venv remain
	@if [ -x .venv/bin/pinpoint ]; then .venv/bin/pinpoint down; \
		for demo in .pinpoint-demo .pinpoint-photos-demo; do \
			[ ! -d $$demo ] || .venv/bin/pinpoint --home $$demo down; done; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build demo-out site
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
