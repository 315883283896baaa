// How much of a read or write is done, and what the next operation moves: the request's own buffers
// from where the last one ended, or a copy where these are not aligned as direct I/O needs it, or
// may not be used at all.
#pragma once

#include <sys/uio.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "fabric/types.h"

namespace dvm::srt {

struct IoAlignment {
  u32 length = 1;     // of every buffer's length, and of what one operation moves
  u32 memory = 1;     // of every buffer's address
  bool copy = false;  // no buffer will do
};

class Transfer {
 public:
  // `buffers` stay until the last advance(). Their lengths together are a multiple of
  // alignment.length. `max_buffers` is how many one operation may have.
  void begin(std::span<const iovec> buffers, bool to_memory, IoAlignment alignment,
             u32 max_buffers = kNoLimit);
  // Of zeroes written out, which need no buffers.
  void begin_zeroes(u64 bytes, u32 max_buffers = kNoLimit);

  // What the next operation moves; empty when all is done, or (with bytes left) when there is no
  // memory for a copy. Valid until advance().
  std::span<const iovec> next();
  // That operation moved the first `moved` bytes of it. False if that is no progress.
  bool advance(u64 moved);
  u64 done() const { return done_; }
  u64 left() const { return bytes_ - done_; }
  void end();  // gives its memory back

  static constexpr u32 kNoLimit = 1024;

 private:
  bool aligned(std::span<const iovec> buffers) const;
  void window();
  bool copy_window();

  struct Free {
    void operator()(std::byte* p) const { std::free(p); }  // NOLINT: of aligned_alloc
  };

  std::span<const iovec> buffers_;
  std::vector<iovec> window_;
  std::unique_ptr<std::byte, Free> copy_;
  IoAlignment alignment_;
  u64 bytes_ = 0;
  u64 done_ = 0;
  u32 max_buffers_ = kNoLimit;
  bool to_memory_ = false;
  bool zeroes_ = false;
  bool copied_ = false;  // window_ is copy_
};

}  // namespace dvm::srt
