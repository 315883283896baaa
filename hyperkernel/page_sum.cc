#include "hyperkernel/page_sum.h"

#include <array>
#include <cstring>
#include <memory>

namespace dvm::hyperkernel {
namespace {

// As wide as every x86-64 has them.
using Lanes = u64 __attribute__((vector_size(16)));

// Each step is a bijection of its lane, of operations that vectors have.
u64 mixed(const std::byte* page) {
  constexpr u64 kPrime = 0x9e37'79b9'7f4a'7c15;
  std::array<Lanes, 4> lanes = {}, words;
  for (u64 at = 0; at < kPageBytes; at += sizeof words) {
    std::memcpy(&words, page + at, sizeof words);
    for (u32 i = 0; i < lanes.size(); ++i) {
      const Lanes lane = lanes[i] ^ words[i];
      lanes[i] = lane + (lane << 13) + kPrime;
    }
  }
  u64 sum = kPrime;
  for (const Lanes& two : lanes) {
    for (const u64 lane : {two[0], two[1]}) sum = (sum ^ lane ^ lane >> 32) * kPrime;
  }
  return sum;
}

}  // namespace

u64 page_sum(const std::byte* page) {
  static const u64 zero = mixed(std::make_unique<std::byte[]>(kPageBytes).get());
  return mixed(page) ^ zero;
}

}  // namespace dvm::hyperkernel
