#include "hyperkernel/page_sum.h"

#include <array>
#include <cstring>
#include <memory>

namespace dvm::hyperkernel {
namespace {

// Each step is a bijection of its lane.
u64 mixed(const std::byte* page) {
  constexpr u64 kPrime = 0x9e37'79b9'7f4a'7c15;
  std::array<u64, 4> lanes = {}, words;
  for (u64 at = 0; at < kPageBytes; at += sizeof words) {
    std::memcpy(words.data(), page + at, sizeof words);
    for (u32 i = 0; i < lanes.size(); ++i) lanes[i] = (lanes[i] ^ words[i]) * kPrime;
  }
  u64 sum = kPrime;
  for (const u64 lane : lanes) sum = (sum ^ lane ^ lane >> 32) * kPrime;
  return sum;
}

}  // namespace

u64 page_sum(const std::byte* page) {
  static const u64 zero = mixed(std::make_unique<std::byte[]>(kPageBytes).get());
  return mixed(page) ^ zero;
}

}  // namespace dvm::hyperkernel
