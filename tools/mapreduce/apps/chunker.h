// Content-defined chunking: where a chunk ends depends on the bytes just before, so the same
// content is cut alike wherever it lies.
#pragma once

#include <span>

#include "fabric/types.h"

namespace dvm::mapreduce {

inline constexpr u64 kLeastChunk = 1 * kKiB;
inline constexpr u64 kMostChunk = 16 * kKiB;

// The length of the first chunk of `bytes`: kLeastChunk to kMostChunk, some 5 KiB on average; all
// of them if they are fewer than kLeastChunk. A gear hash (Xia et al., Ddelta, 2014) over the last
// 64 bytes.
u64 first_chunk(std::span<const std::byte> bytes);

// 64 bits, never 0. Chunks of the same hash are the same with near certainty only: compare them.
u64 chunk_hash(std::span<const std::byte> chunk);

}  // namespace dvm::mapreduce
