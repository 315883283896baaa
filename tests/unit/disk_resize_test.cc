// dvm-ctl resize-disk without a guest: a real file, the machine's record, the driver's registers.
#include "tools/disk_resize.h"

#include <nlohmann/json.hpp>

#include "tests/unit/disk_fixture.h"
#include "tools/control_protocol.h"
#include "tools/guest_preparation.h"
#include "vmm/machine.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using srt::testing::ImageFile;

class DiskResize : public ::testing::Test {
 protected:
  DiskResize() {
    DiskOption option{.spec = {.path = file_.path()}, .serial = "A1"};
    auto opened = GuestDisks::open({option});
    EXPECT_TRUE(opened.ok());
    disks_ = opened.take();
    vmm::MachineSpec spec;
    spec.config.name[0] = 't';
    spec.config.memory_bytes = vmm::layout::kMinMemory;
    spec.config.tsc_khz = 1'000'000;
    spec.config.vcpus = 1;
    spec.config.nodes = 1;
    spec.config.functions[kFirstDiskFunction] = disks_.function(0, 1);
    spec.capacity[kFirstDiskFunction] = disks_.bytes(0);
    machine_ = vmm::Machine::create(spec).take();
    machine_->reset_devices();
  }
  json ask(json request) {
    request["command"] = "resize-disk";
    return handle_request(request, *machine_, {.disks = &disks_});
  }
  // As the driver reads it, in bytes.
  u64 capacity() const {
    const auto& device = machine_->state().functions[kFirstDiskFunction].device.published();
    u64 sectors = 0;
    std::memcpy(&sectors, device.device_config.data(), sizeof(sectors));
    return sectors * 512;
  }
  u8 generation() const {
    return machine_->state().functions[kFirstDiskFunction].device.published().config_generation;
  }

  ImageFile file_{kMiB};
  GuestDisks disks_;
  std::unique_ptr<vmm::Machine> machine_;
};

TEST_F(DiskResize, GrowsTheFileAndTellsTheDriver) {
  const u8 before = generation();
  const json reply = ask({{"disk", "0"}, {"bytes", 3 * kMiB}});
  ASSERT_EQ(reply["ok"], true) << reply;
  EXPECT_EQ(reply["bytes"], 3 * kMiB);
  EXPECT_EQ(reply["before"], kMiB);
  EXPECT_EQ(file_.content().size(), 3 * kMiB);
  EXPECT_EQ(capacity(), 3 * kMiB);
  EXPECT_NE(generation(), before) << "the driver must not mix old and new bytes";
  machine_->reset_devices();
  EXPECT_EQ(capacity(), 3 * kMiB) << "a reset keeps the size";
}

TEST_F(DiskResize, FindsADiskByPathAndSerial) {
  EXPECT_EQ(ask({{"disk", file_.path()}, {"bytes", 2 * kMiB}})["ok"], true);
  EXPECT_EQ(ask({{"disk", "A1"}, {"bytes", 4 * kMiB}})["ok"], true);
  EXPECT_EQ(capacity(), 4 * kMiB);
}

TEST_F(DiskResize, LooksAtAFileThatOthersHaveGrown) {
  EXPECT_EQ(::truncate(file_.path().c_str(), 5 * kMiB + 100), 0);
  const json reply = ask({{"disk", "0"}, {"to_file", true}});
  ASSERT_EQ(reply["ok"], true) << reply;
  EXPECT_EQ(capacity(), 5 * kMiB) << "whole blocks only";
  const u8 before = generation();
  EXPECT_EQ(ask({{"disk", "0"}, {"to_file", true}})["ok"], true);
  EXPECT_EQ(generation(), before) << "nothing new, nothing told";
}

TEST_F(DiskResize, NeverShrinks) {
  json reply = ask({{"disk", "0"}, {"bytes", kMiB / 2}});
  EXPECT_EQ(
      reply["error"],
      "resize-disk: disk 0: found 512 KiB; allowed: at least the 1 MiB it has, for a disk never "
      "shrinks");
  EXPECT_EQ(::truncate(file_.path().c_str(), 4096), 0);
  reply = ask({{"disk", "0"}, {"to_file", true}});
  EXPECT_EQ(reply["ok"], false);
  EXPECT_EQ(capacity(), kMiB);
  EXPECT_EQ(file_.content().size(), 4096u);
}

TEST_F(DiskResize, RefusesWhatMeansNothing) {
  for (const json& request :
       std::vector<json>{{},
                         {{"disk", 0}, {"bytes", 2 * kMiB}},
                         {{"disk", "1"}, {"bytes", 2 * kMiB}},
                         {{"disk", "0"}},
                         {{"disk", "0"}, {"bytes", -1}},
                         {{"disk", "0"}, {"bytes", 2 * kMiB + 1}},
                         {{"disk", "0"}, {"bytes", ~u64{0} - 511}},
                         {{"disk", "0"}, {"to_file", 1}},
                         {{"disk", "0"}, {"bytes", 2 * kMiB}, {"to_file", true}},
                         {{"disk", "0"}, {"bytes", 2 * kMiB}, {"x", 1}}}) {
    const json reply = ask(request);
    EXPECT_EQ(reply["ok"], false) << request;
    EXPECT_NE(reply["error"].get<std::string>().find("resize-disk: "), std::string::npos) << reply;
  }
  EXPECT_EQ(handle_request({{"command", "resize-disk"}, {"disk", "0"}, {"to_file", true}},
                           *machine_)["ok"],
            false);
  EXPECT_EQ(capacity(), kMiB);
  EXPECT_EQ(file_.content().size(), kMiB);
}

}  // namespace
}  // namespace dvm::tools
