#include "srt/transfer.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace dvm::srt {
namespace {

// Bounds the memory that a guest with odd buffers can make us use.
constexpr u64 kCopyBytes = 256 * kKiB;
constexpr u64 kCopyAlignment = 4096;
constexpr u64 kZeroPieceBytes = 64 * kKiB;
constexpr u64 kZeroBytes = kMiB;  // of one operation

alignas(kCopyAlignment) constexpr std::array<std::byte, kZeroPieceBytes> kZeroes{};

// Copies between `flat` and the buffers' bytes from `skip` on.
void copy(std::span<const iovec> buffers, u64 skip, std::byte* flat, u64 bytes, bool to_buffers) {
  for (const iovec& b : buffers) {
    if (skip >= b.iov_len) {
      skip -= b.iov_len;
      continue;
    }
    const u64 part = std::min<u64>(b.iov_len - skip, bytes);
    auto* at = static_cast<std::byte*>(b.iov_base) + skip;
    if (to_buffers) {
      std::memcpy(at, flat, part);
    } else {
      std::memcpy(flat, at, part);
    }
    flat += part;
    bytes -= part;
    if (bytes == 0) return;
    skip = 0;
  }
}

}  // namespace

void Transfer::begin(std::span<const iovec> buffers, bool to_memory, IoAlignment alignment,
                     u32 max_buffers) {
  buffers_ = buffers;
  alignment_ = alignment;
  max_buffers_ = max_buffers;
  to_memory_ = to_memory;
  zeroes_ = copied_ = false;
  done_ = bytes_ = 0;
  for (const iovec& b : buffers) bytes_ += b.iov_len;
}

void Transfer::begin_zeroes(u64 bytes, u32 max_buffers) {
  begin({}, false, {}, max_buffers);
  zeroes_ = true;
  bytes_ = bytes;
}

std::span<const iovec> Transfer::next() {
  copied_ = false;
  if (left() == 0) return {};
  if (done_ == 0 && !zeroes_ && buffers_.size() <= max_buffers_ && aligned(buffers_)) {
    return buffers_;
  }
  window();
  if (window_.size() > max_buffers_ || !aligned(window_)) {
    if (!copy_window()) return {};
  }
  return window_;
}

bool Transfer::aligned(std::span<const iovec> buffers) const {
  if (alignment_.copy) return false;
  u64 bits = 0;
  for (const iovec& b : buffers) {
    bits |= reinterpret_cast<u64>(b.iov_base) & (alignment_.memory - 1u);
    bits |= b.iov_len & (alignment_.length - 1u);
  }
  return bits == 0;
}

// The bytes not yet done, as they lie.
void Transfer::window() {
  window_.clear();
  if (zeroes_) {
    const u64 pieces = std::min<u64>(max_buffers_, kZeroBytes / kZeroPieceBytes);
    u64 rest = std::min(left(), pieces * kZeroPieceBytes);
    while (rest > 0) {
      const u64 part = std::min(rest, kZeroPieceBytes);
      window_.push_back({const_cast<std::byte*>(kZeroes.data()), part});  // read only
      rest -= part;
    }
    return;
  }
  u64 skip = done_;
  for (const iovec& b : buffers_) {
    if (skip >= b.iov_len) {
      skip -= b.iov_len;
      continue;
    }
    window_.push_back({static_cast<std::byte*>(b.iov_base) + skip, b.iov_len - skip});
    skip = 0;
  }
}

bool Transfer::copy_window() {
  const u64 bytes = std::min(left(), kCopyBytes);
  copy_.reset(
      static_cast<std::byte*>(std::aligned_alloc(kCopyAlignment, align_up(bytes, kCopyAlignment))));
  if (!copy_) return false;
  if (!to_memory_) copy(buffers_, done_, copy_.get(), bytes, false);
  window_.assign(1, {copy_.get(), bytes});
  copied_ = true;
  return true;
}

bool Transfer::advance(u64 moved) {
  moved = std::min(moved, left());
  // A direct operation can go on only where a block starts.
  if (moved < left()) moved -= moved % alignment_.length;
  if (moved == 0) return false;
  if (copied_ && to_memory_) copy(buffers_, done_, copy_.get(), moved, true);
  done_ += moved;
  return true;
}

void Transfer::end() {
  copy_.reset();
  buffers_ = {};
}

}  // namespace dvm::srt
