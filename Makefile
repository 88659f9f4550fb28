# SPDX-License-Identifier: Apache-2.0
# The front door for people: each target does its own set-up. CMake builds; this only calls it.
BUILD ?= build
JOBS ?= $(shell nproc)
LAUNCHER := $(if $(shell command -v ccache),-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
CONFIGURE = cmake -G Ninja $(LAUNCHER)
TESTS = ctest --output-on-failure --no-tests=error --timeout 1800

.PHONY: help demo test test-python check lint format build test-asan test-tsan test-gpu bench-gpu bench-all gpu-info experiment advanced report fuzz install clean
.DEFAULT_GOAL := help

help:  ## these lines
	@awk -F ':.*## *' '/^[a-z-]*:.*##/ {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## build, and show one attention layer: right, fast, and drawn in the terminal
	@tools/install_packages build
	@$(CONFIGURE) -S . -B $(BUILD) -DFOVEA_BUILD_TESTS=OFF
	ninja -C $(BUILD) -j $(JOBS) fovea_cli
	$(BUILD)/fovea demo

test:  ## everything that needs no GPU: build, tests, GPU kernels compiled and emulated, checks, install, examples
	@tools/install_packages build test
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory check
	FOVEA_NVRTC="$$(tools/find_nvrtc --install)" && export FOVEA_NVRTC && \
	  $(TESTS) --test-dir $(BUILD) --exclude-regex compile_every_gpu_kernel && $(BUILD)/tests/fovea_compile_ring
	tools/test_emulated_gpu --build $(BUILD)
	tools/test_install $(BUILD)
	tools/test_python $(BUILD)
	@echo "make test: all passed"

test-python:  ## the Python package alone: installed into build/python-env, and its tests
	@tools/install_packages build test
	tools/test_python $(BUILD)

build:
	$(CONFIGURE) -S . -B $(BUILD) -DFOVEA_BUILD_TESTS=ON
	ninja -C $(BUILD) -j $(JOBS)

check:
	tools/test_checks
	tools/check_includes
	tools/check_text
	tools/results_table --check
	tools/check_lines
	tools/check_headers
	tools/check_isa $(BUILD)

lint:  ## clang-format, clang-tidy on src/, mypy on the Python package
	@tools/install_packages build test lint
	tools/check_format
	tools/check_types $(BUILD)
	tools/check_tidy

format:  ## clang-format in place
	@tools/install_packages lint
	tools/check_format --fix

test-asan:  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/install_packages build test
	$(CONFIGURE) -S . -B $(BUILD)-asan -DFOVEA_BUILD_TESTS=ON -DFOVEA_SANITIZE=address,undefined
	ninja -C $(BUILD)-asan -j $(JOBS)
	FOVEA_NVRTC=none $(TESTS) -j $(JOBS) --test-dir $(BUILD)-asan

test-tsan:  ## the tests under ThreadSanitizer
	@tools/install_packages build test
	$(CONFIGURE) -S . -B $(BUILD)-tsan -DFOVEA_BUILD_TESTS=ON -DFOVEA_SANITIZE=thread
	ninja -C $(BUILD)-tsan -j $(JOBS)
	FOVEA_NVRTC=none $(TESTS) -j $(JOBS) --test-dir $(BUILD)-tsan

test-gpu:  ## the tests that need a GPU, on the one that is here
	@tools/install_packages build test
	@$(MAKE) --no-print-directory build
	FOVEA_NVRTC="$$(tools/find_nvrtc --install)" && export FOVEA_NVRTC && $(BUILD)/tests/fovea_gpu_tests
	tools/test_python --gpu $(BUILD)

gpu-info:  ## what GPUs Fovea sees
	@tools/install_packages build
	@$(CONFIGURE) -S . -B $(BUILD) >/dev/null
	@ninja -C $(BUILD) -j $(JOBS) fovea_cli >/dev/null
	$(BUILD)/fovea info

experiment:  ## block sizes of a matrix product on this machine: timed, drawn, and what the model picks
	@tools/install_packages build
	@$(CONFIGURE) -S . -B $(BUILD) >/dev/null
	@ninja -C $(BUILD) -j $(JOBS) fovea_cli >/dev/null
	$(BUILD)/fovea experiment --shape 1024x1024x1024

advanced:  ## the Python package by example: each thing that a call can be told
	@tools/install_packages build test
	"$$(tools/test_python --install $(BUILD))" examples/python/advanced.py

report:  ## BUILD/report.md: this machine, and its times beside PyTorch's
	@tools/install_packages build test
	@python="$$(tools/test_python --install $(BUILD))" && { \
	  printf '# Report\n\n```\n' && "$$python" -c 'import fovea; print(fovea.info(text=True))' && \
	  "$$python" -m fovea.compat.diy.benchmarks.bench_matmul --sizes 256 512 1024 --warmup 5 --rep 20 && echo && \
	  "$$python" -m fovea.compat.diy.benchmarks.bench_flash --seq-lengths 128 512 1024 --warmup 5 --rep 20 && \
	  printf '```\n'; } >$(BUILD)/report.md && cat $(BUILD)/report.md

bench-gpu:  ## measure attention and matrix products on the GPU that is here, beside FA2, cuDNN and cuBLAS
	@tools/install_packages build
	@$(CONFIGURE) -S . -B $(BUILD)
	ninja -C $(BUILD) -j $(JOBS) src/libfovea.so
	python3 bench/attention_gpu_vs_torch.py --library $(BUILD)/src/libfovea.so --output $(BUILD)/attention_gpu.json
	python3 bench/matmul_gpu_vs_torch.py --library $(BUILD)/src/libfovea.so --output $(BUILD)/matmul_gpu.json

bench-all:  ## measure attention and matrix products on this machine, and against PyTorch where it can be imported
	@tools/install_packages build
	@$(CONFIGURE) -S . -B $(BUILD)
	ninja -C $(BUILD) -j $(JOBS) fovea_cli src/libfovea.so
	$(BUILD)/fovea bench attention --output $(BUILD)/bench_attention.json
	$(BUILD)/fovea bench matmul --output $(BUILD)/bench_matmul.json
	@if python3 -c 'import torch' 2>/dev/null; then \
	  python3 bench/attention_cpu_vs_torch.py --library $(BUILD)/src/libfovea.so --output $(BUILD)/attention_cpu_vs_torch.json; \
	else echo "PyTorch cannot be imported by python3: no comparison (pip install torch)"; fi

fuzz:  ## each libFuzzer target (file readers, checks of a call) for FUZZ_SECONDS, default 60
	@tools/install_packages build test fuzz
	$(CONFIGURE) -S . -B $(BUILD)-fuzz -DCMAKE_CXX_COMPILER=clang++-14 -DFOVEA_BUILD_TESTS=OFF -DFOVEA_BUILD_FUZZERS=ON \
	  -DFOVEA_FUZZ_SECONDS=$${FUZZ_SECONDS:-60}
	ninja -C $(BUILD)-fuzz fuzz

install: build  ## into PREFIX (/usr/local)
	cmake --install $(BUILD) --prefix $${PREFIX:-/usr/local}

clean:  ## remove what was built
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz $(BUILD)-lint
