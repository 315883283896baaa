// A guest's way on beyond the processes that run it (vmm/resume_record.h), as its launcher sees it.
#include "tools/guest_run.h"
#include "tools/message.h"

namespace dvm::tools {

void GuestRun::tell_resumption() {
  constexpr std::array<std::string_view, 3> kFrom = {"goes on from where its power failed",
                                                     "goes on from its last epoch",
                                                     "had been reset, and boots"};
  const u32 resumed = machine().state().control.resumed.load();
  if (resumed == vmm::kFromCheckpoint) return tell_restoration();
  if (resumed == 0 || resumed > kFrom.size()) return;
  const vmm::EpochRecord* const epoch = machine().epoch();
  const u32 times = machine().resume_record().resumptions.load();
  const u64 pages = epoch == nullptr ? 0 : epoch->figures.last_roll_pages.load();
  const bool paused = machine().state().control.phase.load() == vmm::Phase::paused;
  say("{}: {}, at {} s of its time{}; {} pages put back, resumption {}",
      machine().config().name.data(), kFrom[resumed - 1], machine().now_ns() / 1'000'000'000,
      paused ? ", paused" : "", pages, times);
  machine().log_event(fabric::EventKind::machine_resumed, {resumed - 1, pages, times});
}

void GuestRun::tell_restoration() {
  const bool paused = machine().state().control.phase.load() == vmm::Phase::paused;
  const bool on_touch = machine().pool().has_region(fabric::RegionKind::origin);
  say("{}: goes on from {}, at {} s of its time{}; its pages {}", machine().config().name.data(),
      guest_->is_clone() ? "where it was forked" : guest_->checkpoint->file.name(),
      machine().now_ns() / 1'000'000'000, paused ? ", paused" : "",
      on_touch ? "come when they are touched" : "have been read");
  machine().log_event(fabric::EventKind::machine_resumed, {vmm::kFromCheckpoint - 1, 0, 0});
}

// For a guest that can go on: its power failed, or all that ran it is gone.
bool GuestRun::keeps_pool() {
  const auto& control = machine().state().control;
  if (control.boots.load() == 0 || !vmm::can_go_on(control)) return false;
  if (control.stop_reason.load() == vmm::StopReason::power_failed && !vmm::keep_save(machine()))
    say("{}: not all of the guest could be saved", machine().config().name.data());
  const auto point =
      vmm::resume_point(machine().state(), machine().epoch(), machine().resume_record());
  if (!point.ok()) return false;
  say("{}: {}; dvm-run --resume {} goes on", machine().config().name.data(),
      *point == vmm::ResumePoint::save ? "saved as its power failed" : "ended with a way back",
      machine().pool().path());
  return true;
}

}  // namespace dvm::tools
