// The host's end of a tap interface: Linux's universal TUN/TAP driver with packet headers of
// virtio's own format (Documentation/networking/tuntap.rst).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fabric/fd.h"
#include "vmm/virtio/net.h"

namespace dvm::vmm {

// Opens `queues` queues of an interface that exists, non-blocking. Several processes may have them
// by inheritance: any may write, one reads. An error names the interface and what it lacks.
Result<std::vector<Fd>> open_tap(const std::string& interface, u16 queues);

// What the kernel may leave to the guest: unfinished checksums, packets to be segmented.
Status set_tap_offloads(const Fd& tap, u64 driver_features);

// Straight from guest memory. False: the kernel took none of it (the interface is down, its queue
// is full).
bool write_tap(const Fd& tap, const hyperkernel::GuestMemory& memory, const TxPacket& packet);

// Reads a packet into `buffer`, which has room for header and frame; 0 when none waits.
u32 read_tap(const Fd& tap, net::Header& header, std::span<std::byte> frame);

}  // namespace dvm::vmm
