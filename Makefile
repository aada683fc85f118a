# make demo: a measured scan becomes a picture.   make test: everything that must hold.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# A waiting thread that spins takes the processor from the one it waits for.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test check clean

demo: $(VENV)/.installed
	$(BIN)/ptycho reconstruct sample:siemens-star --output-dir demo/refined --overwrite --backend torch --modes 2
	$(BIN)/ptycho train sample:siemens-star --output-dir demo/network --overwrite --backend torch --modes 2 \
		--probe demo/refined --epochs 6
	$(BIN)/ptycho infer sample:siemens-star --model demo/network --output-dir demo/inferred --overwrite --backend torch \
		--probe demo/refined
	$(BIN)/ptycho score demo/inferred --reference demo/refined --output-dir demo/comparison --overwrite
	@echo "The refined picture is demo/refined/object.png, the network's demo/inferred/object.png; side by side: demo/comparison/score.png."

test: $(VENV)/.tested check
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --backend tensorflow tests/evaluate tests/reconstruction tests/learning tests/ptycho_tensorflow

check: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build backends/*/build

# The framework goes first: pulled in by something else it comes with gigabytes for graphics cards.
$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	touch $@

$(VENV)/.installed: $(VENV)/.torch setup.cfg pyproject.toml $(wildcard backends/*/setup.cfg backends/*/pyproject.toml)
	$(PIP) --editable .
	$(PIP) --editable backends/torch
	$(PIP) --editable 'backends/tensorflow[framework]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) --editable '.[test]'
	touch $@
