// The device's side of one split virtqueue (virtio 1.2 §2.7). Pure, but for guest memory.
//
// A device step may die at any point and be done again from the old state by another node, while
// the guest's other vCPUs run on. So what the driver can see changes in two steps:
//
//   1. pop chains, fill buffers, push_used: writes only what the driver has handed over and not got
//      back: buffers, and used elements at or beyond the used index it has seen. The slots come
//      from the state, never from guest memory, so doing it again writes the same places.
//   -- the machine publishes the state: used_idx is now decided --
//   2. flush_used: stores used_idx into guest memory, and only then decides about the interrupt.
//   The
//      store can be repeated any number of times.
//
// Were the index stored within step 1, a driver that polls could take its buffers back, and a
// repeated step would write into memory that now belongs to someone else.
#pragma once

#include <array>
#include <span>
#include <type_traits>

#include "fabric/result.h"
#include "fabric/types.h"
#include "hyperkernel/guest_memory.h"

namespace dvm::vmm {

inline constexpr u16 kMaxQueueSize = 256;
inline constexpr u16 kNoVector = 0xffff;  // VIRTIO_MSI_NO_VECTOR (virtio 1.2 §4.1.5.1.2)

// What the driver set up, among the device's registers (virtio 1.2 §4.1.4.3).
struct QueueSetup {
  u64 desc;  // guest addresses of the three areas
  u64 avail;
  u64 used;
  u16 size;      // a power of two, at most max_size
  u16 max_size;  // what the device offers
  u16 vector;
  u8 ready;
  u8 event_idx;  // negotiated features, copied when the queue is enabled
  u8 indirect;
  std::array<u8, 7> reserved;
};
static_assert(sizeof(QueueSetup) == 40);

// How far the device has come with a queue. It has a cell of its own, so that queues of one device
// are served in parallel; the geometry is a copy of the set-up's, taken when the queue is first
// served after a reset.
struct QueueState {
  u64 desc;
  u64 avail;
  u64 used;
  u32 generation;  // of the set-up (VirtioPciState::generation) this belongs to
  u16 size;
  u16 last_avail;      // next available entry to look at
  u16 used_idx;        // next used entry to fill
  u16 published_used;  // the used index the driver was last given
  u16 in_flight;       // chains that have a holder
  u8 event_idx;
  u8 indirect;
  // The console's: bytes that the queue ever moved, through all set-ups, and those of the next
  // chain that have gone already. Published with the step that moves them.
  u64 moved;
  u64 part;
  // By head: 1 + the stable instance id of the process that has the chain's request in hand, for
  // devices that answer later; 0: none. Stored with the step that takes the chain or gives it back.
  std::array<u8, kMaxQueueSize> holder;
};
static_assert(sizeof(QueueState) == 56 + kMaxQueueSize);
static_assert(std::is_trivially_copyable_v<QueueState> && std::is_standard_layout_v<QueueState>);

// A piece of guest RAM, not empty and checked to be there.
struct Segment {
  u64 gpa;
  u32 bytes;
};

inline u64 total_bytes(std::span<const Segment> segments) {
  u64 sum = 0;
  for (const Segment& s : segments) sum += s.bytes;
  return sum;
}

// One buffer of the driver's: what the device may read, then what it may write (§2.7.4.2).
struct Chain {
  u16 head;
  u16 readable_count;
  u16 count;
  std::array<Segment, kMaxQueueSize> segments;

  std::span<const Segment> readable() const { return {segments.data(), readable_count}; }
  std::span<const Segment> writable() const {
    return {segments.data() + readable_count, segments.data() + count};
  }
};

// As the device offers it (virtio 1.2 §2.4).
QueueSetup make_queue_setup(u16 max_size);
// Nothing taken yet.
QueueState make_queue(const QueueSetup& setup, u32 generation);

// Takes the next chain. False: there is none, and the driver has been asked to notify of the next.
// An error: the driver broke a rule, the queue is as before, and the device needs a reset.
// Every descriptor is fetched once. Work is bounded: a chain has at most `size` descriptors, and at
// most `size` chains can be taken before flush_used gives any back; one more is an error.
Result<bool> queue_pop(QueueState& queue, const hyperkernel::GuestMemory& memory, Chain& chain);

// A chain that was taken before, found again by its head, for whoever takes its request over.
Status queue_chain(const QueueState& queue, const hyperkernel::GuestMemory& memory, u16 head,
                   Chain& chain);

// Notes who has the chain's request in hand, or that it is answered.
void queue_hold(QueueState& queue, u16 head, u32 instance_id);
void queue_unhold(QueueState& queue, u16 head);

// Returns a chain, of which the device wrote the first `bytes_written` bytes. Not yet visible.
Status queue_push_used(QueueState& queue, const hyperkernel::GuestMemory& memory, u16 head,
                       u32 bytes_written);

// Shows the driver all that was pushed; true if it wants an interrupt for it (§2.7.7).
Result<bool> queue_flush_used(QueueState& queue, const hyperkernel::GuestMemory& memory);
// Whether the driver wants an interrupt for what it has been shown from used index `told` on: the
// answer that flush_used gives, for whoever puts it off (the driver may have looked meanwhile).
Result<bool> queue_wants_interrupt(const QueueState& queue, const hyperkernel::GuestMemory& memory,
                                   u16 told);
// The same store again, whether or not it was done before: for whoever takes over from the dead.
Status queue_republish_used(QueueState& queue, const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
