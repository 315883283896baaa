#include "vmm/exit.h"

#include <algorithm>
#include <cstring>

#include "fabric/failpoint.h"
#include "vmm/irq/lapic_registers.h"

namespace dvm::vmm {
namespace {

// A string's items that were done before whoever handled them died are in the record already.
// `operations`: nullptr where nobody would finish for the dead.
ExitResult handle_io(Machine& m, kvm_run& run, u64 run_bytes, OperationScope* operations) {
  const auto io = run.io;  // a copy: the data may lie anywhere in the record, even over this
  const u64 total = static_cast<u64>(io.size) * io.count;
  if ((io.size != 1 && io.size != 2 && io.size != 4) || io.data_offset > run_bytes ||
      total > run_bytes - io.data_offset) {
    return {ExitOutcome::failed, fmt::format("KVM_EXIT_IO of {} x {} bytes at offset {}", io.count,
                                             io.size, static_cast<u64>(io.data_offset))};
  }
  auto* data = reinterpret_cast<u8*>(&run) + io.data_offset;
  const u32 done = operations == nullptr ? 0 : std::min<u32>(operations->elements_done(), io.count);
  data += u64{done} * io.size;
  for (u32 i = done; i < io.count; ++i, data += io.size) {
    u32 value = 0;
    if (io.direction == KVM_EXIT_IO_OUT) {
      std::memcpy(&value, data, io.size);
      m.port_write(io.port, io.size, value);
    } else {
      value = m.port_read(io.port, io.size);
      std::memcpy(data, &value, io.size);
    }
    if (operations != nullptr) operations->element_done();
  }
  return {};
}

ExitResult handle_mmio(Machine& m, u32 vcpu, kvm_run& run) {
  auto& mmio = run.mmio;
  const u8 size = static_cast<u8>(std::min<u32>(mmio.len, sizeof(mmio.data)));
  u64 value = 0;
  if (mmio.is_write != 0) {
    std::memcpy(&value, mmio.data, size);
    m.mmio_write(vcpu, mmio.phys_addr, size, value);
  } else {
    value = m.mmio_read(vcpu, mmio.phys_addr, size);
    std::memcpy(mmio.data, &value, size);
  }
  return {};
}

ExitResult handle_rdmsr(Machine& m, u32 vcpu, kvm_run& run) {
  VcpuRecord& v = m.state().vcpus[vcpu];
  const u32 msr = run.msr.index;
  run.msr.error = 0;
  if (msr >= kMsrX2ApicFirst && msr <= kMsrX2ApicLast && v.lapic.mode.load() == 2) {
    const LapicRead r = lapic_read(v.lapic, v.inbox, msr - kMsrX2ApicFirst, m.lapic_clock());
    run.msr.error = r.fault ? 1 : 0;
    run.msr.data = r.value;
  } else if (msr == kMsrTscDeadline) {
    run.msr.data = v.lapic.deadline_tsc;
  } else if (msr == kMsrApicBase) {
    run.msr.data = v.lapic.apic_base;
  } else if (msr == kMsrKvmPvEoi) {
    run.msr.data = v.lapic.pv_eoi;
  } else if (msr == kMsrKvmSystemTime) {
    run.msr.data = v.clock.system_time;
  } else if (msr == kMsrKvmWallClock) {
    run.msr.data = v.clock.wall_clock;
  } else {
    run.msr.error = 1;  // #GP, as on a CPU without it
  }
  return {};
}

// MSR_KVM_PV_EOI_EN: bit 0 enables, the rest is the 4-byte aligned address of a word in RAM.
bool write_pv_eoi(Machine& m, LapicState& lapic, u64 value) {
  if ((value & 1) != 0 && ((value & 2) != 0 || !m.memory().span(value & ~3ull, 4).ok()))
    return false;
  lapic.pv_eoi = value;
  lapic.pv_eoi_armed = 0;
  return true;
}

// The record is not written again, so whether a second write finds the guest reading does not
// matter.
bool write_system_time(Machine& m, KvmClockState& clock, u64 value) {
  if (const auto at = system_time_address(value)) {
    const PvclockTime time = pvclock_time(m.config().tsc_khz);
    if (!m.memory().write(*at, std::as_bytes(std::span(&time, 1))).ok()) return false;
  }
  clock.system_time = value;
  return true;
}

bool write_wall_clock(Machine& m, KvmClockState& clock, u64 value) {
  const PvclockWall wall = m.wall_clock();
  if (!m.memory().write(value, std::as_bytes(std::span(&wall, 1))).ok()) return false;
  clock.wall_clock = value;
  return true;
}

ExitResult handle_wrmsr(Machine& m, u32 vcpu, kvm_run& run) {
  VcpuRecord& v = m.state().vcpus[vcpu];
  const u32 msr = run.msr.index;
  const u64 value = run.msr.data;
  LapicAction action;
  ExitResult result;
  if (msr >= kMsrX2ApicFirst && msr <= kMsrX2ApicLast && v.lapic.mode.load() == 2) {
    const u32 reg = msr - kMsrX2ApicFirst;
    if (reg == kRegEoi) ++v.counters.eoi_writes;
    if (reg == kRegIcr) ++v.counters.icr_writes;
    action = lapic_write(v.lapic, v.inbox, reg, value, m.lapic_clock());
  } else if (msr == kMsrTscDeadline) {
    ++v.counters.timer_writes;
    action = lapic_write_deadline(v.lapic, value);
  } else if (msr == kMsrApicBase) {
    action.fault = !lapic_write_base(v.lapic, value);
    if (!action.fault) result.outcome = ExitOutcome::apic_base;
  } else if (msr == kMsrKvmPvEoi) {
    action.fault = !write_pv_eoi(m, v.lapic, value);
  } else if (msr == kMsrKvmSystemTime) {
    action.fault = !write_system_time(m, v.clock, value);
  } else if (msr == kMsrKvmWallClock) {
    action.fault = !write_wall_clock(m, v.clock, value);
  } else {
    ++v.counters.other_msrs;
    action.fault = true;
  }
  run.msr.error = action.fault ? 1 : 0;
  m.carry_out(action, vcpu);
  return result;
}

ExitResult internal_error(const kvm_run& run) {
  return {ExitOutcome::failed,
          fmt::format("KVM internal error, suberror {} ({})", run.internal.suberror,
                      run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                          ? "an instruction it cannot emulate"
                          : "see KVM's documentation")};
}

ExitResult handle_halt(Machine& m, u32 vcpu, const kvm_run& run) {
  VcpuRecord& v = m.state().vcpus[vcpu];
  v.interruptible_halt.store(run.if_flag, std::memory_order_relaxed);
  v.journal.halted.store(1, std::memory_order_relaxed);
  return {ExitOutcome::halted, {}};
}

ExitResult dispatch(Machine& m, u32 vcpu, kvm_run& run, u64 run_bytes, OperationScope* operations) {
  switch (run.exit_reason) {
    case KVM_EXIT_IO: return handle_io(m, run, run_bytes, operations);
    case KVM_EXIT_MMIO: return handle_mmio(m, vcpu, run);
    case KVM_EXIT_X86_RDMSR: return handle_rdmsr(m, vcpu, run);
    case KVM_EXIT_X86_WRMSR: return handle_wrmsr(m, vcpu, run);
    case KVM_EXIT_HLT: return handle_halt(m, vcpu, run);
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR: return {};
    case KVM_EXIT_DEBUG: return {ExitOutcome::debug, {}};
    case KVM_EXIT_SHUTDOWN:
      m.guest_panicked(PanicCause::triple_fault);
      return {ExitOutcome::triple_fault, {}};
    case KVM_EXIT_INTERNAL_ERROR: return internal_error(run);
    case KVM_EXIT_FAIL_ENTRY:
      return {ExitOutcome::failed,
              fmt::format("the CPU refused to enter the guest, hardware reason {:#x}",
                          static_cast<u64>(run.fail_entry.hardware_entry_failure_reason))};
    default: return {ExitOutcome::failed, fmt::format("KVM exit reason {}", run.exit_reason)};
  }
}

ExitResult dispatch_logged(Machine& m, u32 vcpu, kvm_run& run, u64 run_bytes) {
  OperationScope operations(m.state().vcpus[vcpu].journal.operations, vcpu);
  return dispatch(m, vcpu, run, run_bytes, &operations);
}

// Where nobody would finish for the dead, it would be a third of the handling.
void begin_handling(VcpuRecord& v) {
  copy_lapic(v.lapic, v.journal.lapic);
  v.journal.operations.begin();
  v.journal.phase.store(VcpuPhase::handling, std::memory_order_release);
}

}  // namespace

ExitResult handle_exit(Machine& m, u32 vcpu, kvm_run& run, u64 run_bytes) {
  VcpuRecord& v = m.state().vcpus[vcpu];
  const bool kept = m.config().protection != Protection::none;
  if (kept) begin_handling(v);
  fabric::failpoint("exit.begun");
  ExitResult result =
      kept ? dispatch_logged(m, vcpu, run, run_bytes) : dispatch(m, vcpu, run, run_bytes, nullptr);
  fabric::failpoint("exit.done");
  if (kept) v.journal.phase.store(VcpuPhase::handled, std::memory_order_release);
  return result;
}

ExitResult finish_handling(Machine& m, u32 vcpu, kvm_run& run, u64 run_bytes) {
  VcpuRecord& v = m.state().vcpus[vcpu];
  copy_lapic(v.journal.lapic, v.lapic);
  ExitResult result = dispatch_logged(m, vcpu, run, run_bytes);
  v.journal.phase.store(VcpuPhase::handled, std::memory_order_release);
  return result;
}

}  // namespace dvm::vmm
