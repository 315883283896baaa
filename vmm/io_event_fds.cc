#include "vmm/io_event_fds.h"

#include <bit>

#include "vmm/virtio/pci_transport.h"

namespace dvm::vmm {

// A node of this number that died has left its places behind, and what it had ended with it:
// whoever moves a BAR would wait for them as for ours.
IoEventFds::IoEventFds(Machine& machine, Vm& vm, u32 node)
    : machine_(machine), vm_(vm), node_(node) {
  for (u32 function = 0; function < kMaxFunctions; ++function) place(function).store(0);
}

IoEventFds::~IoEventFds() {
  for (u32 function = 0; function < kMaxFunctions; ++function) remove(function);
}

std::atomic<u64>& IoEventFds::place(u32 function) {
  return machine_.state().functions[function].ioeventfd_bars[node_];
}

void IoEventFds::remove(u32 function) {
  Placed& placed = placed_[function];
  if (placed.bar == 0) return;
  for (u64 left = placed.queues; left != 0; left &= left - 1) {
    const auto queue = static_cast<u16>(std::countr_zero(left));
    // It is there: the same arguments made it.
    (void)vm_.remove_ioeventfd(placed.bar + virtio_doorbell(queue), *placed.bell);
  }
  placed = {};
  place(function).store(0);
}

// Said in the pool first, and only then looked where the BAR is: who moves it does the two in the
// other order, so one sees the other's.
void IoEventFds::follow(u32 function, u64 queues, const Fd& bell) {
  const std::atomic<u64>& bar = machine_.state().functions[function].bar;
  Placed& placed = placed_[function];
  if (placed.bar != bar.load()) remove(function);
  u64 fresh = queues & ~placed.queues;
  const u64 here = bar.load();
  if (fresh == 0 || here == 0) return;
  place(function).store(here);
  if (bar.load() != here) fresh = 0;
  for (; fresh != 0; fresh &= fresh - 1) {
    const auto queue = static_cast<u16>(std::countr_zero(fresh));
    if (!vm_.add_ioeventfd(here + virtio_doorbell(queue), bell).ok()) break;
    placed.queues |= u64{1} << queue;
  }
  if (placed.queues == 0) return place(function).store(0);
  placed.bar = here;
  placed.bell = &bell;
}

}  // namespace dvm::vmm
