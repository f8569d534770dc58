# Each target creates the virtual environment when it is missing or out of date; nothing else needs to be installed
# beyond Python 3.11 and make.

# The first that is new enough and really starts: a shim of pyenv's may be on PATH and not start.
PYTHON ?= $(shell for name in python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; exit; }; done; \
	echo python3.11)
VENV ?= .venv
# Most tests wait, so a few processes more than cores; PYTEST_WORKERS=0 runs them in one, for a debugger.
PYTEST_WORKERS ?= 4
PYTEST_ARGS ?=
ACT ?= outage
BENCH ?= overhead pipeline compiled policies request_client simulate throughput tail tail_at_scale choosing balance failover reload storm deadlines soak
BENCH_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := django,fastapi,otel,httpx2,aiohttp,http2,redis,dns,yaml,watch,top,dev

.PHONY: help
help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=/path/to/python ..." >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version), takes a minute ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@

.PHONY: install
install: $(READY)  ## Create the virtual environment

.PHONY: test
test: $(READY)  ## Run the tests (PYTEST_ARGS="-k circuit -x" to choose)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(PYTEST_ARGS)

.PHONY: compiled
compiled: pure  ## Compile what each call passes, in place; it takes a C compiler and minutes (docs/compiled.md)
	@command -v $${CC:-cc} >/dev/null || { echo "there is no C compiler ($${CC:-cc}); see docs/compiled.md" >&2; exit 1; }
	@echo "compiling, takes two or three minutes ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check hatch-mypyc -c constraints.txt
	@# In a copy, because the build takes pyproject.toml away meanwhile.
	@rm -rf build/compiled && mkdir -p build/compiled
	@cp -pR pyproject.toml README.md LICENSE resilient_http resilient_http_django resilient_http_fastapi build/compiled
	@cd build/compiled && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(abspath $(BIN))/python -m hatchling build -t wheel --hooks-only
	@cd build/compiled && find . -name '*.so' -exec cp -p --parents {} ../.. \;
	@rm -rf build/compiled

.PHONY: pure
pure: $(READY)  ## Take away what `make compiled` has made
	@rm -f ./*__mypyc.*.so
	@find resilient_http -name '*.so' -delete

.PHONY: coverage
coverage: $(READY)  ## Run the tests and show which branches they miss
	@$(BIN)/python -m pytest --cov $(PYTEST_ARGS)

.PHONY: demo
demo: $(READY)  ## Tell the story of an outage, with bare httpx and with resilient_http (ACT=nodes: nodes come and go; ACT=live-change: settings change)
	@if [ "$(ACT)" != outage ]; then .ci/provide etcd etcd-server; fi
	@$(BIN)/python -m example_project --act $(ACT)

.PHONY: serve
serve: $(READY)  ## Start the demo's services and leave them running
	@$(BIN)/python -m example_project --serve

.PHONY: bench-tools
bench-tools: $(READY)  ## Install what the benchmarks compare with and load with
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[bench]' -c constraints.txt

.PHONY: bench
bench: bench-tools compiled  ## Run the benchmarks, compiled (some ninety minutes; BENCH="throughput tail" to choose) and make docs/performance.md
	@for script in $(BENCH); do echo "==> $$script"; $(BIN)/python benchmarks/$$script.py $(BENCH_ARGS) || exit 1; done
	@$(BIN)/python benchmarks/page.py

.PHONY: soak
soak: $(READY)  ## Look for a minute whether anything grows
	@$(BIN)/python benchmarks/soak.py --minutes 1 --warm-up 0.33

.PHONY: pictures
pictures: $(READY)  ## Draw the pictures of the docs anew, with the simulation
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[docs]' -c constraints.txt
	@$(BIN)/python docs/pictures/draw.py
	@$(BIN)/python docs/pictures/scenarios.py

.PHONY: screenshots
screenshots: $(READY)  ## Take the pictures of the live page anew, in Chromium
	@.ci/provide chromium chromium
	@.ci/provide chromedriver chromium-driver
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[docs]' -c constraints.txt
	@$(BIN)/python docs/pictures/screenshots.py

.PHONY: reference
reference: $(READY)  ## Write the tables of docs/settings.md and its JSON Schema anew, from the models
	@$(BIN)/python docs/reference.py

.PHONY: check
check: $(READY)  ## Lint, format, types, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(READY)  ## Format the code and sort its imports
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: clean
clean:  ## Remove the virtual environments, builds and caches
	@rm -rf .venv .venv-* build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	@find . -name '*.so' -delete
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
