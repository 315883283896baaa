// The network device's features, configuration, packet header and control commands as they lie in
// guest memory (virtio 1.2 §5.1). All fields little-endian.
#pragma once

#include <array>

#include "fabric/types.h"

namespace dvm::vmm::net {

// Feature bits (§5.1.3).
inline constexpr u64 kFeatureCsum = u64{1} << 0;       // the device finishes checksums
inline constexpr u64 kFeatureGuestCsum = u64{1} << 1;  // the driver takes unfinished ones
inline constexpr u64 kFeatureMtu = u64{1} << 3;
inline constexpr u64 kFeatureMac = u64{1} << 5;
inline constexpr u64 kFeatureGuestTso4 = u64{1} << 7;
inline constexpr u64 kFeatureGuestTso6 = u64{1} << 8;
inline constexpr u64 kFeatureGuestEcn = u64{1} << 9;
inline constexpr u64 kFeatureHostTso4 = u64{1} << 11;
inline constexpr u64 kFeatureHostTso6 = u64{1} << 12;
inline constexpr u64 kFeatureHostEcn = u64{1} << 13;
inline constexpr u64 kFeatureMergeable = u64{1} << 15;
inline constexpr u64 kFeatureStatus = u64{1} << 16;
inline constexpr u64 kFeatureControlQueue = u64{1} << 17;
inline constexpr u64 kFeatureControlRx = u64{1} << 18;
inline constexpr u64 kFeatureControlRxExtra = u64{1} << 20;
inline constexpr u64 kFeatureMultiqueue = u64{1} << 22;
inline constexpr u64 kFeatureControlMac = u64{1} << 23;

using MacAddress = std::array<u8, 6>;
inline constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr bool is_multicast(const MacAddress& mac) { return (mac[0] & 1) != 0; }

// struct virtio_net_config up to what is offered (§5.1.4).
struct Config {
  MacAddress mac;
  u16 status;
  u16 max_virtqueue_pairs;
  u16 mtu;
};
static_assert(sizeof(Config) == 12);
inline constexpr u16 kStatusLinkUp = 1;

// struct virtio_net_hdr, always with num_buffers since version 1 (§5.1.6).
struct Header {
  u8 flags;
  u8 gso_type;
  u16 hdr_len;
  u16 gso_size;
  u16 csum_start;
  u16 csum_offset;
  u16 num_buffers;  // 1 when transmitting and without kFeatureMergeable
};
static_assert(sizeof(Header) == 12);
inline constexpr u8 kHeaderNeedsCsum = 1;
inline constexpr u8 kHeaderDataValid = 2;
inline constexpr u8 kGsoNone = 0;
inline constexpr u8 kGsoTcp4 = 1;
inline constexpr u8 kGsoTcp6 = 4;
inline constexpr u8 kGsoEcn = 0x80;  // together with one of the two

// Control commands (§5.1.6.5): {class u8, command u8, data, ack u8}.
inline constexpr u8 kAckOk = 0;
inline constexpr u8 kAckError = 1;
inline constexpr u8 kClassRx = 0;  // data: u8, on or off
inline constexpr u8 kRxPromiscuous = 0;
inline constexpr u8 kRxAllMulticast = 1;
inline constexpr u8 kRxAllUnicast = 2;
inline constexpr u8 kRxNoMulticast = 3;
inline constexpr u8 kRxNoUnicast = 4;
inline constexpr u8 kRxNoBroadcast = 5;
inline constexpr u8 kClassMac = 1;
inline constexpr u8 kMacTableSet = 0;  // data: twice {entries u32, MacAddress[]}
inline constexpr u8 kMacAddressSet = 1;
inline constexpr u8 kClassMultiqueue = 4;
inline constexpr u8 kPairsSet = 0;  // data: u16

}  // namespace dvm::vmm::net
