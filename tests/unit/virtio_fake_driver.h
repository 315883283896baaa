// A guest for tests: some RAM, a driver's side of one split virtqueue, and a virtio-pci driver that
// finds its way by the capabilities alone.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <vector>

#include "hyperkernel/guest_memory.h"
#include "vmm/pci/config_registers.h"
#include "vmm/virtio/common_config.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/interrupts.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/split_ring.h"

namespace dvm::vmm::testing {

inline constexpr u64 kRamBase = 0x10'0000;
inline constexpr u64 kRamBytes = 0x4'0000;
inline constexpr u64 kDesc = kRamBase;
inline constexpr u64 kAvail = kRamBase + 0x2000;
inline constexpr u64 kUsed = kRamBase + 0x3000;
inline constexpr u64 kIndirect = kRamBase + 0x4000;
inline constexpr u64 kBuffers = kRamBase + 0x1'0000;

struct FakeGuest {
  std::vector<std::byte> ram = std::vector<std::byte>(kRamBytes);
  hyperkernel::GuestMemory memory{{{kRamBase, kRamBytes, ram.data()}}};

  template <typename T>
  void store(u64 gpa, T value) {
    ASSERT_TRUE(memory.store(gpa, value).ok());
  }
  template <typename T>
  T load(u64 gpa) const {
    return memory.load<T>(gpa).value();
  }
};

// The driver's side of a queue at kDesc, kAvail, kUsed.
class FakeRing {
 public:
  FakeRing(FakeGuest& guest, u16 size) : guest_(guest), size_(size) {}

  void descriptor(u32 index, u64 gpa, u32 bytes, u16 flags = 0, u16 next = 0) {
    guest_.store(kDesc + 16 * index, ring::Descriptor{gpa, bytes, flags, next});
  }
  void indirect(u32 index, u64 gpa, u32 bytes, u16 flags = 0, u16 next = 0) {
    guest_.store(kIndirect + 16 * index, ring::Descriptor{gpa, bytes, flags, next});
  }
  void offer(u16 head) {
    guest_.store<u16>(ring::avail_head(kAvail, idx_ % size_), head);
    set_avail_idx(static_cast<u16>(idx_ + 1));
  }
  void set_avail_idx(u16 idx) { guest_.store<u16>(ring::avail_idx(kAvail), idx_ = idx); }
  void set_flags(u16 flags) { guest_.store<u16>(kAvail, flags); }
  void set_used_event(u16 at) { guest_.store<u16>(ring::avail_used_event(kAvail, size_), at); }
  u16 avail_event() const { return guest_.load<u16>(ring::used_avail_event(kUsed, size_)); }
  u16 used_idx() const { return guest_.load<u16>(ring::used_idx(kUsed)); }
  ring::UsedElement used(u32 n) const {
    return guest_.load<ring::UsedElement>(ring::used_element(kUsed, n % size_));
  }

 private:
  FakeGuest& guest_;
  u16 size_;
  u16 idx_ = 0;
};

// Talks to a function as a driver does.
class FakePciDriver {
 public:
  explicit FakePciDriver(VirtioPciState& state) : state_(state) {
    write_config(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster);
    u16 at = static_cast<u16>(read_config(pci::kCapabilities, 1));
    for (int i = 0; at != 0 && i < 48; i++) {
      const u32 id = read_config(at, 1);
      if (id == pci::kCapabilityMsix) msix_ = at;
      if (id == pci::kCapabilityVendor) {
        capabilities_[read_config(static_cast<u16>(at + 3), 1)] = at;
      }
      at = static_cast<u16>(read_config(static_cast<u16>(at + 1), 1));
    }
  }

  u32 read_config(u16 offset, u8 size) { return virtio_config_read(state_, offset, size); }
  BarWriteResult write_config(u16 offset, u8 size, u32 value) {
    return settle(virtio_config_write(state_, offset, size, value, effects));
  }
  u16 capability(virtio::CapabilityType type) { return capabilities_[static_cast<u32>(type)]; }
  u16 msix_capability() const { return msix_; }
  u64 region(virtio::CapabilityType type) {
    return read_config(static_cast<u16>(capability(type) + 8), 4);
  }

  u64 read_common(u64 field, u8 size) {
    return virtio_bar_read(state_, 0, region(virtio::CapabilityType::common) + field, size);
  }
  BarWriteResult write_common(u64 field, u8 size, u64 value) {
    return settle(virtio_bar_write(state_, 0, region(virtio::CapabilityType::common) + field, size,
                                   value, effects));
  }
  u8 status() {
    return static_cast<u8>(read_common(offsetof(virtio::CommonConfig, device_status), 1));
  }
  void add_status(u8 bits) {
    write_common(offsetof(virtio::CommonConfig, device_status), 1, status() | bits);
  }
  u64 offered_features() {
    u64 features = 0;
    for (u32 word = 0; word < 2; word++) {
      write_common(offsetof(virtio::CommonConfig, device_feature_select), 4, word);
      features |= read_common(offsetof(virtio::CommonConfig, device_feature), 4) << (32 * word);
    }
    return features;
  }
  void accept_features(u64 features) {
    for (u32 word = 0; word < 2; word++) {
      write_common(offsetof(virtio::CommonConfig, driver_feature_select), 4, word);
      write_common(offsetof(virtio::CommonConfig, driver_feature), 4,
                   (features >> (32 * word)) & ~0u);
    }
  }
  // Up to FEATURES_OK; true if the device agreed (virtio 1.2 §3.1.1).
  bool negotiate(u64 features) {
    write_common(offsetof(virtio::CommonConfig, device_status), 1, 0);
    add_status(virtio::kStatusAcknowledge);
    add_status(virtio::kStatusDriver);
    accept_features(features);
    add_status(virtio::kStatusFeaturesOk);
    return (status() & virtio::kStatusFeaturesOk) != 0;
  }
  void enable_queue(u16 queue, u16 size, u16 vector = kNoVector) {
    write_common(offsetof(virtio::CommonConfig, queue_select), 2, queue);
    write_common(offsetof(virtio::CommonConfig, queue_size), 2, size);
    write_common(offsetof(virtio::CommonConfig, queue_msix_vector), 2, vector);
    write_common(offsetof(virtio::CommonConfig, queue_desc), 4, kDesc);
    write_common(offsetof(virtio::CommonConfig, queue_desc) + 4, 4, 0);
    write_common(offsetof(virtio::CommonConfig, queue_driver), 4, kAvail);
    write_common(offsetof(virtio::CommonConfig, queue_device), 4, kUsed);
    write_common(offsetof(virtio::CommonConfig, queue_enable), 2, 1);
  }
  void enable_msix(u16 vector, u64 address, u32 data) {
    write_config(static_cast<u16>(msix_ + 2), 2, kMsixControlEnable);
    const u64 table = read_config(static_cast<u16>(msix_ + 4), 4) & ~7u;
    virtio_bar_write(state_, 0, table + 16u * vector, 8, address, effects);
    virtio_bar_write(state_, 0, table + 16u * vector + 8, 8, data, effects);
  }
  BarWriteResult notify(u16 queue) {
    const u16 at = capability(virtio::CapabilityType::notify);
    const u64 multiplier = read_config(static_cast<u16>(at + 16), 4);
    return virtio_bar_write(state_, 0, region(virtio::CapabilityType::notify) + queue * multiplier,
                            2, queue, effects);
  }
  u8 read_isr() {
    return static_cast<u8>(virtio_bar_read(state_, 0, region(virtio::CapabilityType::isr), 1));
  }

  // Nothing is in flight here: a reset is over at once.
  BarWriteResult settle(BarWriteResult result) {
    if (state_.reset_pending != 0) virtio_reset(state_);
    return result;
  }

  Effects effects;

 private:
  VirtioPciState& state_;
  std::map<u32, u16> capabilities_;
  u16 msix_ = 0;
};

// What the machine does to serve a queue, without locks and publications in between.
class FakeService {
 public:
  explicit FakeService(VirtioPciState& registers, u16 queue = 0)
      : registers_(registers), queue_(queue) {}

  template <typename Process>
  void serve(const hyperkernel::GuestMemory& memory, Effects& effects, bool again,
             Process&& process) {
    const auto live = virtio_live_queue(registers_, queue_);
    if (!live) return;
    virtio_adopt(state, *live);
    bool wanted = again;
    Status good = again ? queue_republish_used(state, memory) : Status{};
    if (good.ok()) good = process(state);
    const auto flushed = queue_flush_used(state, memory);
    if (flushed.ok()) wanted |= *flushed;
    if (wanted) virtio_raise_queue_interrupt(registers_, queue_, effects);
    if (!good.ok() || !flushed.ok()) virtio_fail(registers_, effects);
  }

  QueueState state{};

 private:
  VirtioPciState& registers_;
  u16 queue_;
};

}  // namespace dvm::vmm::testing
