// SPDX-License-Identifier: Apache-2.0
#include "jit/texts.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "fovea/error.h"
#include "jit/resources.h"

namespace fovea::jit {
namespace {

TEST(Texts, the_embedded_ones_are_those_of_the_source_tree) {
  const Texts embedded = load_texts("");
  EXPECT_TRUE(embedded.contains("fovea/types.h"));
  EXPECT_TRUE(embedded.contains("contract/mask.h"));
  const Texts on_disk = load_texts(FOVEA_SOURCE_DIR);
  for (const auto& [name, text] : embedded) {
    ASSERT_TRUE(on_disk.contains(name)) << name;
    EXPECT_TRUE(on_disk.find(name)->second == text) << name << " is not the one in the source tree: build again";
  }
}

TEST(Texts, only_what_is_included_counts) {
  const Texts texts = {{"a.h", "#include \"b.h\"\n"}, {"b.h", "#include \"a.h\"\n"}, {"c.h", ""}};
  const auto found = included_texts(texts, "#include \"a.h\"\n#include \"not_there.h\"\n");
  EXPECT_EQ(found, (std::vector<std::string_view>{"a.h", "b.h"}));
}

TEST(Texts, a_folder_without_texts_is_refused) { EXPECT_THROW(load_texts("/nowhere"), Error); }

constexpr const char* kLog =
    "ptxas info    : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized\n"
    "ptxas info    : 4 bytes gmem\n"
    "ptxas info    : Compiling entry function 'other' for 'sm_90a'\n"
    "ptxas info    : Function properties for other\n"
    "ptxas         .     64 bytes stack frame, 32 bytes spill stores, 16 bytes spill loads\n"
    "ptxas info    : Used 10 registers, used 1 barriers\n"
    "ptxas info    : Compiling entry function 'toy' for 'sm_90a'\n"
    "ptxas info    : Function properties for toy\n"
    "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
    "ptxas info    : Used 168 registers, used 1 barriers, 8 bytes cumulative stack size, 256 bytes smem\n";

TEST(Resources, are_those_of_the_entry_asked_for) {
  EXPECT_EQ(parse_resources(kLog, "toy"), (Resources{168, 256, 8, 4, 12}));
  EXPECT_EQ(parse_resources(kLog, "other"), (Resources{10, 0, 64, 32, 16}));
  EXPECT_THROW(parse_resources(kLog, "absent"), Error);
}

TEST(Resources, remarks_about_serialised_code_are_found) {
  EXPECT_EQ(pipeline_remarks(kLog).size(), 1u);
  EXPECT_TRUE(pipeline_remarks("ptxas info : Used 10 registers\n").empty());
}

}  // namespace
}  // namespace fovea::jit
