// One vCPU on the node that runs it: a thread around KVM_RUN. All that defines the vCPU between two
// entries is in its VcpuRecord and in KVM.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "fabric/peer.h"
#include "vmm/exit.h"
#include "vmm/kvm/kvm.h"

namespace dvm::vmm {

class VcpuThread {
 public:
  // Makes the KVM vCPU, sets CPUID, TSC offset and, for vCPU 0, the kernel's entry state. The
  // thread registers its life with `peer`: who sees that word stopped knows that the vCPU has.
  static Result<std::unique_ptr<VcpuThread>> create(Machine& machine, Vm& vm, u32 index,
                                                    fabric::Peer& peer);
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  void start();
  // Returns when the thread has left: the phase must be resetting or stopped.
  void join();
  // Thread: any. What KVM alone knows of it, into its record.
  void publish_stats();

 private:
  VcpuThread(Machine& machine, u32 index, Vcpu vcpu, fabric::Peer& peer);
  Status set_up();
  void run();
  void loop();
  bool take_signals();       // INIT, SIPI, NMI; false while the vCPU waits for SIPI
  Status reset_registers();  // as after INIT
  Status start_at(u8 sipi_vector);
  void deliver_interrupt();
  void pv_eoi_before_entry();
  void pv_eoi_after_exit();
  void arm_timer();
  bool interrupt_waits() const;  // one that would be taken now, were interrupts on
  bool has_work() const;         // something to look at before sleeping or entering the guest
  void sleep(VcpuRunState as);
  void park();
  void finish_exit();  // that KVM has not completed: an answer it has yet to take over
  void save_image();
  void load_image();        // what a debugger wrote into it
  void follow_debugger();   // watch for what it wants watched, from the next entry on
  Status watch(bool step);  // tells KVM
  void step_one();          // instruction, for a debugger; takes no interrupt
  bool step_once(bool& met);
  void on_debug_exit();
  bool met_trap();
  void enter();
  void handle(const ExitResult& result);
  void fail(const std::string& why);

  Machine& machine_;
  const u32 index_;
  VcpuRecord& v_;
  Vcpu vcpu_;
  fabric::Peer& peer_;
  kvm_sregs reset_sregs_{};
  bool halted_ = false;    // in a HLT that KVM told us of (queued injection)
  u64 halts_before_ = 0;   // counted by the KVM vCPUs before this one
  u32 debug_seen_ = 0;     // generation of the debug record that KVM was told of
  void* timer_ = nullptr;  // timer_t
  u64 armed_tsc_ = 0;
  std::thread thread_;
};

// Installs the handler that takes a vCPU thread out of the guest. Once per process.
Status install_kick_handler();

}  // namespace dvm::vmm
