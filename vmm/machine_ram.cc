// RAM, boot by boot (ram_place.h).
#include <cstdio>
#include <cstdlib>

#include "vmm/boot/e820.h"
#include "vmm/machine.h"
#include "vmm/ram_place.h"

namespace dvm::vmm {

using hyperkernel::GuestMemory;
using hyperkernel::GuestView;

Result<GuestView> Machine::view_of(u32 boot) const {
  const auto layout = ram_layout(config().memory_bytes);
  if (has_ram_for_each_boot())
    return GuestView::map_in_order(pool_, layout, first_frame_of(config(), boot));
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(pool_));
  return GuestView::map(pool_, directory, layout);
}

void Machine::show(GuestView view) const {
  views_.push_back(std::make_unique<GuestView>(std::move(view)));
  view_.store(views_.back().get(), std::memory_order_release);
}

// Nothing is unmapped here but what was of two boots ago, and has been given back: that would take
// time for each page the guest had touched.
void Machine::follow_boot() const {
  const std::lock_guard guard(following_);
  const u32 boot = state_->control.boots.load(std::memory_order_acquire);
  if (viewed_.load() == boot) return;
  if (has_ram_for_each_boot()) {
    auto view = view_of(boot);
    if (!view.ok()) {  // who sees the RAM of another boot must not go on
      fmt::print(stderr, "dvm: the guest's RAM cannot be mapped: {}\n", view.error().message);
      std::abort();
    }
    if (views_.size() > 1) views_.erase(views_.begin());
    before_boot_ = viewed_.load();
    show(view.take());
  }
  viewed_.store(boot, std::memory_order_release);
}

Result<GuestView> Machine::renew_ram(u32 boot) {
  release_ram(boot, 0, ~u64{0});
  return view_of(boot);
}

const GuestMemory* Machine::ram_of(u16 boot) const {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (!has_ram_for_each_boot() || boot == static_cast<u16>(now)) return &memory();
  if (boot != static_cast<u16>(now - 1)) return nullptr;
  (void)memory();
  const std::lock_guard guard(following_);
  if (views_.size() < 2 || before_boot_ != now - 1) {  // this process came after the reset
    auto view = view_of(now - 1);
    if (!view.ok()) return nullptr;
    if (views_.size() > 1) views_.erase(views_.begin());
    views_.insert(views_.begin(), std::make_unique<GuestView>(view.take()));
    before_boot_ = now - 1;
  }
  return &views_.front()->memory();
}

void Machine::release_before(u16 boot, u64 gpa) {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (has_ram_for_each_boot() && boot == static_cast<u16>(now - 1))
    release_ram(now - 1, gpa, kPageBytes);
}

u64 Machine::release_ram(u32 boot, u64 gpa, u64 bytes) {
  if (!has_ram_for_each_boot()) return release_->release(gpa, bytes);
  return release_->release_in_order(gpa, bytes, first_frame_of(config(), boot));
}

}  // namespace dvm::vmm
