# One command for everything: `make run` (a demo to look at), `make test` (the tests), `make check` (format, lint, types).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALLED := .venv-installed
SCALE ?= small
ARGS ?=

.PHONY: run test test-long check format bench installed venv system-packages clean

run: $(STAMP)
	$(BIN)/stagekeeper demo $(ARGS)

test: $(STAMP) system-packages check installed
	$(BIN)/python -m pytest -n 2 -m "not long" --ignore tests/end_to_end $(ARGS)
	$(INSTALLED)/bin/python -m pytest -n 2 -m "not long" tests/end_to_end $(ARGS)

test-long: $(STAMP) system-packages installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "long" --ignore tests/end_to_end $(ARGS)
	$(INSTALLED)/bin/python -m pytest -n 2 --dist worksteal -m "long" tests/end_to_end $(ARGS)

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

# What a user gets: not the checkout, but the packages with their templates and static files.
installed: $(STAMP)
	VENV="$(VENV)" INSTALLED="$(INSTALLED)" sh .ci/make-installed

system-packages:
	sh .ci/system-packages

clean:
	rm -rf $(VENV) $(INSTALLED) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
