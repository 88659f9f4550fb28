// SPDX-License-Identifier: Apache-2.0
// What is known without a GPU: architectures, occupancy, the rules of tensor maps.
#include <gtest/gtest.h>

#include "cuda/architectures.h"
#include "cuda/occupancy.h"
#include "cuda/tensor_map.h"
#include "fovea/error.h"

namespace fovea::cuda {
namespace {

DeviceInfo device(const char* name) { return require_architecture(name); }

TEST(Architectures, features_are_those_of_the_generation) {
  EXPECT_FALSE(device("sm_75").has_cp_async);
  EXPECT_TRUE(device("sm_80").has_bf16_mma);
  EXPECT_FALSE(device("sm_86").has_fp8_mma);
  EXPECT_TRUE(device("sm_89").has_fp8_mma) << "Ada has FP8";
  EXPECT_FALSE(device("sm_89").has_tma);
  EXPECT_TRUE(device("sm_90a").has_wgmma);
  EXPECT_FALSE(device("sm_100a").has_wgmma) << "Blackwell has no wgmma";
  EXPECT_TRUE(device("sm_100a").has_tcgen05);
  EXPECT_FALSE(device("sm_120a").has_tcgen05);
  EXPECT_TRUE(device("sm_120a").has_tma);
  EXPECT_EQ(device("sm_90").architecture, "sm_90a") << "the letter may be left out";
  EXPECT_EQ(device("sm_120a").shared_per_block_bytes, 99 * 1024);
  EXPECT_EQ(device("sm_86").max_threads_per_sm, 1536);
  EXPECT_THROW(device("sm_70"), Error);
  for (const DeviceInfo& info : known_architectures()) {
    EXPECT_FALSE(info.is_present) << info.architecture;
    EXPECT_LE(info.shared_per_block_bytes + info.shared_reserved_bytes, info.shared_per_sm_bytes) << info.architecture;
  }
}

struct OccupancyRow {
  const char* architecture;
  BlockShape block;
  int blocks;
  const char* limit;
};

TEST(Occupancy, follows_the_allocation_rules_of_cuda) {
  const OccupancyRow rows[] = {
      {"sm_80", {128, 32, 0}, 16, "threads"},
      {"sm_80", {128, 128, 0}, 4, "registers"},  // 4 warps x 4096 registers: 16 warps per SM
      {"sm_80", {128, 129, 0}, 3, "registers"},  // 129 x 32 rounds up to 4352: 3 warps in each of 4 partitions
      {"sm_80", {32, 16, 0}, 32, "blocks"},
      {"sm_80", {128, 64, 163 * 1024}, 1, "shared memory"},
      {"sm_80", {128, 64, 163 * 1024 + 1}, 0, "shared memory"},
      {"sm_80", {128, 64, 81 * 1024}, 2, "shared memory"},  // 2 x (81 + 1) KiB = 164
      {"sm_80", {128, 64, 81 * 1024 + 1}, 1, "shared memory"},
      {"sm_86", {128, 64, 49 * 1024}, 2, "shared memory"},  // 2 x (49 + 1) KiB = 100
      {"sm_86", {256, 32, 0}, 6, "threads"},
      {"sm_75", {256, 32, 0}, 4, "threads"},
      {"sm_75", {128, 64, 32 * 1024}, 2, "shared memory"},  // nothing is reserved before Ampere
      {"sm_90a", {384, 168, 200 * 1024}, 1, "registers"},
      {"sm_90a", {1024, 64, 0}, 1, "registers"},
      {"sm_90a", {1024, 65, 0}, 0, "registers"},
      {"sm_90a", {160, 255, 0}, 1, "registers"},  // 5 warps: 2 per partition
      {"sm_120a", {64, 16, 0}, 24, "blocks"},
      {"sm_80", {1025, 16, 0}, 0, "threads"},
  };
  for (const OccupancyRow& row : rows) {
    const Occupancy result = occupancy(device(row.architecture), row.block);
    EXPECT_EQ(result.blocks_per_sm, row.blocks)
        << row.architecture << " threads " << row.block.threads << " registers " << row.block.registers_per_thread
        << " shared " << row.block.shared_bytes;
    EXPECT_EQ(result.warps_per_sm, row.blocks * ((row.block.threads + 31) / 32));
    EXPECT_EQ(result.limit, row.limit) << row.architecture;
  }
}

TensorMapShape good_shape() {
  TensorMapShape shape;
  shape.data = reinterpret_cast<const void*>(0x1000);
  shape.dtype = DType::kBF16;
  shape.rank = 3;
  for (int d = 0; d < 3; ++d) {
    shape.extent[d] = 128;
    shape.box[d] = d == 0 ? 64 : 1;
    shape.stride_bytes[d] = 256 << d;
  }
  shape.swizzle = Swizzle::k128Bytes;
  return shape;
}

TEST(TensorMap, the_rules_of_the_copy_engine_are_checked_and_named) {
  EXPECT_NO_THROW(check_tensor_map(good_shape()));
  const auto broken = [](auto change, const char* word) {
    TensorMapShape shape = good_shape();
    change(shape);
    try {
      check_tensor_map(shape);
      ADD_FAILURE() << "accepted: " << word;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  broken([](TensorMapShape& s) { s.data = reinterpret_cast<const void*>(0x1008); }, "multiple of 16");
  broken([](TensorMapShape& s) { s.rank = 6; }, "rank");
  broken([](TensorMapShape& s) { s.extent[1] = 0; }, "extent");
  broken([](TensorMapShape& s) { s.stride_bytes[1] = 24; }, "stride");
  broken([](TensorMapShape& s) { s.stride_bytes[2] = std::int64_t{1} << 40; }, "stride");
  broken([](TensorMapShape& s) { s.box[1] = 257; }, "box");
  broken([](TensorMapShape& s) { s.box[0] = 4; }, "multiple of 16 bytes");
  broken([](TensorMapShape& s) { s.box[0] = 72; }, "swizzle");
}

}  // namespace
}  // namespace fovea::cuda
