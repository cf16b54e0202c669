# One command for everything: `make run` (a demo to look at), `make test` (the tests), `make check` (format, lint, types).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCALE ?= small
ARGS ?=

.PHONY: run test test-long check format bench venv system-packages clean

run: $(STAMP)
	$(BIN)/stagekeeper demo $(ARGS)

test: $(STAMP) system-packages check
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long" $(ARGS)

test-long: $(STAMP) system-packages
	$(BIN)/python -m pytest -m "long" $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m bench --scale $(SCALE) $(ARGS)

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/make-venv
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh .ci/make-venv
	touch $(STAMP)

system-packages:
	sh .ci/system-packages

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
