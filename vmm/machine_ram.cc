// RAM, boot by boot (ram_place.h).
#include <cstdio>
#include <cstdlib>

#include "vmm/boot/e820.h"
#include "vmm/checkpoint/origin.h"
#include "vmm/machine.h"
#include "vmm/ram_place.h"

namespace dvm::vmm {

using hyperkernel::GuestMemory;
using hyperkernel::GuestView;

// Under `following_`, or before anybody else has the machine.
Result<const GuestView*> Machine::view_of(u32 boot) const {
  auto& view = views_[ram_place_of(config(), boot)];
  if (view) return &*view;
  const auto layout = ram_layout(config().memory_bytes);
  if (has_ram_for_each_boot()) {
    DVM_ASSIGN(view, GuestView::map_in_order(pool_, layout, first_frame_of(config(), boot)));
  } else {
    DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(pool_));
    DVM_ASSIGN(view, GuestView::map(pool_, directory, layout));
  }
  return &*view;
}

void Machine::follow_boot() const {
  const std::lock_guard guard(following_);
  const u32 boot = state_->control.boots.load(std::memory_order_acquire);
  if (has_ram_for_each_boot()) {
    const auto view = view_of(boot);
    if (!view.ok()) {  // who sees the RAM of another boot must not go on
      fmt::print(stderr, "dvm: the guest's RAM cannot be mapped: {}\n", view.error().message);
      std::abort();
    }
    view_.store(*view, std::memory_order_release);
  }
  viewed_.store(boot, std::memory_order_release);
}

Result<const GuestMemory*> Machine::renew_ram(u32 boot) {
  if (!has_ram_for_each_boot()) return &memory();
  release_ram(boot, 0, ~u64{0});
  const std::lock_guard guard(following_);
  DVM_ASSIGN(const GuestView* const view, view_of(boot));
  return &view->memory();
}

const GuestMemory* Machine::ram_of(u16 boot) const {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (!has_ram_for_each_boot() || boot == static_cast<u16>(now)) return &memory();
  if (now < 2 || boot != static_cast<u16>(now - 1)) return nullptr;
  const std::lock_guard guard(following_);
  const auto view = view_of(now - 1);
  return view.ok() ? &(*view)->memory() : nullptr;
}

void Machine::release_before(u16 boot, u64 gpa) {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (has_ram_for_each_boot() && now >= 2 && boot == static_cast<u16>(now - 1))
    release_ram(now - 1, gpa, kPageBytes);
}

// In the RAM of the boot that runs now, which is what was put back.
Status Machine::open_origin() {
  if (!pool_.has_region(fabric::RegionKind::origin)) return {};
  DVM_ASSIGN(origin_pages_, hyperkernel::OriginPages::of(pool_));
  if (origin_pages_->record().place != ram_place_of(config(), viewed_.load())) return {};
  DVM_ASSIGN(origin_, checkpoint::watch_origin(*origin_pages_, view_.load()->memory(),
                                               [this](const Error& why) {
                                                 fmt::print(stderr, "dvm: {}\n", why.message);
                                                 request_stop(StopReason::error);
                                               }));
  return {};
}

u64 Machine::release_ram(u32 boot, u64 gpa, u64 bytes) {
  if (origin_pages_ && origin_pages_->record().place == ram_place_of(config(), boot)) {
    hyperkernel::for_each_run(ram_layout(config().memory_bytes), gpa, bytes,
                              [&](u64 first, u64 pages) { origin_pages_->settle(first, pages); });
  }
  if (!has_ram_for_each_boot()) return release_->release(gpa, bytes);
  return release_->release_in_order(gpa, bytes, first_frame_of(config(), boot));
}

}  // namespace dvm::vmm
