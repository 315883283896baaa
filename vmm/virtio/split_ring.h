// The split virtqueue as it lies in guest memory (virtio 1.2 §2.7). All fields little-endian.
#pragma once

#include "fabric/types.h"

namespace dvm::vmm::ring {

// virtio 1.2 §2.7.5
struct Descriptor {
  u64 gpa;
  u32 bytes;
  u16 flags;
  u16 next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr u16 kDescriptorNext = 1u << 0;
inline constexpr u16 kDescriptorWrite = 1u << 1;  // for the device to write
inline constexpr u16 kDescriptorIndirect = 1u << 2;

// virtio 1.2 §2.7.8
struct UsedElement {
  u32 head;
  u32 bytes_written;
};
static_assert(sizeof(UsedElement) == 8);

// Available ring (§2.7.6): u16 flags, u16 idx, u16 heads[size], u16 used_event.
inline constexpr u16 kAvailNoInterrupt = 1u << 0;
constexpr u64 avail_flags(u64 avail) { return avail; }
constexpr u64 avail_idx(u64 avail) { return avail + 2; }
constexpr u64 avail_head(u64 avail, u32 slot) { return avail + 4 + u64{2} * slot; }
constexpr u64 avail_used_event(u64 avail, u32 size) { return avail_head(avail, size); }

// Used ring (§2.7.8): u16 flags, u16 idx, UsedElement elements[size], u16 avail_event.
constexpr u64 used_idx(u64 used) { return used + 2; }
constexpr u64 used_element(u64 used, u32 slot) {
  return used + 4 + u64{sizeof(UsedElement)} * slot;
}
constexpr u64 used_avail_event(u64 used, u32 size) { return used_element(used, size); }

// Alignment (§2.7).
inline constexpr u64 kDescriptorAlignment = 16;
inline constexpr u64 kAvailAlignment = 2;
inline constexpr u64 kUsedAlignment = 4;

}  // namespace dvm::vmm::ring
