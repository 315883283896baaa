// All state of one virtio-pci function. It lives in the pool: plain bytes, no pointers.
#pragma once

#include <array>
#include <type_traits>

#include "vmm/pci/config_space.h"
#include "vmm/pci/msix.h"
#include "vmm/virtio/queue.h"

namespace dvm::vmm {

inline constexpr u16 kMaxVirtioQueues = 17;  // a network device of 8 pairs, and its control queue
static_assert(kMaxVirtioQueues + 1 <= kMsixMaxVectors);
inline constexpr u32 kMaxDeviceConfig = 96;

struct VirtioPciState {
  ConfigSpace pci;
  MsixState msix;
  std::array<QueueSetup, kMaxVirtioQueues> queues;
  std::array<u8, kMaxDeviceConfig> device_config;  // as the driver reads it (virtio 1.2 §2.5)
  u64 offered_features;
  u64 driver_features;
  u32 device_feature_select;
  u32 driver_feature_select;
  u32 generation;  // counts resets: what a queue's cell holds from before one is void
  u16 queue_select;
  u16 config_vector;
  u16 queue_count;
  u8 status;
  u8 config_generation;
  u8 isr;
  u8 device_config_bytes;
  u8 config_writable_begin;  // [begin, end) of device_config is for the driver to write
  u8 config_writable_end;
  u8 msix_capability;  // offsets in the config space
  u8 access_capability;
  // A reset is over only when nothing is in flight any more: until then the status keeps its value,
  // for which a driver waits (virtio 1.2 §2.4.2), and no chain is taken.
  u8 reset_pending;
  std::array<u8, 5> reserved;
};
static_assert(sizeof(VirtioPciState) == 1456);
static_assert(std::is_trivially_copyable_v<VirtioPciState> &&
              std::is_standard_layout_v<VirtioPciState>);

}  // namespace dvm::vmm
