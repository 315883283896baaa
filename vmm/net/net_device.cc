#include "vmm/net/net_device.h"

#include <algorithm>

#include "fabric/failpoint.h"
#include "vmm/epoch_record.h"
#include "vmm/virtio/net.h"

namespace dvm::vmm {
namespace {

u64 add(std::atomic<u64>& counter, u64 n) {
  return counter.fetch_add(n, std::memory_order_relaxed);
}

net::MacAddress destination(std::span<const std::byte> frame) {
  net::MacAddress mac{};
  if (frame.size() >= mac.size()) std::memcpy(mac.data(), frame.data(), mac.size());
  return mac;
}

}  // namespace

std::optional<u32> find_net_function(const MachineConfig& config) {
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (config.functions[i].kind == FunctionKind::net) return i;
  }
  return std::nullopt;
}

NetDevice::NetDevice(Machine& machine, u32 function)
    : machine_(machine),
      function_(function),
      pairs_(static_cast<u16>(machine.config().functions[function].queues)),
      record_(machine.state().net),
      counters_(machine.state().functions[function].counters) {}

NetQueue NetDevice::kind(u16 queue) const {
  return net_queue_kind(machine_.driver_of(function_).features, static_cast<u16>(2 * pairs_ + 1),
                        queue);
}

net::ReceiveOffloads NetDevice::receive_offloads() const {
  return net::receive_offloads(machine_.driver_of(function_).features);
}

// What the driver said since it last reset the device; the queue's generation tells.
NetControl NetDevice::control_of(u32 generation) const {
  const fabric::LockGuard guard(record_.control.lock, machine_.self(), machine_.instances());
  const NetControl& control = record_.control.published();
  if (control.generation == generation) return control;
  NetControl fresh = make_net_control(machine_.config().functions[function_].mac);
  fresh.generation = generation;
  return fresh;
}

// A command done again after a death sets what it has set already.
void NetDevice::serve_control(u16 queue, bool again) {
  Chain chain;
  machine_.serve_queue(function_, queue, again, [&](QueueState& q, const LiveQueue&) -> Status {
    for (;;) {
      DVM_ASSIGN(const bool taken, queue_pop(q, machine_.memory(), chain));
      if (!taken) return {};
      NetControl control = control_of(q.generation);
      DVM_ASSIGN(const u32 written, net_control_chain(control, machine_.memory(), chain, pairs_));
      {
        const fabric::LockGuard guard(record_.control.lock, machine_.self(), machine_.instances());
        record_.control.reset(control);
      }
      fabric::failpoint("net.commanded");
      DVM_TRY(queue_push_used(q, machine_.memory(), chain.head, written));
    }
  });
}

void NetDevice::republish(u16 queue) {
  machine_.serve_queue(function_, queue, true,
                       [](QueueState&, const LiveQueue&) -> Status { return {}; });
}

void NetDevice::tell_server(u16 queue) {
  record_.notified.fetch_or(1u << queue, std::memory_order_acq_rel);
  fabric::failpoint("net.notified");
  fabric::ring(record_.work);
}

// The low bits of `taken` are last_avail once whoever moved that on has said so; had it died in
// between, the difference says how far.
u64 NetDevice::number_of_next(const QueueState& q, u16 pair) const {
  const u64 taken = record_.taken[pair].load(std::memory_order_relaxed);
  const u64 base = u64{q.generation} << kNumberBits;
  if (taken >> kNumberBits != q.generation) return base | q.last_avail;
  const auto ahead =
      static_cast<std::int16_t>(static_cast<u16>(q.last_avail - static_cast<u16>(taken)));
  return taken + static_cast<u64>(static_cast<i64>(ahead));
}

// Under the queue's lock. Once only: what is owed already is not made to wait longer.
bool NetDevice::put_off(const QueueState& q, u16 pair, u32 chains) {
  if (chains == 0 || chains > kFewPackets || record_.owed[pair].load() != 0) return false;
  record_.owed[pair].store(kOwed | q.published_used, std::memory_order_release);
  add(record_.put_off, 1);
  return true;
}

// What the driver has offered waits for an epoch's end.
bool NetDevice::held_back(const QueueState& q) {
  const auto offered = machine_.memory().load_acquire<u16>(q.avail + 2);
  if (offered.ok() && *offered == q.last_avail) return false;
  if (EpochRecord* epoch = machine_.epoch()) epoch->output_waits.store(1);
  return true;
}

void NetDevice::release_offered() {
  for (u16 pair = 0; pair < pairs_; ++pair) {
    const QueueState& q =
        machine_.state().functions[function_].queues[net_tx_queue(pair)].published();
    if (q.size == 0) continue;
    const auto offered = machine_.memory().load_acquire<u16>(q.avail + 2);
    if (!offered.ok()) continue;
    const u16 waiting = static_cast<u16>(*offered - q.last_avail);
    record_.release[pair].store(number_of_next(q, pair) + waiting, std::memory_order_release);
    record_.notified.fetch_or(1u << net_tx_queue(pair), std::memory_order_acq_rel);
  }
  fabric::ring(record_.work);
}

bool NetDevice::owes_interrupts() const {
  return std::ranges::any_of(record_.owed, [](const auto& owed) { return owed.load() != 0; });
}

u32 NetDevice::transmit(u16 pair, bool again, const std::function<void(const TxPacket&)>& each,
                        bool may_put_off, WhenEmpty when_empty) {
  bool later = false;
  Chain chain;
  TxPacket packet;
  const u64 features = machine_.driver_of(function_).features;
  u32 chains = 0, packets = 0;
  u64 bytes = 0, number = 0;
  const bool live = machine_.serve_queue(
      function_, net_tx_queue(pair), again,
      [&](QueueState& q, const LiveQueue&) -> Status {
        for (; chains < kBatchPackets && bytes < kBatchBytes; ++chains) {
          number = number_of_next(q, pair);
          if (number >= record_.release[pair].load(std::memory_order_acquire) && held_back(q))
            break;
          DVM_ASSIGN(const bool taken, queue_pop(q, machine_.memory(), chain, when_empty));
          if (!taken) break;
          if (net_tx_packet(machine_.memory(), chain, features, packet)) {
            each(packet);
            bytes += packet.bytes;
            ++packets;
          }
          DVM_TRY(queue_push_used(q, machine_.memory(), chain.head, 0));
          record_.taken[pair].store(number + 1, std::memory_order_release);
        }
        later = may_put_off && !again && put_off(q, pair, chains);
        return {};
      },
      &later);
  if (!live) return 0;
  if (!later && chains != 0) machine_.settle_transmits();
  add(counters_.out_ops, packets);
  add(counters_.out_bytes, bytes);
  if (chains != packets) add(record_.refused, chains - packets);
  return chains;
}

u16 NetDevice::pair_for(u32 hash, const NetControl& control) const {
  const u16 pair = pair_of_flow_[hash % kFlows];
  return pair < control.pairs ? pair : 0;
}

Status NetDevice::fill_queue(QueueState& q, u16 pair, net::PacketQueue& packets, bool& full) {
  const NetControl control = control_of(q.generation);
  const u64 features = machine_.driver_of(function_).features;
  for (u32 n = 0; n < kBatchPackets && !packets.empty(); ++n) {
    const net::Packet& packet = packets.front();
    if (pair_for(packet.hash, control) != pair) return {};
    if (net_wants(control, destination(packet.frame))) {
      DVM_ASSIGN(const RxOutcome outcome,
                 net_receive(q, machine_.memory(), features, packet.header, packet.frame));
      full = outcome == RxOutcome::no_buffers;
      if (full) return {};
      if (outcome == RxOutcome::too_small) dropped();
      if (outcome == RxOutcome::delivered) {
        add(counters_.in_ops, 1);
        add(counters_.in_bytes, packet.frame.size());
      }
    }
    packets.pop();
  }
  return {};
}

bool NetDevice::deliver(net::PacketQueue& packets) {
  while (!packets.empty()) {
    const NetControl control = control_of(machine_.driver_of(function_).generation);
    const u16 pair = pair_for(packets.front().hash, control);
    bool full = false;
    const std::size_t before = packets.size();
    const bool served = machine_.serve_queue(
        function_, net_rx_queue(pair), false,
        [&](QueueState& q, const LiveQueue&) { return fill_queue(q, pair, packets, full); });
    if (!served) {  // no driver yet, or no more
      dropped(packets.size());
      packets.clear();
    } else if (full) {
      add(record_.waits_for_room, 1);
      return false;
    } else if (packets.size() == before && !packets.empty()) {
      packets.pop();  // the driver broke a rule: nothing is served until it resets the device
    }
  }
  return true;
}

void NetDevice::dropped(u64 packets) { add(counters_.dropped, packets); }

void NetDevice::set_link(bool up) {
  machine_.change_device_config(function_, [up](VirtioPciState& s) { (void)net_set_link(s, up); });
}

}  // namespace dvm::vmm
