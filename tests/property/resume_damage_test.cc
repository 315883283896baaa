// A pool whose guest could go on, with bytes changed at random, or cut off: it goes on as it was,
// or is refused with a reason; and who goes on may be killed in it at any point, and another does.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many changes
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "fabric/failpoint.h"
#include "hyperkernel/page_sums.h"
#include "tests/unit/machine_fixture.h"
#include "vmm/all_cells.h"
#include "vmm/boot/e820.h"
#include "vmm/machine_resume.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u64 kArea = 0x100'0000, kAreaPages = 200;
constexpr u16 kScratch = 0x3f8 + 7;
constexpr std::string_view kLaunch = R"({"words":["--cpus","2"]})";

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

u64 random_word(u64 page, u64 turn) { return (page * 0x9e37'79b9'7f4a'7c15 + turn) | 1; }

class ResumeDamage : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("dvm-resume-{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return folder_ / name; }

  static MachineSpec spec_of(Protection protection, const std::string& pool) {
    MachineSpec spec = machine_spec(2, {0, 1});
    spec.config.protection = protection;
    spec.pool_path = pool;
    spec.launch = kLaunch;
    return spec;
  }
  static void write_page(Machine& machine, u64 page, u64 turn) {
    ASSERT_TRUE(
        machine.memory()
            .store<u64>(kArea + page * kPageBytes + 8 * (page % 512), random_word(page, turn))
            .ok());
  }
  static void seal(VcpuState& state, u32 vcpu) {
    state.version = kVcpuStateVersion;
    state.vector = kNoWaitingVector;
    state.regs.rax = 1000 + vcpu;
    seal_vcpu_state(state, vcpu);
  }

  // A guest in the middle of its epoch 2, in which it has written some of its pages.
  static void make_guest(const std::string& pool) {
    const auto machine = make_machine(spec_of(Protection::epoch, pool));
    MachineState& s = machine->state();
    EpochRecord& epoch = *machine->epoch();
    auto log = hyperkernel::UndoLog::of(machine->pool());
    auto sums = hyperkernel::PageSums::of(machine->pool());
    ASSERT_TRUE(log.ok() && sums.ok());
    const u64 first = kArea / kPageBytes;
    const auto page_at = [&](u64 page) {
      return page_of_ram(machine->memory(), first + page).data();
    };
    const u32 one = epoch.log[1].load(), two = next_log_number(one, 0, 2);
    for (u64 page = 0; page < kAreaPages; ++page) {
      log->capture(one, first + page, page_at(page));
      write_page(*machine, page, 1);
    }
    machine->port_write(kScratch, 1, 0x5a);
    epoch.log[0].store(two);
    for (u32 i = 0; i < 2; ++i) seal(epoch.banks[0].vcpus[i].state, i);
    {
      const AllCells cells(*machine);
      fill_bank(s, epoch.banks[0], 12'345, {2, two});
    }
    epoch.word.store(EpochWord{.epoch = 2, .turn = 1}.packed());
    sums->follow(*log, one, two, 2, machine->memory());
    for (u64 page = 0; page < kAreaPages; page += 3) {
      log->capture(two, first + page, page_at(page));
      write_page(*machine, page, 2);
    }
    machine->port_write(kScratch, 1, 0x11);
  }

  // Is it what the epoch began with?
  static std::string wrong_with(Machine& machine) {
    std::vector<std::byte> all(kAreaPages * kPageBytes);
    if (!machine.memory().read(kArea, all).ok()) return "no memory";
    const auto* words = reinterpret_cast<const u64*>(all.data());
    for (u64 page = 0; page < kAreaPages; ++page) {
      for (u64 i = 0; i < 512; ++i) {
        if (words[page * 512 + i] != (i == page % 512 ? random_word(page, 1) : 0))
          return fmt::format("page {}", page);
      }
    }
    for (const hyperkernel::RamRange& range : machine.memory().ranges()) {
      const u64 skip = range.gpa <= kArea ? kArea - range.gpa : 0;
      const auto* bytes = reinterpret_cast<const u64*>(range.host);
      for (u64 i = 0; i < range.bytes / 8; ++i) {
        if (bytes[i] != 0 && (i * 8 < skip || i * 8 >= skip + kAreaPages * kPageBytes))
          return fmt::format("memory at {:#x}", range.gpa + i * 8);
      }
    }
    if (machine.port_read(kScratch, 1) != 0x5a) return "the serial port";
    for (u32 i = 0; i < 2; ++i) {
      if (machine.state().vcpu_states[i].regs.rax != 1000 + i) return fmt::format("vCPU {}", i);
    }
    const u64 tsc = machine.guest_tsc();
    if (tsc < 12'345 || tsc > 12'345 + u64{100} * 2'000'000'000) return "the clock";
    return machine.state().control.phase.load() == Phase::running ? "" : "it does not run";
  }
  // Empty: it went on as it was. "refused": with a reason.
  static std::string go_on(const std::string& pool) {
    auto found = open_resumable(pool, 0);
    if (!found.ok()) return found.error().message.empty() ? "refused without a reason" : "refused";
    if (found->launch != kLaunch) return "another launch";
    const auto machine = resume_machine(found.take(), spec_of(Protection::epoch, pool));
    if (!machine.ok()) return "refused";
    return wrong_with(**machine);
  }

  std::filesystem::path folder_;
};

TEST_F(ResumeDamage, APausedGuestStaysPaused) {
  make_guest(path("pool"));
  {
    auto pool = fabric::Pool::reopen(path("pool"), 0);
    ASSERT_TRUE(pool.ok());
    auto state = pool->record<MachineState>(fabric::RegionKind::machine, kMachineVersion);
    (*state)->control.phase.store(Phase::paused);
  }
  auto found = open_resumable(path("pool"), 0);
  ASSERT_TRUE(found.ok()) << found.error().message;
  const auto machine = resume_machine(found.take(), spec_of(Protection::epoch, path("pool")));
  ASSERT_TRUE(machine.ok()) << machine.error().message;
  EXPECT_EQ((*machine)->state().control.phase.load(), Phase::paused);
}

// Its vCPUs have left their states, as their threads do.
void leave_vcpus(Machine& machine) {
  for (u32 i = 0; i < 2; ++i) {
    VcpuState& state = machine.state().vcpu_states[i];
    state.version = kVcpuStateVersion;
    state.vector = kNoWaitingVector;
    seal_vcpu_state(state, i);
    machine.state().control.saved[i].store(1);
  }
}

TEST_F(ResumeDamage, ASecondSaveIsNotHeldToTheSumsOfTheFirst) {
  const MachineSpec spec = spec_of(Protection::flush, path("pool"));
  {
    const auto machine = make_machine(spec);
    write_page(*machine, 1, 1);
    leave_vcpus(*machine);
    ASSERT_TRUE(keep_save(*machine));
  }
  {
    auto found = open_resumable(path("pool"), 0);
    ASSERT_TRUE(found.ok()) << found.error().message;
    const auto machine = resume_machine(found.take(), spec);
    ASSERT_TRUE(machine.ok()) << machine.error().message;
    (*machine)->resume_record().saved.store(0);
    write_page(**machine, 1, 2);
    leave_vcpus(**machine);
    // The power goes after the mark, and before RAM is summed.
    GuestBank& bank = (*machine)->resume_record().bank;
    for (u32 i = 0; i < 2; ++i) bank.vcpus[i].state = (*machine)->state().vcpu_states[i];
    fill_bank((*machine)->state(), bank, 1);
    (*machine)->resume_record().saved.store(kSavedWhole);
  }
  const auto again = open_resumable(path("pool"), 0);
  EXPECT_TRUE(again.ok()) << again.error().message;
}

TEST_F(ResumeDamage, AnotherHostsClockIsRefused) {
  make_guest(path("pool"));
  auto found = open_resumable(path("pool"), 0);
  ASSERT_TRUE(found.ok()) << found.error().message;
  MachineSpec spec = spec_of(Protection::epoch, path("pool"));
  spec.config.tsc_khz += spec.config.tsc_khz / 100;
  const auto refused = resume_machine(found.take(), spec);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("TSC runs at"), std::string::npos);
  EXPECT_EQ(go_on(path("pool")), "") << "it is as it was";
}

TEST_F(ResumeDamage, GoesOnAsItWas) {
  make_guest(path("pool"));
  EXPECT_EQ(go_on(path("pool")), "");
  EXPECT_EQ(go_on(path("pool")), "") << "nobody has run it since";
}

// Regions that hold something, and the places in them that do.
std::vector<u64> places_with_data(const std::string& file) {
  std::vector<u64> places;
  const auto fd = Fd::open(file, O_RDONLY);
  for (off_t at = 0; (at = ::lseek(fd->get(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(fd->get(), at, SEEK_HOLE);
    std::vector<char> bytes(static_cast<std::size_t>(end - at));
    if (::pread(fd->get(), bytes.data(), bytes.size(), at) < 0) break;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != 0) places.push_back(static_cast<u64>(at) + i);
    }
    at = end;
  }
  return places;
}

TEST_F(ResumeDamage, AChangedByteIsSeenOrDoesNoHarm) {
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 100);
  std::mt19937_64 random(seed);
  make_guest(path("whole"));
  const auto places = places_with_data(path("whole"));
  const u64 bytes = std::filesystem::file_size(path("whole"));
  u64 refused = 0;
  for (u64 round = 0; round < rounds; ++round) {
    ASSERT_EQ(
        std::system(fmt::format("cp --sparse=always {} {}", path("whole"), path("pool")).c_str()),
        0);
    // Most of a pool is empty: half of the changes are where something is.
    const u64 at = round % 2 == 0 ? places[random() % places.size()] : random() % bytes;
    const u8 flip = static_cast<u8>(1 + random() % 255);
    {
      const auto fd = Fd::open(path("pool"), O_RDWR);
      u8 byte = 0;
      ASSERT_EQ(::pread(fd->get(), &byte, 1, static_cast<off_t>(at)), 1);
      byte ^= flip;
      ASSERT_EQ(::pwrite(fd->get(), &byte, 1, static_cast<off_t>(at)), 1);
    }
    const std::string wrong = go_on(path("pool"));
    refused += wrong == "refused" ? 1 : 0;
    ASSERT_TRUE(wrong.empty() || wrong == "refused")
        << wrong << ": byte " << at << " ^ " << int{flip} << ", seed " << seed;
  }
  EXPECT_GT(refused, rounds / 4);
}

TEST_F(ResumeDamage, OneThatIsCutOffIsRefused) {
  make_guest(path("pool"));
  const u64 bytes = std::filesystem::file_size(path("pool"));
  for (const u64 left : {bytes - 1, bytes / 2, u64{8192}, u64{4096}, u64{100}, u64{0}}) {
    std::filesystem::resize_file(path("pool"), left);
    EXPECT_EQ(go_on(path("pool")), "refused") << left;
  }
}

TEST_F(ResumeDamage, WhoGoesOnMayDieInIt) {
  for (const char* point : {"resume.renewed", "resume.put_back"}) {
    make_guest(path("pool"));
    const pid_t child = ::fork();
    if (child == 0) {
      static fabric::FaultTable table{};
      fabric::watch_faults(&table, kLauncherInstance);
      fabric::arm_fault(table, point, fabric::FaultAction::kill, 0, ~0u, 0);
      (void)go_on(path("pool"));
      ::_exit(7);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << point;
    EXPECT_EQ(go_on(path("pool")), "") << point;
    std::filesystem::remove(path("pool"));
  }
}

}  // namespace
}  // namespace dvm::vmm
