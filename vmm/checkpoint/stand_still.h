// The guest stands still, all of it: its vCPUs are out of the guest, their states in the pool, and
// nothing else of the machine changes: no device is stepped, no timer runs. (I/O that a disk has in
// hand may still land in the buffers it was given, which are the device's until it says otherwise.)
#pragma once

#include <memory>
#include <optional>

#include "vmm/all_cells.h"

namespace dvm::vmm::checkpoint {

class StandStill {
 public:
  // Error: the guest neither runs nor is paused, does not come to rest in time, or stands still for
  // somebody else.
  static Result<std::unique_ptr<StandStill>> begin(Machine& machine, u64 patience_ns);
  ~StandStill();  // it goes on; or stays paused, if it was
  StandStill(const StandStill&) = delete;
  StandStill& operator=(const StandStill&) = delete;

  // Error: it did not, until now: it was reset or stopped, its power fails, a node has ended, or an
  // epoch was rolled back. To be asked often, and obeyed: survivors of a death wait for the
  // devices' locks, and are taken for hung when that takes long.
  Status holds() const;
  bool was_paused() const { return was_paused_; }
  u64 guest_tsc() const { return guest_tsc_; }  // at which it stands

 private:
  StandStill(Machine& machine, u32 number) : machine_(machine), number_(number) {}
  Status await_vcpus(u64 patience_ns);
  void take_cells();

  Machine& machine_;
  const u32 number_;
  u32 nodes_ = 0;  // a bit for each that lived as it began
  bool was_paused_ = false;
  u64 guest_tsc_ = 0;
  std::optional<AllCells> cells_;
};

}  // namespace dvm::vmm::checkpoint
