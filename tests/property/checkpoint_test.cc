// A guest in a file: taken, put back on other nodes, on top of another one; with bytes of the file
// changed at random, or cut off: it goes on as it was, or is refused with a reason. KVM's part is
// played by hand.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many changes
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "fabric/part_file.h"
#include "hyperkernel/undo_log.h"
#include "hyperkernel/userfault.h"
#include "tests/unit/machine_fixture.h"
#include "vmm/checkpoint/restore.h"
#include "vmm/checkpoint/take.h"

namespace dvm::vmm::checkpoint {
namespace {

using namespace vmm::testing;

constexpr u64 kFirst = 0x1000, kPages = 200;  // of RAM, that hold something
constexpr u16 kScratch = 0x3f8 + 7;
constexpr std::string_view kLaunch = R"({"words":["--cpus","2"]})";

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

u64 random_word(u64 page, u64 turn) { return (page * 0x9e37'79b9'7f4a'7c15 + 2 * turn) | 1; }

Status go_on(u64) { return {}; }

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("dvm-checkpoint-{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ / name; }

  static MachineSpec spec_of(std::vector<u16> placement = {0, 1}) {
    MachineSpec spec = machine_spec(2, std::move(placement));
    spec.launch = kLaunch;
    return spec;
  }
  static void write_page(Machine& machine, u64 page, u64 word) {
    auto bytes = hyperkernel::page_of_ram(machine.memory(), kFirst + page);
    std::memcpy(bytes.data() + 8 * (page % 512), &word, sizeof word);
  }
  // Every third page is of the second turn, if there was one.
  static std::unique_ptr<Machine> make_guest() {
    auto machine = make_machine(spec_of());
    CpuBaseline& cpu = machine->state().cpu;
    cpu.entries[0].function = 0x4711;
    cpu.checksum = cpu_checksum(cpu, 1);
    cpu.count.store(1);
    for (u64 page = 0; page < kPages; ++page) write_page(*machine, page, random_word(page, 1));
    machine->port_write(kScratch, 1, 0x5a);
    return machine;
  }
  static void write_second_turn(Machine& machine) {
    for (u64 page = 0; page < kPages; page += 3) write_page(machine, page, random_word(page, 2));
    write_page(machine, 1, 0);
    machine.port_write(kScratch, 1, 0x11);
  }

  // As the threads of vCPUs do.
  static std::thread vcpus_of(Machine& machine) {
    return std::thread([&machine] {
      MachineControl& control = machine.state().control;
      u32 number = 0;
      while ((number = control.checkpoint.load()) == 0) std::this_thread::yield();
      for (u32 i = 0; i < 2; ++i) {
        VcpuState& state = machine.state().vcpu_states[i];
        state.version = kVcpuStateVersion;
        state.vector = kNoWaitingVector;
        state.regs.rax = 1000 + i;
        seal_vcpu_state(state, i);
        control.stands[i].store(number);
      }
    });
  }
  static Result<Written> save(Machine& machine, const std::string& to,
                              const std::string& base_path = "") {
    std::thread vcpus = vcpus_of(machine);
    const auto still = StandStill::begin(machine, 10'000'000'000);
    vcpus.join();
    if (!still.ok()) return still.error();
    DVM_ASSIGN(const Image image, image_of(machine, **still));
    auto sections = encode(image);
    std::optional<File> base;
    if (!base_path.empty()) {
      DVM_ASSIGN(base, File::open(base_path));
      const auto bytes = std::as_bytes(std::span(base_path));
      sections.push_back({SectionKind::base, {bytes.begin(), bytes.end()}});
    }
    DVM_ASSIGN(auto file, fabric::PartFile::open(to));
    DVM_ASSIGN(const Source source, pages_of(machine, go_on));
    DVM_ASSIGN(const Written written,
               write([&](auto bytes, u64 at) { return file.write(bytes, at); }, sections, source,
                     base ? &*base : nullptr));
    DVM_TRY(file.finish(written.header.total_bytes));
    return written;
  }

  static std::string wrong_with(Machine& machine, u64 turn) {
    // To touch all that come one by one takes long.
    const bool on_touch = machine.pool().has_region(fabric::RegionKind::origin);
    const u64 pages = on_touch ? kFirst + 2 * kPages : machine.config().memory_bytes / kPageBytes;
    for (u64 page = 0; page < pages; ++page) {
      const auto bytes = hyperkernel::page_of_ram(machine.memory(), page);
      const auto* words = reinterpret_cast<const u64*>(bytes.data());
      const u64 n = page - kFirst;
      const bool holds = n < kPages && !(turn == 2 && n == 1);
      const u64 word = holds ? random_word(n, turn == 2 && n % 3 == 0 ? 2 : 1) : 0;
      for (u64 i = 0; i < 512; ++i) {
        if (words[i] != (holds && i == n % 512 ? word : 0)) return fmt::format("page {}", page);
      }
    }
    if (machine.port_read(kScratch, 1) != (turn == 2 ? 0x11u : 0x5au)) return "the serial port";
    for (u32 i = 0; i < 2; ++i) {
      if (machine.state().vcpu_states[i].regs.rax != 1000 + i) return fmt::format("vCPU {}", i);
    }
    if (machine.state().cpu.entries[0].function != 0x4711) return "the CPU model";
    return machine.state().control.phase.load() == Phase::running ? "" : "it does not run";
  }
  // Empty: it went on as it was. "refused": with a reason.
  static std::string restored(const std::string& file, MachineSpec spec, u64 turn = 1) {
    auto found = open_restorable(file);
    if (!found.ok()) return found.error().message.empty() ? "refused without a reason" : "refused";
    if (found->image.launch != kLaunch) return "another launch";
    const auto machine = restore_machine(*found, spec, go_on);
    if (!machine.ok()) return "refused";
    return wrong_with(**machine, turn);
  }
  // All pages are read before it runs.
  std::string restored_at_once(const std::string& file, u64 turn = 1) const {
    MachineSpec spec = spec_of();
    spec.pool_path = path("pool");
    const std::string wrong = restored(file, spec, turn);
    std::filesystem::remove(path("pool"));
    return wrong;
  }
  static bool can_fetch() { return hyperkernel::Userfault::make_for_missing().ok(); }

  std::filesystem::path folder_;
};

TEST_F(Checkpoint, GoesOnAsItWasOnAnyNodes) {
  const auto guest = make_guest();
  const auto written = save(*guest, path("one"));
  ASSERT_TRUE(written.ok()) << written.error().message;
  EXPECT_EQ(written->pages, kPages) << "pages of zeros are not there";
  EXPECT_EQ(guest->state().control.checkpoint.load(), 0u) << "the guest goes on";
  EXPECT_EQ(restored_at_once(path("one")), "");
  if (!can_fetch()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(restored(path("one"), spec_of({0, 0})), "");
  EXPECT_EQ(restored(path("one"), spec_of({3, 1})), "") << "any number of times";
}

TEST_F(Checkpoint, OneOfManyKnowsThatItIs) {
  const auto guest = make_guest();
  constexpr u64 kOffset = u64{1} << 40;
  guest->state().control.tsc_offset.store(kOffset);
  ASSERT_TRUE(save(*guest, path("one")).ok());
  const auto generation = [](Machine& machine) { return machine.state().generation.published(); };
  const GenerationIdState before = generation(*guest);
  EXPECT_NE(before.id, GenerationId{}) << "it has one from its beginning";
  EXPECT_EQ(before.unread, 0u);
  auto found = open_restorable(path("one"));
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->image.clock, 0u);
  std::vector<GenerationId> ids{before.id};
  for (int i = 0; i < 2; ++i) {
    const auto machine = restore_machine(*found, spec_of(), go_on);
    ASSERT_TRUE(machine.ok()) << machine.error().message;
    const GenerationIdState now = generation(**machine);
    EXPECT_EQ(std::ranges::count(ids, now.id), 0);
    ids.push_back(now.id);
    EXPECT_EQ(now.unread, 1u) << "the guest is told";
    u64 half = 0;
    std::memcpy(&half, now.id.data() + 8, sizeof half);
    EXPECT_EQ((*machine)->mmio_read(0, layout::kGenerationId + 8, 8), half);
    EXPECT_EQ(generation(**machine).unread, 0u) << "it has looked";
  }
  // One that is forked has the clock of the other.
  found->image.clock = kOffset;
  const auto machine = restore_machine(*found, spec_of(), go_on);
  ASSERT_TRUE(machine.ok()) << machine.error().message;
  EXPECT_EQ((*machine)->state().control.tsc_offset.load(), found->image.clock);
  found->image.clock = kOffset / 2;
  EXPECT_FALSE(restore_machine(*found, spec_of(), go_on).ok()) << "time would go back";
}

TEST_F(Checkpoint, PagesComeWhenTheyAreTouched) {
  if (!can_fetch()) GTEST_SKIP() << "no userfaultfd here";
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("one")).ok());
  auto found = open_restorable(path("one"));
  ASSERT_TRUE(found.ok()) << found.error().message;
  auto machine = restore_machine(*found, spec_of({0, 0}), go_on);
  ASSERT_TRUE(machine.ok()) << machine.error().message;
  const auto origin = hyperkernel::OriginPages::of((*machine)->pool());
  ASSERT_TRUE(origin.ok());
  EXPECT_EQ(origin->record().faults.load(), 0u);
  // By another process, or one of its threads: whoever touches it first.
  const auto other = attach_again(**machine, kFirstNodeInstance);
  EXPECT_EQ(*other->memory().load<u64>((kFirst + 7) * kPageBytes + 8 * 7), random_word(7, 1));
  EXPECT_EQ(origin->record().faults.load(), 1u);
  while (origin->count_settled() == 0) std::this_thread::yield();  // right after it came
  EXPECT_GT(origin->count_settled(), 1u) << "its neighbours came along";
  EXPECT_LT(origin->count_settled(), 64u);
  EXPECT_EQ(*(*machine)->memory().load<u64>((kFirst + 7) * kPageBytes + 8 * 7), random_word(7, 1));
  EXPECT_EQ(origin->record().faults.load(), 1u) << "for all processes";
  // What the guest has given back is gone.
  (*machine)->release_ram(1, (kFirst + 100) * kPageBytes, kPageBytes);
  EXPECT_EQ(*(*machine)->memory().load<u64>((kFirst + 100) * kPageBytes + 8 * 100), 0u);
  // One of what was never touched is as good as one of the guest itself.
  write_page(**machine, 100, random_word(100, 1));
  ASSERT_TRUE(save(**machine, path("two")).ok());
  EXPECT_LT(origin->count_settled(), 128u) << "and does not fetch it";
  EXPECT_EQ(restored_at_once(path("two")), "");
}

// Linux before 6.4 makes zero pages of holes where it makes a huge page of what is around them.
TEST_F(Checkpoint, AHolesPageIsNoneOfAHugePage) {
  if (!can_fetch()) GTEST_SKIP() << "no userfaultfd here";
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, Linux 6.1
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("one")).ok());
  auto found = open_restorable(path("one"));
  ASSERT_TRUE(found.ok()) << found.error().message;
  auto machine = restore_machine(*found, spec_of({0, 0}), go_on);
  ASSERT_TRUE(machine.ok()) << machine.error().message;
  const auto first = hyperkernel::page_of_ram((*machine)->memory(), kFirst);
  EXPECT_NE(first[0], std::byte{0});
  (void)::madvise(first.data(), kHugePageBytes, kCollapse);
  EXPECT_EQ(wrong_with(**machine, 1), "");
}

TEST_F(Checkpoint, AnIncrementalOneHasWhatChanged) {
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("one")).ok());
  write_second_turn(*guest);
  const auto second = save(*guest, path("two"), path("one"));
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_EQ(second->pages, (kPages + 2) / 3) << "one page has become zero";
  EXPECT_EQ(restored_at_once(path("two"), 2), "");
  EXPECT_EQ(restored_at_once(path("one")), "") << "the first is as it was";
  if (can_fetch()) {
    EXPECT_EQ(restored(path("two"), spec_of(), 2), "");
  }
  // Files that moved together find each other.
  std::filesystem::create_directories(folder_ / "moved");
  for (const char* name : {"one", "two"})
    std::filesystem::rename(path(name), folder_ / "moved" / name);
  EXPECT_EQ(restored_at_once(path("moved/two"), 2), "");
  std::filesystem::remove(path("moved/one"));
  EXPECT_EQ(restored_at_once(path("moved/two"), 2), "refused");
  // Another one in its place is no base.
  const auto stranger = make_guest();
  ASSERT_TRUE(save(*stranger, path("moved/one")).ok());
  EXPECT_EQ(restored_at_once(path("moved/two"), 2), "refused");
}

TEST_F(Checkpoint, AChangedByteIsSeenOrDoesNoHarm) {
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 100);
  std::mt19937_64 random(seed);
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("file")).ok());
  const auto file = Fd::open(path("file"), O_RDWR);
  ASSERT_TRUE(file.ok());
  std::vector<u64> places;  // that hold something
  const u64 bytes = *file->size();
  for (off_t at = 0; (at = ::lseek(file->get(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(file->get(), at, SEEK_HOLE);
    for (; at < end; at += 13) places.push_back(static_cast<u64>(at));
    at = end;
  }
  u64 refused = 0;
  for (u64 round = 0; round < rounds; ++round) {
    const u64 at = round % 4 != 0 ? places[random() % places.size()] : random() % bytes;
    u8 byte = 0;
    ASSERT_EQ(::pread(file->get(), &byte, 1, static_cast<off_t>(at)), 1);
    const u8 changed = static_cast<u8>(byte ^ (1 + random() % 255));
    ASSERT_EQ(::pwrite(file->get(), &changed, 1, static_cast<off_t>(at)), 1);
    const std::string wrong = restored_at_once(path("file"));
    refused += wrong == "refused" ? 1 : 0;
    ASSERT_TRUE(wrong.empty() || wrong == "refused")
        << wrong << ": byte " << at << ", seed " << seed;
    ASSERT_EQ(::pwrite(file->get(), &byte, 1, static_cast<off_t>(at)), 1);
  }
  EXPECT_GT(refused, rounds / 4);
  EXPECT_EQ(restored_at_once(path("file")), "");
}

TEST_F(Checkpoint, OneThatIsCutOffIsRefused) {
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("file")).ok());
  const u64 bytes = std::filesystem::file_size(path("file"));
  for (const u64 left : {bytes - 1, bytes / 2, u64{8192}, u64{4096}, u64{100}, u64{0}}) {
    std::filesystem::resize_file(path("file"), left);
    EXPECT_EQ(restored_at_once(path("file")), "refused") << left;
  }
}

// A file that is damaged while its guest runs: who touches what is gone waits, and the guest ends.
TEST_F(Checkpoint, APageThatCannotBeHadEndsTheGuest) {
  if (!can_fetch()) GTEST_SKIP() << "no userfaultfd here";
  const auto guest = make_guest();
  ASSERT_TRUE(save(*guest, path("file")).ok());
  const pid_t child = ::fork();
  if (child == 0) {
    auto found = open_restorable(path("file"));
    auto machine = restore_machine(*found, spec_of({0, 0}), go_on);
    std::filesystem::resize_file(path("file"), found->file.header().pages_at);
    std::thread([&] { (void)(*machine)->memory().load<u64>(kFirst * kPageBytes); }).detach();
    const auto& control = (*machine)->state().control;
    while (control.phase.load() != Phase::stopped) ::usleep(1000);
    ::_exit(control.stop_reason.load() == StopReason::error ? 7 : 8);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

TEST_F(Checkpoint, NobodyGetsOneOfAGuestThatDoesNotStand) {
  const auto guest = make_guest();
  const auto late = StandStill::begin(*guest, 20'000'000);
  ASSERT_FALSE(late.ok());
  EXPECT_NE(late.error().message.find("still runs"), std::string::npos);
  EXPECT_EQ(guest->state().control.checkpoint.load(), 0u);
  const auto node = attach_again(*guest, kFirstNodeInstance);
  {
    std::thread vcpus = vcpus_of(*guest);
    const auto still = StandStill::begin(*guest, 10'000'000'000);
    vcpus.join();
    ASSERT_TRUE(still.ok()) << still.error().message;
    guest->instances().retire(node->self(), fabric::InstanceState::dead);
    EXPECT_FALSE((*still)->holds().ok()) << "its survivors want the devices' locks";
  }
  std::thread vcpus = vcpus_of(*guest);
  const auto still = StandStill::begin(*guest, 10'000'000'000);
  vcpus.join();
  ASSERT_TRUE(still.ok()) << still.error().message;
  EXPECT_FALSE(StandStill::begin(*guest, 0).ok()) << "one at a time";
  EXPECT_TRUE((*still)->holds().ok());
  guest->request_stop(StopReason::user);
  EXPECT_FALSE((*still)->holds().ok());
}

}  // namespace
}  // namespace dvm::vmm::checkpoint
