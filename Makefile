PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The last OpenCV that reads Caffe and Darknet files.
ORACLE := .venv-oracle
ORACLE_OPENCV := opencv-contrib-python-headless==4.14.0.94
SOURCES := $(shell find ext -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.cpp' -o -name '*.h' -o -name '*.inl') \
	setup.py pyproject.toml

# make demo PHOTO=street.jpg MODEL=NAME detects in a photo instead of on the generated belt.
MODEL ?= yolox-nano-416
PHOTO ?=
OUT ?= demo
EXTRAS ?= all,dev

.PHONY: help setup oracle demo test test-slow test-train lint test-arm test-sanitize format clean

help:
	@echo 'make demo                   set up, detect parts on a generated belt, write demo/'
	@echo 'make demo PHOTO=photo.jpg   set up, detect objects in a photo (MODEL=NAME), write demo/'
	@echo 'make test                   set up, with the oracle, and run the tests, but for the slow ones: minutes'
	@echo 'make test-slow              run the slow ones'
	@echo 'make test-train             bring PyTorch, and run the tests of training'
	@echo 'make oracle                 OpenCV 4.14 in $(ORACLE), which tests compare imported networks with'
	@echo 'make test-arm               run the native tests as ARMv8.0-A under emulation'
	@echo 'make test-sanitize          run the native tests under AddressSanitizer and UBSan'
	@echo 'make lint                   ruff, mypy and clang-format'
	@echo 'make format                 let ruff and clang-format rewrite the sources'

$(VENV)/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS)]'
	touch $@

setup: $(VENV)/.installed

demo: setup
ifeq ($(PHOTO),)
	@$(BIN)/edgecv demo --out '$(OUT)'
else
	@$(BIN)/edgecv detect '$(MODEL)' '$(PHOTO)' --out '$(OUT)/'
endif

$(ORACLE)/.installed: Makefile
	test -x $(ORACLE)/bin/python || $(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install -qq --upgrade pip
	$(ORACLE)/bin/python -m pip install -qq '$(ORACLE_OPENCV)'
	touch $@

oracle: $(ORACLE)/.installed

test: setup oracle
	tools/test.sh 'not slow' $(PYTEST_ARGS)

test-slow: setup oracle
	tools/test.sh slow $(PYTEST_ARGS)

$(VENV)/.installed-train: $(VENV)/.installed
	$(BIN)/python -m pip install -qq --editable '.[train]'
	touch $@

test-train: $(VENV)/.installed-train
	$(BIN)/python -m pytest tests/models/test_parts_nano_training.py $(PYTEST_ARGS)

test-arm: setup
	tools/test_arm.sh

test-sanitize: setup
	tools/test_sanitize.sh

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find ext -name '*.cpp' -o -name '*.h' -o -name '*.inl')

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find ext -name '*.cpp' -o -name '*.h' -o -name '*.inl')

clean:
	rm -rf build dist demo $(VENV) $(ORACLE) edgecv/*.so *.egg-info
