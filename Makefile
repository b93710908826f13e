# roundlog: `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin

# Two test processes share the cores; a numeric library that starts a thread for each core of its
# own only makes both slower, and figures that depend on the machine.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MPLBACKEND := Agg

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## .venv with everything in it; does nothing the second time
	@bash .ci/setup

.PHONY: demo
demo: setup ## the main job: a poisoning, recorded, rebuilt, and found
	$(BIN)/roundlog demo

.PHONY: test
test: lint types imports ## all checks: lint, types, imports, then the tests (real Kafka included)
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

.PHONY: lint
lint: setup ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: setup ## mypy, strict
	$(BIN)/mypy

.PHONY: imports
imports: setup ## who may import whom
	$(BIN)/lint-imports

.PHONY: format
format: setup ## mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup ## the measurements; writes docs/reference/benchmarks.md
	PYTHONPATH=tests/support $(BIN)/python tests/bench/run.py $(BENCH_ARGS)

# Twins are counted on from the first of SEEDS=A..B.
FIRST = $(firstword $(subst ., ,$(SEEDS)))
twins = --twin-seeds $(FIRST)..$(shell expr $(FIRST) + $(1) - 1)
EVALUATION := docs/explanation/how-well-it-dates

.PHONY: evaluate
evaluate: setup ## fresh seeds against what we claim of *when*: SEEDS=101..120; hours, goes on when stopped
	@[[ "$(SEEDS)" =~ ^[0-9]+\.\.[0-9]+$$ ]] || { echo "say which seeds: make evaluate SEEDS=101..120"; exit 2; }
	$(BIN)/roundlog evaluate quickstart --seeds $(SEEDS) $(call twins,50) --out $(EVALUATION)/quickstart $(EVALUATE_ARGS)
	$(BIN)/roundlog evaluate digits --seeds $(SEEDS) $(call twins,10) --out $(EVALUATION)/digits $(EVALUATE_ARGS)
	$(BIN)/roundlog evaluate mobileai7 --seeds $(SEEDS) $(call twins,10) --out $(EVALUATION)/mobileai7 \
		--page $(EVALUATION).md $(EVALUATE_ARGS)

SEEDS_OF_FAULTS := 1 2
FAULTS := build/faults.xml

.PHONY: faults
faults: setup ## the long fault campaign, from your seeds: SEEDS="3 4" (1 2 by default); ends in 30 minutes
	@rm -f $(FAULTS)
	@status=0; ROUNDLOG_FAULT_SEEDS="$(or $(SEEDS),$(SEEDS_OF_FAULTS))" \
		$(BIN)/pytest -n 2 --junit-xml=$(FAULTS) tests/faults $(PYTEST_ARGS) || status=$$?; \
		$(BIN)/python tests/support/campaign.py $(FAULTS); exit $$status

.PHONY: docs
docs: setup ## the outputs and the picture in our pages, made again by their commands
	$(BIN)/python tests/docs/render.py

.PHONY: kafka
kafka: setup ## one Kafka node in the foreground; prints its address when it is ready
	PYTHONPATH=tests/support exec $(BIN)/python -m kafka_node

.PHONY: clean
clean: ## caches and build output; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
