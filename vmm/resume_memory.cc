#include "vmm/resume_memory.h"

#include "hyperkernel/guest_view.h"
#include "hyperkernel/page_sums.h"
#include "vmm/boot/e820.h"
#include "vmm/ram_place.h"

namespace dvm::vmm {
namespace {

u64 first_frame_now(const MachineState& machine) {
  return first_frame_of(machine.config, machine.control.boots.load());
}

Result<hyperkernel::GuestView> view_ram(const fabric::Pool& pool, const MachineState& machine) {
  const auto layout = ram_layout(machine.config.memory_bytes);
  if (machine.config.ram_places > 1)
    return hyperkernel::GuestView::map_in_order(pool, layout, first_frame_now(machine));
  DVM_ASSIGN(auto directory, hyperkernel::PageDirectory::of(pool));
  return hyperkernel::GuestView::map(pool, directory, layout);
}

Result<hyperkernel::PageSums> sums_of_ram(const fabric::Pool& pool, const MachineState& machine) {
  return hyperkernel::PageSums::of(pool, first_frame_now(machine));
}

u32 log_number(const EpochRecord& epoch) {
  return epoch.log[EpochWord::unpack(epoch.word.load()).epoch % 2].load();
}

// Who summed what the epoch before wrote may have died in it: it is as it was then again.
Status finish_sums(const fabric::Pool& pool, const EpochRecord& epoch,
                   const hyperkernel::UndoLog& log, const hyperkernel::GuestMemory& ram) {
  DVM_ASSIGN(auto sums, hyperkernel::PageSums::of(pool));
  const u32 running = EpochWord::unpack(epoch.word.load()).epoch;
  if (sums.epoch() + 1 == running)
    sums.sum_saved(log, epoch.log[(running + 1) % 2].load(), ram);
  else if (sums.epoch() != running)
    sums.forget();
  sums.set_epoch(running);
  return {};
}

}  // namespace

Status check_memory(const fabric::Pool& pool, const ResumeRecords& records, ResumePoint point) {
  if (point == ResumePoint::start) return {};
  DVM_ASSIGN(const auto ram, view_ram(pool, *records.machine));
  DVM_ASSIGN(const auto sums, sums_of_ram(pool, *records.machine));
  if (point == ResumePoint::save) {
    const bool told = sums.epoch() == hyperkernel::PageSums::kAtRest;
    return told ? sums.check(ram.memory(), [](u64) { return false; }) : Status();
  }
  const EpochRecord& epoch = *records.epoch;
  DVM_ASSIGN(const auto log, hyperkernel::UndoLog::of(pool));
  const u32 number = log_number(epoch);
  DVM_TRY(log.check(number, [&](u64 page) {
    return std::span<const std::byte>(page_of_ram(ram.memory(), page));
  }));
  const u32 running = EpochWord::unpack(epoch.word.load()).epoch;
  const bool summed = sums.epoch() == running;
  const u32 before = epoch.log[(running + 1) % 2].load();
  return sums.check(ram.memory(), [&](u64 page) {
    return log.image(number, page) != nullptr || (!summed && log.image(before, page) != nullptr);
  });
}

Result<u64> put_memory_back(const fabric::Pool& pool, const ResumeRecords& records) {
  DVM_ASSIGN(const auto log, hyperkernel::UndoLog::of(pool));
  DVM_ASSIGN(const auto ram, view_ram(pool, *records.machine));
  const u64 pages = log.put_back(log_number(*records.epoch), ram.memory());
  DVM_TRY(finish_sums(pool, *records.epoch, log, ram.memory()));
  return pages;
}

// What epochs did not write is summed already.
Status sum_memory(const fabric::Pool& pool, const ResumeRecords& records) {
  DVM_ASSIGN(auto sums, sums_of_ram(pool, *records.machine));
  DVM_ASSIGN(const auto ram, view_ram(pool, *records.machine));
  if (records.epoch == nullptr) {
    sums.sum_all(ram.memory());
  } else {
    DVM_ASSIGN(const auto log, hyperkernel::UndoLog::of(pool));
    DVM_TRY(finish_sums(pool, *records.epoch, log, ram.memory()));
    sums.sum_saved(log, log_number(*records.epoch), ram.memory());
  }
  sums.set_epoch(hyperkernel::PageSums::kAtRest);
  return {};
}

}  // namespace dvm::vmm
