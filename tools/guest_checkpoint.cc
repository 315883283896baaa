#include "tools/guest_checkpoint.h"

#include <sys/stat.h>

#include <algorithm>

#include "tools/checkpoint_disks.h"
#include "vmm/ram_place.h"

namespace dvm::tools {
namespace {

namespace checkpoint = vmm::checkpoint;

// A guest whose disk answers late may take this long to come to rest.
constexpr u64 kPatienceNs = 5'000'000'000;
constexpr u64 kEndPatienceNs = 60'000'000'000;
constexpr u64 kSayEveryNs = 500'000'000;

bool same_file(const Fd& one, const std::string& path) {
  struct stat a {
  }, b{};
  return ::fstat(one.get(), &a) == 0 && ::stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

Status check_not_copied(const GuestDisks& disks, u32 n, bool stop) {
  if (!stop) {
    return error(
        "disk {} can be written, and would not stay what the checkpoint knows of it; allowed: "
        "--disks DIR, which copies it, --stop, or disks with readonly=on",
        disks.path(n));
  }
  if (!disks.passes(n)) return {};
  return error("what was written to disk {} goes when the guest ends; allowed: --disks DIR",
               disks.path(n));
}

}  // namespace

Status check_checkpoint(const vmm::Machine& machine, const GuestDisks* disks,
                        const CheckpointOptions& options) {
  DVM_TRY(checkpoint::can_be_taken(machine));
  if (options.base) {
    if (options.base->empty())
      return error("--incremental: no checkpoint of this guest has been taken yet");
    DVM_ASSIGN(const auto base, checkpoint::File::open(*options.base));
    for (std::size_t layer = 0; layer < base.layers(); ++layer) {
      if (same_file(base.fd(layer), options.path))
        return error("--incremental: stands on {}, which must stay", options.path);
    }
    if (base.layers() > checkpoint::kMaxBases)
      return error("--incremental: {} stands on {} others already; allowed: a whole one",
                   *options.base, base.layers() - 1);
  }
  for (u32 n = 0; disks != nullptr && n < disks->count(); ++n) {
    const bool copied =
        std::ranges::find(options.copies, n, &DiskCopy::disk) != options.copies.end();
    if (!disks->is_read_only(n) && !copied) DVM_TRY(check_not_copied(*disks, n, options.stop));
  }
  return {};
}

GuestCheckpoint::GuestCheckpoint(vmm::Machine& machine, const RequestParts& parts,
                                 CheckpointOptions options, RequestListener listener)
    : machine_(machine),
      parts_(parts),
      options_(std::move(options)),
      listener_(std::move(listener)),
      said_ns_(fabric::monotonic_ns()),
      thread_([this] {
        const Status status = take();
        if (!cancelled_)
          listener_.done(status.ok() ? status : error("checkpoint: {}", status.error().message));
      }) {}

GuestCheckpoint::~GuestCheckpoint() {
  cancelled_ = true;
  thread_.join();
}

Status GuestCheckpoint::take() {
  DVM_ASSIGN(auto file, options_.fork ? fabric::PartFile::open_unnamed(options_.path)
                                      : fabric::PartFile::open(options_.path));
  DVM_ASSIGN(auto written, write(file));
  if (options_.stop) {
    DVM_TRY(await_end());
    if (parts_.disks != nullptr) DVM_TRY(parts_.disks->flush());
    DVM_ASSIGN(const std::string disks, describe_disks(parts_.disks, options_.copies));
    DVM_TRY(checkpoint::rewrite_section([&](auto bytes, u64 at) { return file.write(bytes, at); },
                                        written.header, checkpoint::SectionKind::disks,
                                        std::as_bytes(std::span(disks))));
  }
  DVM_TRY(file.finish(written.header.total_bytes));
  if (parts_.checkpoints != nullptr && !options_.fork) parts_.checkpoints->taken(options_.path);
  machine_.log_event(fabric::EventKind::checkpoint_taken,
                     {written.stood_ns, written.pages, written.header.pages});
  return {};
}

Result<checkpoint::Written> GuestCheckpoint::write(fabric::PartFile& file) {
  std::optional<checkpoint::File> base;
  if (options_.base) {
    DVM_ASSIGN(base, checkpoint::File::open(*options_.base));
  }
  DVM_ASSIGN(const auto still, checkpoint::StandStill::begin(machine_, kPatienceNs));
  const u64 began = fabric::monotonic_ns();
  DVM_ASSIGN(auto image, checkpoint::image_of(machine_, *still));
  for (const DiskCopy& copy : options_.copies) {
    DVM_TRY(parts_.disks->copy(copy.disk, copy.file, [&] {
      return cancelled_ ? Status(error("given up")) : still->holds();
    }));
  }
  DVM_ASSIGN(image.disks, describe_disks(parts_.disks, options_.copies));
  if (options_.fork) image.clock = machine_.state().control.tsc_offset.load();
  auto sections = checkpoint::encode(image);
  if (base) {
    if (base->pages() != vmm::directory_pages(machine_.config()))
      return error("{} is of another guest", *options_.base);
    const auto path = std::as_bytes(std::span(*options_.base));
    sections.push_back({checkpoint::SectionKind::base, {path.begin(), path.end()}});
  }
  DVM_ASSIGN(const auto source, checkpoint::pages_of(machine_, [&](u64 pages) -> Status {
               DVM_TRY(still->holds());
               return go_on(pages);
             }));
  DVM_ASSIGN(auto written,
             checkpoint::write([&](auto bytes, u64 at) { return file.write(bytes, at); }, sections,
                               source, base ? &*base : nullptr));
  if (options_.stop) {
    DVM_TRY(file.flush());
    DVM_TRY(still->holds());
    machine_.request_stop(vmm::StopReason::user);
  }
  written.stood_ns = fabric::monotonic_ns() - began;
  return written;
}

Status GuestCheckpoint::go_on(u64 pages) {
  if (cancelled_) return error("given up");
  const u64 now = fabric::monotonic_ns();
  if (now - said_ns_ >= kSayEveryNs) {
    said_ns_ = now;
    listener_.progress({pages * kPageBytes, vmm::directory_pages(machine_.config()) * kPageBytes});
  }
  return {};
}

// What its nodes had in hand at the disks has landed once they are gone.
Status GuestCheckpoint::await_end() const {
  const auto& control = machine_.state().control;
  const u64 limit = fabric::monotonic_ns() + kEndPatienceNs;
  for (;;) {
    const u32 seen = fabric::listen(control.changed);
    bool all = true;
    for (u32 node = 0; node < vmm::layout::kMaxNodes; ++node) all = all && !machine_.is_alive(node);
    if (all) return {};
    const u64 now = fabric::monotonic_ns();
    if (now >= limit) return error("the guest's nodes have not ended");
    fabric::wait(control.changed, seen, now + 5'000'000);
  }
}

}  // namespace dvm::tools
