// SPDX-License-Identifier: Apache-2.0
// Operands that the copy engine cannot read where they lie (lines that do not begin at multiples of 16 bytes, no stride
// of 1, an order that wgmma cannot multiply), and their copies in the workspace, which it can.
#pragma once

#include <cstdint>
#include <string>

#include "contract/operand_copies.h"
#include "fovea/types.h"
#include "jit/unit.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// What becomes of one operand.
struct CopiedOperand {
  bool is_copied = false;
  bool is_transposed = false;                  // k is contiguous in the copy, and not in the operand
  MatrixOrder order = MatrixOrder::kRowMajor;  // in which it is multiplied
};
struct CopiedOperands {
  CopiedOperand a, b;
  bool any() const { return a.is_copied || b.is_copied; }
};

/// What matmul_sm90 must copy of this product.
CopiedOperands copied_operands(const MatmulProblem& problem);

/// The product that is left to matmul_sm90: of the copies.
MatmulProblem with_copies(const MatmulProblem& problem);

/// Bytes of the copies of a problem, at most; an operand that the batch shares has one.
std::int64_t copied_bytes(const MatmulProblem& problem);

/// Why the operands cannot be copied (field, got); empty if they can.
std::string copies_illegal(const MatmulProblem& problem);

/// Predicted time that copying adds to the call, microseconds; 0 without copies.
double copies_us(const MatmulProblem& problem);

/// ", a copied to aligned rows first (up to 8.1 MB)"; empty without copies.
std::string copies_text(const MatmulProblem& problem);

/// The kernel that makes them all.
jit::Unit copies_unit(const MatmulProblem& problem);

/// One call's copies.
struct OperandCopyPlan {
  OperandCopies copies;     // without addresses to write to
  std::int64_t blocks = 0;  // of the launch
  std::int64_t bytes = 0;   // of the workspace
};
OperandCopyPlan plan_copies(const CopiedOperands& copied, DType dtype, const MatmulArgs& args);

/// Lets copies begin at `workspace` (a multiple of 128), and makes args the product of these.
void take_copies(const CopiedOperands& copied, DType dtype, OperandCopyPlan& plan, char* workspace, MatmulArgs& args);

}  // namespace fovea
