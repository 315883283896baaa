// All locks of the devices at once: nothing of the machine changes while they are held, but for
// what vCPUs do. Private to who ends an epoch or rolls one back, and has all vCPUs stand still.
#pragma once

#include <vector>

#include "vmm/guest_cells.h"
#include "vmm/machine.h"

namespace dvm::vmm {

// Lock order: guest_cells.h; whoever else holds several of them has them in that order.
class AllCells {
 public:
  explicit AllCells(Machine& machine) {
    for_each_guest_cell(machine.state(), [&](auto& cell) {
      const auto result = fabric::acquire(cell.lock, machine.self(), machine.instances());
      from_dead_ = from_dead_ || result.from_dead();
      held_.push_back(&cell.lock);
    });
  }
  ~AllCells() {
    for (fabric::PoolLock* lock : held_) fabric::release(*lock);
  }
  AllCells(const AllCells&) = delete;
  AllCells& operator=(const AllCells&) = delete;

  // A step of somebody's who died may be half done (Machine::mend_devices).
  bool from_dead() const { return from_dead_; }

 private:
  std::vector<fabric::PoolLock*> held_;
  bool from_dead_ = false;
};

}  // namespace dvm::vmm
