// Ends epochs, and rolls them back: by one node at a time, which has claimed the role. Whoever
// claims it after the death of the one before goes on from what the word says (epoch_word.h).
#pragma once

#include <functional>
#include <memory>

#include "hyperkernel/guest_view.h"
#include "hyperkernel/page_sums.h"
#include "hyperkernel/undo_log.h"
#include "vmm/epoch_record.h"
#include "vmm/machine.h"

namespace dvm::vmm {

class EpochCoordinator {
 public:
  // `released` is called when packets may leave; `io_over` tells whether nothing of nodes that have
  // ended is in flight at disks.
  static Result<std::unique_ptr<EpochCoordinator>> make(Machine& machine,
                                                        std::function<void()> released,
                                                        std::function<bool()> io_over);

  // Does what is due, if this process has the role. `answer`: its own part as a member. When to
  // look again at the latest (CLOCK_MONOTONIC). Threads: one.
  using Answer = std::function<void(EpochWord)>;
  u64 look(const Answer& answer);

 private:
  EpochCoordinator(Machine& machine, std::function<void()> released, std::function<bool()> io_over,
                   hyperkernel::UndoLog log, hyperkernel::PageSums sums,
                   hyperkernel::GuestView frames)
      : machine_(machine),
        record_(*machine.epoch()),
        released_(std::move(released)),
        io_over_(std::move(io_over)),
        log_(std::move(log)),
        sums_(std::move(sums)),
        frames_(std::move(frames)) {}
  EpochWord word() const { return EpochWord::unpack(record_.word.load()); }
  bool step(EpochWord from, EpochStep how);
  bool may_end() const;
  u64 due() const;
  void end_epoch(const Answer& answer);
  bool await_vcpus(EpochWord word, bool rolling) const;
  bool await_members(EpochWord word, const Answer& answer) const;
  bool await_io(EpochWord word) const;
  bool wait_until(const std::function<bool()>& enough, EpochWord word, u64 longest_ns) const;
  bool has_role();
  void catch_up_sums();
  bool close(EpochWord closing);
  void give_back_log(u32 ended);
  void roll_back(EpochWord rolling, const Answer& answer);
  void place_vcpus(const GuestBank* bank);
  u32 a_dead_node() const;

  Machine& machine_;
  EpochRecord& record_;
  const std::function<void()> released_;
  const std::function<bool()> io_over_;
  hyperkernel::UndoLog log_;
  hyperkernel::PageSums sums_;
  u64 most_slots_ = 0;             // that an epoch took lately
  u32 ends_ = 0;                   // since the log's memory was given back
  u64 cost_ns_ = 0;                // of the last epoch: its end, and writes that waited in it
  u64 served_before_ = 0;          // EpochFigures::served_ns, at its end
  hyperkernel::GuestView frames_;  // of RAM, that nobody protects
};

}  // namespace dvm::vmm
