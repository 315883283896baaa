// A driver of one virtio function of a whole machine: it goes by the bus, and its rings lie in
// guest memory.
#pragma once

#include <fcntl.h>

#include <memory>
#include <string>

#include "tests/unit/machine_fixture.h"
#include "vmm/node_disk.h"
#include "vmm/pci/config_registers.h"
#include "vmm/virtio/registers.h"
#include "vmm/virtio/split_ring.h"

namespace dvm::vmm::testing {

class MachineDriver {
 public:
  static constexpr u16 kSize = 16;

  MachineDriver(Machine& machine, u32 function)
      : machine_(machine), cpu_(machine), function_(function) {}

  // Up to DRIVER_OK, with `queues` queues of kSize.
  void start(u64 features, u16 queues) {
    using C = virtio::CommonConfig;
    cpu_.mmio_write(layout::kEcamBase + (u64{function_slot(function_)} << 15) + pci::kCommand, 2,
                    pci::kCommandMemory | pci::kCommandBusMaster);
    for (const u32 status : {0u, 1u, 3u}) bar(offsetof(C, device_status), 1, status);
    features |= virtio::kFeatureVersion1;
    for (u32 word = 0; word < 2; ++word) {
      bar(offsetof(C, driver_feature_select), 4, word);
      bar(offsetof(C, driver_feature), 4, features >> (32 * word) & 0xffff'ffff);
    }
    bar(offsetof(C, device_status), 1, 11);
    for (u16 q = 0; q < queues; ++q) {
      bar(offsetof(C, queue_select), 2, q);
      bar(offsetof(C, queue_size), 2, kSize);
      bar(offsetof(C, queue_desc), 8, area(q));
      bar(offsetof(C, queue_driver), 8, area(q) + 0x400);
      bar(offsetof(C, queue_device), 8, area(q) + 0x800);
      bar(offsetof(C, queue_enable), 2, 1);
      next_[q] = 0;
    }
    bar(offsetof(C, device_status), 1, 15);
  }

  struct Piece {
    u64 gpa;
    u32 bytes;
    bool writable;
  };
  // Offers one chain and notifies. Its descriptors begin at index `first`.
  void offer(u16 queue, const std::vector<Piece>& pieces, u16 first = 0, bool notify = true) {
    for (u16 i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1u == pieces.size();
      const u16 flags = static_cast<u16>((pieces[i].writable ? ring::kDescriptorWrite : 0) |
                                         (last ? 0 : ring::kDescriptorNext));
      store(area(queue) + 16 * (first + i), ring::Descriptor{pieces[i].gpa, pieces[i].bytes, flags,
                                                             static_cast<u16>(first + i + 1)});
    }
    const u64 avail = area(queue) + 0x400;
    store<u16>(ring::avail_head(avail, next_[queue] % kSize), first);
    ASSERT_TRUE(machine_.memory().store_release<u16>(ring::avail_idx(avail), ++next_[queue]).ok());
    if (notify) ring(queue);
  }
  void ring(u16 queue) { bar(kVirtioNotifyOffset + kVirtioNotifyMultiplier * queue, 2, queue); }
  // Of which available entry the driver was last asked to notify.
  u16 avail_event(u16 queue) const {
    return machine_.memory().load<u16>(ring::used_avail_event(area(queue) + 0x800, kSize)).value();
  }
  u16 used(u16 queue) const {
    return machine_.memory().load_acquire<u16>(ring::used_idx(area(queue) + 0x800)).value();
  }
  u32 used_bytes(u16 queue, u16 n) const { return used_element(queue, n).bytes_written; }
  u32 used_head(u16 queue, u16 n) const { return used_element(queue, n).head; }
  void reset() { bar(offsetof(virtio::CommonConfig, device_status), 1, 0); }
  u64 config(u32 offset, u32 size) { return cpu_.mmio_read(base() + 0x2000 + offset, size); }
  void write_config(u32 offset, u32 size, u64 value) { bar(0x2000 + offset, size, value); }
  u8 status() {
    return static_cast<u8>(
        cpu_.mmio_read(base() + offsetof(virtio::CommonConfig, device_status), 1));
  }

  template <typename T>
  void store(u64 gpa, const T& value) {
    ASSERT_TRUE(machine_.memory().store(gpa, value).ok());
  }

 private:
  ring::UsedElement used_element(u16 queue, u16 n) const {
    return machine_.memory()
        .load<ring::UsedElement>(ring::used_element(area(queue) + 0x800, n % kSize))
        .value();
  }
  static u64 area(u16 queue) { return 0x10'0000 + u64{queue} * 0x1000; }
  u64 base() const { return layout::kPciMmioBase + function_ * kVirtioBarBytes; }
  void bar(u64 offset, u32 size, u64 value) { cpu_.mmio_write(base() + offset, size, value); }

  Machine& machine_;
  FakeExits cpu_;
  u32 function_;
  std::array<u16, kMaxVirtioQueues> next_{};
};

// Disk `function` of that machine in this process, of an image of so many bytes.
inline std::unique_ptr<NodeDisk> open_node_disk(Machine& machine, u32 function,
                                                const std::string& path, u64 bytes) {
  DiskSource source;
  source.function = function;
  source.spec.path = path;
  source.spec.discard = true;
  source.geometry.bytes = bytes;
  source.geometry.discard = source.geometry.write_zeroes = true;
  source.file = Fd::open(path, O_RDWR).take();
  auto disk = NodeDisk::open(machine, std::move(source));
  EXPECT_TRUE(disk.ok()) << disk.error().message;
  return disk.ok() ? disk.take() : nullptr;
}

}  // namespace dvm::vmm::testing
