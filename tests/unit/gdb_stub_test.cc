// gdb's remote protocol without a socket and without KVM: frames, registers, memory, breakpoints.
#include "tools/gdb_stub.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/unit/machine_fixture.h"
#include "tools/gdb_packet.h"
#include "tools/gdb_target.h"

namespace dvm::tools {
namespace {

using Kind = GdbPackets::Kind;
using vmm::Phase;

TEST(GdbPackets, FramesAndTheirChecksums) {
  EXPECT_EQ(GdbPackets::frame("OK"), "$OK#9a");
  EXPECT_EQ(GdbPackets::frame("a#b"),
            "$a}\x03"
            "b#" +
                fmt::format("{:02x}", ('a' + '}' + 3 + 'b') & 0xff));
  GdbPackets packets;
  packets.received("+$qC#b4\x03-$O");
  auto item = packets.next();
  ASSERT_TRUE(item);
  EXPECT_EQ(item->kind, Kind::acknowledged);
  item = packets.next();
  EXPECT_EQ(item->kind, Kind::packet);
  EXPECT_EQ(item->text, "qC");
  EXPECT_EQ(packets.next()->kind, Kind::interrupt);
  EXPECT_EQ(packets.next()->kind, Kind::refused);
  EXPECT_FALSE(packets.next());
  packets.received("K#9");
  EXPECT_FALSE(packets.next());
  packets.received("a");
  EXPECT_EQ(packets.next()->text, "OK");
  packets.received("$OK#9b");
  EXPECT_EQ(packets.next()->kind, Kind::bad);
  packets.received("$" + std::string(2 * GdbPackets::kMaxPacket, 'x'));
  EXPECT_EQ(packets.next()->kind, Kind::bad);
  EXPECT_FALSE(packets.next());
}

TEST(GdbPackets, WhatIsEscapedComesBack) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  GdbPackets packets;
  packets.received(GdbPackets::frame(all));
  EXPECT_EQ(packets.next()->text, all);
  EXPECT_EQ(from_hex(to_hex(all)), all);
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
}

TEST(GdbTargetOption, WhatIsAllowed) {
  EXPECT_EQ(parse_gdb_target("unix:/tmp/g")->path, "/tmp/g");
  const auto tcp = parse_gdb_target("tcp:10.0.0.1:1234");
  ASSERT_TRUE(tcp.ok());
  EXPECT_EQ(tcp->host, "10.0.0.1");
  EXPECT_EQ(tcp->port, 1234);
  EXPECT_EQ(parse_gdb_target("tcp::1234")->host, "127.0.0.1");
  EXPECT_EQ(parse_gdb_target("tcp:[::1]:1234")->host, "::1");
  for (const char* bad : {"", "unix:", "tcp:", "tcp:1234", "tcp:name:1", "tcp::0", "tcp::65536",
                          "tcp::1x", "tcp::", "udp::1"})
    EXPECT_FALSE(parse_gdb_target(bad).ok()) << bad;
}

class GdbStubTest : public ::testing::Test {
 protected:
  GdbStubTest() {
    for (u32 v = 0; v < 2; ++v) {
      vmm::VcpuRecord& record = machine_->state().vcpus[v];
      record.run_state.store(vmm::VcpuRunState::parked);
      record.started.store(1);
      record.image.saved = 1;
      record.image.regs.rip = 0x1000 + v;
      record.image.regs.rax = 0x1122334455667788 + v;
      record.image.sregs.cs.selector = 0x10;
      record.image.sregs.cr3 = 0xabc000;
    }
    machine_->state().control.phase.store(Phase::paused);
    debugged_.attach();
  }
  std::string ask(std::string_view packet) { return stub_.handle(packet).reply.value_or("(none)"); }
  std::string memory(u64 gpa, std::size_t bytes) {
    std::string text(bytes, '\0');
    EXPECT_TRUE(machine_->memory().read(gpa, std::as_writable_bytes(std::span(text))).ok());
    return text;
  }
  void put(u64 gpa, std::string_view text) {
    ASSERT_TRUE(machine_->memory().write(gpa, std::as_bytes(std::span(text))).ok());
  }

  std::unique_ptr<vmm::Machine> machine_ =
      vmm::testing::make_machine(vmm::testing::machine_spec(2, {0, 1}));
  DebuggedMachine debugged_{*machine_};
  GdbStub stub_{debugged_};
};

TEST_F(GdbStubTest, ThreadsAreVcpusOfAllNodes) {
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("qC"), "QC1");
  EXPECT_EQ(from_hex(ask("qThreadExtraInfo,2")), "vCPU 1 on node 1, parked");
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3"), "E01");
  EXPECT_EQ(ask("Hg3"), "E01");
}

TEST_F(GdbStubTest, RegistersOfTheThreadThatIsChosen) {
  EXPECT_EQ(ask("p0"), "8877665544332211");
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("p0"), "8977665544332211");
  EXPECT_EQ(ask("p10"), "0110000000000000");
  EXPECT_EQ(ask("p12"), "10000000") << "cs";
  const std::string all = ask("g");
  EXPECT_EQ(all.substr(16 * 16, 16), "0110000000000000");
  EXPECT_EQ(ask("P10=efbeadde00000000"), "OK");
  EXPECT_EQ(machine_->state().vcpus[1].image.regs.rip, 0xdeadbeefu);
  EXPECT_EQ(machine_->state().debug_vcpus[1].changed.load(), 1u);
  EXPECT_EQ(machine_->state().debug_vcpus[0].changed.load(), 0u);
  EXPECT_EQ(ask("G" + all), "OK");
  EXPECT_EQ(machine_->state().vcpus[1].image.regs.rip, 0x1001u);
  EXPECT_EQ(ask("g"), all);
  for (const char* bad : {"pffff", "p", "P10=00", "P10", "Pffff=00", "G00", "Gzz"})
    EXPECT_EQ(ask(bad), "E01") << bad;
}

TEST_F(GdbStubTest, TheDescriptionIsWholeInParts) {
  std::string xml;
  for (char more = 'm'; more == 'm';) {
    const std::string part = ask(fmt::format("qXfer:features:read:target.xml:{:x},40", xml.size()));
    ASSERT_FALSE(part.empty());
    more = part.front();
    xml += part.substr(1);
  }
  EXPECT_EQ(xml, gdb_target_description());
  u64 bytes = 0;
  for (u32 i = 0; i < gdb_register_count(); ++i) bytes += gdb_register_bytes(i);
  EXPECT_EQ(ask("g").size(), 2 * bytes);
  EXPECT_EQ(ask("qXfer:features:read:target.xml:fffff,40"), "E01");
}

TEST_F(GdbStubTest, Memory) {
  put(0x5000, "some text");
  EXPECT_EQ(from_hex(ask("m5000,9")), "some text");
  EXPECT_EQ(ask("M5000,4:6d6f7265"), "OK");
  EXPECT_EQ(ask("X5004,5:-text"), "OK");
  EXPECT_EQ(memory(0x5000, 9), "more-text");
  EXPECT_EQ(ask("mb0000000,4"), "E0e") << "no RAM";
  EXPECT_EQ(ask("Mb0000000,1:00"), "E0e");
  EXPECT_EQ(ask(fmt::format("m{:x},20", vmm::testing::kTestMemory - 16)).size(), 32u)
      << "as far as there is memory";
  for (const char* bad : {"m", "m5000", "m5000,", "M5000,2:00", "M5000,1", "X5000,2:a"})
    EXPECT_EQ(ask(bad), "E01") << bad;
}

TEST_F(GdbStubTest, SoftwareBreakpointsAreHiddenAndTakenOut) {
  put(0x5000, "abcdef");
  EXPECT_EQ(ask("Z0,5002,1"), "OK");
  EXPECT_EQ(memory(0x5000, 6),
            "ab\xee"
            "def");
  EXPECT_EQ(from_hex(ask("m5000,6")), "abcdef");
  EXPECT_TRUE(machine_->is_debug_breakpoint(0x5002));
  EXPECT_FALSE(machine_->is_debug_breakpoint(0x5003));
  EXPECT_EQ(ask("M5000,6:303132333435"), "OK");
  EXPECT_EQ(memory(0x5000, 6),
            "01\xee"
            "345");
  EXPECT_EQ(ask("z0,5002,1"), "OK");
  EXPECT_EQ(memory(0x5000, 6), "012345");
  EXPECT_EQ(ask("z0,5002,1"), "E0e");
  EXPECT_EQ(ask("Z0,5001,1"), "OK");
  debugged_.detach();
  EXPECT_EQ(memory(0x5000, 6), "012345") << "none is left when gdb leaves";
  EXPECT_FALSE(machine_->is_debug_breakpoint(0x5001));
  EXPECT_EQ(machine_->state().debug.attached.load(), 0u);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::running);
}

TEST_F(GdbStubTest, HardwareBreakpointsFillTheFourRegisters) {
  EXPECT_EQ(ask("Z1,ffffffff81000000,1"), "OK");
  EXPECT_EQ(ask("Z2,5004,4"), "OK");
  EXPECT_EQ(ask("Z4,5008,8"), "OK");
  EXPECT_EQ(ask("Z3,5001,2"), "E0e") << "not aligned";
  EXPECT_EQ(ask("Z2,5000,3"), "E0e");
  EXPECT_EQ(ask("Z2,5000,1"), "OK");
  EXPECT_EQ(ask("Z1,6000,1"), "E0e") << "a fifth";
  const vmm::DebugRecord& debug = machine_->state().debug;
  EXPECT_EQ(debug.address[0].load(), 0xffff'ffff'8100'0000u);
  EXPECT_EQ(debug.address[2].load(), 0x5008u);
  // GE, the bit that is always 1; enabled globally; 0 executes, 1 of 4 bytes writes, 3 of 8
  // accesses.
  EXPECT_EQ(debug.dr7.load(), 0x600u | 0xaa | 0xdu << 20 | 0xbu << 24 | 0x1u << 28);
  EXPECT_EQ(ask("z2,5004,4"), "OK");
  EXPECT_EQ(ask("Z1,6000,1"), "OK");
  EXPECT_EQ(ask("Z9,6000,1"), "");
}

TEST_F(GdbStubTest, AStopNamesWhoAndWhy) {
  EXPECT_EQ(ask("?"), "T02thread:1;");
  machine_->state().control.phase.store(Phase::running);
  machine_->debug_stop(1, 0);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::paused);
  machine_->debug_stop(0, 0);
  EXPECT_EQ(stub_.stop_reply(), "T05thread:2;swbreak:;") << "the first one counts";
  EXPECT_EQ(ask("Z2,5004,4"), "OK");
  machine_->debug_stop(0, 1);
  EXPECT_EQ(stub_.stop_reply(), "T05thread:1;watch:5004;");
  EXPECT_EQ(stub_.stop_reply(), "T02thread:1;") << "told once";
}

TEST_F(GdbStubTest, AStepIsOfOneVcpu) {
  std::thread vcpu([&] {
    auto& debug = machine_->state().debug_vcpus[1];
    while (debug.step.load() == 0) std::this_thread::yield();
    machine_->state().vcpus[1].image.regs.rip++;
    debug.step.store(0);
    fabric::ring(machine_->state().control.changed);
  });
  EXPECT_EQ(ask("vCont;s:2;c"), "T05thread:2;");
  vcpu.join();
  EXPECT_EQ(ask("p10"), "0210000000000000") << "and it is the one at hand";
  EXPECT_EQ(machine_->state().debug_vcpus[0].step.load(), 0u);
}

TEST_F(GdbStubTest, GoingOnAndLeaving) {
  EXPECT_EQ(stub_.handle("c").then, GdbStub::Then::run);
  EXPECT_EQ(stub_.handle("vCont;c").then, GdbStub::Then::run);
  EXPECT_EQ(stub_.handle("vCont;c:1").then, GdbStub::Then::run);
  EXPECT_EQ(stub_.handle("D").then, GdbStub::Then::leave);
  EXPECT_EQ(ask("vCont;x"), "E01");
  EXPECT_EQ(ask("vCont;c:77"), "E01");
  EXPECT_EQ(ask("QStartNoAckMode"), "OK");
  EXPECT_FALSE(stub_.acknowledges());
}

TEST_F(GdbStubTest, WhatIsNotKnownIsAnsweredByNothing) {
  for (const char* packet : {"", "!", "vMustReplyEmpty", "qTStatus", "R00", "jThreads"})
    EXPECT_EQ(ask(packet), "") << packet;
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string packet(random() % 24, '\0');
    for (char& c : packet) c = "qvHTgGpPmMXZz?QcD0123456789abcdef,;:=-"[random() % 39];
    if (packet.starts_with("s") || packet.find('s') != packet.npos) continue;
    (void)stub_.handle(packet);
  }
}

}  // namespace
}  // namespace dvm::tools
