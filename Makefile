# Where Learning Starts: the commands. `make` alone lists them; each sets up what it needs first.

PYTHON  ?= python3
JOBS    ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PORT    ?= 8000
MINUTES ?= 10
SEEDS   ?= 1 2 3 4 5

BIN   := .venv/bin
READY := .venv/.ready

# One thread a process: JOBS processes share the cores.
export OMP_NUM_THREADS ?= 1
# Jupyter's kernels need a home that they can write to.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export HOME := $(shell mkdir -p _build/home && pwd)/_build/home
endif

.DEFAULT_GOAL := help
.PHONY: help book site test verify colab full seeds bench pdf screenshots serve readme lint browser venv clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=$(PYTHON) JOBS=$(JOBS) PORT=$(PORT) CHAPTER=<slug>"

book: $(READY)  ## run the chapters that are stale, then build the site
	$(BIN)/reprolib run --jobs $(JOBS)
	@$(MAKE) --no-print-directory site

site: $(READY)
	$(BIN)/python -m reprolib.book.site
	@echo "The book is in _build/html; make serve shows it."

test: $(READY) browser  ## unit tests, oracles, the chapters' contract, the site in a browser
	$(BIN)/python -m pytest tests -m "not colab" -n $(JOBS) --dist loadfile

verify: $(READY)  ## run every chapter again and compare its verdicts, walk every full path, audit full records
	$(BIN)/python -m pytest book/notebooks -n $(JOBS) --dist loadfile \
	  --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval.cfg
	REPROLIB_JOBS=1 $(BIN)/reprolib run --scale full --dry-run --jobs $(JOBS)
	$(BIN)/reprolib audit --minutes $(MINUTES)

colab: $(READY)  ## run a chapter for each family of dependencies as Colab would (CHAPTER=all: every one)
	COLAB_CHAPTERS="$${CHAPTER:-families}" $(BIN)/python -m pytest tests/colab -m colab

full: $(READY)  ## run one chapter at the paper's scale: make full CHAPTER=subgm
	@test -n "$$CHAPTER" || { echo "Name the chapter, as in: make full CHAPTER=subgm" >&2; exit 2; }
	$(BIN)/reprolib run $$CHAPTER --scale full

seeds: $(READY)  ## run every chapter with other base seeds: which verdicts change (long)
	$(BIN)/reprolib seeds --seeds $(SEEDS) --jobs $(JOBS)

bench: $(READY)  ## measure reprolib against other implementations
	$(BIN)/python -m benchmarks

pdf: site browser  ## print the whole book into _build/where-learning-starts.pdf
	$(BIN)/python -m reprolib.book.browse pdf

screenshots: site browser  ## pictures of three pages at three widths, light and dark
	$(BIN)/python -m reprolib.book.browse screenshots

serve:  ## show the built book on this machine
	@test -f _build/html/index.html || $(MAKE) --no-print-directory book
	@echo "http://127.0.0.1:$(PORT)/ (Ctrl+C stops it)"
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

readme: $(READY)  ## write the notebooks' verdicts into README.md
	$(BIN)/python .ci/readme.py

lint: $(READY)  ## style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:  ## remove what can be built again (neither .venv nor stored trials)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	if [ -d _build ]; then find _build -mindepth 1 -maxdepth 1 ! -name store -exec rm -rf {} +; fi
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

browser: $(READY)
	@.ci/browser

venv: $(READY)

# torch goes first and pinned, so that no other package brings a second one. The pinned set takes the place
# of a machine's own constraints, which may contradict it.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The book needs Python 3.11 or newer, which $(PYTHON) is not: name one, as in make PYTHON=python3.12 book" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q "$$(grep '^torch==' constraints.txt)"
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q -e '.[all]'
	@touch $@
