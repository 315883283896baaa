#include "vmm/devices/generation_id.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

TEST(GenerationIdTest, IsReadInAnyParts) {
  GenerationIdState state;
  GenerationId id;
  for (u8 i = 0; i < id.size(); ++i) id[i] = static_cast<u8>(0x10 + i);
  generation_id_renew(state, id, false);
  EXPECT_EQ(generation_id_read(state, 0, 8), 0x1716151413121110u);
  EXPECT_EQ(generation_id_read(state, 8, 4), 0x1b1a1918u);
  EXPECT_EQ(generation_id_read(state, 15, 1), 0x1fu);
  EXPECT_EQ(generation_id_read(state, 14, 8), 0x1f1eu) << "nothing behind it";
  EXPECT_EQ(generation_id_read(state, 16, 8), 0u);
  EXPECT_EQ(generation_id_read(state, 4088, 8), 0u);
}

TEST(GenerationIdTest, AChangeIsToldUntilItIsRead) {
  GenerationIdState state;
  generation_id_renew(state, {1}, false);
  EXPECT_FALSE(generation_id_irq(state)) << "nobody has known another";
  generation_id_renew(state, {2}, true);
  EXPECT_TRUE(generation_id_irq(state));
  generation_id_read(state, 100, 8);
  EXPECT_TRUE(generation_id_irq(state));
  generation_id_read(state, 0, 8);
  EXPECT_FALSE(generation_id_irq(state));
}

}  // namespace
}  // namespace dvm::vmm
