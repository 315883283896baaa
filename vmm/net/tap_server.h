// A node's part in a network that is a tap interface of the host's. Every node has the interface's
// descriptors: the vCPU thread that takes a notification writes packets straight from guest memory.
// One node's thread reads; which one is told in the pool, and another goes on when it dies.
#pragma once

#include <atomic>
#include <thread>

#include "fabric/peer.h"
#include "vmm/net/net_device.h"
#include "vmm/net/tap.h"

namespace dvm::vmm {

class TapServer final : public QueueServer {
 public:
  // `taps`: one for each queue pair; `wake`: an eventfd that all nodes have, for who reads.
  TapServer(Machine& machine, u32 function, std::vector<Fd> taps, Fd wake);
  ~TapServer();
  TapServer(const TapServer&) = delete;
  TapServer& operator=(const TapServer&) = delete;

  // Its thread is registered with `peer`.
  Status start(fabric::Peer& peer);
  void serve(u16 queue, bool again) override;
  // What the driver offered before an epoch's end may leave: who reads sends it. Threads: any.
  void released();
  // Sees whether the one who reads has given that up. Threads: any.
  void look();

 private:
  void run(fabric::Peer& peer);
  void receive();  // while this process is the one that reads
  void read_all();
  void transmit(u16 pair, bool again);
  void follow_driver();
  void wake_reader(u16 queue);

  NetDevice device_;
  const std::vector<Fd> taps_;
  const Fd wake_;
  Fd own_wake_;  // this process's thread: stop, or look whether to read
  std::atomic<bool> stop_ = false;
  std::thread thread_;
  // The thread's.
  net::PacketQueue packets_;
  std::vector<std::byte> frame_;
  bool full_ = false;  // the driver has no buffers
  u64 offloads_of_ = ~u64{0};
};

}  // namespace dvm::vmm
