#include "tools/recovery_metrics.h"

#include "tools/recovery_figures.h"
#include "vmm/epoch_record.h"

namespace dvm::tools {

void recovery_metrics(Exposition& out, const vmm::MachineState& state) {
  if (state.config.protection == vmm::Protection::none) return;
  const RecoveryFigures f = recovery_figures(state);
  out.metric("dvm_recoveries_total", "counter", "Nodes that ended and left their vCPUs to others.");
  for (u32 k = 0; k < vmm::kRecoveryKinds; ++k)
    out.sample(f.by_kind[k], fmt::format("kind=\"{}\"", vmm::kRecoveryNames[k]));
  if (f.last) {
    out.metric("dvm_last_recovery_ns", "gauge",
               "Time that the last keeper took from its node's end to the last vCPU given up.");
    out.sample(f.last->took_ns, fmt::format("node=\"{}\"", f.last->node));
  }
}

void epoch_metrics(Exposition& out, const vmm::Machine& machine) {
  const vmm::EpochRecord* record = machine.epoch();
  if (record == nullptr) return;
  const vmm::EpochFigures& f = record->figures;
  const auto one = [&](const char* name, const char* kind, const char* help, u64 value) {
    out.metric(name, kind, help);
    out.sample(value);
  };
  one("dvm_epoch_commits_total", "counter", "Epochs that ended.", f.commits.load());
  one("dvm_epoch_called_off_total", "counter", "Ends of epochs that were given up.",
      f.called_off.load());
  one("dvm_epoch_roll_backs_total", "counter", "Times the guest went back to the last end.",
      f.roll_backs.load());
  one("dvm_epoch_pause_nanoseconds_total", "counter", "How long the guest stood still for ends.",
      f.pause_sum_ns.load());
  one("dvm_epoch_writes_waited_total", "counter", "Writes that waited for a page to be saved.",
      f.writes_waited.load());
  one("dvm_epoch_pages_saved_total", "counter", "Pages saved before they were written.",
      f.pages_saved.load());
  one("dvm_epoch_pages_hot_total", "counter", "Of these, when an epoch began.", f.pages_hot.load());
}

}  // namespace dvm::tools
