// What is asked of vCPUs and nodes, and refused, with no node there: the test does its steps.
#include "migration/vcpu_mover.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "migration/evacuation.h"
#include "tests/unit/test_machine.h"
#include "tools/control_protocol.h"

namespace dvm::migration {
namespace {

using vmm::MoveRefusal;
using vmm::NodeStage;
using vmm::Phase;
using vmm::PlaceStage;
using Kind = vmm::PlaceStep::Kind;

class Mover : public ::testing::Test {
 protected:
  void SetUp() override {
    for (u32 n = 0; n < 3; ++n) {
      state().nodes[n].stage.store(NodeStage::active);
      machine_->instances().join(vmm::kFirstNodeInstance + n, 1000);
    }
    state().control.phase.store(Phase::running);
  }
  vmm::MachineState& state() { return machine_->state(); }
  std::atomic<u64>& place(u32 vcpu) { return state().vcpus[vcpu].place; }
  void arrive(u32 vcpu) {
    const auto p = state().vcpus[vcpu].where();
    EXPECT_TRUE(vmm::take_step(place(vcpu), {Kind::prepared, p.target}));
    EXPECT_TRUE(vmm::take_step(place(vcpu), {Kind::hand_over, p.node}));
    EXPECT_TRUE(vmm::take_step(place(vcpu), {Kind::arrived, p.target}));
  }
  void expect_refused(u32 vcpu, u32 to, const char* why) {
    const u64 before = place(vcpu % 4).load();
    const auto asked = ask_move(*machine_, vcpu, to);
    ASSERT_FALSE(asked.ok()) << why;
    EXPECT_NE(asked.error().message.find(why), std::string::npos) << asked.error().message;
    EXPECT_EQ(place(vcpu % 4).load(), before) << "and nothing has changed";
  }
  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(4, 3);
};

TEST_F(Mover, AsksTheTargetAndRingsIt) {
  const u32 seen = fabric::listen(state().nodes[2].bell);
  const auto asked = ask_move(*machine_, 0, 2);
  ASSERT_TRUE(asked.ok()) << asked.error().message;
  EXPECT_TRUE(*asked);
  EXPECT_EQ(state().vcpus[0].where().stage, PlaceStage::asked);
  EXPECT_EQ(state().vcpus[0].where().target, 2);
  EXPECT_NE(fabric::listen(state().nodes[2].bell), seen);
  expect_refused(0, 1, "vCPU 0 is on its way to node 2");
}

TEST_F(Mover, OneThatIsThereIsNoError) {
  const auto asked = ask_move(*machine_, 0, state().vcpus[0].node());
  ASSERT_TRUE(asked.ok());
  EXPECT_FALSE(*asked);
}

TEST_F(Mover, RefusesWhatCannotBe) {
  expect_refused(4, 0, "vCPU 4 is not there; allowed: 0 to 3");
  expect_refused(0, 3, "node 3 is not there; allowed: 0, 1, 2");
  expect_refused(0, 99, "node 99 is not there");
  state().nodes[1].stage.store(NodeStage::empty);
  expect_refused(0, 1, "node 1 takes no vCPUs; allowed: 0, 2");
  const u32 id = vmm::kFirstNodeInstance + 2;
  machine_->instances().retire({id, machine_->instances().slots[id].generation.load()},
                               fabric::InstanceState::dead);
  expect_refused(0, 2, "node 2 takes no vCPUs; allowed: 0");
  state().control.phase.store(Phase::resetting);
  expect_refused(0, 1, "the guest is starting");
  state().control.phase.store(Phase::stopped);
  expect_refused(0, 1, "the guest has stopped");
}

TEST_F(Mover, AGuestThatADebuggerHasStoppedIsLeftAlone) {
  state().debug.attached.store(1);
  ASSERT_TRUE(ask_move(*machine_, 0, 2).ok()) << "while it runs it may move";
  state().control.phase.store(Phase::paused);
  expect_refused(1, 2, "a debugger has the guest stopped");
}

TEST_F(Mover, WaitsForTheArrivalAndTellsThePause) {
  ASSERT_TRUE(ask_move(*machine_, 0, 2).ok());
  std::thread target([&] {
    arrive(0);
    state().vcpus[0].move.begun.store(1000);
    state().vcpus[0].move.entered.store(5000);
  });
  const auto report = await_move(*machine_, 0, 2);
  target.join();
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->moved);
  EXPECT_EQ(report->to, 2u);
}

TEST_F(Mover, TellsWhyItStayed) {
  ASSERT_TRUE(ask_move(*machine_, 0, 2).ok());
  ASSERT_TRUE(
      vmm::take_step(place(0), {.kind = Kind::call_off, .refusal = MoveRefusal::target_failed}));
  const auto report = await_move(*machine_, 0, 2);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("vCPU 0 stays on node 0: the node could not take it"),
            std::string::npos)
      << report.error().message;
}

TEST_F(Mover, AMoveThatTakesTooLongIsCalledOff) {
  ASSERT_TRUE(ask_move(*machine_, 0, 2).ok());
  const auto report = await_move(*machine_, 0, 2, 1'000'000);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("it took too long"), std::string::npos);
  EXPECT_EQ(state().vcpus[0].where().stage, PlaceStage::settled);
}

// The test is the nodes: what is asked for arrives, and an emptying node without vCPUs is empty.
class Evacuation : public Mover {
 protected:
  void SetUp() override {
    Mover::SetUp();
    nodes_ = std::thread([this] {
      while (!stop_.load()) {
        for (u32 v = 0; v < 4; ++v) {
          if (state().vcpus[v].where().stage == PlaceStage::asked) arrive(v);
        }
        for (u32 n = 0; n < 3; ++n) {
          NodeStage emptying = NodeStage::emptying;
          if (runs(n) == 0)
            state().nodes[n].stage.compare_exchange_strong(emptying, NodeStage::empty);
        }
        std::this_thread::yield();
      }
    });
  }
  void TearDown() override {
    stop_.store(true);
    nodes_.join();
  }
  u32 runs(u32 node) {
    u32 count = 0;
    for (u32 v = 0; v < 4; ++v) count += state().vcpus[v].node() == node ? 1 : 0;
    return count;
  }
  std::atomic<bool> stop_ = false;
  std::thread nodes_;
};

TEST_F(Evacuation, EmptiesANodeAndThenTheNextButNotTheLast) {
  for (const u32 node : {0u, 1u}) {
    const u32 had = runs(node);
    const auto done = evacuate(*machine_, node);
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(done->moves.size(), had);
    EXPECT_EQ(runs(node), 0u);
    EXPECT_EQ(state().nodes[node].stage.load(), NodeStage::empty);
  }
  EXPECT_EQ(runs(2), 4u);
  const auto last = evacuate(*machine_, 2);
  ASSERT_FALSE(last.ok());
  EXPECT_NE(last.error().message.find("node 2 is the last one that runs vCPUs"), std::string::npos);
  EXPECT_EQ(state().nodes[2].stage.load(), NodeStage::active);
}

TEST_F(Evacuation, OfOneThatIsEmptyIsDoneAtOnce) {
  ASSERT_TRUE(evacuate(*machine_, 1).ok());
  const auto again = evacuate(*machine_, 1);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->moves.empty());
  EXPECT_FALSE(ask_to_leave(*machine_, 0).ok()) << "only an empty one leaves";
  EXPECT_TRUE(ask_to_leave(*machine_, 1).ok());
  EXPECT_EQ(state().nodes[1].stage.load(), NodeStage::leaving);
  EXPECT_FALSE(evacuate(*machine_, 1).ok());
  EXPECT_FALSE(evacuate(*machine_, 7).ok());
}

TEST_F(Evacuation, RequestsSaySoInOneLine) {
  using nlohmann::json;
  const auto ask = [&](const json& request) { return tools::handle_request(request, *machine_); };
  const json moved = ask({{"command", "migrate-vcpu"}, {"vcpu", 0}, {"to", 2}});
  EXPECT_EQ(moved["ok"], true) << moved;
  EXPECT_EQ(moved["from"], 0) << moved;
  EXPECT_EQ(moved["to"], 2) << moved;
  for (const json& bad :
       {json{{"command", "migrate-vcpu"}}, json{{"command", "migrate-vcpu"}, {"vcpu", -1}},
        json{{"command", "migrate-vcpu"}, {"vcpu", 0}, {"to", "x"}},
        json{{"command", "evacuate"}, {"node", 3}}, json{{"command", "evacuate"}},
        json{{"command", "remove-node"}, {"node", 0}}, json{{"command", "add-node"}},
        json{{"command", "add-node"}, {"node", 1}}}) {
    const json reply = ask(bad);
    EXPECT_EQ(reply["ok"], false) << bad;
    EXPECT_EQ(reply["error"].get<std::string>().find('\n'), std::string::npos) << reply;
  }
  EXPECT_EQ(ask({{"command", "evacuate"}, {"node", 0}})["ok"], true);
  const json nodes = ask({{"command", "status"}})["nodes"];
  EXPECT_EQ(nodes[0]["state"], "evacuated") << nodes;
}

}  // namespace
}  // namespace dvm::migration
