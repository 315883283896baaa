// Ways to be able to go back to how memory was when an epoch began, side by side.
#pragma once

#include <array>
#include <memory>

#include "hyperkernel/guest_view.h"
#include "hyperkernel/undo_log.h"

namespace dvm::tools {

// nothing: no way back. protect: each page, on its own, before its first write in each epoch.
// suspect: as epochs do it (hyperkernel/written_pages.h). copy: all of memory, when an epoch ends.
enum class SavingWay { nothing, protect, suspect, copy };
constexpr std::array<const char*, 4> kSavingWays = {"nothing", "protect", "suspect", "copy"};

// RAM of a pool, with an undo log, in this process.
struct SavedMemory {
  fabric::Pool pool;
  hyperkernel::GuestView view;
  static Result<std::unique_ptr<SavedMemory>> make(u64 bytes);
};

class Saving {
 public:
  // `memory` outlives it. Errors: this kernel cannot.
  static Result<std::unique_ptr<Saving>> begin(SavingWay way, SavedMemory& memory);
  virtual ~Saving() = default;
  Saving(const Saving&) = delete;
  Saving& operator=(const Saving&) = delete;

  // An epoch ends; nobody writes meanwhile.
  virtual Status end_epoch() = 0;
  // Once the writers go on.
  virtual void went_on() {}

 protected:
  Saving() = default;
};

}  // namespace dvm::tools
