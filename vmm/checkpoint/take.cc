#include "vmm/checkpoint/take.h"

#include <cstring>

#include "hyperkernel/file_pages.h"
#include "hyperkernel/undo_log.h"
#include "vmm/checkpoint/origin.h"
#include "vmm/ram_place.h"
#include "vmm/resume_record.h"

namespace dvm::vmm::checkpoint {
namespace {

// Pages as the pool has them, and those that it has not got yet as the checkpoint it came from
// does.
class MachinePages {
 public:
  static Result<std::shared_ptr<MachinePages>> open(Machine& machine) {
    std::shared_ptr<MachinePages> pages(new MachinePages(machine));
    const u32 boot = machine.state().control.boots.load();
    DVM_ASSIGN(const auto frames, machine.pool().region_header(fabric::RegionKind::frames, 1));
    pages->ram_at_ = frames.offset + first_frame_of(machine.config(), boot) * kPageBytes;
    pages->ram_pages_ = machine.config().memory_bytes / kPageBytes;
    pages->buffer_.resize(kPartPages * kPageBytes);
    if (!machine.pool().has_region(fabric::RegionKind::origin)) return pages;
    DVM_ASSIGN(const auto origin, hyperkernel::OriginPages::of(machine.pool()));
    if (origin.record().place != ram_place_of(machine.config(), boot)) return pages;
    pages->origin_ = origin;
    DVM_ASSIGN(pages->file_, open_files(origin.record()));
    return pages;
  }

  Result<std::span<const std::byte>> read(u64 first, u64 count) {
    first_ = first;
    zero_.assign(count, false);
    const u64 ram = first < ram_pages_ ? std::min(count, ram_pages_ - first) : 0;
    Status done;
    hyperkernel::each_page(machine_.pool().fd(), ram_at_, first, first + ram,
                           [&](u64 page, bool data) {
                             if (done.ok()) done = read_page(page, data, page - first);
                           });
    DVM_TRY(done);
    for (u64 i = ram; i < count; ++i) {
      const auto rom = hyperkernel::page_of_ram(machine_.rom(), first + i - ram_pages_);
      if (rom.empty()) return error("page {} is not there", first + i);
      std::memcpy(at(i), rom.data(), kPageBytes);
    }
    return std::span<const std::byte>(buffer_).first(count * kPageBytes);
  }
  bool is_zero(u64 page) const { return zero_[page - first_]; }

 private:
  explicit MachinePages(Machine& machine) : machine_(machine) {}
  std::byte* at(u64 index) { return buffer_.data() + index * kPageBytes; }
  Status read_page(u64 page, bool data, u64 index) {
    if (!data && origin_ && !origin_->settled(page))
      return file_->read(page, std::span(at(index), kPageBytes));
    zero_[index] = !data;  // a hole: nobody looks at it
    if (!data) return {};
    const auto now = hyperkernel::page_of_ram(machine_.memory(), page);
    if (now.empty()) return error("page {} is not there", page);
    std::memcpy(at(index), now.data(), kPageBytes);
    return {};
  }

  Machine& machine_;
  u64 ram_at_ = 0, ram_pages_ = 0;
  std::vector<std::byte> buffer_;  // of pages from first_ on
  std::vector<bool> zero_;
  u64 first_ = 0;
  std::optional<hyperkernel::OriginPages> origin_;
  std::optional<File> file_;
};

}  // namespace

Status can_be_taken(const Machine& machine) {
  if (machine.has_software_coherence())
    return error("with --coherence software its memory is in the nodes; allowed: shared");
  if (machine.state().cpu.count.load() == 0) return error("the guest has not begun yet");
  return {};
}

Result<Image> image_of(Machine& machine, const StandStill& still) {
  const MachineState& state = machine.state();
  Image image;
  image.config = state.config;
  DVM_TRY(machine.check_cpu_model());
  const u32 entries = state.cpu.count.load();
  image.cpu.assign(state.cpu.entries.begin(), state.cpu.entries.begin() + entries);
  image.entry = state.entry;
  for (u32 i = 0; i < kMaxFunctions; ++i) image.capacity[i] = state.functions[i].capacity.load();
  image.paused = still.was_paused();
  image.bank = std::make_unique<GuestBank>();
  for (u32 i = 0; i < state.config.vcpus; ++i) {
    VcpuState& to = image.bank->vcpus[i].state;
    to = state.vcpu_states[i];
    DVM_TRY(check_vcpu_state(to, i, to.injection));
  }
  fill_bank(state, *image.bank, still.guest_tsc());
  DVM_ASSIGN(image.launch, launch_of(machine.resume_record()));
  DVM_TRY(still.holds());
  return image;
}

Result<Source> pages_of(Machine& machine, std::function<Status(u64 pages)> go_on) {
  DVM_ASSIGN(const auto pages, MachinePages::open(machine));
  return Source{directory_pages(machine.config()),
                [pages](u64 first, u64 count) { return pages->read(first, count); },
                std::move(go_on), [pages](u64 page) { return pages->is_zero(page); }};
}

}  // namespace dvm::vmm::checkpoint
