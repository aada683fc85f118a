# make demo: a measured scan becomes a picture.   make test: everything that must hold.   make test-all: the long tests too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PTYCHODUS := build/ptychodus
HOST := build/ptychodus-host
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# A waiting thread that spins takes the processor from the one it waits for.
export OMP_WAIT_POLICY := PASSIVE

# A process holds one framework. What takes a backend and is not among these runs with the first.
# Both lanes use every processor: threads of OpenBLAS, which spin, would make small matrices a hundred times slower.
TESTS := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest
KIT := $(TESTS) -q --pyargs ptycho_core.conformance
OF_BACKENDS := tests/engine tests/reconstruction tests/liveness $(wildcard tests/training/test_learning_*.py) \
	tests/compatibility/test_migration_page.py tests/golden/test_golden.py tests/tensorflow tests/ptycho_backend_tensorflow

.PHONY: demo test test-all report check pages clean

demo: $(VENV)/.installed
	$(BIN)/ptycho infer sample:siemens-star --output-dir demo/first --overwrite --backend torch --refine-probe --steps 6
	@echo "A first picture, by one pass without any training: demo/first/object.png. The fit takes a minute, the network some more."
	$(BIN)/ptycho reconstruct sample:siemens-star --output-dir demo/refined --overwrite --backend torch --modes 2
	$(BIN)/ptycho train sample:siemens-star --output-dir demo/network --overwrite --backend torch --modes 2 \
		--probe demo/refined --epochs 6
	$(BIN)/ptycho infer sample:siemens-star --model demo/network --output-dir demo/inferred --overwrite --backend torch \
		--probe demo/refined
	$(BIN)/ptycho score demo/inferred --reference demo/refined --output-dir demo/comparison --overwrite
	@echo "The refined picture is demo/refined/object.png, the network's demo/inferred/object.png; side by side: demo/comparison/score.png."

# Decided by the common text alone: 'make test' runs these with the first framework, 'make test-all' with both.
ONCE := $(addprefix tests/cli/test_,json_events.py learning_commands.py progress_of_learning.py the_audit_is_one.py) \
	tests/engine/test_canvas_network_is_worth_it.py $(addprefix tests/inference/test_,chosen_probe.py infer_command.py) tests/loggers \
	$(addprefix tests/liveness/test_,clipping_acts.py every_setting_of_learning_acts.py reading_acts.py the_frame_axis_acts.py the_margin_acts.py) \
	$(addprefix tests/reconstruction/test_,resolution.py verdict.py wrong_distance.py) \
	$(addprefix tests/training/test_,bad_learning_input.py train_command.py)
# These need neither framework in their process, as they start others, or try the core alone.
APART := tests/components tests/packaging tests/process tests/files tests/parity tests/conformance/test_zoo.py
CORE := $(addprefix tests/,backends benchmarks comparison conformance formats hostile imaging layers modelfile networks \
	numpy_backend physics scan settings simulation)

# Two at a time, what takes longest first: lint and types, the tests with each framework, those with none, and the kit.
PARTS := check part-torch part-tensorflow part-apart part-core part-kit-tensorflow part-kit-torch part-kit-reference part-kit-numpy

test: $(VENV)/.plugins
	$(MAKE) --no-print-directory --jobs=2 $(PARTS)

test-all: $(VENV)/.owners $(VENV)/.jax $(PTYCHODUS)/.installed $(HOST)/.installed
	$(MAKE) --no-print-directory --jobs=2 $(PARTS) part-numpy part-jax ALSO="-m ''"

part-torch:
	$(TESTS) $(ALSO) $(addprefix --ignore=,$(APART) $(CORE))

part-apart:
	$(TESTS) $(ALSO) $(APART)

part-core:
	$(TESTS) $(ALSO) $(CORE) $(addprefix --ignore=,$(APART))

part-tensorflow:
	$(TESTS) $(ALSO) --backend tensorflow $(OF_BACKENDS) \
		$(if $(ALSO),$(filter-out $(addsuffix /%,$(OF_BACKENDS)),$(ONCE)),$(addprefix --ignore=,$(ONCE)))

# What the backend of the core makes of each setting.
part-numpy:
	$(TESTS) $(ALSO) --backend numpy tests/liveness -k "not on_a_training"

part-jax: $(VENV)/.jax
	$(TESTS) $(ALSO) examples/plugins/jax/tests

part-kit-%:
	$(KIT) --ptycho-backend=$*

# What is proven of each backend, for docs/backends.md.
report: $(VENV)/.tested
	mkdir -p build
	$(KIT) --ptycho-backend=reference --ptycho-report=build/reference.json
	$(KIT) --ptycho-backend=numpy --ptycho-report=build/numpy.json
	$(KIT) --ptycho-backend=torch --ptycho-report=build/torch.json
	$(KIT) --ptycho-backend=tensorflow --ptycho-report=build/tensorflow.json
	$(BIN)/python -m ptycho_core.conformance.document build/reference.json build/numpy.json build/torch.json build/tensorflow.json > docs/backends.md

check: $(VENV)/.plugins
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

$(VENV)/.installed: $(VENV)/.torch setup.cfg pyproject.toml $(wildcard backends/torch/*.cfg backends/torch/*.toml)
	$(PIP) --editable .
	$(PIP) --editable backends/torch
	touch $@

$(VENV)/.tested: $(VENV)/.installed $(wildcard backends/tensorflow/*.cfg backends/tensorflow/*.toml)
	$(PIP) --editable 'backends/tensorflow[framework]'
	$(PIP) --editable '.[test]'
	touch $@

# pty-chi asks for torchvision, which only fits other builds of PyTorch: what it needs goes in first, then it alone.
$(VENV)/.plugins: $(VENV)/.tested constraints.txt
	$(PIP) 'pydantic>=2,<3' pandas scikit-learn tifffile tqdm
	$(PIP) --no-deps ptychi
	touch $@

# The program that opens our CXI. All that it needs is there.
$(VENV)/.owners: $(VENV)/.plugins
	$(PIP) --no-deps cdtools-py
	touch $@

# Only the long tests use it.
$(VENV)/.jax: $(VENV)/.tested constraints.txt
	$(PIP) jax
	touch $@

# The program whose product our results are, apart from all else. It asks for a gigabyte of services that its files do not need.
# The validator of NeXus files goes with it.
$(PTYCHODUS)/.installed: constraints.txt
	$(PYTHON) -m venv $(PTYCHODUS)
	$(PTYCHODUS)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --no-deps ptychodus
	$(PTYCHODUS)/bin/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts h5py numpy pydantic scipy scikit-image
	$(PTYCHODUS)/bin/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts --constraint constraints.txt nexusformat
	touch $@

# ptychodus with all that its batch mode and its window need, but for services far away. The frameworks are those of $(VENV).
$(HOST)/.installed: constraints.txt $(VENV)/.plugins
	$(PYTHON) -m venv $(HOST)
	echo "import site; site.addsitedir('$$($(abspath $(BIN))/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> $$($(HOST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/frameworks.pth
	$(HOST)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --no-deps ptychodus
	$(HOST)/bin/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts --constraint constraints.txt \
		colorcet hdf5plugin httpx psutil scikit-learn tifffile watchdog 'pydantic-ai-slim[openai]>=1,<3' PyQt5
	touch $@

# The pages that are made from declarations, parsers, manifests and tests; a test compares each.
pages:
	$(BIN)/python tests/liveness/settings_pages.py
	$(BIN)/python -m ptycho_core.formats.document docs/formats
