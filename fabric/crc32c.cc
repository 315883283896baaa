#include "fabric/crc32c.h"

#include <nmmintrin.h>

#include <array>
#include <cstring>

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

u32 by_table(std::span<const std::byte> bytes, u32 c) {
  for (const std::byte b : bytes) c = (c >> 8) ^ kTable[(c ^ static_cast<u32>(b)) & 0xff];
  return c;
}

// The instruction has this very polynomial (SSE4.2).
__attribute__((target("sse4.2"))) u32 by_instruction(std::span<const std::byte> bytes, u32 c) {
  u64 sum = c;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    u64 word = 0;
    std::memcpy(&word, bytes.data(), 8);
    sum = _mm_crc32_u64(sum, word);
  }
  return by_table(bytes, static_cast<u32>(sum));
}

}  // namespace

u32 crc32c(std::span<const std::byte> bytes, u32 seed) {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  return ~(has_instruction ? by_instruction(bytes, ~seed) : by_table(bytes, ~seed));
}

}  // namespace dvm::fabric
