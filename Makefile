# Everything runs in .venv, made here with Python 3.11 or newer; `make PYTHON=python3.12 …` picks another one.
PYTHON ?= $(shell python3 -c 'import sys; print("python3" if sys.version_info >= (3, 11) else "python3.11")' \
	2>/dev/null || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint image bench record lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/braze-elt demo

test: $(VENV)/.developing
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

lint: $(VENV)/.developing docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck docker/*.sh .ci/run
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

# The steps of the Docker image, and a night in it, without Docker.
image:
	PYTHON=$(PYTHON) docker/image.sh check

bench: $(VENV)/.developing
	$(BIN)/python -m tests.benchmarks $(ARGS)

# Records cassettes from a live workspace: tests/cassettes/README.md.
record: $(VENV)/.developing
	$(BIN)/python -m tests.record $(ARGS)

# Pins the newest versions that pyproject.toml allows, for every platform and extra.
lock: $(VENV)/.developing
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --no-header --strip-extras --upgrade --output-file constraints.txt

# Writes the generated pages of docs/, which are committed, and builds site/: open site/index.html (only its search needs
# a server). Broken links and anchors end the build.
.PHONY: docs
docs: $(VENV)/.developing
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV)

# pip knows dependency groups since 25.1.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --group dev
	touch $@
