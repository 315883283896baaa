// Virtio over PCI, modern only (virtio 1.2 §4.1): configuration space, capabilities and the one BAR
// in which everything lies. A device is made of this state, its device configuration bytes and a
// function that serves its queues (device.h); block, net, console and balloon differ in these only.
//
// Each function here is one device step, or part of one: the machine copies the state aside, calls
// it, publishes the copy by one store and then carries out the Effects. None touches guest memory.
//
// BAR 0, 32-bit memory. A page each, so that a page can be watched or mapped on its own:
//   0x0000 common configuration   0x1000 ISR status   0x2000 device configuration
//   0x3000 notification           0x4000 MSI-X table  0x5000 MSI-X pending bits
#pragma once

#include <optional>
#include <span>

#include "vmm/effects.h"
#include "vmm/virtio/pci_state.h"
#include "vmm/virtio/registers.h"

namespace dvm::vmm {

inline constexpr u32 kVirtioBar = 0;
inline constexpr u64 kVirtioBarBytes = 32 * kKiB;
inline constexpr u64 kVirtioNotifyOffset = 0x3000;
inline constexpr u32 kVirtioNotifyMultiplier = 4;  // queue q: kVirtioNotifyOffset + 4 * q

struct VirtioDeviceSpec {
  virtio::DeviceId id;
  u32 class_code;
  u64 features;                      // the device's own; kCommonFeatures are added
  std::span<const u16> queue_sizes;  // a power of two up to kMaxQueueSize for each queue
  std::span<const u8> config = {};   // device configuration at reset
  u8 config_writable_begin = 0;      // [begin, end): what the driver may write
  u8 config_writable_end = 0;
};
VirtioPciState make_virtio_pci(const VirtioDeviceSpec& spec);

// For a boot without firmware: gives the BAR an address, a multiple of kVirtioBarBytes below 4 GiB,
// and enables memory decoding. Bus mastership is the driver's to take.
void virtio_assign_bars(VirtioPciState& state, u64 base);

// What a write asks of the device beyond its registers.
struct BarWriteResult {
  std::optional<u16> notified;  // this queue has work: serve it now
  bool reset = false;  // the driver asks for a reset: virtio_reset once nothing is in flight
  bool config_written = false;  // the driver changed device configuration bytes
};

// The queue that a write at this offset of the BAR notifies, if it is one that does: told by the
// address; the value says the same (virtio 1.2 §4.1.5.2). There may be no such queue.
std::optional<u16> virtio_notified_queue(u64 offset);
// Its inverse.
u64 virtio_doorbell(u16 queue);

// Accesses to the BAR, by offset within it. Anything not there reads as zero and ignores writes.
// Reading may change the state (ISR).
u64 virtio_bar_read(VirtioPciState& state, u32 bar, u64 offset, u8 size);
BarWriteResult virtio_bar_write(VirtioPciState& state, u32 bar, u64 offset, u8 size, u64 value,
                                Effects& effects);

// Accesses to the configuration space. Not config_read and config_write: the PCI configuration
// access capability reaches into the BAR from here (virtio 1.2 §4.1.4.9), and MSI-X control takes
// effect.
u32 virtio_config_read(VirtioPciState& state, u16 offset, u8 size);
BarWriteResult virtio_config_write(VirtioPciState& state, u16 offset, u8 size, u32 value,
                                   Effects& effects);

}  // namespace dvm::vmm
