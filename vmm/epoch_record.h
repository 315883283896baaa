// Epochs in the pool: the word, who answers it, and two banks of guest state, of which the one of
// the epoch that runs is what a roll-back goes back to. The other is written while the machine
// stands still, and counts from the commit on (epoch_word.h).
//
// RAM as it was when the epoch began: hyperkernel/undo_log.h.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>

#include "fabric/doorbell.h"
#include "fabric/pool_record.h"
#include "vmm/epoch_word.h"
#include "vmm/guest_bank.h"

namespace dvm::vmm {

inline constexpr u32 kEpochVersion = 5;

// A process that lets guest memory be written: a node, the network's, the launcher.
struct EpochMemberRecord {
  std::atomic<u64> instance;  // packed; 0: free. Of one that has ended: free
  std::atomic<u64> answered;  // the word that it has done its part for
};

// For people.
struct EpochFigures {
  std::atomic<u64> commits;
  std::atomic<u64> roll_backs;
  std::atomic<u64> called_off;
  std::atomic<u64> pause_sum_ns;  // from the stop to going on
  std::atomic<u64> last_pause_ns;
  std::atomic<u64> longest_pause_ns;
  std::atomic<u64> last_stop_ns;     // of it: until all vCPUs stood still
  std::atomic<u64> last_protect_ns;  // of it: pages protected, or saved ahead
  std::atomic<u64> last_close_ns;    // of it: devices, until the commit
  std::atomic<u64> writes_waited;    // for their page to be saved
  std::atomic<u64> served_ns;        // what those who saved it took for that, added up
  std::atomic<u64> pages_saved;
  std::atomic<u64> pages_hot;      // of them: ahead, as they are written all the time
  std::atomic<u64> roll_asked_ns;  // CLOCK_MONOTONIC: the last wish to go back
  std::atomic<u64> last_roll_ns;   // from the wish to going on
  std::atomic<u64> last_roll_pages;
};

struct EpochRecord {
  std::atomic<u64> word;
  std::atomic<u64> coordinator;  // fabric/claim.h
  fabric::Doorbell bell;         // rung at each step of the word, and at each answer to it
  std::atomic<u32> period_ms;
  std::atomic<u64> opened_ns;     // CLOCK_MONOTONIC: when the epoch that runs began
  std::atomic<u32> output_waits;  // something waits for the commit: sooner
  // What may leave the machine: all of the epochs before the one that runs.
  std::atomic<u64> serial_out, virtio_out, firmware_out;
  // By epoch % 2: the number that the epoch has in the undo log. A new one for each end that is
  // tried, by the coordinator, so that what was saved for one called off counts for nothing.
  std::array<std::atomic<u32>, 2> log;
  // By vCPU: the word it stands still for.
  std::array<std::atomic<u64>, layout::kMaxVcpus> answered;
  std::array<EpochMemberRecord, layout::kMaxNodes + 2> members;
  EpochFigures figures;
  std::array<GuestBank, 2> banks;  // by epoch % 2: its beginning
};

// The number of an end that is tried now; odd as the epoch that it would begin.
constexpr u32 next_log_number(u32 one, u32 other, u32 epoch) {
  const u32 next = std::max(one, other) + 1;
  return next % 2 == epoch % 2 ? next : next + 1;
}

// `record`: of a machine without epochs nullptr. The epoch that runs.
inline u32 running_epoch(const EpochRecord* record) {
  return record == nullptr ? 0 : EpochWord::unpack(record->word.load()).epoch;
}
inline bool rolls_back(const EpochRecord* record) {
  return record != nullptr && EpochWord::unpack(record->word.load()).stage == EpochStage::rolling;
}
// Has it stopped, and may go on from its last epoch, or from when its power failed?
inline bool can_go_on(const MachineControl& control) {
  return control.outlives.load() != 0 && control.phase.load() == Phase::stopped &&
         leaves_a_way_on(control.stop_reason.load());
}
// Does what the guest does now wait for the epoch's end before it leaves the machine? After a reset
// or a stop there is no way back to before it.
inline bool holds_output(const EpochRecord* record, const MachineControl& control) {
  const Phase phase = control.phase.load();
  return record != nullptr &&
         (phase == Phase::running || phase == Phase::paused || can_go_on(control));
}

// The epoch that runs is void: a node's part in it is lost. Any number of times.
void ask_to_roll_back(EpochRecord& record);

// Of a machine that has not started: nothing may leave it yet. For a record of zero bytes.
void open_epoch_record(EpochRecord& record, NetRecord& net, u32 period_ms);
Status check_record(const EpochRecord& record, const fabric::RecordPlace& place);

}  // namespace dvm::vmm
