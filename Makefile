# make demo | make test | make bench | make lint | make clean. Everything is installed into .venv.
# Variables: PYTHON=python3.12, VENV=.venv, PYTEST_ARGS="-k conv2d", BENCH_ARGS="--suite resnet50 --threads 1".

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?= --suite all --json clconv-bench.json --picture clconv-bench.png
LINTERS ?= ruff mypy
EXTRAS := demo,test,cpu,oracle,bench

# What the extension is compiled from: a change of it needs another installation.
SOURCES := pyproject.toml setup.py $(wildcard kernels/*.* kernels/gpu/*.*) clconv/kernel_source.py \
  $(addprefix clconv/native/,_native.pyx clconv_native.h levels.c pool.c table.py)

# Only one make at a time installs; the second one then finds that it has been done. macOS has no flock.
LOCK := $(if $(shell command -v flock),flock Makefile)
INSTALLED = @$(LOCK) $(MAKE) -s $(VENV)

.NOTPARALLEL:
.PHONY: help demo test bench lint clean tools

help:
	@echo 'make demo   filter photographs on every device, check the results, draw clconv-demo.png'
	@echo 'make test   run the tests but the slow ones (PYTEST_ARGS adds arguments for pytest: PYTEST_ARGS="-m slow")'
	@echo 'make bench  measure convolutions of eight networks (instead of BENCH_ARGS="$(BENCH_ARGS)")'
	@echo 'make lint   run $(LINTERS)'
	@echo 'make clean  remove $(VENV) and what was built'

demo:
	$(INSTALLED)/stamp
	@$(VENV)/bin/clconv demo

test:
	$(INSTALLED)/stamp
	@$(VENV)/bin/python -m pytest -n 2 -m 'not slow' $(PYTEST_ARGS)

bench:
	$(INSTALLED)/stamp
	@$(VENV)/bin/clconv bench $(BENCH_ARGS)

lint:
	$(INSTALLED)/lint.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy clconv

clean:
	rm -rf $(VENV) build *.egg-info clconv-demo.png clconv-bench.json clconv-bench.png clconv/native/*.so clconv/native/_native.c clconv/native/not_built.txt

# One installation for all: what takes time is compiling the kernels.
$(VENV)/stamp: $(SOURCES)
	@$(MAKE) -s tools
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo 'Installing clconv[$(EXTRAS)] and compiling its kernels: some minutes the first time'
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/lint.stamp: $(VENV)/stamp
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check $(LINTERS)
	@touch $@

# Names everything that is missing, each with the package of Debian and Ubuntu that has it. The compiler is the one that
# setuptools will call: CC, or what Python itself was compiled with.
tools:
	@missing=0; \
	lacks() { echo "clconv needs $$1. On Debian and Ubuntu: sudo apt-get install $$2" >&2; missing=1; }; \
	asks() { $(PYTHON) -c "$$1" 2>/dev/null; }; \
	if ! command -v $(PYTHON) >/dev/null; then \
	  lacks 'Python 3.10 or later, but there is no $(PYTHON)' 'python3 python3-venv python3-dev'; \
	elif ! asks 'import sys; sys.exit(sys.version_info < (3, 10))'; then \
	  lacks "Python 3.10 or later, but $(PYTHON) is $$($(PYTHON) --version 2>&1)" \
	    "python3.10 python3.10-venv python3.10-dev, then: make PYTHON=python3.10"; \
	else \
	  version=$$(asks 'import sys; print("python3.%d" % sys.version_info.minor)'); \
	  asks 'import venv, ensurepip' || lacks "the venv module of $(PYTHON)" "$$version-venv"; \
	  asks 'import os, sysconfig as s; open(os.path.join(s.get_path("include"), "Python.h"))' \
	    || lacks "Python.h, the headers of $(PYTHON)" "$$version-dev"; \
	  compiler=$${CC:-$$(asks 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}; \
	  echo 'int main(void) { return 0; }' | $$compiler -x c -o /dev/null - 2>/dev/null \
	    || lacks "a C compiler that makes programs ($$compiler)" 'gcc libc6-dev'; \
	fi; \
	exit $$missing
