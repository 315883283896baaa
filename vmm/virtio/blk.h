// The block device (virtio 1.2 §5.2), without the disk: what it offers, and what one chain of the
// driver's asks for. Pure, but for guest memory.
//
// A request is derived from its chain, the negotiated features and the disk's geometry alone. The
// driver must leave chain and header as they are until the chain is used, so a node that takes over
// derives the same request from the same head. One that changes them meanwhile gets some request of
// its own disk and memory, checked like any other.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "hyperkernel/guest_memory.h"
#include "vmm/effects.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/queue.h"

namespace dvm::vmm {

inline constexpr u32 kBlkSectorBytes = 512;  // what the protocol counts in, always (§5.2.4)
inline constexpr u32 kBlkIdBytes = 20;       // VIRTIO_BLK_ID_BYTES (§5.2.6)
inline constexpr u16 kBlkQueueSize = kMaxQueueSize;
// A header and a status byte have a descriptor of their own in every driver we know.
inline constexpr u32 kBlkSegMax = kBlkQueueSize - 2;
// Of one request, in 512-byte sectors: what fits into 31 bits of bytes, as in QEMU.
inline constexpr u32 kBlkMaxSectors = 0x7fff'ffffu / kBlkSectorBytes;

// Feature bits (§5.2.3).
namespace virtio {
inline constexpr u64 kBlkFeatureSegMax = u64{1} << 2;
inline constexpr u64 kBlkFeatureReadOnly = u64{1} << 5;
inline constexpr u64 kBlkFeatureBlkSize = u64{1} << 6;
inline constexpr u64 kBlkFeatureFlush = u64{1} << 9;
inline constexpr u64 kBlkFeatureTopology = u64{1} << 10;
inline constexpr u64 kBlkFeatureMultiQueue = u64{1} << 12;
inline constexpr u64 kBlkFeatureDiscard = u64{1} << 13;
inline constexpr u64 kBlkFeatureWriteZeroes = u64{1} << 14;

// virtio_blk_config (§5.2.4), up to what the features above use.
struct [[gnu::packed]] BlkConfig {
  u64 capacity;  // in 512-byte sectors
  u32 size_max;
  u32 seg_max;
  u16 cylinders;
  u8 heads;
  u8 sectors;
  u32 blk_size;
  u8 physical_block_exp;
  u8 alignment_offset;
  u16 min_io_size;  // in logical blocks
  u32 opt_io_size;
  u8 writeback;
  u8 reserved0;
  u16 num_queues;
  u32 max_discard_sectors;
  u32 max_discard_seg;
  u32 discard_sector_alignment;
  u32 max_write_zeroes_sectors;
  u32 max_write_zeroes_seg;
  u8 write_zeroes_may_unmap;
  std::array<u8, 3> reserved1;
};
static_assert(sizeof(BlkConfig) == 60 && sizeof(BlkConfig) <= kMaxDeviceConfig);

// virtio_blk_req's header (§5.2.6).
struct BlkHeader {
  u32 type;
  u32 reserved;
  u64 sector;
};
static_assert(sizeof(BlkHeader) == 16);
enum class BlkType : u32 {
  in = 0,
  out = 1,
  flush = 4,
  get_id = 8,
  discard = 11,
  write_zeroes = 13
};

// virtio_blk_discard_write_zeroes (§5.2.6).
struct BlkRange {
  u64 sector;
  u32 sectors;
  u32 flags;
};
static_assert(sizeof(BlkRange) == 16);
inline constexpr u32 kBlkRangeUnmap = 1;
}  // namespace virtio

enum class BlkStatus : u8 { ok = 0, io_error = 1, unsupported = 2 };

// What the device is made of. Sizes in bytes.
struct BlkGeometry {
  u64 bytes = 0;             // a multiple of block_bytes
  u32 block_bytes = 512;     // logical: the smallest access; a power of two from 512
  u32 physical_bytes = 512;  // a multiple of block_bytes by a power of two
  u16 queues = 1;            // 1 .. kMaxVirtioQueues
  bool read_only = false;
  bool discard = false;
  bool write_zeroes = false;
  std::array<char, kBlkIdBytes> id{};  // the serial, padded with NUL
};
// The serial as GET_ID gives it: cut at 20 bytes.
std::array<char, kBlkIdBytes> blk_id(std::string_view serial);

VirtioPciState make_virtio_blk(const BlkGeometry& geometry);
// The disk was grown: the driver is told (§5.2.5, §4.1.4.3.1).
void blk_set_capacity(VirtioPciState& state, u64 bytes, Effects& effects);
// A driver that did not take FLUSH cannot ask for durability: every write has to be durable when it
// completes (§5.2.6.2).
bool blk_writes_through(const VirtioPciState& state);

enum class BlkOp : u8 { read, write, flush, discard, write_zeroes, get_id };

struct BlkRequest {
  BlkOp op;
  BlkStatus status;  // of a request that needs no disk
  bool unmap;        // write_zeroes: may deallocate
  u16 head;
  u16 count;          // of data
  u64 offset;         // into the disk; a multiple of 512
  u64 bytes;          // of the disk touched; at most 2^31 - 512
  u64 status_gpa;     // where the status byte goes
  u64 writable_data;  // bytes the driver gave to be written, without the status byte
  std::array<Segment, kMaxQueueSize> segments;

  // read: where to; write: where from; get_id: where to. Of `bytes` together for read and write.
  std::span<const Segment> data() const { return {segments.data(), count}; }
};

enum class BlkNext : u8 {
  submit,       // give it to the disk, then blk_finish
  finish,       // blk_finish with request.status now
  needs_reset,  // no header or no room for a status: virtio_fail
};

// What a popped chain asks for. Reads the header once. `request` is filled as far as known; its
// head and count always are.
BlkNext blk_parse(const Chain& chain, const hyperkernel::GuestMemory& memory,
                  const BlkGeometry& geometry, BlkRequest& request);

// Writes what GET_ID gives, and the status byte; may be done again. Returns the length for the used
// element: bytes written without a gap from the first writable one (§2.7.8.2), hence none when data
// before the status byte is missing. An error: the memory is gone; the device needs a reset.
Result<u32> blk_finish(const hyperkernel::GuestMemory& memory, const BlkRequest& request,
                       const BlkGeometry& geometry, BlkStatus status);
// How an errno of the disk (0: none) is told: §5.2.6 has no more than these.
BlkStatus blk_status_of(int disk_errno);

}  // namespace dvm::vmm
