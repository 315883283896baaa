#include "vmm/net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace dvm::vmm {
namespace {

Result<Fd> open_queue(const std::string& interface, bool many) {
  DVM_ASSIGN(Fd tap, Fd::open("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  std::memcpy(request.ifr_name, interface.data(),
              std::min<std::size_t>(interface.size(), IFNAMSIZ - 1));
  const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (many ? IFF_MULTI_QUEUE : 0);
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(tap.get(), TUNSETIFF, &request) < 0) {
    const int why = errno;
    std::string hint;
    if (why == EPERM) hint = " (make it for this user: ip tuntap add NAME mode tap user USER)";
    if (why == EINVAL) {
      hint = many ? " (queues need: ip tuntap add NAME mode tap multi_queue)"
                  : " (it is no tap interface, or has several queues: say queues=N)";
    }
    if (why == EBUSY) hint = " (somebody else has it open)";
    return error("tap {}: {}{}", interface, std::strerror(why), hint);
  }
  int header_bytes = sizeof(net::Header);
  if (::ioctl(tap.get(), TUNSETVNETHDRSZ, &header_bytes) < 0)
    return sys_error("TUNSETVNETHDRSZ " + interface);
  return tap;
}

}  // namespace

Result<std::vector<Fd>> open_tap(const std::string& interface, u16 queues) {
  // The driver would make one of this name, for whoever may: not what was asked for.
  if (::if_nametoindex(interface.c_str()) == 0)
    return error("tap {}: no such interface (ip tuntap add {} mode tap)", interface, interface);
  std::vector<Fd> taps;
  for (u16 i = 0; i < queues; ++i) {
    DVM_ASSIGN(Fd tap, open_queue(interface, queues > 1));
    taps.push_back(std::move(tap));
  }
  return taps;
}

Status set_tap_offloads(const Fd& tap, u64 features) {
  unsigned long offloads = 0;
  const bool checksum = (features & net::kFeatureGuestCsum) != 0;
  if (checksum) {
    offloads |= TUN_F_CSUM;
    if ((features & net::kFeatureGuestTso4) != 0) offloads |= TUN_F_TSO4;
    if ((features & net::kFeatureGuestTso6) != 0) offloads |= TUN_F_TSO6;
    if ((features & net::kFeatureGuestEcn) != 0) offloads |= TUN_F_TSO_ECN;
  }
  if (::ioctl(tap.get(), TUNSETOFFLOAD, offloads) < 0) return sys_error("TUNSETOFFLOAD");
  return {};
}

bool write_tap(const Fd& tap, const hyperkernel::GuestMemory& memory, const TxPacket& packet) {
  std::array<iovec, kMaxQueueSize + 1> parts;
  net::Header header = packet.header;
  parts[0] = {&header, sizeof(header)};
  int count = 1;
  for (const Segment& s : packet.frame()) {
    const auto bytes = memory.span(s.gpa, s.bytes);
    if (!bytes.ok()) return false;
    parts[static_cast<std::size_t>(count++)] = {bytes.value().data(), bytes.value().size()};
  }
  ssize_t written;
  do {
    written = ::writev(tap.get(), parts.data(), count);
  } while (written < 0 && errno == EINTR);
  return written > 0;
}

u32 read_tap(const Fd& tap, net::Header& header, std::span<std::byte> frame) {
  std::array<iovec, 2> parts = {iovec{&header, sizeof(header)}, iovec{frame.data(), frame.size()}};
  ssize_t got;
  do {
    got = ::readv(tap.get(), parts.data(), static_cast<int>(parts.size()));
  } while (got < 0 && errno == EINTR);
  constexpr ssize_t kHeader = sizeof(header);
  return got > kHeader ? static_cast<u32>(got - kHeader) : 0;
}

}  // namespace dvm::vmm
