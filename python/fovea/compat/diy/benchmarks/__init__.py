# SPDX-License-Identifier: Apache-2.0
"""The commands bench-matmul and bench-flash; `python -m fovea.compat.diy.benchmarks.bench_flash` is the same."""
