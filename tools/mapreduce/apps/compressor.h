// A small LZ77 compressor for chunks: literals and matches, byte aligned.
//
// A packed chunk is a row of sequences: {literals u16, match length u16, distance u16, the
// literals}, little-endian; a match of length 0 has no meaning but an end of literals.
#pragma once

#include <span>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::mapreduce {

inline constexpr u64 kMostPacked = 64 * kKiB - 1;  // bytes that can be packed at once

// Precondition: at most kMostPacked bytes. Deterministic. May be longer than what went in.
std::vector<std::byte> pack(std::span<const std::byte> bytes);
// Appends what was packed to `to`. Error: it is no packed chunk of `length` bytes; then some of
// them may have been appended.
Status unpack(std::span<const std::byte> packed, u64 length, std::vector<std::byte>& to);

}  // namespace dvm::mapreduce
