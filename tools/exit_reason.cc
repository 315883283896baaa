#include "tools/exit_reason.h"

#include <fmt/format.h>

#include <string_view>

#include "vmm/kvm/kvm_api.h"

namespace dvm::tools {
namespace {

std::string_view known_name(u64 reason) {
  switch (reason) {
    case KVM_EXIT_UNKNOWN: return "unknown";
    case KVM_EXIT_EXCEPTION: return "exception";
    case KVM_EXIT_IO: return "io";
    case KVM_EXIT_HYPERCALL: return "hypercall";
    case KVM_EXIT_DEBUG: return "debug";
    case KVM_EXIT_HLT: return "hlt";
    case KVM_EXIT_MMIO: return "mmio";
    case KVM_EXIT_IRQ_WINDOW_OPEN: return "irq_window";
    case KVM_EXIT_SHUTDOWN: return "shutdown";
    case KVM_EXIT_FAIL_ENTRY: return "fail_entry";
    case KVM_EXIT_INTR: return "intr";
    case KVM_EXIT_SET_TPR: return "set_tpr";
    case KVM_EXIT_TPR_ACCESS: return "tpr_access";
    case KVM_EXIT_NMI: return "nmi";
    case KVM_EXIT_INTERNAL_ERROR: return "internal_error";
    case KVM_EXIT_SYSTEM_EVENT: return "system_event";
    case KVM_EXIT_IOAPIC_EOI: return "ioapic_eoi";
    case KVM_EXIT_HYPERV: return "hyperv";
    case KVM_EXIT_X86_RDMSR: return "rdmsr";
    case KVM_EXIT_X86_WRMSR: return "wrmsr";
    case KVM_EXIT_DIRTY_RING_FULL: return "dirty_ring_full";
    case KVM_EXIT_AP_RESET_HOLD: return "ap_reset_hold";
    case KVM_EXIT_X86_BUS_LOCK: return "bus_lock";
    default: return {};
  }
}

}  // namespace

std::string exit_reason_name(u64 reason) {
  const auto name = known_name(reason);
  return name.empty() ? fmt::format("exit_{}", reason) : std::string(name);
}

}  // namespace dvm::tools
