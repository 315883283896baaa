#include "vmm/resume_record.h"

#include <algorithm>
#include <memory>

#include "fabric/crc32c.h"

namespace dvm::vmm {
namespace {

u32 checksum_of(std::string_view launch) {
  const u64 bytes = launch.size();
  return fabric::crc32c(std::as_bytes(std::span(launch)),
                        fabric::crc32c(std::as_bytes(std::span(&bytes, 1))));
}

std::string_view said(StopReason reason) {
  switch (reason) {
    case StopReason::shutdown: return "it shut itself down";
    case StopReason::panic: return "it panicked";
    case StopReason::user: return "its user stopped it";
    default: return "it ended";
  }
}

Status check_vcpus(const MachineState& machine, const GuestBank& bank) {
  for (u32 i = 0; i < machine.config.vcpus; ++i) {
    const auto copy = std::make_unique<VcpuState>();
    copy_meaningful(bank.vcpus[i].state, *copy);
    DVM_TRY(check_vcpu_state(*copy, i, copy->injection));
  }
  return {};
}

Status check_whole(const MachineState& machine, const GuestBank& bank) {
  DVM_TRY(check_bank(machine, bank));
  return check_vcpus(machine, bank);
}

// The two words say so, one after the other, and the phase in between.
Status check_boots(const MachineControl& control) {
  if (control.boots_again.load() == control.boots.load() ||
      control.phase.load() == Phase::resetting) {
    return {};
  }
  return error("the number of its boots is damaged: {}, and {}", control.boots.load(),
               control.boots_again.load());
}

Result<ResumePoint> point_of_epoch(const MachineState& machine, const EpochRecord& epoch) {
  const MachineControl& control = machine.control;
  const u32 running = EpochWord::unpack(epoch.word.load()).epoch;
  const GuestBank& bank = epoch.banks[running % 2];
  DVM_TRY(check_boots(control));
  const u32 boots = control.boots.load();
  if (bank.boot == 0 && running == 1) return ResumePoint::start;
  DVM_TRY(check_whole(machine, bank));
  if (bank.name.epoch != running || bank.name.log != epoch.log[running % 2].load()) {
    return error("epoch {} ran, and what is there is the beginning of epoch {}", running,
                 bank.name.epoch);
  }
  const bool reset = control.phase.load() == Phase::resetting || bank.boot != boots;
  return reset ? ResumePoint::start : ResumePoint::epoch;
}

}  // namespace

void open_resume_record(ResumeRecord& record, std::string_view launch, bool owns_file) {
  record.launch_bytes = static_cast<u32>(launch.size());
  record.launch_checksum = checksum_of(launch);
  record.owns_file = owns_file ? 1 : 0;
  std::ranges::copy(launch, record.launch.begin());
}

Result<std::string> launch_of(const ResumeRecord& record) {
  const std::string launch(record.launch.data(),
                           std::min<u64>(record.launch_bytes, record.launch.size()));
  if (record.launch_checksum != checksum_of(launch))
    return error("how it was launched is damaged: its checksum is wrong");
  return launch;
}

Result<ResumePoint> resume_point(const MachineState& machine, const EpochRecord* epoch,
                                 const ResumeRecord& record) {
  const MachineControl& control = machine.control;
  const StopReason reason = control.stop_reason.load();
  const bool stopped = control.phase.load() == Phase::stopped;
  if (machine.config.protection == Protection::none)
    return error("it ran with --protect none, which keeps nothing to go on from");
  if (stopped && !leaves_a_way_on(reason)) return error("{}", said(reason));
  const u32 saved = record.saved.load();
  if (saved == kSavedWhole) {
    DVM_TRY(check_whole(machine, record.bank));
    return ResumePoint::save;
  }
  if (saved != 0) return error("the mark of a save is damaged: {:#x}", saved);
  if (epoch != nullptr) return point_of_epoch(machine, *epoch);
  if (control.power_fails.load() != 0)
    return error(
        "its power failed before all of it was saved, and --protect flush keeps no epochs");
  return error(
      "its processes ended unannounced; --protect flush can go on after SIGPWR, --protect epoch "
      "always");
}

}  // namespace dvm::vmm
