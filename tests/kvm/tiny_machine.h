// Runs a tiny guest in this process: the machine in an anonymous pool, a KVM VM and a handle of its
// own for each node, vCPU threads driven directly. Around guest RAM lie canaries.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "fabric/fabric_state.h"
#include "vmm/machine.h"
#include "vmm/node_vcpus.h"

namespace dvm::vmm::testing {

inline constexpr u64 kGuestEntry = 0x10'0000;
inline constexpr u64 kGuestWords = 0x8800;  // where the tiny guests of this folder keep their words
inline constexpr u64 kParameters = 0x18'0000;

struct TinyOptions {
  u32 vcpus = 1;
  u32 nodes = 1;  // vCPU i runs on node i % nodes
  bool exit_on_panic = true;
  u32 tsc_percent = 100;  // the frequency the machine believes in, of the true one
  Injection injection = host_injection();
};

// Pages before and behind a mapping, which nothing may touch.
class Canaries {
 public:
  explicit Canaries(std::span<std::byte> around);
  ~Canaries();
  Canaries(const Canaries&) = delete;
  Canaries& operator=(const Canaries&) = delete;
  bool alive() const;

 private:
  std::vector<std::span<std::byte>> pages_;
};

// A node's place in the fabric, joined by a thread of its own: a thread joins once, and in a node
// process it is the main one.
class NodePeer {
 public:
  static Result<std::unique_ptr<NodePeer>> join(Machine& machine);
  ~NodePeer();
  fabric::Peer& peer() { return *peer_; }

 private:
  std::unique_ptr<fabric::Peer> peer_;
  std::promise<void> leave_;
  std::thread thread_;
};

class TinyMachine {
 public:
  // `guest` is the name of a program in guest/tiny or tests/kvm/guests.
  static Result<std::unique_ptr<TinyMachine>> create(const std::string& guest, TinyOptions options);
  ~TinyMachine();

  Machine& machine() { return *machine_; }
  // Values for the guest: words at kGuestWords, or a block that RDI points to.
  void set_words(const std::vector<u32>& words);
  u32 word(u32 index);
  void set_parameters(const std::vector<u64>& block);

  // A boot: devices reset, the guest loaded, vCPUs running.
  Status boot();
  // Waits for the phase to be something else than running; false if it took too long.
  bool wait_while_running(u32 milliseconds);
  // Ends the vCPU threads and their VMs; the phase is resetting or stopped.
  void join();
  // request_stop(user), then join; the time it took, in ns.
  u64 stop();
  Phase phase() { return machine_->state().control.phase.load(); }
  StopReason reason() { return machine_->state().control.stop_reason.load(); }
  bool halted(u32 vcpu);
  // Guest RAM as node `index` has it mapped.
  const hyperkernel::GuestMemory& node_memory(u32 index) { return nodes_[index].machine->memory(); }
  VcpuRecord& vcpu(u32 index) { return machine_->state().vcpus[index]; }
  // What the guest has written so far.
  const std::string& console();
  // What only the creator writes is as it was, and nobody wrote around guest RAM.
  void expect_untouched();

 private:
  struct NodeSide {
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Canaries> canaries;
    std::unique_ptr<NodePeer> peer;
    std::unique_ptr<Vm> vm;
    std::unique_ptr<NodeVcpus> vcpus;
    std::unique_ptr<std::atomic<bool>> stop = std::make_unique<std::atomic<bool>>(false);
    std::thread service;  // what a node's main thread does for its vCPUs
  };
  Status load();
  Status start(NodeSide& node);
  static void serve(Machine& machine, NodeVcpus& vcpus, const std::atomic<bool>& stop);
  std::vector<std::byte> fixed_metadata();

  std::vector<std::byte> image_;
  Injection injection_ = host_injection();
  std::unique_ptr<Machine> machine_;
  std::vector<NodeSide> nodes_;
  std::string console_;
  std::vector<std::byte> fixed_;
};

// Skips the test where KVM cannot be used, saying why.
#define DVM_NEEDS_KVM()                                                         \
  if (const std::string& why = ::dvm::vmm::testing::why_no_kvm(); !why.empty()) \
  GTEST_SKIP() << "KVM is not usable here: " << why << " (tools/lab run has one)"
const std::string& why_no_kvm();

}  // namespace dvm::vmm::testing
