// A read or write of a disk, block by block: which part of which block, and where in guest memory
// that part is.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <span>
#include <vector>

#include "srt/block_sum.h"

namespace dvm::srt {

struct MemoryPiece {
  u64 gpa = 0;
  u64 bytes = 0;
};

// Of `bytes` from `offset` on, which are those of the pieces together.
struct DiskTransfer {
  u64 offset = 0;
  u64 bytes = 0;
  std::span<const MemoryPiece> memory;
};

// How many blocks it touches.
constexpr u64 blocks_of(u64 offset, u64 bytes) {
  return bytes == 0 ? 0 : (offset + bytes - 1) / kBlockBytes - offset / kBlockBytes + 1;
}

class TransferWalk {
 public:
  explicit TransferWalk(const DiskTransfer& transfer) : transfer_(transfer) {}

  // The first part, then the next one; false behind the last. Until then:
  bool next();
  u64 block() const { return (transfer_.offset + at_) / kBlockBytes; }
  u64 at() const { return at_; }  // of the part in the transfer
  u64 bytes() const { return bytes_; }
  u64 in_block() const { return (transfer_.offset + at_) % kBlockBytes; }
  bool is_whole() const { return bytes_ == kBlockBytes; }
  bool in_one_piece() const { return pieces_.size() == 1; }
  u64 gpa() const { return pieces_.front().gpa; }
  std::span<const MemoryPiece> pieces() const { return pieces_; }

 private:
  const DiskTransfer transfer_;
  u64 at_ = 0;
  u64 bytes_ = 0;
  std::size_t piece_ = 0;
  u64 used_ = 0;  // of that piece
  std::vector<MemoryPiece> pieces_;
};

inline bool TransferWalk::next() {
  at_ += bytes_;
  bytes_ = std::min(kBlockBytes - in_block(), transfer_.bytes - std::min(at_, transfer_.bytes));
  pieces_.clear();
  for (u64 left = bytes_; left != 0;) {
    if (piece_ == transfer_.memory.size()) return false;
    const MemoryPiece& from = transfer_.memory[piece_];
    const u64 here = std::min(left, from.bytes - used_);
    if (here != 0) pieces_.push_back({from.gpa + used_, here});
    used_ += here;
    left -= here;
    if (used_ == from.bytes) {
      ++piece_;
      used_ = 0;
    }
  }
  return bytes_ != 0;
}

// `bytes` of the buffers, from their byte `at` on, are at the end of `out`.
inline void cut(std::span<const iovec> buffers, u64 at, u64 bytes, std::vector<iovec>& out) {
  for (const iovec& b : buffers) {
    const u64 skip = std::min<u64>(at, b.iov_len);
    const u64 here = std::min(bytes, b.iov_len - skip);
    if (here != 0) out.push_back({static_cast<std::byte*>(b.iov_base) + skip, here});
    at -= skip;
    bytes -= here;
  }
}

}  // namespace dvm::srt
