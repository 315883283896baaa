// Fixed-width names used throughout, as in the hardware manuals.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dvm {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
__extension__ using u128 = unsigned __int128;

inline constexpr u64 kKiB = 1ull << 10;
inline constexpr u64 kMiB = 1ull << 20;
inline constexpr u64 kGiB = 1ull << 30;
inline constexpr u64 kPageBytes = 4096;
inline constexpr u64 kHugePageBytes = 2 * kMiB;

// Rounds up to a multiple of `to`, a power of two. The caller has checked that it cannot overflow.
constexpr u64 align_up(u64 value, u64 to) { return (value + to - 1) & ~(to - 1); }
constexpr bool is_aligned(u64 value, u64 to) { return (value & (to - 1)) == 0; }

}  // namespace dvm
