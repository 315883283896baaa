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
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(pool_));
  return GuestView::map(pool_, directory, ram_layout(config().memory_bytes),
                        ram_shift(config(), boot));
}

void Machine::follow_boot() const {
  const std::lock_guard guard(following_);
  const u32 boot = state_->control.boots.load(std::memory_order_acquire);
  if (viewed_.load() == boot) return;
  Status mapped;
  if (config().ram_places > 1) {
    const auto directory = hyperkernel::PageDirectory::of(pool_);
    mapped = directory.ok() ? view_.map_again(pool_, *directory, ram_layout(config().memory_bytes),
                                              ram_shift(config(), boot))
                            : directory.error();
  }
  if (!mapped.ok()) {  // who sees the RAM of another boot must not go on
    fmt::print(stderr, "dvm: the guest's RAM cannot be mapped: {}\n", mapped.error().message);
    std::abort();
  }
  viewed_.store(boot, std::memory_order_release);
}

Result<GuestView> Machine::renew_ram(u32 boot) {
  for (const RamPart& part : ram_layout(config().memory_bytes))
    release_->release(part.gpa, part.bytes, ram_shift(config(), boot));
  return view_of(boot);
}

const GuestMemory* Machine::ram_of(u16 boot) const {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (config().ram_places == 1 || boot == static_cast<u16>(now)) return &memory();
  if (boot != static_cast<u16>(now - 1)) return nullptr;
  const std::lock_guard guard(following_);
  if (before_boot_ != now - 1) {
    auto view = view_of(now - 1);
    if (!view.ok()) return nullptr;
    before_ = view.take();
    before_boot_ = now - 1;
  }
  return &before_.memory();
}

void Machine::release_before(u16 boot, u64 gpa) {
  const u32 now = state_->control.boots.load(std::memory_order_acquire);
  if (config().ram_places == 1 || boot != static_cast<u16>(now - 1)) return;
  release_->release(gpa, kPageBytes, ram_shift(config(), now - 1));
}

u64 Machine::release_ram(u32 boot, u64 gpa, u64 bytes) {
  return release_->release(gpa, bytes, ram_shift(config(), boot));
}

}  // namespace dvm::vmm
