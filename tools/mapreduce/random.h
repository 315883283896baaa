// Random numbers that are the same everywhere for the same seed (splitmix64; public domain, by
// Sebastiano Vigna).
#pragma once

#include "fabric/types.h"

namespace dvm::mapreduce {

class Random {
 public:
  explicit constexpr Random(u64 seed) : state_(seed) {}
  constexpr u64 next() {
    u64 z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // 0 to n - 1; n is at least 1 and far below 2^32, so that the bias does not matter.
  constexpr u32 below(u32 n) {
    return static_cast<u32>(((next() >> 32) * static_cast<u64>(n)) >> 32);
  }
  // [0, 1)
  constexpr double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  u64 state_;
};

}  // namespace dvm::mapreduce
