// The machine in a debugger's hands: stopped and let go as a whole, looked into and changed while
// it stands still. Whichever nodes the vCPUs are on, all of it goes through the pool.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "tools/gdb_registers.h"
#include "vmm/machine.h"
#include "vmm/page_walk.h"

namespace dvm::tools {

// gdb's numbers (packets Z and z).
enum class BreakpointKind : u32 { software, execute, write, read, access };

struct StopCause {
  std::optional<u32> vcpu;  // that met something; none: the machine was paused
  std::optional<BreakpointKind> kind;
  u64 address = 0;  // of what was watched
};

// Threads: one. All but attach, detach, stop and stopped need the machine to be stopped; addresses
// are guest-virtual, as the vCPU named would see them.
class DebuggedMachine {
 public:
  explicit DebuggedMachine(vmm::Machine& machine) : machine_(machine) {}

  void attach();
  // Takes all breakpoints out and lets the machine go on.
  void detach();
  void stop() { change_phase(vmm::Phase::running, vmm::Phase::paused); }
  bool stopped() const;
  bool ended() const;
  // Why it stopped, once.
  StopCause take_cause();
  void resume();
  // One instruction of one vCPU, while the others stand still. An error if it is not done in time.
  Status step(u32 vcpu);

  u32 vcpus() const { return machine_.config().vcpus; }
  std::string describe(u32 vcpu) const;  // "node 1, halted"
  // None: its registers are not known.
  std::optional<GdbRegisterFile> registers(u32 vcpu);
  void registers_changed(u32 vcpu);

  // Reads as far as memory is mapped and is RAM; the debugger's own breakpoints are not shown.
  Result<std::string> read(u32 vcpu, u64 address, u64 bytes);
  Status write(u32 vcpu, u64 address, std::string_view bytes);
  Status insert(BreakpointKind kind, u32 vcpu, u64 address, u64 bytes);
  Status remove(BreakpointKind kind, u32 vcpu, u64 address, u64 bytes);
  void kill_guest() { machine_.request_stop(vmm::StopReason::user); }

 private:
  struct Software {
    u64 gpa;
    char original;
    char trap;  // what stands there instead
    u32 slot;
  };
  struct Hardware {
    BreakpointKind kind;
    u64 address;
    u64 bytes;
  };

  // Without an event: a debugger's stops come by the hundred.
  void change_phase(vmm::Phase from, vmm::Phase to);
  Result<vmm::Translation> translate(u32 vcpu, u64 address) const;
  Status insert_software(u32 vcpu, u64 address);
  Status remove_software(u64 address);
  void take_out_all();
  void write_dr7();

  vmm::Machine& machine_;
  std::map<u64, Software> software_;  // by address
  std::array<std::optional<Hardware>, vmm::kHardwareBreakpoints> hardware_{};
};

}  // namespace dvm::tools
