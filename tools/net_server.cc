#include "tools/net_server.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "vmm/virtio/net.h"

namespace dvm::tools {

using vmm::NetDevice;
using vmm::TxPacket;

Result<std::unique_ptr<NetServer>> NetServer::create(vmm::Machine& machine, u32 function,
                                                     const std::vector<HostForward>& forwards) {
  std::unique_ptr<NetServer> server(new NetServer(machine, function));
  server->frames_.resize(NetDevice::kBatchBytes + vmm::kMaxFrameBytes);
  DVM_ASSIGN(server->network_, UserNetwork::create(forwards, [s = server.get()](auto frame) {
               // slirp has made or checked every checksum in it.
               if (!s->to_guest_.push(frame, s->offloads_, true)) s->device_.dropped();
             }));
  server->stop_event_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!server->stop_event_.valid()) return sys_error("eventfd");
  DVM_TRY(server->network_->watch(server->stop_event_.get()));
  return server;
}

NetServer::~NetServer() {
  if (!sockets_.joinable()) return;
  stop_.store(true);
  const u64 one = 1;
  (void)!::write(stop_event_.get(), &one, sizeof(one));
  sockets_.join();
}

void NetServer::start() {
  for (u16 pair = 0; pair < device_.pairs(); ++pair) {
    device_.republish(vmm::net_rx_queue(pair));
    device_.republish(vmm::net_tx_queue(pair));
    device_.tell_server(vmm::net_tx_queue(pair));
  }
  sockets_ = std::thread([this] { serve_sockets(); });
}

// The queues that want a look: those that were notified, and those that are watched once they have
// been left alone for long enough.
u32 NetServer::wait_for_guest(u64 deadline_ns) {
  const u32 seen = fabric::listen(device_.record().work);
  if (const u32 notified = device_.take_notified(); notified != 0) return notified | watched_;
  const u64 now = fabric::monotonic_ns();
  if (device_.owes_interrupts()) deadline_ns = std::min(deadline_ns, now + NetDevice::kSettleNs);
  if (watched_ != 0) deadline_ns = std::min(deadline_ns, now + sleep_ns_);
  fabric::wait(device_.record().work, seen, deadline_ns);
  const u32 notified = device_.take_notified();
  if (notified != 0) device_.record().wakeups.fetch_add(1, std::memory_order_relaxed);
  return notified | watched_;
}

void NetServer::serve_guest(u64 deadline_ns) {
  const u32 queues = wait_for_guest(deadline_ns);
  if (queues == 0) return device_.machine().settle_transmits();
  const std::lock_guard guard(mutex_);
  offloads_ = device_.receive_offloads();
  const auto when_empty = sleep_ns_ != 0 ? vmm::WhenEmpty::leave : vmm::WhenEmpty::ask;
  u32 more = 0, packets = 0;
  for (u16 pair = 0; pair < device_.pairs(); ++pair) {
    if ((queues >> vmm::net_tx_queue(pair) & 1) == 0) continue;
    const u32 taken = transmit(pair, when_empty);
    packets += taken;
    if (taken != 0) more |= 1u << vmm::net_tx_queue(pair);
  }
  network_->arm();
  (void)device_.deliver(to_guest_);
  // A queue that was left is looked at once more, and its driver asked if there is nothing.
  const bool left = sleep_ns_ != 0;
  sleep_ns_ = pace_.looked(packets, device_.received(), fabric::monotonic_ns());
  watched_ = sleep_ns_ != 0 ? queues : 0;
  if (watched_ == 0 && left) more = queues;
  if (watched_ == 0 && more != 0)
    device_.record().notified.fetch_or(more, std::memory_order_acq_rel);
}

// Copied under the queue's lock, sent after it. A batch at a time, so that one busy queue keeps
// neither the others nor the sockets waiting.
u32 NetServer::transmit(u16 pair, vmm::WhenEmpty when_empty) {
  batch_.clear();
  u64 end = 0;
  const u32 chains = device_.transmit(
      pair, false,
      [&](const TxPacket& packet) {
        if (!vmm::net_copy_frame(device_.machine().memory(), packet,
                                 std::span(frames_).subspan(end, packet.bytes)))
          return;
        batch_.push_back({packet.header, packet.bytes});
        end += packet.bytes;
      },
      true, when_empty);
  send(pair);
  return chains;
}

// Checksums that the driver left to us are finished here; a packet to be segmented goes as it is:
// slirp takes what IP allows, and its far end is a socket.
void NetServer::send(u16 pair) {
  u64 begin = 0;
  for (const Outgoing& out : batch_) {
    const auto frame = std::span(frames_).subspan(begin, out.bytes);
    begin += out.bytes;
    if ((out.header.flags & vmm::net::kHeaderNeedsCsum) != 0)
      (void)vmm::net::finish_checksum(frame, out.header);
    device_.saw_flow(vmm::net::flow_hash(frame), pair);
    network_->input(frame);
  }
}

void NetServer::serve_sockets() {
  while (!stop_.load()) {
    network_->wait();
    device_.record().socket_wakeups.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard guard(mutex_);
    offloads_ = device_.receive_offloads();
    network_->serve();
    (void)device_.deliver(to_guest_);
  }
}

}  // namespace dvm::tools
