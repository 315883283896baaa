// A node while the machine starts: all come together, one loads what the guest starts with, each
// makes its KVM VM.
#include "fabric/claim.h"
#include "fabric/failpoint.h"
#include "vmm/boot/command_line.h"
#include "vmm/cpuid.h"
#include "vmm/node.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {

using fabric::EventKind;

void Node::prepare_boot() {
  stop_vcpus();
  const u32 next = machine_->state().control.boots.load() + 1;
  if (record_.ready_for_boot.exchange(next, std::memory_order_acq_rel) == next) return;
  machine_->ring_nodes();
}

// All that may have a VM.
bool Node::everyone_ready() const {
  const u32 next = machine_->state().control.boots.load() + 1;
  for (const NodeRecord& node : machine_->state().nodes) {
    const NodeStage stage = node.stage.load();
    const bool counts =
        stage == NodeStage::starting || stage == NodeStage::active || stage == NodeStage::emptying;
    if (counts && node.ready_for_boot.load(std::memory_order_acquire) != next) return false;
  }
  return true;
}

// Who loads a guest has its pages, with software coherence: where they are needed first.
bool Node::may_load() const {
  return memory_ == nullptr || machine_->state().vcpus[0].node() == index_;
}

Status Node::carry_out_reset() {
  MachineState& s = machine_->state();
  // From a node that died in it, too: all of it is done again, from the devices on.
  if (!fabric::claim(s.control.reset_owner, machine_->self(), machine_->instances())) return {};
  // Another may have won and finished since we looked. What the dead had in hand is done by who
  // takes it over, in the memory of the boot before.
  if (s.control.phase.load() != Phase::resetting || !everyone_ready() ||
      machine_->any_in_flight()) {
    fabric::disclaim(s.control.reset_owner);
    return {};
  }
  const u32 next = s.control.boots.load() + 1;
  s.control.stopped_ns.store(fabric::monotonic_ns() - s.control.reset_ns.load());
  machine_->reset_devices();
  if (s.cpu.count.load() == 0) DVM_TRY(record_cpu_model());
  const MachineConfig& config = machine_->config();
  DVM_ASSIGN(const auto* const ram, machine_->renew_ram(next));
  // The guest cannot write to its ROM.
  const hyperkernel::GuestMemory rom = next == 1 ? machine_->rom() : hyperkernel::GuestMemory();
  DVM_ASSIGN(s.entry, load_guest(boot_, *ram, config.memory_bytes, config.vcpus, rom));
  machine_->log_event(next == 1 ? EventKind::machine_started : EventKind::guest_reset,
                      next == 1
                          ? std::array<u64, 3>{machine_->config().nodes, machine_->config().vcpus,
                                               machine_->config().memory_bytes}
                          : std::array<u64, 3>{next});
  s.control.boots.store(next);
  s.control.boots_again.store(next);
  fabric::disclaim(s.control.reset_owner);
  Phase resetting = Phase::resetting;  // unless it was stopped meanwhile
  s.control.phase.compare_exchange_strong(resetting, Phase::running);
  machine_->ring_everyone();
  return {};
}

Status Node::record_cpu_model() {
  DVM_ASSIGN(const auto supported, supported_cpuid());
  const MachineConfig& config = machine_->config();
  DVM_TRY(check_cpu_level(supported, config.cpu_level));
  const auto model =
      make_cpu_model(limit_to_level(supported, config.cpu_level), config.vcpus, config.tsc_khz);
  CpuBaseline& cpu = machine_->state().cpu;
  if (model.size() > cpu.entries.size())
    return error("{} CPUID entries are too many", model.size());
  std::copy(model.begin(), model.end(), cpu.entries.begin());
  const u32 count = static_cast<u32>(model.size());
  cpu.checksum = cpu_checksum(cpu, count);
  cpu.count.store(count, std::memory_order_release);
  return {};
}

Status Node::check_host() const {
  const CpuBaseline& cpu = machine_->state().cpu;
  DVM_ASSIGN(const auto supported, supported_cpuid());
  DVM_TRY(machine_->check_cpu_model());
  return check_cpu_offers(supported, {cpu.entries.data(), cpu.count.load()});
}

Status Node::start_vcpus() {
  fabric::failpoint("node.starts_vcpus");
  DVM_ASSIGN(auto vm, reserve_.take());
  DVM_TRY(check_host());
  DVM_TRY(vm->map_memory(machine_->memory()));
  if (machine_->has_firmware())
    DVM_TRY(vm->map_rom(machine_->rom(), machine_->config().firmware_bytes));
  vm_ = std::move(vm);
  io_event_fds_.emplace(*machine_, *vm_, index_);
  vcpus_.emplace(*machine_, *vm_, fabric_->peer(), keeper_.get());
  DVM_TRY(vcpus_->make());
  if (memory_) DVM_TRY(start_pre_fault());
  machine_->resume_record().saved.store(0);  // from here on it is another guest
  vcpus_->start();
  tell_restart();
  if (machine_->state().control.resumed.load() != 0) machine_->mend_devices();
  return {};
}

void Node::tell_restart() {
  MachineControl& control = machine_->state().control;
  if (machine_->state().vcpus[0].node() != index_) return;
  const u64 began = control.reset_ns.exchange(0);
  if (began == 0) return;
  machine_->log_event(
      EventKind::guest_restarted,
      {control.boots.load(), fabric::monotonic_ns() - began, control.stopped_ns.load()});
}

Status Node::start_pre_fault() {
  DVM_ASSIGN(pre_fault_,
             PreFault::start(*vm_, machine_->config().vcpus, machine_->config().memory_bytes));
  memory_->tell(pre_fault_.get());
  return {};
}

// The whole KVM VM goes: a new one has no state left over from before the reset. And no disk writes
// to the memory of the next boot.
void Node::stop_vcpus() {
  vcpus_.reset();
  io_event_fds_.reset();
  for (auto& disk : disks_) disk->drain();
  if (memory_) memory_->tell(nullptr);
  pre_fault_.reset();
  if (vm_) reserve_.retire(std::move(vm_));
}

}  // namespace dvm::vmm
