// What pages of RAM held when an epoch began, of those that have been written in it: the pool goes
// back to that instant by putting these images back.
//
//   write to a protected page ─> capture: take a slot ─> copy the page into it ─> stamp the page
//        with (epoch, slot) ─> let the write go on
//
// The stamp is the one word that counts, and it is set by one compare-and-swap: several processes
// may capture a page at once, one of them wins, and no write of any goes on before one has. So an
// image that a stamp names holds no byte of the epoch's. Death at any instruction leaves a slot
// that no stamp names, which is lost until the epoch ends, or a page that is saved and not written.
//
// Each epoch has a number, never used before. When one ends its stamps mean nothing any more, as
// they name it; nothing is cleared. Putting back changes no stamp either: it may be done again, by
// another, as often as somebody dies in it.
//
// Numbers that are even and those that are odd have a half each, of stamps and of slots: while an
// epoch can still be gone back to, pages are saved for the one to come.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <span>

#include "fabric/pool.h"
#include "hyperkernel/guest_memory.h"

namespace dvm::hyperkernel {

inline constexpr u32 kUndoVersion = 3;
// Of a half, beyond one slot for each page: those that the dead leave, and one that each process
// has spare.
inline constexpr u32 kSpareSlots = 4096;

struct UndoHeader {
  u64 pages;
  u64 slots;                              // of each half
  std::array<std::atomic<u64>, 2> taken;  // by half: epoch << 32 | slots of it that are taken
  u32 reserved_tail;
  u32 checksum;  // CRC-32C of pages and slots
};
static_assert(sizeof(UndoHeader) == 40);

// Bytes of the region, which is whole pages, for so many pages of RAM.
u64 undo_region_bytes(u64 pages);

// The page of that number: the frames of RAM's parts, one after the other. Empty: there is none.
std::span<std::byte> page_of_ram(const GuestMemory& memory, u64 page);

// Threads: any, of any process; the spare slot is each object's own, so one object is one thread's
// at a time.
class UndoLog {
 public:
  // Once, before `of`.
  static Status format(const fabric::Pool& pool, u64 pages);
  static Result<UndoLog> of(const fabric::Pool& pool);  // which outlives it

  u64 pages() const { return header_->pages; }
  // `page` is saved as it is now, unless it has been saved in this epoch; afterwards it may be
  // written. Precondition: gfn < pages(); epoch != 0; nobody lets it be written before this has
  // returned. False: all slots are taken.
  bool capture(u32 epoch, u64 gfn, const std::byte* page);
  // What the page held when the epoch began; nullptr: it has not been saved in it.
  const std::byte* image(u32 epoch, u64 gfn) const;
  // Slots taken in this epoch: at least the pages saved.
  u64 taken(u32 epoch) const;
  // Memory of the half that this epoch is in goes back to the pool's file, but for so many slots.
  // Precondition: the epoch has ended, and nobody saves pages for the one after the next yet.
  void give_back(u32 epoch, u64 but_slots) const;
  // Whether all that `each` would give is what was saved, as far as can be seen: for who comes when
  // all that wrote it are gone. `ram(page)`: what the page holds now, empty if there is none.
  Status check(u32 epoch, const std::function<std::span<const std::byte>(u64 page)>& ram) const;
  // Every page saved in this epoch, with its image.
  void each(u32 epoch, const std::function<void(u64 gfn, const std::byte* image)>& visit) const;
  // RAM is as it was when the epoch began; returns how many pages that took. Any number of times.
  u64 put_back(u32 epoch, const GuestMemory& ram) const;

 private:
  struct Half {
    std::span<std::atomic<u64>> stamps;  // by gfn: epoch << 32 | slot
    std::span<std::atomic<u32>> pages;   // by slot: the gfn
    std::span<u64> sums;                 // by slot: of image, page and epoch
    std::byte* images = nullptr;         // by slot
    u64 images_at = 0;                   // in the file
    u64 spare = 0;                       // epoch << 32 | slot; epoch 0: none
    const std::byte* image(u64 slot) const { return images + slot * kPageBytes; }
  };
  UndoLog() = default;
  const Half& half(u32 epoch) const { return halves_[epoch % 2]; }
  std::optional<u32> take_slot(u32 epoch);

  const Fd* file_ = nullptr;  // the pool's
  UndoHeader* header_ = nullptr;
  std::array<Half, 2> halves_;
};

}  // namespace dvm::hyperkernel
