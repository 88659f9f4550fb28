// SPDX-License-Identifier: Apache-2.0
// The matrix product's part of commands that exist for several operations, and the commands of its own.
#pragma once

#include "cli/commands.h"

namespace fovea::cli {

/// `parent` is bench, verify or explain.
void add_matmul_bench(CLI::App& parent, Invocation& invocation);
void add_matmul_verify(CLI::App& parent, Invocation& invocation);
void add_matmul_explain(CLI::App& parent, Invocation& invocation);

/// fovea tune and fovea experiment.
void add_tune(CLI::App& app, Invocation& invocation);
void add_experiment(CLI::App& app, Invocation& invocation);

}  // namespace fovea::cli
