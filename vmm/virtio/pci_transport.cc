#include "vmm/virtio/pci_transport.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstring>

#include "vmm/pci/config_registers.h"
#include "vmm/virtio/common_config.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {
namespace {

using virtio::CapabilityType;
using virtio::PciCapability;

constexpr u64 kRegionBytes = kPageBytes;
enum class Region : u32 { common, isr, device, notify, msix_table, msix_pba };

constexpr u32 region_offset(Region region) {
  return static_cast<u32>(static_cast<u32>(region) * kRegionBytes);
}
static_assert(region_offset(Region::notify) == kVirtioNotifyOffset);
static_assert(region_offset(Region::msix_pba) + kRegionBytes <= kVirtioBarBytes);

u8 add_virtio_capability(ConfigSpace& config, CapabilityType type, u32 offset, u32 length,
                         std::optional<u32> word = std::nullopt) {
  PciCapability capability{};
  capability.cap_len = word ? virtio::kCapabilityWithWordBytes : virtio::kCapabilityBytes;
  capability.type = type;
  capability.bar = static_cast<u8>(kVirtioBar);
  capability.offset = offset;
  capability.length = length;
  capability.word = word.value_or(0);
  std::array<u8, sizeof(capability)> bytes;
  std::memcpy(bytes.data(), &capability, sizeof(capability));
  // Id and next pointer are the config space's business.
  return add_capability(config, pci::kCapabilityVendor,
                        std::span(bytes).subspan(2, capability.cap_len - 2u));
}

void add_capabilities(VirtioPciState& state) {
  ConfigSpace& config = state.pci;
  const u16 queues = state.queue_count;
  add_virtio_capability(config, CapabilityType::common, region_offset(Region::common),
                        sizeof(virtio::CommonConfig));
  add_virtio_capability(config, CapabilityType::notify, region_offset(Region::notify),
                        kVirtioNotifyMultiplier * queues, kVirtioNotifyMultiplier);
  add_virtio_capability(config, CapabilityType::isr, region_offset(Region::isr), 1);
  if (state.device_config_bytes != 0) {
    add_virtio_capability(config, CapabilityType::device, region_offset(Region::device),
                          state.device_config_bytes);
  }
  state.access_capability = add_virtio_capability(config, CapabilityType::pci_access, 0, 0, 0);
  const auto writable = [&](u64 field, u32 mask) {
    make_writable(config, static_cast<u8>(state.access_capability + field), mask);
  };
  writable(offsetof(PciCapability, bar), 0xff);  // §4.1.4.9: for the driver to set
  writable(offsetof(PciCapability, offset), ~0u);
  writable(offsetof(PciCapability, length), ~0u);
  writable(offsetof(PciCapability, word), ~0u);
  state.msix_capability =
      add_msix_capability(config, state.msix.vectors, kVirtioBar, region_offset(Region::msix_table),
                          region_offset(Region::msix_pba));
}

constexpr bool is_size(u8 size) { return size == 1 || size == 2 || size == 4 || size == 8; }

// What lies at [offset, offset + size); zero behind the end.
u64 bytes_at(std::span<const u8> bytes, u64 offset, u8 size) {
  u64 value = 0;
  if (offset < bytes.size()) {
    std::memcpy(&value, bytes.data() + offset, std::min<u64>(size, bytes.size() - offset));
  }
  return value;
}

u64 read_common(const VirtioPciState& state, u64 offset, u8 size) {
  const virtio::CommonConfig config = virtio_common_config(state);
  return bytes_at({reinterpret_cast<const u8*>(&config), sizeof(config)}, offset, size);
}

std::span<const u8> device_config(const VirtioPciState& state) {
  return std::span(state.device_config)
      .first(std::min<u64>(state.device_config_bytes, kMaxDeviceConfig));
}

bool write_device_config(VirtioPciState& state, u64 offset, u8 size, u64 value) {
  bool written = false;
  for (u64 at = offset; at < offset + size; at++, value >>= 8) {
    if (at < state.config_writable_begin || at >= state.config_writable_end) continue;
    state.device_config[at] = static_cast<u8>(value);
    written = true;
  }
  return written;
}

// Only a live queue is served.
std::optional<u16> notified_queue(const VirtioPciState& state, u64 offset) {
  const auto queue = virtio_notified_queue(offset);
  return queue && virtio_queue_live(state, *queue) ? queue : std::nullopt;
}

// An access through the configuration space (§4.1.4.9): `size` bytes at `offset` of `bar`.
struct IndirectAccess {
  u32 bar;
  u32 offset;
  u8 size;
};

bool touches_access_data(const VirtioPciState& state, u16 offset, u8 size) {
  const u32 data = state.access_capability + u32{offsetof(PciCapability, word)};
  return offset < data + 4 && u32{offset} + size > data;
}

u32 access_field(const VirtioPciState& state, u64 field) {
  return config_read(state.pci, static_cast<u16>(state.access_capability + field), 4);
}

std::optional<IndirectAccess> indirect_access(const VirtioPciState& state) {
  const u32 length = access_field(state, offsetof(PciCapability, length));
  const u32 offset = access_field(state, offsetof(PciCapability, offset));
  if ((length != 1 && length != 2 && length != 4) || offset % length != 0) return std::nullopt;
  const u32 bar = access_field(state, offsetof(PciCapability, bar)) & 0xff;
  return IndirectAccess{bar, offset, static_cast<u8>(length)};
}

}  // namespace

VirtioPciState make_virtio_pci(const VirtioDeviceSpec& spec) {
  assert(!spec.queue_sizes.empty() && spec.queue_sizes.size() <= kMaxVirtioQueues);
  assert(spec.config.size() <= kMaxDeviceConfig && spec.config_writable_end <= spec.config.size());
  VirtioPciState state{};
  const u16 device = static_cast<u16>(virtio::kPciDeviceBase + static_cast<u16>(spec.id));
  state.pci = make_config_space({.vendor = virtio::kPciVendor,
                                 .device = device,
                                 .class_code = spec.class_code,
                                 .revision = virtio::kPciRevision,
                                 .subsystem_vendor = virtio::kPciVendor,
                                 .subsystem = virtio::kPciSubsystem});
  state.queue_count = static_cast<u16>(spec.queue_sizes.size());
  for (u16 q = 0; q < state.queue_count; q++) {
    assert(std::has_single_bit(spec.queue_sizes[q]) && spec.queue_sizes[q] <= kMaxQueueSize);
    state.queues[q] = make_queue_setup(spec.queue_sizes[q]);
  }
  state.msix = make_msix(static_cast<u16>(state.queue_count + 1));  // one more for configuration
  state.offered_features = spec.features | virtio::kCommonFeatures;
  state.device_config_bytes = static_cast<u8>(spec.config.size());
  state.config_writable_begin = spec.config_writable_begin;
  state.config_writable_end = spec.config_writable_end;
  std::copy(spec.config.begin(), spec.config.end(), state.device_config.begin());
  add_bar(state.pci, kVirtioBar, BarKind::mem32, kVirtioBarBytes);
  set_interrupt_pin(state.pci, 1);
  add_capabilities(state);
  virtio_reset(state);
  return state;
}

void virtio_assign_bars(VirtioPciState& state, u64 base) {
  assert(is_aligned(base, kVirtioBarBytes) && base < 4 * kGiB);
  set_bar_base(state.pci, kVirtioBar, base);
  set_command(state.pci, pci::kCommandMemory);
}

std::optional<u16> virtio_notified_queue(u64 offset) {
  if (offset / kRegionBytes != static_cast<u64>(Region::notify)) return std::nullopt;
  const u64 at = offset % kRegionBytes;
  if (at % kVirtioNotifyMultiplier != 0) return std::nullopt;
  return static_cast<u16>(at / kVirtioNotifyMultiplier);
}

u64 virtio_doorbell(u16 queue) {
  return kVirtioNotifyOffset + u64{queue} * kVirtioNotifyMultiplier;
}

u64 virtio_bar_read(VirtioPciState& state, u32 bar, u64 offset, u8 size) {
  if (bar != kVirtioBar || offset >= kVirtioBarBytes || !is_size(size)) return 0;
  const u64 at = offset % kRegionBytes;
  switch (static_cast<Region>(offset / kRegionBytes)) {
    case Region::common: return read_common(state, at, size);
    case Region::isr: return at == 0 ? virtio_read_isr(state) : 0;
    case Region::device: return bytes_at(device_config(state), at, size);
    case Region::notify: return 0;
    case Region::msix_table: return msix_table_read(state.msix, at, size);
    case Region::msix_pba: return msix_pba_read(state.msix, at, size);
  }
  return 0;
}

BarWriteResult virtio_bar_write(VirtioPciState& state, u32 bar, u64 offset, u8 size, u64 value,
                                Effects& effects) {
  BarWriteResult result;
  if (bar != kVirtioBar || offset >= kVirtioBarBytes || !is_size(size)) return result;
  const u64 at = offset % kRegionBytes;
  switch (static_cast<Region>(offset / kRegionBytes)) {
    case Region::common: result.reset = virtio_common_write(state, at, size, value); break;
    case Region::device: result.config_written = write_device_config(state, at, size, value); break;
    case Region::notify: result.notified = notified_queue(state, offset); break;
    case Region::msix_table: msix_table_write(state.msix, at, size, value, effects); break;
    case Region::isr:
    case Region::msix_pba: break;  // read-only
  }
  return result;
}

u32 virtio_config_read(VirtioPciState& state, u16 offset, u8 size) {
  if (touches_access_data(state, offset, size)) {
    if (const auto access = indirect_access(state)) {
      const u64 value = virtio_bar_read(state, access->bar, access->offset, access->size);
      const u16 data = static_cast<u16>(state.access_capability + offsetof(PciCapability, word));
      config_write(state.pci, data, access->size, static_cast<u32>(value));
    }
  }
  return config_read(state.pci, offset, size);
}

BarWriteResult virtio_config_write(VirtioPciState& state, u16 offset, u8 size, u32 value,
                                   Effects& effects) {
  config_write(state.pci, offset, size, value);
  virtio_sync_pci_control(state, effects);
  if (!touches_access_data(state, offset, size)) return {};
  const auto access = indirect_access(state);
  if (!access) return {};
  return virtio_bar_write(state, access->bar, access->offset, access->size,
                          access_field(state, offsetof(PciCapability, word)), effects);
}

}  // namespace dvm::vmm
