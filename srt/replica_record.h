// The replica table as it lies in the pool: for a block of a disk, where in memory there is a copy
// of it, and what the block holds.
//
// An entry is a hint with a proof: whoever follows it looks whether what is there has the block's
// sum, and reads the disk if not. So nothing has to be told to the table when memory changes: not
// the guest's writes, a page that moves or is given back, a roll-back, or a node's death. What has
// to be right is the sum: it is that of what is on the disk now, or there is no entry.
//
// Fabric state: it is never rolled back, as disks are not either.
#pragma once

#include <array>
#include <atomic>

#include "fabric/pool_lock.h"
#include "srt/block_sum.h"

namespace dvm::srt {

inline constexpr u32 kReplicasVersion = 3;

// A block of a disk of the machine. Block n is bytes [n * kBlockBytes, (n + 1) * kBlockBytes).
struct BlockKey {
  u16 disk = 0;
  u64 block = 0;
  static constexpr u32 kBlockBits = 48;
  static constexpr u64 kMaxBlock = (u64{1} << kBlockBits) - 1;
  constexpr u64 packed() const { return (u64{disk} + 1) << kBlockBits | block; }  // never 0
  static constexpr BlockKey unpack(u64 word) {
    return {static_cast<u16>((word >> kBlockBits) - 1), word & kMaxBlock};
  }
  friend constexpr bool operator==(const BlockKey&, const BlockKey&) = default;
};

// Where a copy is: in the RAM of the guest's n-th boot, or in a frame of the table's own.
struct ReplicaPlace {
  enum class Kind : u8 { ram = 0, kept = 1 };
  Kind kind = Kind::ram;
  u16 boot = 0;  // ram: the low bits of the boot's number
  u64 at = 0;    // ram: its guest address, of any alignment; kept: the frame's number
  static constexpr u32 kAtBits = 47;
  constexpr u64 packed() const {
    return at | u64{static_cast<u8>(kind)} << kAtBits | u64{boot} << (kAtBits + 1);
  }
  static constexpr ReplicaPlace unpack(u64 word) {
    return {static_cast<Kind>(word >> kAtBits & 1), static_cast<u16>(word >> (kAtBits + 1)),
            word & ((u64{1} << kAtBits) - 1)};
  }
  friend constexpr bool operator==(const ReplicaPlace&, const ReplicaPlace&) = default;
};

struct Replica {
  ReplicaPlace place;
  BlockSum sum;
  friend constexpr bool operator==(const Replica&, const Replica&) = default;
};

struct ReplicaEntry {
  u64 place;  // ReplicaPlace
  BlockSum sum;
  u32 boot;   // in which it was used last; 0: in none, it was read ahead
  u32 order;  // how many had been used in that boot before
  u64 check;  // of key, place and sum: an entry that is half written, or damaged, is none
};
static_assert(sizeof(ReplicaEntry) == 40);

inline constexpr u32 kEntriesInBucket = 20;

// Every block belongs to one bucket. Changed under the lock; death in it leaves entries whole or
// with a wrong check.
struct alignas(64) ReplicaBucket {
  fabric::PoolLock lock;
  std::atomic<u64> writes;                 // begins and ends of writes to its blocks, so far
  std::array<u64, kEntriesInBucket> keys;  // BlockKey; 0: free
  std::array<ReplicaEntry, kEntriesInBucket> entries;
  std::array<u64, 6> reserved;
};
static_assert(sizeof(ReplicaBucket) == 1024);

// Blocks of a disk in a row. Also as a record in the pool, where whoever reads it checks it.
struct BlockRun {
  u64 first = 0;
  u32 blocks = 0;
  u16 disk = 0;
  u16 reserved = 0;
  friend constexpr bool operator==(const BlockRun&, const BlockRun&) = default;
};
static_assert(sizeof(BlockRun) == 16);

// Why an entry went.
enum class Dropped : u8 {
  changed,    // its copy is not what the block holds any more
  written,    // the block was written, and its memory not left alone meanwhile
  discarded,  // the block was discarded, or written with zeroes
  displaced,  // for another one
  unknown,    // writes of a process that died, which nobody did again
};
inline constexpr u32 kDroppedReasons = 5;

struct ReplicaFigures {
  std::atomic<u64> reads;         // requests asked of the table
  std::atomic<u64> reads_served;  // whole: the disk was not asked
  std::atomic<u64> blocks_served;
  std::atomic<u64> bytes_served;
  std::atomic<u64> blocks_missed;
  std::atomic<u64> entries;  // now
  std::atomic<u64> put;
  std::array<std::atomic<u64>, kDroppedReasons> dropped;
  std::atomic<u64> freed_kept;   // blocks of pages that the guest freed, copied
  std::atomic<u64> ahead;        // blocks put before anybody had asked for them
  std::atomic<u64> ahead_used;   // of these, that somebody then asked for
  std::atomic<u64> ahead_reads;  // requests to disks for them
  std::atomic<u64> ahead_bytes;  // that these read
};

// Of a page of RAM: the bucket of the block that was read into it last, plus one. Advice: the entry
// tells whether it is so.
struct PageHint {
  std::atomic<u32> bucket;
};

// Followed by the kept frames' records, the pages' hints, the buckets, and the runs that are
// wanted. What the checksum covers is written once.
struct ReplicaHeader {
  u64 buckets;               // a power of two
  u64 kept_frames;           // of the table's own
  u64 kept_at;               // the first of them: bytes from the pool's start
  u64 budget;                // bytes that entries, kept frames and RAM of the boot before may take
  u64 ram_pages;             // that have a hint: guest addresses from 0 on
  u32 runs;                  // for how many that are wanted there is room
  u32 checksum;              // CRC-32C of all above
  std::atomic<u64> hand;     // where the search for a kept frame goes on
  std::atomic<u64> written;  // and of those for what was written
  // Where writes ended that others may go on from: disk and byte. Advice.
  std::array<std::atomic<u64>, 16> ends;
  std::atomic<u64> next_end;
  std::atomic<u64> order;    // boot << 32 | entries used in it
  std::atomic<u64> sweeper;  // who gives back what no boot needs (fabric/claim.h)
  std::atomic<u32> swept;    // for this boot that is done
  std::atomic<u32> wanted;   // runs to be read ahead of the guest: written before any node starts
  std::atomic<u64> warmer;   // who reads them (fabric/claim.h)
  std::atomic<u32> warmed;   // how many of them have been seen to
  u32 reserved;
  ReplicaFigures figures;
};
static_assert(sizeof(ReplicaHeader) <= kPageBytes);

// A kept frame. Advice: an entry whose frame has been given to another block finds no proof there.
struct KeptFrame {
  std::atomic<u64> key;   // BlockKey; 0: free
  std::atomic<u32> boot;  // in which it was used last; 0: in none, it was read ahead
  u32 reserved;
};
static_assert(sizeof(KeptFrame) == 16);

}  // namespace dvm::srt
