#include "vmm/net/tap_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fabric/claim.h"
#include "vmm/virtio/net.h"

namespace dvm::vmm {
namespace {

// Of a vCPU's thread, for one notification; what is left the reading thread sends.
constexpr u32 kMaxBatches = 8;
constexpr u32 kReadsAtOnce = 64;

void ring_event(const Fd& event) {
  const u64 one = 1;
  (void)!::write(event.get(), &one, sizeof(one));
}

void drain_event(const Fd& event) {
  u64 count = 0;
  (void)!::read(event.get(), &count, sizeof(count));
}

}  // namespace

TapServer::TapServer(Machine& machine, u32 function, std::vector<Fd> taps, Fd wake)
    : device_(machine, function), taps_(std::move(taps)), wake_(std::move(wake)) {}

TapServer::~TapServer() {
  if (!thread_.joinable()) return;
  stop_.store(true);
  ring_event(own_wake_);
  thread_.join();
}

Status TapServer::start(fabric::Peer& peer) {
  own_wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!own_wake_.valid()) return sys_error("eventfd");
  frame_.resize(kMaxFrameBytes);
  thread_ = std::thread([this, &peer] { run(peer); });
  return {};
}

void TapServer::serve(u16 queue, bool again) {
  if (again) ring_event(own_wake_);  // it may be the reader that died
  switch (device_.kind(queue)) {
    case NetQueue::control: return device_.serve_control(queue, again);
    case NetQueue::transmit: return transmit(static_cast<u16>(queue / 2), again);
    case NetQueue::receive:
      if (again) device_.republish(queue);
      return wake_reader(queue);
    case NetQueue::none: return;
  }
}

void TapServer::look() {
  if (device_.record().receiver.load() == 0) ring_event(own_wake_);
}

void TapServer::released() {
  if (device_.record().notified.load() != 0) ring_event(wake_);
}

void TapServer::transmit(u16 pair, bool again) {
  const Fd& tap = taps_[pair % taps_.size()];
  const auto write = [&](const TxPacket& packet) {
    if (!write_tap(tap, device_.machine().memory(), packet)) device_.dropped();
  };
  for (u32 i = 0; i < kMaxBatches; ++i) {
    if (device_.transmit(pair, again && i == 0, write) == 0) return;
  }
  wake_reader(net_tx_queue(pair));
}

void TapServer::wake_reader(u16 queue) {
  device_.record().notified.fetch_or(1u << queue, std::memory_order_acq_rel);
  ring_event(wake_);
}

void TapServer::run(fabric::Peer& peer) {
  const auto life = peer.register_thread();
  if (!life.ok()) fmt::print(stderr, "tap: {}\n", life.error().message);
  Machine& machine = device_.machine();
  auto& reader = device_.record().receiver;
  while (!stop_.load()) {
    if (fabric::claim(reader, machine.self(), machine.instances())) {
      for (u16 pair = 0; pair < device_.pairs(); ++pair) wake_reader(net_tx_queue(pair));
      receive();
      fabric::disclaim(reader);
      return;
    }
    pollfd told{own_wake_.get(), POLLIN, 0};
    ::poll(&told, 1, -1);
    drain_event(own_wake_);
  }
}

void TapServer::receive() {
  std::vector<pollfd> wait;
  while (!stop_.load()) {
    wait.assign({{wake_.get(), POLLIN, 0}, {own_wake_.get(), POLLIN, 0}});
    // Without buffers the packets wait in the interface's own queue, which is bounded.
    if (!full_) {
      for (const Fd& tap : taps_) wait.push_back({tap.get(), POLLIN, 0});
    }
    if (::poll(wait.data(), wait.size(), -1) < 0) continue;
    device_.record().socket_wakeups.fetch_add(1, std::memory_order_relaxed);
    if (wait[0].revents != 0) drain_event(wake_);
    if (wait[1].revents != 0) drain_event(own_wake_);
    const u32 notified = device_.take_notified();
    for (u16 pair = 0; pair < device_.pairs(); ++pair) {
      if ((notified >> net_tx_queue(pair) & 1) != 0) transmit(pair, false);
    }
    follow_driver();
    full_ = !device_.deliver(packets_);
    if (!full_) read_all();
  }
}

void TapServer::follow_driver() {
  const u64 features = device_.machine().driver_of(device_.function()).features;
  if (features == offloads_of_) return;
  offloads_of_ = features;
  for (const Fd& tap : taps_) (void)set_tap_offloads(tap, features);
}

void TapServer::read_all() {
  for (const Fd& tap : taps_) {
    for (u32 i = 0; i < kReadsAtOnce; ++i) {
      net::Header header{};
      const u32 bytes = read_tap(tap, header, frame_);
      if (bytes == 0) break;
      if (!packets_.push(std::span(frame_).first(bytes), header)) device_.dropped();
    }
  }
  full_ = !device_.deliver(packets_);
}

}  // namespace dvm::vmm
