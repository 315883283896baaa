#include "tools/debugged_machine.h"

#include <algorithm>

#include "tools/status.h"

namespace dvm::tools {
namespace {

// In code of the kernel's, OUT DX, AL: every KVM leaves the guest for it, also where an emulated
// CPU does not intercept INT3, and the kernel's own INT3 (its patching of code) are left alone. In
// code of a program's, where OUT is a fault, INT3.
constexpr char kOut = '\xee', kInt3 = '\xcc';
constexpr u64 kStepWaitNs = 5'000'000'000, kLookNs = 20'000'000;

// Intel SDM vol. 3A §17.2.4: enabled globally, kind and length of one of the four.
std::optional<u64> dr7_bits(BreakpointKind kind, u64 bytes, u32 index) {
  u64 when = 0, length = 0;
  if (kind == BreakpointKind::write) when = 1;
  if (kind == BreakpointKind::read || kind == BreakpointKind::access) when = 3;
  switch (bytes) {
    case 1: length = 0; break;
    case 2: length = 1; break;
    case 4: length = 3; break;
    case 8: length = 2; break;
    default: return std::nullopt;
  }
  return u64{2} << (2 * index) | (when | length << 2) << (16 + 4 * index);
}

}  // namespace

void DebuggedMachine::attach() {
  vmm::DebugRecord& debug = machine_.state().debug;
  for (auto& address : debug.software) address.store(vmm::kNoBreakpoint);
  for (auto& address : debug.address) address.store(0);
  debug.dr7.store(0);
  debug.stopped_by.store(0);
  debug.attached.store(1);
  machine_.debug_changed();
}

void DebuggedMachine::detach() {
  take_out_all();
  machine_.state().debug.attached.store(0);
  machine_.debug_changed();
  resume();
}

bool DebuggedMachine::stopped() const {
  return machine_.state().control.phase.load() == vmm::Phase::paused && machine_.all_parked();
}

bool DebuggedMachine::ended() const {
  return machine_.state().control.phase.load() == vmm::Phase::stopped;
}

StopCause DebuggedMachine::take_cause() {
  StopCause cause;
  const u64 stopped = machine_.state().debug.stopped_by.exchange(0);
  if (stopped == 0) return cause;
  cause.vcpu = static_cast<u32>(stopped) - 1;
  cause.kind = BreakpointKind::software;
  for (u32 i = 0; i < hardware_.size(); ++i) {
    if ((stopped >> (32 + i) & 1) == 0 || !hardware_[i]) continue;
    cause.kind = hardware_[i]->kind;
    cause.address = hardware_[i]->address;
  }
  return cause;
}

void DebuggedMachine::change_phase(vmm::Phase from, vmm::Phase to) {
  if (machine_.state().control.phase.compare_exchange_strong(from, to)) machine_.ring_everyone();
}

void DebuggedMachine::resume() {
  machine_.state().debug.stopped_by.store(0);
  change_phase(vmm::Phase::paused, vmm::Phase::running);
}

Status DebuggedMachine::step(u32 vcpu) {
  vmm::VcpuDebug& debug = machine_.state().debug_vcpus[vcpu];
  auto& changed = machine_.state().control.changed;
  debug.step.store(1);
  fabric::ring(machine_.state().vcpus[vcpu].bell);
  const u64 limit = fabric::monotonic_ns() + kStepWaitNs;
  while (fabric::monotonic_ns() < limit) {
    const u32 seen = fabric::listen(changed);
    if ((debug.step.load() == 0 && stopped()) || ended()) return {};
    fabric::wait(changed, seen, fabric::monotonic_ns() + kLookNs);
  }
  debug.step.store(0);
  return error("vCPU {} does not step", vcpu);
}

std::string DebuggedMachine::describe(u32 vcpu) const {
  const vmm::VcpuRecord& v = machine_.state().vcpus[vcpu];
  return fmt::format("vCPU {} on node {}, {}", vcpu, v.node(),
                     v.started.load() == 0 ? "not started" : run_state_name(v.run_state.load()));
}

std::optional<GdbRegisterFile> DebuggedMachine::registers(u32 vcpu) {
  vmm::VcpuRecord& v = machine_.state().vcpus[vcpu];
  if (v.image.saved == 0) return std::nullopt;
  return GdbRegisterFile{v.image, machine_.state().debug_vcpus[vcpu].fpu};
}

void DebuggedMachine::registers_changed(u32 vcpu) {
  machine_.state().debug_vcpus[vcpu].changed.store(1);
}

Result<vmm::Translation> DebuggedMachine::translate(u32 vcpu, u64 address) const {
  const vmm::VcpuImage& image = machine_.state().vcpus[vcpu].image;
  if (image.saved == 0) return error("vCPU {}: its registers are not known", vcpu);
  const kvm_sregs& s = image.sregs;
  return vmm::walk_page_tables(machine_.memory(), {s.cr0, s.cr3, s.cr4, s.efer}, address);
}

Result<std::string> DebuggedMachine::read(u32 vcpu, u64 address, u64 bytes) {
  std::string got;
  while (got.size() < bytes) {
    const u64 at = address + got.size();
    const u64 part = std::min(bytes - got.size(), kPageBytes - at % kPageBytes);
    const auto gpa = translate(vcpu, at);
    std::string some(part, '\0');
    Status read = gpa.ok()
                      ? machine_.memory().read(gpa->gpa, std::as_writable_bytes(std::span(some)))
                      : Status(gpa.error());
    if (!read.ok()) {
      if (got.empty()) return read.error();
      break;
    }
    got += some;
  }
  for (const auto& [at, breakpoint] : software_) {
    if (at - address < got.size()) got[at - address] = breakpoint.original;
  }
  return got;
}

Status DebuggedMachine::write(u32 vcpu, u64 address, std::string_view bytes) {
  for (u64 done = 0; done < bytes.size();) {
    const u64 at = address + done;
    const u64 part = std::min(bytes.size() - done, kPageBytes - at % kPageBytes);
    DVM_ASSIGN(const auto to, translate(vcpu, at));
    std::string some(bytes.substr(done, part));
    for (auto& [where, breakpoint] : software_) {  // stays, with what it now hides
      if (where - at < part) breakpoint.original = std::exchange(some[where - at], breakpoint.trap);
    }
    DVM_TRY(machine_.memory().write(to.gpa, std::as_bytes(std::span(some))));
    done += part;
  }
  return {};
}

Status DebuggedMachine::insert_software(u32 vcpu, u64 address) {
  if (software_.contains(address)) return {};
  auto& slots = machine_.state().debug.software;
  const auto free =
      std::ranges::find_if(slots, [](const auto& at) { return at.load() == vmm::kNoBreakpoint; });
  if (free == slots.end()) return error("{} breakpoints are all there are", slots.size());
  DVM_ASSIGN(const auto at, translate(vcpu, address));
  DVM_ASSIGN(const char original, machine_.memory().load<char>(at.gpa));
  const char trap = at.user ? kInt3 : kOut;
  free->store(address);
  DVM_TRY(machine_.memory().store(at.gpa, trap));
  software_[address] = {at.gpa, original, trap, static_cast<u32>(free - slots.begin())};
  return {};
}

// What the guest has put there meanwhile stays.
Status DebuggedMachine::remove_software(u64 address) {
  const auto found = software_.find(address);
  if (found == software_.end()) return error("no breakpoint at {:#x}", address);
  const Software breakpoint = found->second;
  software_.erase(found);
  const auto now = machine_.memory().load<char>(breakpoint.gpa);
  Status restored;
  if (now.ok() && *now == breakpoint.trap)
    restored = machine_.memory().store(breakpoint.gpa, breakpoint.original);
  machine_.state().debug.software[breakpoint.slot].store(vmm::kNoBreakpoint);
  return restored;
}

Status DebuggedMachine::insert(BreakpointKind kind, u32 vcpu, u64 address, u64 bytes) {
  if (kind == BreakpointKind::software) return insert_software(vcpu, address);
  if (kind == BreakpointKind::execute) bytes = 1;
  if (!dr7_bits(kind, bytes, 0) || address % bytes != 0)
    return error("a watchpoint of {} bytes at {:#x}; allowed: 1, 2, 4 or 8, aligned", bytes,
                 address);
  const auto free = std::ranges::find_if(hardware_, [](const auto& h) { return !h; });
  if (free == hardware_.end()) return error("{} of these are all there are", hardware_.size());
  *free = Hardware{kind, address, bytes};
  write_dr7();
  return {};
}

Status DebuggedMachine::remove(BreakpointKind kind, u32, u64 address, u64 bytes) {
  if (kind == BreakpointKind::software) return remove_software(address);
  if (kind == BreakpointKind::execute) bytes = 1;
  for (auto& h : hardware_) {
    if (!h || h->kind != kind || h->address != address || h->bytes != bytes) continue;
    h.reset();
    write_dr7();
    return {};
  }
  return error("no breakpoint at {:#x}", address);
}

void DebuggedMachine::write_dr7() {
  vmm::DebugRecord& debug = machine_.state().debug;
  u64 dr7 = 0;
  for (u32 i = 0; i < hardware_.size(); ++i) {
    debug.address[i].store(hardware_[i] ? hardware_[i]->address : 0);
    if (hardware_[i]) dr7 |= *dr7_bits(hardware_[i]->kind, hardware_[i]->bytes, i);
  }
  debug.dr7.store(dr7 == 0 ? 0 : dr7 | 0x600);  // bit 10 is always 1; exact, as is recommended
  machine_.debug_changed();
}

void DebuggedMachine::take_out_all() {
  while (!software_.empty()) (void)remove_software(software_.begin()->first);
  hardware_ = {};
  write_dr7();
}

}  // namespace dvm::tools
