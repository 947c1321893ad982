# Everything goes through .venv, which holds what requirements/dev.txt pins, hash by hash, and this tree in editable form.
# `make help` lists the targets. Works with any python3 from 3.11 on: `make check PYTHON=python3.13` (after `make clean`).

PYTHON ?= python3
# More words for pytest, or for the benchmarks: make test ARGS="-k window -x", make bench ARGS=--help
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A lock is complete, so pip needs no resolver: with one, an old pip takes a newer release that the lock does not have.
INSTALL_LOCK := $(PIP) install --quiet --no-deps --require-hashes --only-binary :all: --requirement
# $(call quietly,COMMAND): show what a pip command printed only if it fails, without the lines on folders that an index lacks.
quietly = $(1) >.venv/pip.log 2>&1 || { code=$$?; grep -v "^WARNING: Location '" .venv/pip.log >&2; exit $$code; }
LOCKED := .venv/.locked
READY := .venv/.ready
SOURCES := orchestrator tests $(wildcard benchmarks)
# One more than there are cores: many tests wait for processes of their own.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# Every extra but `airflow`, whose users have an Airflow of their own; requirements/airflow.txt is for its tests.
EXTRAS := --extra notify --extra postgres
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# Variables of the caller that would change what is installed or how Python runs do not reach the recipes. Those that say where
# packages come from do.
KEPT := PIP_CONFIG_FILE PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_TRUSTED_HOST PIP_CERT PIP_CLIENT_CERT \
	PIP_PROXY PIP_KEYRING_PROVIDER PIP_CACHE_DIR PIP_NO_CACHE_DIR PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES \
	PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONUTF8
unexport VIRTUAL_ENV $(filter-out $(KEPT),$(filter PIP_% PYTHON% OMNI_%,$(.VARIABLES)))

# An environment holds its own path and that of its Python. One that was moved, or whose Python is gone, is made anew.
WHOLE := $(shell grep -Fqs " $$(pwd -P)/.venv" .venv/pyvenv.cfg && $(BIN)/python -c "" 2>&1 && echo whole)
ifneq ($(WHOLE),whole)
$(shell rm -f $(LOCKED) $(READY))
endif

# One shell for a recipe that needs several lines; it stops at the first command that fails.
SHELL := /bin/sh
.SHELLFLAGS := -ec
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test check lint types coverage airflow package audit bench format lock clean site

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

$(LOCKED): requirements/dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(f"Python 3.11 or later is needed; $(PYTHON) is {v}. Name another: make PYTHON=python3.13" if sys.version_info < (3, 11) else 0)'
	@echo "making .venv"
	@$(PYTHON) -m venv --clear .venv
	@$(call quietly,$(INSTALL_LOCK) requirements/dev.txt)
	@touch $@

$(READY): $(LOCKED) pyproject.toml orchestrator/__init__.py
	@$(call quietly,$(PIP) install --quiet --no-deps --no-build-isolation --editable .)
	@$(call quietly,$(PIP) check)
	@touch $@

demo: $(READY) ## some forty models against a simulated instance; no key, no network
	@rm -f omni-refresh-report.simulated.json; code=0; $(BIN)/omni-refresh run configs/demo.yaml --simulate || code=$$?; \
	if [ $$code -ne 1 ] || ! grep -q '"exit_code": 1$$' omni-refresh-report.simulated.json; then \
	echo "demo: exit code $$code; staged is 1 with a report, because some of its models are made to fail" >&2; exit 1; fi; \
	echo "demo: exit code 1, as staged"

test: $(READY) ## the tests
	@$(PYTEST) $(ARGS)

check: lint types test ## what must be clean before a change goes in: style, types, tests

lint: $(READY)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: $(READY)
	@$(BIN)/mypy $(SOURCES)

coverage: $(READY) ## the tests once more, and which lines and branches they reach; 95 % is the least
	@$(PYTEST) --timeout 120 --cov --cov-report=term $(ARGS)

# Environments for one purpose each, from a lock of their own: .venv-airflow, .venv-package
.venv-%/.locked: requirements/%.txt
	@echo "making .venv-$*"
	@$(PYTHON) -m venv --clear .venv-$*
	@mkdir -p .venv
	@$(call quietly,.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes --only-binary :all: --requirement $<)
	@touch $@

.venv-airflow/.ready: .venv-airflow/.locked pyproject.toml
	@$(call quietly,.venv-airflow/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .)
	@touch $@

airflow: $(READY) .venv-airflow/.ready ## the operator in a real Airflow, which has an environment of its own
	@AIRFLOW=$$(pwd -P)/.venv-airflow/bin/airflow $(BIN)/python -m pytest --numprocesses 0 tests/airflow/real_airflow.py $(ARGS)

package: .venv-package/.locked ## wheel, source distribution, bill of materials and checksums in dist/
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .venv-package/bin/python -m build --no-isolation
	@.venv-package/bin/twine check --strict dist/*
	@.venv-package/bin/check-wheel-contents dist/*.whl
	@.venv-package/bin/python -W ignore -m cyclonedx_py requirements requirements/runtime.txt --pyproject pyproject.toml \
		--output-reproducible --of JSON --output-file dist/sbom.cdx.json
	@cd dist && shasum -a 256 * >SHA256SUMS && cat SHA256SUMS

# pip-audit says which packages its service did not answer for; the rest needs no network.
audit: $(READY) .venv-package/.locked ## workflows, pipelines and Kubernetes objects against their schemas; known vulnerabilities of the lock
	@.venv-package/bin/zizmor --offline --quiet .github action.yml configs/github/*.yml
	@.venv-package/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml configs/github/*.yml
	@.venv-package/bin/check-jsonschema --builtin-schema vendor.github-actions action.yml
	@.venv-package/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv-package/bin/check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci configs/gitlab/*.yml
	@.venv-package/bin/check-jsonschema --builtin-schema vendor.azure-pipelines --data-transform azure-pipelines \
		--regex-variant python configs/azure/*.yml
	@mkdir -p build
	@for each in base shared-state; do $(BIN)/python -m tests.recipes.kustomize configs/kubernetes/$$each >build/kubernetes.yaml; \
	.venv-package/bin/kubernetes-validate --strict --quiet build/kubernetes.yaml; done
	@.venv-package/bin/pip-audit --disable-pip --require-hashes --requirement requirements/runtime.txt

bench: $(READY) ## the benchmarks, in virtual time
	@$(BIN)/python -m benchmarks $(ARGS)

.venv-site/.ready: requirements/site.txt
	@echo "making .venv-site"
	@$(PYTHON) -m venv --clear .venv-site
	@$(call quietly,.venv-site/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement requirements/site.txt)
	@touch $@

# The pages lie in the site as they do here, so that links to configurations and to each other hold in both.
site: .venv-site/.ready ## the documentation as a site, in build/site; a link that leads nowhere is an error
	@rm -rf build/site build/site-source
	@mkdir -p build/site-source
	@cp -R README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs configs build/site-source
	@NO_COLOR=1 .venv-site/bin/zensical build --strict --clean

format: $(READY) ## format, and mend what can be mended by machine
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

lock: $(LOCKED) ## pin the newest versions anew: ARGS="--upgrade-package aiohttp" for one alone
	@$(call quietly,$(INSTALL_LOCK) requirements/uv.txt)
	@$(COMPILE) $(or $(ARGS),--upgrade) $(EXTRAS) --group dev --output-file requirements/dev.txt pyproject.toml >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) $(EXTRAS) --constraint requirements/dev.txt --output-file requirements/runtime.txt pyproject.toml >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) $(EXTRAS) --group pyproject.toml:airflow --constraint requirements/runtime.txt --output-file requirements/airflow.txt pyproject.toml >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) --group pyproject.toml:package --output-file requirements/package.txt >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) --group pyproject.toml:build --constraint requirements/package.txt --output-file requirements/build.txt >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) --group pyproject.toml:lock --output-file requirements/uv.txt >/dev/null
	@$(COMPILE) $(or $(ARGS),--upgrade) --group pyproject.toml:site --output-file requirements/site.txt >/dev/null
	@git --no-pager diff --stat -- requirements

clean: ## remove the environment and what the tools keep
	rm -rf .venv .venv-airflow .venv-site .cache build dist .coverage .coverage.* coverage.xml htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache omni-refresh-report.*
	find orchestrator tests $(wildcard benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +
