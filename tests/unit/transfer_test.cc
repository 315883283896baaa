// What one operation of a disk moves: the request's buffers, or a copy of them.
#include "srt/transfer.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace dvm::srt {
namespace {

// The buffers may be given to another node while direct I/O is under way: it never sees them.
TEST(Transfer, CopiesWhereBuffersMayNotBeUsed) {
  alignas(4096) std::array<std::byte, 8192> memory{};
  std::memset(memory.data(), 0x11, 8192);
  const std::array<iovec, 2> buffers{{{memory.data(), 4096}, {memory.data() + 4096, 4096}}};
  for (const bool to_memory : {false, true}) {
    Transfer transfer;
    transfer.begin(buffers, to_memory, {.length = 512, .memory = 512, .copy = true});
    const auto moved = transfer.next();
    ASSERT_EQ(moved.size(), 1u);
    ASSERT_EQ(moved[0].iov_len, 8192u);
    auto* copy = static_cast<std::byte*>(moved[0].iov_base);
    EXPECT_TRUE(copy + 8192 <= memory.data() || copy >= memory.data() + 8192);
    if (to_memory) {
      std::memset(copy, 0x22, 8192);
      EXPECT_EQ(memory[100], std::byte{0x11});  // not before the operation is over
      ASSERT_TRUE(transfer.advance(8192));
      EXPECT_EQ(memory[100], std::byte{0x22});
      EXPECT_EQ(memory[8191], std::byte{0x22});
    } else {
      EXPECT_EQ(copy[8191], std::byte{0x11});
      ASSERT_TRUE(transfer.advance(4096));
      EXPECT_EQ(transfer.next()[0].iov_len, 4096u);
      ASSERT_TRUE(transfer.advance(4096));
    }
    EXPECT_EQ(transfer.left(), 0u);
    transfer.end();
  }
}

TEST(Transfer, UsesBuffersThatAreFit) {
  alignas(4096) std::array<std::byte, 4096> memory{};
  const iovec buffer{memory.data(), memory.size()};
  Transfer transfer;
  transfer.begin({&buffer, 1}, true, {.length = 512, .memory = 512});
  EXPECT_EQ(transfer.next()[0].iov_base, memory.data());
}

}  // namespace
}  // namespace dvm::srt
