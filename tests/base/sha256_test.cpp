// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"

#include <gtest/gtest.h>

#include <cstring>

namespace fovea {
namespace {

std::string hex_of(std::string_view text) { return to_hex(Sha256().add(text).digest()); }

// The examples of FIPS 180-4 (csrc.nist.gov, "Examples with Intermediate Values").
TEST(Sha256, agrees_with_the_published_examples) {
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, does_not_depend_on_how_the_data_is_cut) {
  std::string text;
  for (int n = 0; n < 200; ++n) {
    text += static_cast<char>('a' + n % 26);
    for (std::size_t cut = 0; cut <= text.size(); cut += 7) {
      Sha256 parts;
      parts.add(std::string_view(text).substr(0, cut)).add(std::string_view(text).substr(cut));
      ASSERT_EQ(to_hex(parts.digest()), hex_of(text)) << "length " << text.size() << " cut at " << cut;
    }
  }
}

TEST(Sha256, fields_do_not_run_into_each_other) {
  EXPECT_NE(to_hex(Sha256().add_field("ab").add_field("c").digest()),
            to_hex(Sha256().add_field("a").add_field("bc").digest()));
}

}  // namespace
}  // namespace fovea
