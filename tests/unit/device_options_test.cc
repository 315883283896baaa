// --console, dvm-ctl's words for devices, and their figures.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/machine_fixture.h"
#include "tools/console_target.h"
#include "tools/control_protocol.h"
#include "tools/ctl_command_line.h"
#include "tools/device_figures.h"
#include "tools/metrics.h"
#include "tools/reply_text.h"
#include "tools/run_settings.h"
#include "vmm/virtio/blk.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using vmm::FunctionKind;

TEST(ConsoleTargetOption, WhatIsAllowed) {
  EXPECT_FALSE(parse_console_target("off")->present);
  EXPECT_EQ(parse_console_target("virtio")->where.kind, SerialKind::log);
  EXPECT_EQ(parse_console_target("virtio:stdio")->where.kind, SerialKind::stdio);
  EXPECT_EQ(parse_console_target("virtio:file:/f")->where.path, "/f");
  EXPECT_EQ(parse_console_target("virtio:unix:/s")->where.path, "/s");
  for (const char* bad : {"", "on", "virtio:", "virtio:tcp", "virtio:file:", "stdio", "virtiofs"})
    EXPECT_FALSE(parse_console_target(bad).ok()) << bad;
  EXPECT_FALSE(parse_console_target("virtio:unix:" + std::string(200, 'x')).ok());
}

TEST(ConsoleTargetOption, TwoOnStdioAreRefusedAndTheSerialPortGivesWay) {
  RunRequest request;
  request.kernel = "k";
  request.console = ConsoleTarget{true, {SerialKind::stdio, {}}};
  EXPECT_EQ(settle(request, "n")->serial.kind, SerialKind::log);
  request.serial = SerialTarget{SerialKind::stdio, {}};
  EXPECT_FALSE(settle(request, "n").ok());
  request.serial = SerialTarget{SerialKind::file, "f"};
  EXPECT_TRUE(settle(request, "n").ok());
  request.detach = true;
  EXPECT_FALSE(settle(request, "n").ok());
}

TEST(CtlDevices, CommandLines) {
  EXPECT_EQ(parse_ctl_command_line({"balloon", "64M"})->size, 64 * kMiB);
  EXPECT_FALSE(parse_ctl_command_line({"balloon"})->size);
  EXPECT_EQ(parse_ctl_command_line({"policy", "learned"})->policy, "learned");
  EXPECT_EQ(parse_ctl_command_line({"policy"})->policy, "");
  const auto line = parse_ctl_command_line({"resize-disk", "a.img", "2G"});
  EXPECT_EQ(line->disk, "a.img");
  EXPECT_EQ(line->size, 2 * kGiB);
  EXPECT_FALSE(parse_ctl_command_line({"resize-disk", "0", "--to-file"})->size);
  EXPECT_EQ(parse_ctl_command_line({"console", "--port", "serial"})->port, "serial");
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{"balloon", "x"},
                                             {"balloon", "1M", "2M"},
                                             {"policy", "best"},
                                             {"policy", "static", "learned"},
                                             {"resize-disk"},
                                             {"resize-disk", "0"},
                                             {"resize-disk", "0", "-1"},
                                             {"resize-disk", "0", "1G", "--to-file"},
                                             {"status", "--to-file"},
                                             {"status", "--port", "serial"},
                                             {"console", "--port", "vga"}}) {
    EXPECT_FALSE(parse_ctl_command_line(bad).ok()) << fmt::format("{}", fmt::join(bad, " "));
  }
}

class DeviceFiguresTest : public ::testing::Test {
 protected:
  DeviceFiguresTest() {
    vmm::MachineSpec spec = vmm::testing::machine_spec(2, {0, 1});
    auto& functions = spec.config.functions;
    functions[1] = {
        .kind = FunctionKind::block, .queues = 1, .block_bytes = 512, .physical_bytes = 512};
    functions[1].serial = vmm::blk_id("A1");
    spec.capacity[1] = kMiB;
    functions[2] = functions[1];
    spec.capacity[2] = kMiB;
    functions[3].kind = FunctionKind::console;
    functions[4].kind = FunctionKind::balloon;
    machine_ = vmm::testing::make_machine(spec);
  }
  json ask(json request) { return handle_request(request, *machine_); }
  std::unique_ptr<vmm::Machine> machine_;
};

TEST_F(DeviceFiguresTest, EachDeviceHasItsOwn) {
  auto& c = machine_->state().functions[2].counters;
  c.in_ops = 3;
  c.in_bytes = 4096;
  c.out_ops = 2;
  c.out_bytes = 100;
  c.errors = 1;
  c.notifications = 9;
  c.interrupts = 8;
  vmm::queue_hold(machine_->state().functions[2].queues[0].slots[0], 5,
                  vmm::kFirstNodeInstance + 1);
  const auto devices = device_figures(*machine_);
  std::vector<std::string> names;
  for (const auto& d : devices) names.push_back(d.name);
  EXPECT_EQ(names, (std::vector<std::string>{"rng0", "disk0", "disk1", "console0", "balloon0",
                                             "serial0"}));
  EXPECT_EQ(devices[2].kicks, 9u);
  ASSERT_EQ(devices[2].owners.size(), 1u);
  EXPECT_EQ(devices[2].owners[0], (std::pair<std::string, u64>{"node 1", 1}));
  const json s = ask({{"command", "status"}});
  ASSERT_EQ(s["ok"], true) << s;
  EXPECT_EQ(s["devices"][2]["name"], "disk1");
  EXPECT_EQ(s["devices"][2]["detail"], "A1");
  EXPECT_EQ(s["devices"][2]["in_bytes"], 4096);
  EXPECT_EQ(s["devices"][2]["errors"], 1);
  EXPECT_EQ(s["devices"][2]["owners"]["node 1"], 1);
  EXPECT_EQ(s["balloon"]["target"], 0);
  EXPECT_GT(s["pool"]["backed"], 0);
  const std::string text = status_text(s);
  EXPECT_NE(text.find("disk1"), std::string::npos) << text;
  EXPECT_NE(text.find("4.0 KiB"), std::string::npos) << text;
  EXPECT_NE(text.find("node 1: 1"), std::string::npos) << text;
  EXPECT_NE(text.find("balloon: 0 bytes of 0 bytes given up"), std::string::npos) << text;
  const std::string metrics = metrics_text(*machine_);
  EXPECT_NE(metrics.find("dvm_device_in_bytes_total{guest=\"test\",device=\"disk1\"} 4096\n"),
            std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("device=\"disk1\",owner=\"node 1\"} 1\n"), std::string::npos);
  EXPECT_NE(metrics.find("dvm_balloon_target_bytes{guest=\"test\"} 0\n"), std::string::npos);
}

TEST_F(DeviceFiguresTest, BalloonAndConsoleSizeByTheSocket) {
  machine_->state().control.phase.store(vmm::Phase::paused);
  EXPECT_EQ(ask({{"command", "balloon"}})["target"], 0) << "above the least memory there is none";
  for (const json& bad : std::vector<json>{4096, -1, "1M", 1.5}) {
    const json reply = ask({{"command", "balloon"}, {"bytes", bad}});
    EXPECT_EQ(reply["ok"], false) << bad;
  }
  EXPECT_EQ(ask({{"command", "console-size"}, {"columns", 100u}, {"rows", 30u}})["ok"], true);
  EXPECT_EQ(vmm::ConsoleSize::unpack(machine_->state().functions[3].capacity.load()),
            (vmm::ConsoleSize{100, 30}));
  EXPECT_EQ(ask({{"command", "console-size"}, {"columns", 0u}, {"rows", 30u}})["ok"], false);
  EXPECT_EQ(ask({{"command", "console-size"}, {"columns", 70000u}, {"rows", 30u}})["ok"], false);
  EXPECT_EQ(ask({{"command", "console"}})["port"], "virtio");
  EXPECT_EQ(ask({{"command", "console"}, {"port", "serial"}})["port"], "serial");
  EXPECT_EQ(ask({{"command", "console"}, {"port", "x"}})["ok"], false);
}

TEST_F(DeviceFiguresTest, AGuestWithoutThemSaysSo) {
  const auto plain = vmm::testing::make_machine(vmm::testing::machine_spec(1));
  for (const json& request :
       std::vector<json>{{{"command", "balloon"}},
                         {{"command", "console-size"}, {"columns", 1u}, {"rows", 1u}},
                         {{"command", "console"}, {"port", "virtio"}}})
    EXPECT_EQ(handle_request(request, *plain)["ok"], false) << request;
  EXPECT_EQ(handle_request({{"command", "console"}}, *plain)["port"], "serial");
  EXPECT_EQ(handle_request({{"command", "status"}}, *plain)["balloon"], nullptr);
}

}  // namespace
}  // namespace dvm::tools
