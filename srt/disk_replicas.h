// What one process does with the replica table for one of its disks: it answers reads from copies
// that are in memory, and tells the table of what it reads and writes.
//
// A read of a copy is a copy of it: 4 KiB take less than the fault that mapping its frame in the
// buffer's place would cost, with the flush of all mappings of what was there (docs/srt.md).
//
// The guest must leave the memory of a request alone until it is answered (virtio 1.2 §2.7.13). Of
// one that writes into a buffer that is being read into, no more is promised than that its blocks
// hold one or the other. Page caches do write to pages that are being written back: such a block
// has no entry until it is read or written again.
#pragma once

#include <optional>
#include <vector>

#include "hyperkernel/guest_memory.h"
#include "srt/replica_table.h"
#include "srt/transfer_walk.h"

namespace dvm::srt {

// The guest's RAM, of the boot that runs and of those that were. Threads: any.
class GuestBoots {
 public:
  virtual ~GuestBoots() = default;
  virtual u32 boot() const = 0;
  // Of that boot (its low 16 bits); nullptr: it is gone. What runs now may be asked for as well.
  virtual const hyperkernel::GuestMemory* ram(u16 boot) const = 0;
  // Nobody needs this page of that boot's RAM any more.
  virtual void release(u16 boot, u64 gpa) const = 0;
};

// A transfer that the disk has in hand.
struct OngoingTransfer {
  // Of a read: what of it the disk is to do, as bytes of the transfer; none: all was in memory.
  u64 left_at = 0, left_bytes = 0;
  // And what it is to read beyond, before that and behind: the rest of blocks, for copies of these.
  std::vector<std::byte> before, after;
  std::vector<u64> writes;     // by part: its bucket's count
  std::vector<BlockSum> sums;  // of a write, by part: what it held
  // A read of a loader's, which will soon use the memory for something else. Set before it begins.
  bool passing = false;
  bool keep = false;  // copies that are to last are made
  // Of a write: it goes on where another one ended.
  bool appends = false;
};

// Threads: one at a time.
class DiskReplicas {
 public:
  // `table` and `boots` outlive it.
  DiskReplicas(ReplicaTable& table, const GuestBoots& boots, u16 disk)
      : table_(table), boots_(boots), disk_(disk) {}

  // What is in memory already is where it was to be read to; `state` says what is left to the disk,
  // which has `disk_bytes`.
  void serve(const DiskTransfer& read, OngoingTransfer& state, u64 disk_bytes);
  // What the disk was left has been read.
  void read_ends(const DiskTransfer& read, const OngoingTransfer& state);
  // Before it may reach the disk.
  void write_begins(const DiskTransfer& write, OngoingTransfer& state);
  void write_ends(const DiskTransfer& write, const OngoingTransfer& state, bool done);
  // A discard or a write of zeroes begins, or has ended.
  void range_changes(u64 offset, u64 bytes);
  // Writes that somebody had in hand may have reached the disk, or may yet.
  void lose_track() { table_.forget(disk_); }

 private:
  std::span<const std::byte> source(const ReplicaPlace& place) const;
  bool is_to_be_kept(const DiskTransfer& read, bool passing) const;
  bool serve_part(const TransferWalk& part, bool keep);
  bool copy_proved(const TransferWalk& part, const Replica& found);
  void note_served(const TransferWalk& part, const Replica& found, u64 writes, bool keep);
  void round_out(const DiskTransfer& read, OngoingTransfer& state, u64 disk_bytes) const;
  std::optional<Replica> replica_of(const TransferWalk& part) const;
  std::span<const std::byte> whole_block(const TransferWalk& part, const OngoingTransfer& state);
  std::optional<Replica> copy_in(std::optional<u64> frame,
                                 std::span<const std::byte> content) const;
  std::optional<Replica> kept_copy(BlockKey key, std::span<const std::byte> content) const;
  Replica copy_of_written(const TransferWalk& part, const Replica& now) const;
  BlockKey key(u64 block) const { return {disk_, block}; }
  ReplicaPlace ram_place(u64 gpa) const;

  ReplicaTable& table_;
  const GuestBoots& boots_;
  const u16 disk_;
  std::vector<std::byte> bounce_ = std::vector<std::byte>(kBlockBytes);
};

}  // namespace dvm::srt
