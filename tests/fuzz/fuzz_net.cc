// Threat: a driver that puts anything into its network queues: headers, packets, buffers and
// commands; and a network that sends anything. The device must stay inside guest RAM and inside the
// packet, and do bounded work.
//
// Input: features u8, then records until the end: {what u8, gpa u16, length u8, bytes} writes
// memory; what % 5 then says what happens: 0 nothing, 1 a chain is transmitted, 2 a packet of those
// bytes is received, 3 a chain is taken as a command, 4 the bytes are joined to a queue of packets.
#include "tests/fuzz/guest_ram.h"
#include "vmm/net/packet_queue.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/net_control.h"

namespace dvm::fuzz {
namespace {

using namespace vmm;

constexpr u64 kRam = 64 * kKiB;

struct Device {
  QueueState queue{};
  NetControl control = make_net_control({2, 0, 0, 0, 0, 1});
  net::PacketQueue packets;
  u64 features = 0;
};

void transmit(Device& d, const GuestRam& ram) {
  Chain chain{};
  const auto popped = queue_pop(d.queue, ram.memory(), chain);
  if (!popped.ok() || !popped.value()) return;
  TxPacket packet{};
  if (net_tx_packet(ram.memory(), chain, d.features, packet)) {
    FUZZ_CHECK(packet.bytes >= kMinFrameBytes && packet.bytes <= kMaxFrameBytes);
    std::vector<std::byte> frame(packet.bytes);
    FUZZ_CHECK(net_copy_frame(ram.memory(), packet, frame));
    const bool needs = (packet.header.flags & net::kHeaderNeedsCsum) != 0;
    FUZZ_CHECK(!needs || net::finish_checksum(frame, packet.header));
    (void)net::flow_hash(frame);
  }
  (void)queue_push_used(d.queue, ram.memory(), chain.head, 0);
}

void receive(Device& d, const GuestRam& ram, std::span<const u8> bytes, u8 times) {
  std::vector<std::byte> frame;  // long ones too
  for (u32 i = 0; i < 1u + times; ++i)
    frame.insert(frame.end(), std::as_bytes(bytes).begin(), std::as_bytes(bytes).end());
  const QueueState before = d.queue;
  const auto outcome = net_receive(d.queue, ram.memory(), d.features, {}, frame);
  if (outcome.ok() && outcome.value() == RxOutcome::delivered) {
    const u16 used = static_cast<u16>(d.queue.used_idx - before.used_idx);
    FUZZ_CHECK(used >= 1 && used <= d.queue.size);
    FUZZ_CHECK((d.features & net::kFeatureMergeable) != 0 || used == 1);
  } else {
    FUZZ_CHECK(std::memcmp(&before, &d.queue, sizeof(before)) == 0);
  }
}

void command(Device& d, const GuestRam& ram) {
  Chain chain{};
  const auto popped = queue_pop(d.queue, ram.memory(), chain);
  if (!popped.ok() || !popped.value()) return;
  (void)net_control_chain(d.control, ram.memory(), chain, 4);
  FUZZ_CHECK(d.control.pairs >= 1 && d.control.pairs <= 4);
  FUZZ_CHECK(d.control.address_count <= NetControl::kMaxAddresses);
  (void)net_wants(d.control, {1, 2, 3, 4, 5, 6});
}

// What is joined can be taken apart: a TCP frame whose lengths hold and whose checksum can be
// finished.
void join(Device& d, std::span<const u8> bytes) {
  (void)d.packets.push(std::as_bytes(bytes), net::receive_offloads(~u64{0}), true);
  while (d.packets.size() > 8) d.packets.pop();
  for (const net::Packet& p = d.packets.front(); !d.packets.empty(); d.packets.pop()) {
    FUZZ_CHECK(p.frame.size() <= kMaxFrameBytes);
    if (p.header.gso_type == net::kGsoNone) break;
    const auto tcp = net::tcp_frame(p.frame);
    FUZZ_CHECK(tcp && tcp->end == p.frame.size());
    std::vector<std::byte> frame = p.frame;
    FUZZ_CHECK(net::finish_checksum(frame, p.header));
    break;
  }
}

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm::fuzz;
  static GuestRam ram(kRam);
  ram.clear();
  Input input(data, size);
  Device device;
  device.queue.desc = 0x1000;
  device.queue.avail = 0x3000;
  device.queue.used = 0x4000;
  device.queue.size = 64;
  device.queue.indirect = 1;
  const auto flags = input.take<dvm::u8>();
  device.features = flags & 1 ? ~dvm::u64{0} : 0;
  device.queue.event_idx = flags >> 1 & 1;
  while (!input.empty()) {
    const auto what = input.take<dvm::u8>();
    const dvm::u64 gpa = input.take<dvm::u16>();
    const auto bytes = input.take_bytes(input.take<dvm::u8>());
    if (!bytes.empty()) (void)ram.memory().write(gpa, std::as_bytes(bytes));
    switch (what % 5) {
      case 1: transmit(device, ram); break;
      case 2: receive(device, ram, bytes, what); break;
      case 3: command(device, ram); break;
      case 4: join(device, bytes); break;
      default: (void)queue_flush_used(device.queue, ram.memory()); break;
    }
  }
  return 0;
}
