// One vCPU on a node: a thread around KVM_RUN while the vCPU is there (vcpu_place.h), and otherwise
// one that waits for it to come. All that defines the vCPU between two entries is in its VcpuRecord
// and in KVM.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "fabric/peer.h"
#include "vmm/exit.h"
#include "vmm/kvm/vcpu_transfer.h"

namespace dvm::vmm {

// A KVM vCPU with the machine's CPUID: made ahead, or now.
Result<Vcpu> make_vcpu(const Machine& machine, Vm& vm, u32 index);

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
  // Returns when the thread has left: the phase must be resetting or stopped, or `dismiss` called.
  void join();
  // It need not wait for the vCPU any more, which is elsewhere.
  void dismiss();
  // Thread: any. What KVM alone knows of it, into its record.
  void publish_stats();
  u32 index() const { return index_; }
  // By the node's keeper, once every thread of the node has ended: the vCPU, if it is here, goes to
  // an heir. False: it does not, and the guest ends.
  bool salvage(KeeperRecord& record);

 private:
  VcpuThread(Machine& machine, u32 index, Vcpu vcpu, fabric::Peer& peer);
  Status set_up(Vm& vm);
  void run();
  void run_where_placed();
  void loop();               // returns when the vCPU has gone elsewhere, or the phase ends it
  bool take_signals();       // INIT, SIPI, NMI; false while the vCPU waits for SIPI
  Status reset_registers();  // as after INIT
  Status start_at(u8 sipi_vector);
  void deliver_interrupt();
  void arm_timer();
  bool halted() const { return v_.journal.halted.load(std::memory_order_relaxed) != 0; }
  void set_halted(bool is) { v_.journal.halted.store(is ? 1 : 0, std::memory_order_relaxed); }
  bool interrupt_waits() const;  // one that would be taken now, were interrupts on
  bool has_work() const;         // something to look at before sleeping or entering the guest
  void sleep(VcpuRunState as);
  void park();
  bool finish_exit();  // that KVM has not completed; false: there is more to come
  void save_image();
  void load_image();        // what a debugger wrote into it
  void follow_debugger();   // watch for what it wants watched, from the next entry on
  Status watch(bool step);  // tells KVM
  void step_one();          // instruction, for a debugger; takes no interrupt
  bool step_once(bool& met);
  void on_debug_exit();
  bool met_trap();
  // Moves (vcpu_move.cc).
  bool wait_for_vcpu();  // until it is here; false: it will not be
  bool prepare();
  bool move_waits() const;
  bool hand_over();  // false: it stays
  bool power_fails() const { return machine_.state().nodes[node_].power_fails.load() != 0; }
  // To an heir (vcpu_salvage.cc). `state` is what KVM has; false: it stays.
  bool give_up(VcpuState& state);
  bool ask(KeeperRecord& record);
  bool finish_injection();
  bool finish_for_dead(KeeperRecord& record);
  void leave_behind();
  bool commit(VcpuState& state);
  bool take_over();
  void end_pause();
  void tell_of_move();
  bool call_off(MoveRefusal why);
  // Epochs (vcpu_epoch.cc).
  bool epoch_waits() const;
  bool all_power_fails() const;
  void leave_saved();
  bool save_for_epoch(VcpuState& state);
  bool save_all(VcpuState& state);  // false: its exit is not completed yet, or it failed
  void stand_still();
  void load_epoch();
  void drop_exit();
  // Checkpoints (vcpu_checkpoint.cc).
  bool checkpoint_waits() const;
  void stand_for_checkpoint();

  Result<int> run_kvm();
  void enter();
  void handle(const ExitResult& result);
  void fail(const std::string& why);

  Machine& machine_;
  const u32 index_;
  VcpuRecord& v_;
  VcpuMove& move_;
  const u8 node_;  // this one
  Vcpu vcpu_;
  std::optional<VcpuTransfer> transfer_;
  fabric::Peer& peer_;
  kvm_sregs reset_sregs_{};
  std::atomic<u64> halts_before_ = 0;  // counted by other KVM vCPUs, less what this one had then
  u64 halts_counted_ = 0;              // by this one's KVM, when it last got ready for the vCPU
  std::atomic<bool> here_ = false;     // for the node's main thread
  std::atomic<bool> dismissed_ = false;
  bool prepared_ = false;  // its KVM vCPU, for the vCPU to come
  bool pausing_ = false;   // has come, and not run yet
  u32 debug_seen_ = 0;     // generation of the debug record that KVM was told of
  // While it stands still for an epoch's end or a checkpoint: its state, where it has been saved.
  std::atomic<VcpuState*> held_ = nullptr;
  void* timer_ = nullptr;  // timer_t
  u64 armed_tsc_ = 0;
  std::thread thread_;
};

// Installs the handler that takes a vCPU thread out of the guest. Once per process.
Status install_kick_handler();

}  // namespace dvm::vmm
