// Writes a disk and says what is flushed; later, from anywhere, checks that it is there.
//   disk_witness --write DISK --megabytes N      one thread a CPU, until killed
//   disk_witness --check DISK --megabytes N --said FILE   FILE: what the writer printed
// Each thread has a slice of the disk and fills its blocks over and over in a scattered order with
// block numbers that count up. After some blocks it flushes, and only then prints
// "flushed THREAD COUNT". Every sector carries thread and number, so a block that is torn, old or
// somebody else's is seen.
#include <errno.h>
#include <fcntl.h>

#include <fstream>

#include "common.h"

namespace {

constexpr uint64_t kBlock = 4096, kSector = 512;
constexpr uint64_t kMagic = 0x7373656e74697764;  // "dwitness"

struct Sector {
  uint64_t magic, thread, number, index;
  uint64_t filler[60];
};
static_assert(sizeof(Sector) == kSector);
using Block = Sector[kBlock / kSector];

uint64_t Mixed(uint64_t thread, uint64_t number, uint64_t index) {
  return guest::Rng((thread * 1000003 + number) * 8 + index).Next();
}

// A power of two of blocks, so that an odd factor scatters the numbers over all of them.
struct Slice {
  uint64_t first = 0, blocks = 1;
  uint64_t SlotOf(uint64_t number) const { return number * 0x9e3779b1u % blocks; }
  off_t OffsetOf(uint64_t slot) const { return static_cast<off_t>((first + slot) * kBlock); }
};

constexpr uint64_t kThreads = 4;

Slice SliceOf(uint64_t thread, double megabytes) {
  const auto all = static_cast<uint64_t>(megabytes * 1048576) / kBlock / kThreads;
  Slice slice;
  while (slice.blocks * 2 <= all) slice.blocks *= 2;
  slice.first = thread * slice.blocks;
  return slice;
}

void Fill(Block& block, uint64_t thread, uint64_t number) {
  for (uint64_t i = 0; i < kBlock / kSector; i++) {
    block[i] = {kMagic, thread, number, i, {}};
    for (auto& word : block[i].filler) word = Mixed(thread, number, i);
  }
}

bool IsWhole(const Sector& sector, uint64_t thread, uint64_t index) {
  if (sector.magic != kMagic || sector.thread != thread || sector.index != index) return false;
  const uint64_t expected = Mixed(thread, sector.number, index);
  return std::all_of(std::begin(sector.filler), std::end(sector.filler),
                     [expected](uint64_t word) { return word == expected; });
}

int Write(const std::string& disk, double megabytes) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  std::atomic<bool> failed{false};
  guest::RunThreads(guest::Cpus(), kThreads, [&](size_t thread) {
    const Slice slice = SliceOf(thread, megabytes);
    alignas(kBlock) static thread_local Block block;
    const int fd = open(disk.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    guest::Rng random(thread + 1);
    for (uint64_t number = 1, next_flush = 1; fd >= 0 && !failed; number++) {
      Fill(block, thread, number);
      if (pwrite(fd, block, kBlock, slice.OffsetOf(slice.SlotOf(number))) != kBlock) break;
      if (number < next_flush) continue;
      if (fdatasync(fd) != 0) break;
      printf("flushed %zu %llu\n", thread, static_cast<unsigned long long>(number));
      next_flush = number + 1 + random.Below(24);
    }
    printf("disk_witness: FAIL thread %zu: %s\n", thread, strerror(errno));
    failed = true;
  });
  return 1;
}

// Every block holds the last number that was flushed to it, or a later one.
int Check(const std::string& disk, double megabytes, const std::string& said) {
  guest::Verdict verdict("disk_witness");
  std::vector<uint64_t> flushed(kThreads);
  std::ifstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    unsigned thread = 0;
    unsigned long long number = 0;
    char end = 0;  // the line's: a line cut short does not count
    if (sscanf(line.c_str(), "flushed %u %llu%c", &thread, &number, &end) == 3 && end == '\r' &&
        thread < kThreads)
      flushed[thread] = std::max<uint64_t>(flushed[thread], number);
  }
  const int fd = open(disk.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) verdict.Fail("%s: %s", disk.c_str(), strerror(errno));
  uint64_t total = 0;
  for (uint64_t thread = 0; thread < kThreads; thread++) {
    const Slice slice = SliceOf(thread, megabytes);
    total += flushed[thread];
    if (flushed[thread] == 0) verdict.Fail("thread %d flushed nothing", static_cast<int>(thread));
    std::vector<uint64_t> expected(slice.blocks);
    for (uint64_t n = 1; n <= flushed[thread]; n++) expected[slice.SlotOf(n)] = n;
    for (uint64_t slot = 0; slot < slice.blocks; slot++) {
      if (expected[slot] == 0) continue;
      Block block;
      if (pread(fd, block, kBlock, slice.OffsetOf(slot)) != kBlock) verdict.Fail("short read");
      for (uint64_t i = 0; i < kBlock / kSector; i++) {
        if (IsWhole(block[i], thread, i) && block[i].number >= expected[slot] &&
            slice.SlotOf(block[i].number) == slot)
          continue;
        verdict.Fail("thread %d slot %d sector %d: number %lld, flushed %lld",
                     static_cast<int>(thread), static_cast<int>(slot), static_cast<int>(i),
                     static_cast<long long>(block[i].number),
                     static_cast<long long>(expected[slot]));
      }
    }
  }
  return verdict.Finish(
      guest::Format("%llu blocks flushed", static_cast<unsigned long long>(total)));
}

}  // namespace

int main(int argc, char** argv) {
  const guest::Options options(argc, argv, {"write", "check", "megabytes", "said"});
  const double megabytes = options.Number("megabytes", 16);
  const std::string writes = options.Text("write", "");
  if (!writes.empty()) return Write(writes, megabytes);
  return Check(options.Text("check", ""), megabytes, options.Text("said", ""));
}
