// Virtio's status and feature bits, and its structures on PCI (virtio 1.2 §2.1, §4.1.4, §6).
#pragma once

#include "fabric/types.h"

namespace dvm::vmm::virtio {

// Device status (virtio 1.2 §2.1).
inline constexpr u8 kStatusAcknowledge = 1;
inline constexpr u8 kStatusDriver = 2;
inline constexpr u8 kStatusDriverOk = 4;
inline constexpr u8 kStatusFeaturesOk = 8;
inline constexpr u8 kStatusNeedsReset = 64;  // set by the device alone
inline constexpr u8 kStatusFailed = 128;
inline constexpr u8 kStatusByDriver =
    kStatusAcknowledge | kStatusDriver | kStatusDriverOk | kStatusFeaturesOk | kStatusFailed;

// Feature bits every device here offers (virtio 1.2 §6).
inline constexpr u64 kFeatureIndirect = u64{1} << 28;
inline constexpr u64 kFeatureEventIdx = u64{1} << 29;
inline constexpr u64 kFeatureVersion1 = u64{1} << 32;
inline constexpr u64 kCommonFeatures = kFeatureIndirect | kFeatureEventIdx | kFeatureVersion1;

// ISR status (virtio 1.2 §4.1.4.5).
inline constexpr u8 kIsrQueue = 1;
inline constexpr u8 kIsrConfig = 2;

// PCI identity (virtio 1.2 §4.1.2).
inline constexpr u16 kPciVendor = 0x1af4;
inline constexpr u16 kPciDeviceBase = 0x1040;  // plus the virtio device id
inline constexpr u8 kPciRevision = 1;          // not transitional
inline constexpr u16 kPciSubsystem = 0x1100;   // QEMU's; at least 0x40 (§4.1.2.1)

enum class DeviceId : u16 { net = 1, block = 2, console = 3, rng = 4, balloon = 5 };

// Virtio structure PCI capabilities (virtio 1.2 §4.1.4).
enum class CapabilityType : u8 { common = 1, notify = 2, isr = 3, device = 4, pci_access = 5 };
// virtio_pci_cap, with the word that follows it in some types.
struct PciCapability {
  u8 vendor;
  u8 next;
  u8 cap_len;
  CapabilityType type;
  u8 bar;
  u8 id;
  u16 padding;
  u32 offset;
  u32 length;
  u32 word;  // notify: the multiplier; pci_access: the data
};
static_assert(sizeof(PciCapability) == 20);
inline constexpr u8 kCapabilityBytes = 16;
inline constexpr u8 kCapabilityWithWordBytes = 20;

// virtio_pci_common_cfg (virtio 1.2 §4.1.4.3). The queue fields are those of the selected queue.
struct CommonConfig {
  u32 device_feature_select;
  u32 device_feature;
  u32 driver_feature_select;
  u32 driver_feature;
  u16 config_msix_vector;
  u16 num_queues;
  u8 device_status;
  u8 config_generation;
  u16 queue_select;
  u16 queue_size;
  u16 queue_msix_vector;
  u16 queue_enable;
  u16 queue_notify_off;
  u64 queue_desc;
  u64 queue_driver;       // the available ring
  u64 queue_device;       // the used ring
  u16 queue_notify_data;  // these two: features that are not offered
  u16 queue_reset;
  u32 reserved;
};
static_assert(sizeof(CommonConfig) == 64);

}  // namespace dvm::vmm::virtio
