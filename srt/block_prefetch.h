// Reads blocks of one disk ahead of who will ask for them, through a queue of its own: what the
// guest asks for never waits in line behind it, nor for the thread that copies and sums it. To the
// host's scheduler its reads are idle ones.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "srt/ahead_read.h"
#include "srt/disk_queue.h"

namespace dvm::srt {

class BlockPrefetch {
 public:
  // How many blocks one request reads at most, and how many requests are in flight.
  static constexpr u32 kMostBlocks = 256, kRequests = 4;
  using OpenQueue = std::function<Result<std::unique_ptr<DiskQueue>>(DiskQueue::OnComplete,
                                                                     u32 depth, DiskQueue::OnLook)>;

  // `table` outlives it. Precondition: the disk's block_bytes are at most kBlockBytes.
  static Result<std::unique_ptr<BlockPrefetch>> open(ReplicaTable& table,
                                                     const OpenQueue& open_queue);
  ~BlockPrefetch();  // waits for what is in flight

  // Begins one request for the run's first blocks, if it has to read any of them, once fewer than
  // kRequests are in flight. Returns how many blocks have been seen to: less than there are, and
  // less than kMostBlocks: no frame is free. Threads: one.
  u32 read(const BlockRun& run);
  // Waits until nothing is in flight.
  void drain();

 private:
  struct alignas(kPageBytes) Block {
    std::array<std::byte, kBlockBytes> bytes;
  };
  struct Slot {
    std::optional<AheadRead> read;  // none: the slot is free
    std::vector<Block> blocks;
    std::span<std::byte> content();
  };
  explicit BlockPrefetch(ReplicaTable& table) : table_(table) {}
  void completed(std::span<const DiskCompletion> done);
  Slot* free_slot();

  ReplicaTable& table_;
  std::mutex mutex_;  // for whether slots are free
  std::condition_variable freed_;
  std::array<Slot, kRequests> slots_;
  std::unique_ptr<DiskQueue> queue_;  // first to end
};

}  // namespace dvm::srt
