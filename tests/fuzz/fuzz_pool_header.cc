// Threat: a pool file that is damaged, of another version, or made by somebody else. A node that
// attaches to it refuses it or stays inside it.
//
// Input: mode u8, file size u8 (in units of 256 KiB), then the header's bytes; what follows them is
// the file's metadata behind the header's page. mode & 1: magic, version and header size are
// mended; & 2: the checksum is mended, so that what it guards is reached; & 4: the regions are a
// machine's.
#include <sys/mman.h>
#include <unistd.h>

#include "fabric/pool.h"
#include "tests/fuzz/input.h"
#include "vmm/machine.h"

namespace dvm::fuzz {
namespace {

using namespace fabric;

Fd make_file() {
  Fd fd(::memfd_create("fuzz-pool", MFD_CLOEXEC));
  FUZZ_CHECK(fd.valid());
  return fd;
}

// Sizes and offsets a machine's pool could have; which of them are changed, the input says.
void machine_regions(PoolHeader& h, Input& input) {
  const std::array<RegionSpec, 4> regions = {
      {{RegionKind::instances, kInstancesVersion, sizeof(InstanceTable)},
       {RegionKind::events, kEventsVersion, sizeof(EventLog)},
       {RegionKind::machine, vmm::kMachineVersion, sizeof(vmm::MachineState)},
       {RegionKind::page_directory, hyperkernel::kPageDirectoryVersion,
        hyperkernel::page_directory_bytes(16384)}}};
  auto made = make_header(regions, kMiB, kPageBytes);
  FUZZ_CHECK(made.ok());
  h = made.take();
  const u8 which = input.take<u8>();
  const u64 value = input.take<u64>();
  auto* words = reinterpret_cast<std::byte*>(&h);
  const std::size_t at = which * 8u % (sizeof(h) - 8);
  std::memcpy(words + at, &value, sizeof(value));
}

void check_regions(const Pool& pool, u64 file_bytes) {
  const PoolHeader& h = pool.header();
  FUZZ_CHECK(h.total_bytes <= file_bytes && h.metadata_bytes <= h.total_bytes);
  for (u32 i = 0; i < h.region_count; ++i) {
    const RegionHeader& r = h.regions[i];
    FUZZ_CHECK(r.offset >= sizeof(PoolHeader) && r.bytes <= h.total_bytes - r.offset);
    auto bytes = pool.region(r.kind, r.version);
    if (!bytes.ok()) continue;  // frames
    volatile std::byte touch = bytes->front();
    touch = bytes->back();
    (void)touch;
  }
}

}  // namespace
}  // namespace dvm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dvm;
  using namespace dvm::fuzz;
  static const Fd file = make_file();
  Input input(data, size);
  const u8 mode = input.take<u8>();
  const u64 file_bytes = input.take<u8>() * 256 * kKiB;
  PoolHeader h{};
  if ((mode & 4) != 0) {
    machine_regions(h, input);
  } else {
    h = input.take<PoolHeader>();
  }
  if ((mode & 1) != 0) {
    h.magic = kPoolMagic;
    h.version = kPoolVersion;
    h.header_bytes = sizeof(h);
  }
  if ((mode & 2) != 0) h.checksum = header_checksum(h);
  FUZZ_CHECK(::ftruncate(file.get(), 0) == 0);
  FUZZ_CHECK(::ftruncate(file.get(), static_cast<off_t>(file_bytes)) == 0);
  const auto put = [&](std::span<const std::byte> bytes, u64 at) {
    if (at < file_bytes)
      FUZZ_CHECK(
          file.pwrite_all(bytes.first(std::min(bytes.size(), file_bytes - at)), at, "").ok());
  };
  put(std::as_bytes(std::span(&h, 1)), 0);
  const auto records = input.take_bytes(64 * kKiB);
  put(std::as_bytes(records), kPageBytes);
  // A page directory that lets a mapping go ahead, and a machine's record that is in range.
  const bool valid = check_header(h, file_bytes, "fuzz").ok();
  auto pool = Pool::attach(file.duplicate().take(), "fuzz");
  FUZZ_CHECK(pool.ok() == valid || !pool.ok());
  if (!pool.ok()) return 0;
  check_regions(*pool, file_bytes);
  (void)vmm::Machine::attach(pool.take(), vmm::kFirstNodeInstance);
  return 0;
}
