// The replica table: what may be done with it, by any process of the machine (replica_record.h).
//
// A read puts its blocks in when it is done, a write takes them out when it begins and puts them in
// when it ends. Each bucket counts the begins and ends of writes: who puts an entry in says what
// the count was when its I/O began, and if it has moved since, the sum may not be the disk's, and
// nothing is put. That a write of another block of the bucket moves it too costs an entry, now and
// then.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "fabric/pool.h"
#include "srt/replica_record.h"

namespace dvm::srt {

// How large a table is.
struct ReplicaSize {
  u64 buckets = 0;
  u64 kept_frames = 0;
  u64 budget = 0;
  u64 ram_pages = 0;
  u32 runs = 0;  // that can be wanted
  u64 region_bytes() const;
};
// For so much RAM, within `budget` bytes for all that it takes beyond that: the least or more.
ReplicaSize replica_size(u64 ram_bytes, u64 budget);
u64 least_replica_budget(u64 ram_bytes);
u64 default_replica_budget(u64 ram_bytes);

// Threads: any. Lock: one bucket's, never two; nothing blocks under it.
class ReplicaTable {
 public:
  // Once, before `of`. `kept_at`: where in the pool's file the kept frames are.
  static Status format(const fabric::Pool& pool, const ReplicaSize& size, u64 kept_at);
  // `pool` and `instances` outlive it.
  static Result<ReplicaTable> of(const fabric::Pool& pool, fabric::InstanceId self,
                                 const fabric::InstanceTable& instances);

  // What is known of the block: a hint. Nothing is counted as used.
  std::optional<Replica> find(BlockKey key) const;
  // Begins and ends of writes, so far, in the block's bucket.
  u64 writes(BlockKey key) const { return bucket(key).writes.load(std::memory_order_acquire); }
  // The block has this content and is there too: unless its bucket's count is not `writes` any
  // more. It has been used in boot `boot`. Returns whether it was put.
  bool put(BlockKey key, const Replica& replica, u64 writes, u32 boot);
  // It is still where the table says, and was read from there.
  void use(BlockKey key, u32 boot);
  // A write of the block begins, which has not reached the disk; returns the count with it.
  u64 write_begins(BlockKey key, Dropped why);
  // It has ended. `now`: what the block holds, if that is known; it counts if `begun`, of
  // write_begins, is still the count.
  void write_ends(BlockKey key, const std::optional<Replica>& now, u64 begun, u32 boot);
  // The entry has no proof any more, unless it is another one by now.
  void drop(BlockKey key, const Replica& found, Dropped why);
  // Blocks [first, last) of the disk were discarded, or are about to be.
  void range_changes(u16 disk, u64 first, u64 last);
  // Nothing is known any more of that disk, or of any.
  void forget(u16 disk);
  void forget_all();

  // Every entry, bucket by bucket; what is put or dropped meanwhile may be seen or not.
  struct Listed {
    BlockKey key;
    Replica replica;
    u32 boot, order;  // as in ReplicaEntry
  };
  void each(const std::function<void(const Listed&)>& visit) const;

  // The block that a page of that boot's RAM holds, if that is known: a hint, as `find` gives.
  std::optional<Listed> block_in(u16 boot, u64 gpa) const;

  // How many blocks have been used in that boot, which is the one that runs, so far.
  u64 used_in(u32 boot) const;

  // A frame for the content of this block, which the caller copies there: the least valuable one.
  // Nothing: all are of use in this boot.
  std::optional<u64> keep(BlockKey key, u32 boot);
  // Bytes [begin, end) of the disk are written. True: from where another write ended.
  bool goes_on(u16 disk, u64 begin, u64 end);
  // The same for a block that has been written, whose memory will soon hold something else: one of
  // the last quarter of the frames, in turn. Nothing: there are none.
  std::optional<u64> keep_written(BlockKey key, u32 boot);
  std::span<std::byte> kept(u64 frame) const;  // empty: there is none of that number
  u64 kept_in_use() const;

  // --- blocks read before anybody asks for them --------------------------------------------------
  // A frame for this block, of those that hold nothing. It is the first to go to another one.
  std::optional<u64> keep_ahead(BlockKey key);
  // The frame's content was read ahead, and nobody has asked for it yet.
  bool is_ahead(u64 frame) const;
  bool holds_ahead(BlockKey key, u64 frame) const;  // it has not gone to another block yet
  // The block's copy is in that frame, unless `writes` is not the count any more, or there is an
  // entry, of who needed the block meanwhile. Nothing is displaced for it. Returns whether it was
  // put; if not, the frame is to be given up.
  bool put_ahead(BlockKey key, u64 frame, const BlockSum& sum, u64 writes);
  void give_up_ahead(BlockKey key, u64 frame);
  // Sets what is to be read ahead, as far as there is room. Once, before others use the table.
  void want(std::span<const BlockRun> runs);
  std::span<const BlockRun> wanted() const;
  std::atomic<u64>& warmer() const { return header_->warmer; }
  std::atomic<u32>& warmed() const { return header_->warmed; }
  u32 most_wanted() const { return header_->runs; }

  // Whose it is to see to the RAM of boots that were, and for which boot it has been done.
  std::atomic<u64>& sweeper() const { return header_->sweeper; }
  std::atomic<u32>& swept() const { return header_->swept; }
  ReplicaFigures& figures() const { return header_->figures; }
  u64 budget() const { return header_->budget; }
  u64 kept_frames() const { return header_->kept_frames; }
  u64 table_bytes() const { return buckets_.size_bytes() + hints_.size_bytes(); }

 private:
  ReplicaTable() = default;
  ReplicaBucket& bucket(BlockKey key) const;
  void erase_if(const std::function<bool(BlockKey)>& goes, Dropped why);
  void erase(ReplicaBucket& at, u32 index, Dropped why);
  void place(ReplicaBucket& at, BlockKey key, const Replica& replica, u32 boot);
  void free_frame(const ReplicaPlace& place, u64 key);
  u32 next_order(u32 boot) const;
  u64 frames_for_reads() const { return frames_.size() - frames_.size() / 4; }
  void hint_at(const ReplicaPlace& place, const ReplicaBucket& at);

  ReplicaHeader* header_ = nullptr;
  std::span<KeptFrame> frames_;
  std::span<PageHint> hints_;
  std::span<ReplicaBucket> buckets_;
  std::span<BlockRun> runs_;
  Mapping kept_;
  fabric::InstanceId self_;
  const fabric::InstanceTable* instances_ = nullptr;
};

}  // namespace dvm::srt
