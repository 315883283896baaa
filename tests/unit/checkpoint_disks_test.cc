// Disks of a guest that is saved or forked: copied, checked again, and written on top of.
#include "tools/checkpoint_disks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/child_output.h"
#include "tools/json_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr u64 kBytes = 4 * kMiB;

class CheckpointDisks : public ::testing::Test {
 protected:
  CheckpointDisks() {
    char path[] = "/tmp/dvm-disks-XXXXXX";
    folder_ = ::mkdtemp(path);
    write("disk.img", 0, "of the parent");
    std::filesystem::resize_file(folder_ + "/disk.img", kBytes);
    DiskOption disk;
    disk.spec.path = folder_ + "/disk.img";
    disk.serial = "A1";
    settings_.name = "clone";
    settings_.disks = {disk};
    settings_.launch = R"({"words":[],"folder":"/"})";
  }
  ~CheckpointDisks() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, std::streamoff at, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    if (!std::filesystem::exists(path)) std::ofstream(path).close();
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << text;
  }
  std::string read(const std::string& path, std::size_t bytes) {
    std::string text(bytes, '\0');
    std::ifstream(path, std::ios::binary).read(text.data(), static_cast<std::streamsize>(bytes));
    return text;
  }
  // What a guest would read of it.
  std::string read_overlay(const std::string& path, std::size_t bytes) {
    const std::string out = folder_ + "/out";
    EXPECT_TRUE(run_program({"qemu-img", "convert", "-U", "-O", "raw", path, out}).ok());
    return read(out, bytes);
  }
  std::string file(const std::string& name) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path).close();
    return path;
  }
  // As the checkpoint has it, when the disk has been copied to `copy`.
  std::string describe(const std::string& copy) {
    auto disks = GuestDisks::open(settings_.disks).take();
    EXPECT_TRUE(disks.copy(0, copy, {}).ok());
    return describe_disks(&disks, {{0, copy}}).take();
  }

  std::string folder_;
  RunSettings settings_;
};

TEST_F(CheckpointDisks, ACopyIsTheDiskAndHasItsHoles) {
  const std::string copy = file("copy");
  describe(copy);
  EXPECT_EQ(read(copy, kBytes), read(folder_ + "/disk.img", kBytes));
  struct stat st {};
  ASSERT_EQ(::stat(copy.c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 64 * 1024);
}

TEST_F(CheckpointDisks, NothingIsCopiedOverAFile) {
  const auto disks = GuestDisks::open(settings_.disks).take();
  write("other", 0, "precious");
  const Status status = disks.copy(0, folder_ + "/other", {});
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("allowed: an empty file"), std::string::npos);
  EXPECT_EQ(read(folder_ + "/other", 8), "precious");
}

TEST_F(CheckpointDisks, WhatIsWrittenOnTopIsNobodyElses) {
  const std::string described = describe(file("copy"));
  write("disk.img", 0, "then went on.");  // the parent
  RunSettings first = settings_, second = settings_;
  first.overlays = folder_;
  second.overlays = folder_;
  second.name = "other";
  ASSERT_TRUE(check_disks(described, first.disks).ok());
  auto one = make_overlays(described, first);
  auto two = make_overlays(described, second);
  ASSERT_TRUE(one.ok()) << one.error().message;
  ASSERT_TRUE(two.ok()) << two.error().message;
  const std::string path = folder_ + "/clone-disk0.qcow2";
  EXPECT_EQ(one->at(0).spec.path, path);
  ASSERT_TRUE(run_program({"qemu-io", "-f", "qcow2", "-c", "write -P 120 0 64k", path}).ok());
  EXPECT_EQ(read_overlay(path, 13), std::string(13, 'x'));
  EXPECT_EQ(read_overlay(folder_ + "/other-disk0.qcow2", 13), "of the parent");
  EXPECT_EQ(read(folder_ + "/copy", 13), "of the parent");
}

TEST_F(CheckpointDisks, WhatStaysIsWhereTheLaunchSays) {
  const std::string described = describe(file("copy"));
  std::string stopped;
  std::vector<DiskOption> launched;
  {
    RunSettings clone = settings_;
    clone.overlays = folder_;
    auto disks = GuestDisks::open(clone.disks, make_overlays(described, clone).take()).take();
    EXPECT_FALSE(disks.passes(0));
    disks.keep_overlays();
    ASSERT_TRUE(disks.start_servers(folder_).ok());
    const std::string served = "nbd:unix:" + folder_ + "/disk0.nbd";
    ASSERT_TRUE(run_program({"qemu-io", "-f", "raw", "-c", "write -P 120 0 64k", served}).ok());
    ASSERT_TRUE(disks.flush().ok());
    stopped = describe_disks(&disks, {}).take();
    const auto told = disk_options_of(parse_json(clone.launch)["disks"]);
    ASSERT_TRUE(told.ok()) << told.error().message;
    EXPECT_EQ(told->at(0).spec.path, folder_ + "/clone-disk0.qcow2");
    EXPECT_EQ(told->at(0).spec.format, "qcow2");
    EXPECT_EQ(told->at(0).serial, "A1");
    launched = *told;
  }
  const Status same = check_disks(stopped, launched);
  EXPECT_TRUE(same.ok()) << same.error().message;
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/clone-disk0.qcow2"));
  RunSettings again = settings_;
  again.overlays = folder_;
  EXPECT_FALSE(make_overlays(described, again).ok()) << "it is there";
}

TEST_F(CheckpointDisks, WithoutAFolderItPassesWithTheGuest) {
  const std::string described = describe(file("copy"));
  {
    RunSettings clone = settings_;
    auto disks = GuestDisks::open(clone.disks, make_overlays(described, clone).take()).take();
    EXPECT_TRUE(disks.passes(0));
    ASSERT_TRUE(disks.start_servers(folder_).ok());
    EXPECT_EQ(disks.bytes(0), kBytes);
    EXPECT_EQ(clone.launch, settings_.launch);
    const std::string second = file("second");  // a clone of the clone
    ASSERT_TRUE(disks.copy(0, second, {}).ok());
    EXPECT_EQ(read(second, 13), "of the parent");
  }
  std::vector<std::string> left;
  for (const auto& one : std::filesystem::directory_iterator(folder_))
    left.push_back(one.path().filename());
  std::ranges::sort(left);
  EXPECT_EQ(left, (std::vector<std::string>{"copy", "disk.img", "second"}));
  RunSettings kept = settings_;
  kept.pool = "/pool";
  EXPECT_FALSE(make_overlays(described, kept).ok()) << "a pool would outlive it";
}

TEST_F(CheckpointDisks, OnlyWhatStaysIsWrittenOnTopOfForGood) {
  settings_.overlays = folder_;
  const auto refusal = [&](const std::string& described) {
    auto made = make_overlays(described, settings_);
    return made.ok() ? "nothing" : made.error().message;
  };
  {
    const auto disks = GuestDisks::open(settings_.disks).take();
    EXPECT_EQ(refusal(describe_disks(&disks, {}).take()),
              "--overlays: none of its disks has been copied");
  }
  const auto nameless = MadeFile::make(std::nullopt, "", settings_.disks[0].spec.path).take();
  EXPECT_NE(refusal(describe(nameless.path())).find("has no name; allowed: after fork --disks DIR"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/clone-disk0.qcow2"));
}

TEST_F(CheckpointDisks, ACopyThatHasChangedIsRefused) {
  const std::string described = describe(file("copy"));
  ASSERT_TRUE(check_disks(described, settings_.disks).ok());
  write("copy", 4096, "x");
  EXPECT_FALSE(check_disks(described, settings_.disks).ok());
  std::filesystem::remove(folder_ + "/copy");
  EXPECT_FALSE(check_disks(described, settings_.disks).ok());
  for (const auto* text : {"", "[]", "[1]", R"([{"copy":1}])", R"([{"copy":{"path":1}}])",
                           R"([{"copy":{"path":"/a","bytes":-1}}])"})
    EXPECT_FALSE(check_disks(text, settings_.disks).ok()) << text;
}

TEST_F(CheckpointDisks, StaysWhatTheGuestKnows) {
  auto disks = GuestDisks::open(settings_.disks).take();
  vmm::FunctionConfig known = disks.function(0, 2);
  for (const auto& change : std::vector<std::function<void(vmm::FunctionConfig&)>>{
           [](auto& f) { f.flags |= vmm::kBlockReadOnly; }, [](auto& f) { f.block_bytes = 0; },
           [](auto& f) { f.block_bytes = 513; }, [](auto& f) { f.serial = vmm::blk_id("B2"); },
           [](auto& f) { f.kind = vmm::FunctionKind::net; }}) {
    vmm::FunctionConfig wrong = known;
    change(wrong);
    EXPECT_FALSE(disks.stay(0, wrong).ok());
  }
  known.physical_bytes = 4096;  // found out anew: no more than a hint
  known.flags &= ~vmm::kBlockDiscard;
  ASSERT_TRUE(disks.stay(0, known).ok());
  EXPECT_EQ(disks.function(0, 1).queues, 2u);
  EXPECT_EQ(disks.function(0, 1).physical_bytes, 4096u);
}

TEST_F(CheckpointDisks, RequestsAreRead) {
  const auto disks = GuestDisks::open(settings_.disks).take();
  const auto read = [&](const char* text) {
    return copies_of({{"disks", parse_json(text)}}, &disks);
  };
  const auto right = read(R"([{"disk":0,"file":"/a"}])");
  ASSERT_TRUE(right.ok()) << right.error().message;
  EXPECT_EQ(right->front().file, "/a");
  EXPECT_TRUE(copies_of(json::object(), nullptr)->empty());
  for (const auto* wrong :
       {"1", "[1]", R"([{"disk":1,"file":"/a"}])", R"([{"disk":-1,"file":"/a"}])",
        R"([{"disk":0,"file":"a"}])", R"([{"disk":0,"file":1}])", R"([{"disk":0}])",
        R"([{"disk":0,"file":"/a"},{"disk":0,"file":"/b"}])"})
    EXPECT_FALSE(read(wrong).ok()) << wrong;
}

TEST(RunProgram, SaysWhyItFailed) {
  EXPECT_TRUE(run_program({"true"}).ok());
  const Status said = run_program({"sh", "-c", "echo first; echo second >&2; exit 3"});
  ASSERT_FALSE(said.ok());
  EXPECT_EQ(said.error().message, "sh: second");
  EXPECT_EQ(run_program({"sh", "-c", "exit 3"}).error().message, "sh: ended with exit code 3");
  EXPECT_FALSE(run_program({"dvm-no-such-program"}).ok());
}

TEST(RunProgram, IsKilledWhenItMayNotGoOn) {
  int asked = 0;
  const Status status =
      run_program({"sleep", "1000"}, [&] { return ++asked < 3 ? Status() : error("no more"); });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "no more");
}

}  // namespace
}  // namespace dvm::tools
