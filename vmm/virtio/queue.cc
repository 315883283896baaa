#include "vmm/virtio/queue.h"

#include <emmintrin.h>

#include <bit>

#include "vmm/virtio/split_ring.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

// Ring indices run freely modulo 2^16 (§2.7.6).
constexpr u16 distance(u16 from, u16 to) { return static_cast<u16>(to - from); }

Status check_geometry(const QueueState& q) {
  if (!std::has_single_bit(q.size) || q.size > kMaxQueueSize) {
    return error("virtqueue: size {} is not a power of two up to {}", q.size, kMaxQueueSize);
  }
  if (!is_aligned(q.desc, ring::kDescriptorAlignment) ||
      !is_aligned(q.avail, ring::kAvailAlignment) || !is_aligned(q.used, ring::kUsedAlignment)) {
    return error("virtqueue: rings at {:#x} {:#x} {:#x} are not aligned", q.desc, q.avail, q.used);
  }
  return {};
}

// How many chains wait. The driver cannot have more outstanding than the queue has descriptors.
Result<u16> available(const QueueState& q, const GuestMemory& memory) {
  DVM_ASSIGN(const u16 idx, memory.load_acquire<u16>(ring::avail_idx(q.avail)));
  const u16 outstanding = distance(q.published_used, idx);
  const u16 taken = distance(q.published_used, q.last_avail);
  if (outstanding > q.size || taken > outstanding) {
    return error("virtqueue: available index {} is out of range", idx);
  }
  return static_cast<u16>(outstanding - taken);
}

// Asks for a notification of the next chain, then looks again: one that came in between was not
// notified (§2.7.10). Without EVENT_IDX the driver always notifies.
Result<u16> rearm(const QueueState& q, const GuestMemory& memory) {
  DVM_TRY(memory.store_release<u16>(ring::used_avail_event(q.used, q.size), q.last_avail));
  _mm_mfence();  // the store before the load
  return available(q, memory);
}

// A descriptor table: the queue's own, or an indirect one.
struct Table {
  u64 gpa;
  u32 entries;
};

Status append(const GuestMemory& memory, const ring::Descriptor& d, Chain& chain, u64& total) {
  const bool writable = (d.flags & ring::kDescriptorWrite) != 0;
  if (!writable && chain.count != chain.readable_count) {
    return error("virtqueue: readable descriptor behind a writable one");  // §2.7.4.2
  }
  total += d.bytes;
  if (total > u64{1} << 32) return error("virtqueue: chain of more than 4 GiB");  // §2.7.5.2
  if (d.bytes == 0) return {};
  DVM_TRY(memory.span(d.gpa, d.bytes));
  chain.segments[chain.count++] = {d.gpa, d.bytes};
  if (!writable) chain.readable_count = chain.count;
  return {};
}

// §2.7.5.3.1: of whole descriptors, at the end of a chain.
Result<Table> indirect_table(const QueueState& q, const ring::Descriptor& d) {
  const bool whole = d.bytes != 0 && d.bytes % sizeof(ring::Descriptor) == 0;
  if (q.indirect == 0 || !whole || (d.flags & ring::kDescriptorNext) != 0) {
    return error("virtqueue: bad indirect descriptor");
  }
  return Table{d.gpa, static_cast<u32>(d.bytes / sizeof(ring::Descriptor))};
}

// `size` descriptors at most, in all tables together: loops end here (§2.7.5.2, §2.7.5.3.1).
Status walk(const QueueState& q, const GuestMemory& memory, Chain& chain) {
  Table table{q.desc, q.size};
  bool in_indirect = false;
  u64 total = 0;
  u16 index = chain.head;
  for (u32 visited = 0; visited < q.size;) {
    if (index >= table.entries) return error("virtqueue: descriptor {} does not exist", index);
    DVM_ASSIGN(const auto d,
               memory.load<ring::Descriptor>(table.gpa + u64{sizeof(ring::Descriptor)} * index));
    if ((d.flags & ring::kDescriptorIndirect) != 0) {
      if (in_indirect) return error("virtqueue: indirect descriptor in an indirect table");
      DVM_ASSIGN(table, indirect_table(q, d));
      in_indirect = true;
      index = 0;
      continue;  // happens once; the table itself is not part of the chain
    }
    DVM_TRY(append(memory, d, chain, total));
    if ((d.flags & ring::kDescriptorNext) == 0) return {};
    index = d.next;
    visited++;
  }
  return error("virtqueue: chain longer than the queue");
}

}  // namespace

QueueSetup make_queue_setup(u16 max_size) {
  QueueSetup setup{};
  setup.max_size = max_size;
  setup.size = max_size;
  setup.vector = kNoVector;
  return setup;
}

QueueState make_queue(const QueueSetup& setup, u32 generation) {
  QueueState queue{};
  queue.desc = setup.desc;
  queue.avail = setup.avail;
  queue.used = setup.used;
  queue.generation = generation;
  queue.size = setup.size;
  queue.event_idx = setup.event_idx;
  queue.indirect = setup.indirect;
  return queue;
}

void queue_hold(QueueState& queue, u16 head, u32 instance_id) {
  if (head >= queue.holder.size()) return;
  if (queue.holder[head] == 0) ++queue.in_flight;
  queue.holder[head] = static_cast<u8>(instance_id + 1);
}

void queue_unhold(QueueState& queue, u16 head) {
  if (head >= queue.holder.size() || queue.holder[head] == 0) return;
  queue.holder[head] = 0;
  --queue.in_flight;
}

Status queue_chain(const QueueState& queue, const GuestMemory& memory, u16 head, Chain& chain) {
  chain.head = head;
  chain.readable_count = 0;
  chain.count = 0;
  return walk(queue, memory, chain);
}

Result<bool> queue_pop(QueueState& queue, const GuestMemory& memory, Chain& chain) {
  DVM_TRY(check_geometry(queue));
  DVM_ASSIGN(u16 waiting, available(queue, memory));
  if (waiting == 0 && queue.event_idx != 0) {
    DVM_ASSIGN(waiting, rearm(queue, memory));
  }
  if (waiting == 0) return false;
  const u32 slot = queue.last_avail & (queue.size - 1u);
  DVM_ASSIGN(const u16 head, memory.load<u16>(ring::avail_head(queue.avail, slot)));
  DVM_TRY(queue_chain(queue, memory, head, chain));
  queue.last_avail++;
  return true;
}

Status queue_push_used(QueueState& queue, const GuestMemory& memory, u16 head, u32 bytes_written) {
  DVM_TRY(check_geometry(queue));
  const u32 slot = queue.used_idx & (queue.size - 1u);
  DVM_TRY(
      memory.store(ring::used_element(queue.used, slot), ring::UsedElement{head, bytes_written}));
  queue.used_idx++;
  return {};
}

Status queue_republish_used(QueueState& queue, const GuestMemory& memory) {
  DVM_TRY(memory.store_release<u16>(ring::used_idx(queue.used), queue.used_idx));
  queue.published_used = queue.used_idx;
  return {};
}

Result<bool> queue_flush_used(QueueState& queue, const GuestMemory& memory) {
  DVM_TRY(check_geometry(queue));
  const u16 told = queue.published_used;
  if (told == queue.used_idx) return false;
  DVM_TRY(queue_republish_used(queue, memory));
  return queue_wants_interrupt(queue, memory, told);
}

Result<bool> queue_wants_interrupt(const QueueState& queue, const GuestMemory& memory, u16 told) {
  const u16 fresh = distance(told, queue.published_used);
  if (fresh == 0) return false;
  _mm_mfence();  // the index before the driver's wish: it sets the wish before it looks at the
                 // index
  if (queue.event_idx == 0) {
    DVM_ASSIGN(const u16 flags, memory.load_acquire<u16>(ring::avail_flags(queue.avail)));
    return (flags & ring::kAvailNoInterrupt) == 0;
  }
  // Wanted once the entry at used_event is filled, which is one of the fresh ones (§2.7.7.2).
  DVM_ASSIGN(const u16 event,
             memory.load_acquire<u16>(ring::avail_used_event(queue.avail, queue.size)));
  const u16 past = distance(event, queue.published_used);
  return past != 0 && past <= fresh;
}

}  // namespace dvm::vmm
