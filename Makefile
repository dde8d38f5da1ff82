# Every command sets up .venv first, and does no set-up work when nothing has changed.
BIN := .venv/bin
NB ?= $(sort $(wildcard notebooks/*.ipynb))
PYTEST := $(BIN)/python -m pytest
PYTEST_BACKENDS := .venv-backends/bin/python -m pytest -o addopts= tests -m "not tensorflow" $(addprefix --ignore=tests/,assignments notebooks project)
JOBS ?= $(shell python3 -c "import os; print(min((os.cpu_count() or 2) + 1, 4))")
MNIST ?=
SUBMITTED ?=
SCRUB := $(addprefix metadata.language_info.,version codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer)
# Silence TensorFlow, use one way of rounding everywhere, and spare joblib a search for cores that
# ends in a warning on some machines.
export TF_CPP_MIN_LOG_LEVEL = 3
export TF_ENABLE_ONEDNN_OPTS = 0
export LOKY_MAX_CPU_COUNT := $(shell python3 -c "import os; print(os.cpu_count() or 1)")
# Images with Python often set it: each kernel would compile TensorFlow's files anew, ten seconds.
unexport PYTHONDONTWRITEBYTECODE
UNTUNED := env -u TF_ENABLE_ONEDNN_OPTS

.PHONY: lab test check test-backends notebooks check-notebook docs test-browser assignments grade bench bench-quality lint lock help

help:
	@echo "make lab             open the course in JupyterLab (ARGS=... is passed on)"
	@echo "make test            run the unit tests, the doctests and every notebook"
	@echo "make check           the same without running the notebooks, and lint: about half of the time"
	@echo "make test-backends   run the tests of vaekit on JAX and on PyTorch"
	@echo "make notebooks       execute the notebooks in place, refresh outputs, figures and claims"
	@echo "make check-notebook NB=notebooks/01_autoencoder.ipynb   all tests of one, and run it"
	@echo "make docs            build the site in docs/_build/html from the stored notebooks"
	@echo "make test-browser    open the site, and JupyterLab, in a real browser (needs Chromium)"
	@echo "make assignments     make the notebooks for students in assignments/release"
	@echo "make grade SUBMITTED=folder   grade a folder of submissions; see assignments/README.md"
	@echo "make bench           train beside the peers, in turns (MNIST=mnist.npz; 15 minutes)"
	@echo "make bench-quality   reproduce the numbers of a public homework on full MNIST (MNIST=mnist.npz)"
	@echo "make lint            check the code and the notebooks with ruff"
	@echo "make lock            renew requirements.lock from pyproject.toml"

.venv/ready: requirements.lock pyproject.toml tools/make_venv.py
	@python3 tools/make_venv.py

lab: .venv/ready
	$(BIN)/jupyter lab notebooks/01_autoencoder.ipynb --ServerApp.root_dir="$(CURDIR)" $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

# Each of the JOBS processes gets one thread: more would only wait for those of the others.
test check: export TF_NUM_INTRAOP_THREADS = 1
test check: export OPENBLAS_NUM_THREADS = 1
test: .venv/ready .venv-teacher/ready
	$(PYTEST) -n $(JOBS) --dist loadfile --durations=12 $(NB) tests vaekit

check: lint .venv-teacher/ready
	$(PYTEST) -n $(JOBS) --dist loadfile --durations=12 tests vaekit

.venv-backends/ready: pyproject.toml tools/make_venv.py
	@python3 tools/make_venv.py backends

.venv-bench/ready: benchmarks/requirements.txt tools/make_venv.py
	@python3 tools/make_venv.py bench

test-backends: .venv-backends/ready
	KERAS_BACKEND=jax $(PYTEST_BACKENDS)
	KERAS_BACKEND=torch $(PYTEST_BACKENDS)

notebooks: .venv/ready
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False $(NB)
	$(BIN)/nbstripout --keep-output --keep-count --keep-id --extra-keys "$(SCRUB)" $(NB)
	$(BIN)/python tools/extract_figures.py $(NB)
	$(BIN)/python -m tools.measure_claims $(NB)

# Cells that leave Python pass when they run; the tests in tests/notebooks find them. pytest selects
# by the notebook's name: "01_autoencoder or 02_why_not_generate".
check-notebook: .venv/ready
	$(PYTEST) tests/notebooks $(NB) -k "$(subst $() , or ,$(strip $(basename $(notdir $(NB)))))"

.venv-docs/ready: docs/requirements.lock tools/make_venv.py
	@python3 tools/make_venv.py docs

EXPLORER := docs/_build/explorer/explorer-data.js
$(EXPLORER): tools/explorer_models.py | .venv/ready
	@echo "Training the networks of the explorer: once, about a minute."
	$(BIN)/python tools/explorer_models.py $@

docs: .venv/ready .venv-docs/ready $(EXPLORER)
	$(BIN)/python tools/site_source.py docs/_build/source
	.venv-docs/bin/sphinx-build -q -W --keep-going -c docs -b html docs/_build/source docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser."

.venv-browser/ready: tests/browser/requirements.lock tools/make_venv.py
	@python3 tools/make_venv.py browser

# COURSE_NOTEBOOKS="01_autoencoder 09_latent_space", or all, are run in JupyterLab.
test-browser: docs .venv-browser/ready
	.venv-browser/bin/python -m pytest -c tests/browser/pytest.ini --rootdir tests/browser tests/browser

.venv-teacher/ready: assignments/requirements.lock tools/make_venv.py
	@python3 tools/make_venv.py teacher

assignments: .venv-teacher/ready
	.venv-teacher/bin/python tools/release_assignments.py

grade: .venv/ready .venv-teacher/ready
	@.venv-teacher/bin/python tools/grade_assignments.py "$(SUBMITTED)" --python $(BIN)/python

# Nothing else should run meanwhile.
bench: .venv/ready .venv-bench/ready
	$(UNTUNED) $(BIN)/python benchmarks/speed.py $(if $(MNIST),--mnist "$(MNIST)") $(ARGS)

bench-quality: .venv/ready
	$(BIN)/python benchmarks/quality.py $(if $(MNIST),--mnist "$(MNIST)")

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lock: .venv/ready
	$(BIN)/uv pip compile pyproject.toml --extra course --universal --generate-hashes --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock
	$(BIN)/uv pip compile docs/requirements.in --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --quiet --output-file docs/requirements.lock
	$(BIN)/uv pip compile tests/browser/requirements.in --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --quiet --output-file tests/browser/requirements.lock
	$(BIN)/uv pip compile assignments/requirements.in --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --quiet --output-file assignments/requirements.lock
