#include "fabric/crc32c.h"

#include <array>

namespace dvm::fabric {
namespace {

constexpr std::array<u32, 256> make_table() {
  std::array<u32, 256> table{};
  for (u32 i = 0; i < 256; ++i) {
    u32 c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0u);
    table[i] = c;
  }
  return table;
}
constexpr auto kTable = make_table();

}  // namespace

u32 crc32c(std::span<const std::byte> bytes, u32 seed) {
  u32 c = ~seed;
  for (const std::byte b : bytes) c = (c >> 8) ^ kTable[(c ^ static_cast<u32>(b)) & 0xff];
  return ~c;
}

}  // namespace dvm::fabric
