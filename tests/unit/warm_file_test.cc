// dvm-run's --srt-warm without a guest: a real file, a machine's table, and disks by their names.
#include "tools/warm_file.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/disk_fixture.h"
#include "tools/control_protocol.h"
#include "tools/guest_preparation.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using srt::BlockKey;
using srt::BlockRun;
using srt::ReplicaPlace;
using srt::testing::ImageFile;

class WarmFileTest : public ::testing::Test {
 protected:
  WarmFileTest() {
    disks_ = GuestDisks::open({{.spec = {.path = image_.path()}}}).take();
    machine_ = make_machine(spec());
    std::filesystem::remove(path_);
  }
  ~WarmFileTest() override { std::filesystem::remove(path_); }

  vmm::MachineSpec spec() const {
    vmm::MachineSpec spec;
    spec.config.name[0] = 't';
    spec.config.memory_bytes = vmm::layout::kMinMemory;
    spec.config.tsc_khz = 1'000'000;
    spec.config.vcpus = spec.config.nodes = 1;
    spec.config.functions[kFirstDiskFunction] = disks_.function(0, 1);
    spec.capacity[kFirstDiskFunction] = disks_.bytes(0);
    spec.replica_bytes = 16 * kMiB;
    return spec;
  }
  static std::unique_ptr<vmm::Machine> make_machine(const vmm::MachineSpec& spec) {
    return vmm::Machine::create(spec).take();
  }
  void use(u64 block) {
    srt::ReplicaTable& table = *machine_->replicas();
    const BlockKey key{kFirstDiskFunction, block};
    table.put(key, {{ReplicaPlace::Kind::ram, 1, 0}, {}}, table.writes(key), 1);
  }
  // A launcher's life.
  void run(vmm::StopReason reason) {
    WarmFile file(path_, *machine_, disks_);
    machine_->state().control.stop_reason.store(reason);
  }
  std::vector<BlockRun> wanted(vmm::Machine& machine) {
    const auto runs = machine.replicas()->wanted();
    return {runs.begin(), runs.end()};
  }
  std::string text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ImageFile image_{4 * kMiB};
  GuestDisks disks_;
  std::unique_ptr<vmm::Machine> machine_;
  const std::string path_ = image_.path() + ".warm";
};

TEST_F(WarmFileTest, TheNextMachineWantsWhatThisOneUsed) {
  for (const u64 block : {7, 5, 6, 1023}) use(block);
  std::ofstream(path_ + ".part") << "of one that was killed";
  run(vmm::StopReason::shutdown);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
  const auto next = make_machine(spec());
  WarmFile::load(path_, *next, disks_);
  EXPECT_EQ(wanted(*next),
            (std::vector<BlockRun>{{.first = 5, .blocks = 3, .disk = kFirstDiskFunction},
                                   {.first = 1023, .blocks = 1, .disk = kFirstDiskFunction}}));
}

TEST_F(WarmFileTest, AGuestThatEndsEarlyDoesNotReplaceWhatIsThere) {
  use(7);
  run(vmm::StopReason::user);
  const std::string first = text();
  EXPECT_NE(first.find("run 0 7 1\n"), std::string::npos);
  use(9);
  run(vmm::StopReason::user);
  EXPECT_EQ(text(), first);
  run(vmm::StopReason::shutdown);
  EXPECT_NE(text().find("run 0 9 1\n"), std::string::npos);
}

TEST_F(WarmFileTest, OneThatUsedNothingWritesNothing) {
  run(vmm::StopReason::shutdown);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(WarmFileTest, AListThatIsDamagedOrOfAnotherDiskIsSaidAndLeftOut) {
  use(7);
  run(vmm::StopReason::shutdown);
  const std::string whole = text();
  const auto said = [&](const std::string& content, const vmm::MachineSpec& as) {
    std::ofstream(path_, std::ios::trunc) << content;
    const auto next = make_machine(as);
    ::testing::internal::CaptureStderr();
    WarmFile::load(path_, *next, disks_);
    const std::string line = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(next->replicas()->wanted().empty());
    EXPECT_EQ(std::ranges::count(line, '\n'), 1) << line;
    return line;
  };
  EXPECT_NE(said(whole.substr(0, whole.size() - 3), spec()).find(path_ + ": cut off"),
            std::string::npos);
  EXPECT_NE(said("", spec()).find("not a list of blocks"), std::string::npos);
  auto larger = spec();
  larger.capacity[kFirstDiskFunction] += kMiB;
  EXPECT_NE(said(whole, larger).find("had 4194304 bytes when it was listed, and has 5242880"),
            std::string::npos);
  const auto other = srt::warm_text({{{"/another", 4096}}, {{.first = 0, .blocks = 1}}});
  EXPECT_NE(said(other, spec()).find("/another is no disk of this guest"), std::string::npos);
}

TEST_F(WarmFileTest, WhereNoFileCanBeIsSaidAtOnce) {
  EXPECT_TRUE(WarmFile::check(path_).ok());
  EXPECT_TRUE(WarmFile::check("name").ok());
  EXPECT_FALSE(WarmFile::check("/nowhere/at/all").ok());
  EXPECT_FALSE(WarmFile::check("/tmp").ok());
}

TEST_F(WarmFileTest, TheBlocksAreAListForOtherTools) {
  use(3);
  use(4);
  const json reply =
      handle_request({{"command", "srt"}, {"blocks", true}}, *machine_, {.disks = &disks_});
  ASSERT_EQ(reply["ok"], true) << reply;
  EXPECT_EQ(reply["block_bytes"], 4096);
  EXPECT_EQ(reply["runs"], json::parse("[[0, 3, 2]]"));
  const auto list = srt::parse_warm_list(blocks_text(reply));
  ASSERT_TRUE(list.ok()) << list.error().message;
  EXPECT_EQ(list->disks, (std::vector<srt::WarmDisk>{{image_.path(), 4 * kMiB}}));
  EXPECT_EQ(list->runs, (std::vector<BlockRun>{{.first = 3, .blocks = 2}}));
  EXPECT_EQ(handle_request({{"command", "srt"}, {"blocks", 3}}, *machine_)["ok"], false);
  EXPECT_EQ(handle_request({{"command", "srt"}, {"blocks", true}}, *machine_)["ok"], false);
  const json figures = handle_request({{"command", "srt"}}, *machine_);
  EXPECT_EQ(figures["warm"]["state"], "off");
  machine_->replicas()->want(std::array{BlockRun{.first = 3, .blocks = 2}});
  EXPECT_EQ(handle_request({{"command", "srt"}}, *machine_)["warm"]["state"], "running");
}

}  // namespace
}  // namespace dvm::tools
