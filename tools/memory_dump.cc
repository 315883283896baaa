#include "tools/memory_dump.h"

#include <algorithm>

#include "fabric/part_file.h"
#include "hyperkernel/page_reader.h"
#include "tools/elf_core.h"
#include "tools/status.h"
#include "vmm/boot/e820.h"

namespace dvm::tools {
namespace {

using fabric::PartFile;
using vmm::Phase;

constexpr u64 kParkLimitNs = 2'000'000'000, kParkLookNs = 5'000'000;
constexpr u64 kSayEveryNs = 500'000'000, kPartBytes = 4 * kMiB;

bool is_zero(std::span<const std::byte> page) {
  return page[0] == std::byte{0} && std::equal(page.begin() + 1, page.end(), page.begin());
}

// Runs of pages that hold something, in one write each.
Status write_pages(PartFile& file, std::span<const std::byte> memory, u64 at) {
  for (u64 i = 0; i < memory.size();) {
    u64 end = i;
    while (end < memory.size() && !is_zero(memory.subspan(end, kPageBytes))) end += kPageBytes;
    if (end > i) DVM_TRY(file.write(memory.subspan(i, end - i), at + i));
    i = std::max(end, i + kPageBytes);
  }
  return {};
}

// Guest memory a part at a time: as it is mapped here or, with software coherence, which the
// launcher has no part in, read from wherever each page is.
class DumpSource {
 public:
  static Result<DumpSource> open(vmm::Machine& machine) {
    DumpSource source(machine);
    if (machine.has_software_coherence()) {
      DVM_ASSIGN(source.reader_,
                 hyperkernel::PageReader::open(machine.pool(), machine.instances()));
      source.part_.resize(kPartBytes);
    }
    return source;
  }
  // Valid until the next call. Whole pages, at most kPartBytes.
  Result<std::span<const std::byte>> read(const vmm::RamPart& ram, u64 at, u64 bytes) {
    if (!reader_) {
      DVM_ASSIGN(const auto mapped, machine_.memory().span(ram.gpa + at, bytes));
      return std::span<const std::byte>(mapped);
    }
    const auto to = std::span(part_).first(bytes);
    DVM_TRY(reader_->read({(ram.offset + at) / kPageBytes, bytes / kPageBytes}, to));
    return std::span<const std::byte>(to);
  }

 private:
  explicit DumpSource(vmm::Machine& machine) : machine_(machine) {}
  vmm::Machine& machine_;
  std::unique_ptr<hyperkernel::PageReader> reader_;
  std::vector<std::byte> part_;
};

}  // namespace

Status pause_guest(vmm::Machine& machine, std::string_view command) {
  const auto& control = machine.state().control;
  if (!machine.request_pause()) {
    return error("{}: the guest is {}; allowed: when it is running", command,
                 phase_name(control.phase.load()));
  }
  const u64 limit = fabric::monotonic_ns() + kParkLimitNs;
  for (;;) {
    const u32 seen = fabric::listen(control.changed);
    if (machine.all_parked()) return {};
    if (control.phase.load() != Phase::paused)
      return error("{}: the guest did not stay paused", command);
    const u64 now = fabric::monotonic_ns();
    if (now >= limit)
      return error("{}: a pause was asked for, but a vCPU still runs after 2 s", command);
    fabric::wait(control.changed, seen, now + kParkLookNs);
  }
}

Status write_core(vmm::Machine& machine, const std::string& path,
                  const std::function<Status(DumpProgress)>& go_on) {
  std::vector<vmm::VcpuImage> vcpus;
  for (u32 i = 0; i < machine.config().vcpus; ++i) {
    const vmm::VcpuImage& image = machine.state().vcpus[i].image;
    if (image.saved == 0) return error("dump: vCPU {}: its registers could not be read", i);
    vcpus.push_back(image);
  }
  const auto memory = vmm::ram_layout(machine.config().memory_bytes);
  DVM_ASSIGN(DumpSource source, DumpSource::open(machine));
  std::vector<CoreRange> ranges;
  DumpProgress progress;
  for (const auto& part : memory) {
    ranges.push_back({part.gpa, part.bytes});
    progress.total += part.bytes;
  }
  const CoreLayout core = core_layout(vcpus, ranges);
  DVM_ASSIGN(auto file, fabric::PartFile::open(path));
  DVM_TRY(file.write(std::as_bytes(std::span(core.head)), 0));
  for (std::size_t r = 0; r < memory.size(); ++r) {
    for (u64 at = 0; at < memory[r].bytes; at += kPartBytes) {
      DVM_TRY(go_on(progress));
      const u64 n = std::min(kPartBytes, memory[r].bytes - at);
      DVM_ASSIGN(const auto bytes, source.read(memory[r], at, n));
      DVM_TRY(write_pages(file, bytes, core.offsets[r] + at));
      progress.done += n;
    }
  }
  DVM_TRY(go_on(progress));
  return file.finish(core.bytes);
}

MemoryDump::MemoryDump(vmm::Machine& machine, std::string path, RequestListener listener)
    : machine_(machine), path_(std::move(path)), listener_(std::move(listener)), thread_([this] {
        const Status status = dump();
        if (!cancelled_) listener_.done(status);
      }) {}

MemoryDump::~MemoryDump() {
  cancelled_ = true;
  thread_.join();
}

Status MemoryDump::dump() {
  said_ns_ = fabric::monotonic_ns();
  const bool was_paused =
      machine_.state().control.phase.load() == Phase::paused && machine_.all_parked();
  if (!was_paused) {
    if (const auto paused = pause_guest(machine_, "dump"); !paused.ok()) {
      return paused;
    }
  }
  const Status written =
      write_core(machine_, path_, [this](DumpProgress progress) { return go_on(progress); });
  if (!was_paused) machine_.request_resume();
  return written;
}

Status MemoryDump::go_on(DumpProgress progress) {
  if (cancelled_) return error("dump: given up");
  if (machine_.state().control.phase.load() != Phase::paused)
    return error("dump: the guest did not stay paused");
  const u64 now = fabric::monotonic_ns();
  if (now - said_ns_ >= kSayEveryNs) {
    said_ns_ = now;
    listener_.progress(progress);
  }
  return {};
}

}  // namespace dvm::tools
