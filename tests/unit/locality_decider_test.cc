// Who decides on locality, with no node there: the test sees for the pagers and does the moves'
// steps.
#include "migration/locality_decider.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "fabric/claim.h"
#include "migration/locality_service.h"
#include "tests/unit/test_machine.h"
#include "tools/why_request.h"

namespace dvm::migration {
namespace {

using locality::Outcome;
using locality::PolicyKind;
using vmm::NodeStage;
using vmm::Phase;
using Kind = vmm::PlaceStep::Kind;

class Decider : public ::testing::Test {
 protected:
  void SetUp() override {
    for (u32 n = 0; n < 2; ++n) {
      state().nodes[n].stage.store(NodeStage::active);
      machine_->instances().join(vmm::kFirstNodeInstance + n, 1000);
    }
    state().control.phase.store(Phase::running);
    state().control.boots.store(1);
    record().policy.store(PolicyKind::affinity);
  }
  vmm::MachineState& state() { return machine_->state(); }
  locality::LocalityRecord& record() { return machine_->locality(); }
  // vCPU 0, on node 0, fetches pages from node 1.
  void fetch(u32 pages, u64 now_ns) {
    for (u32 i = 0; i < pages; ++i) {
      record().nodes[0].seen.push({.time_ns = now_ns + i,
                                   .page = i,
                                   .took_ns = 20'000,
                                   .vcpu = 0,
                                   .node = 0,
                                   .from = 1,
                                   .kind = locality::SeenKind::write});
    }
  }
  // Until affinity has had its say.
  void decide(LocalityDecider& decider) {
    u64 now = 1'000'000'000;
    decider.work(now);
    fetch(100, now);
    for (int i = 0; i < 4; ++i) decider.work(now += 100'000'000);
    now_ns_ = now;
  }
  std::vector<locality::LoggedDecision> log() {
    std::vector<locality::LoggedDecision> all;
    record().decisions.read(0, [&](const auto& d) { all.push_back(d); });
    return all;
  }
  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(2, 2);
  u64 now_ns_ = 0;
};

TEST_F(Decider, AsksForWhatThePolicyWantsAndTellsWhatCameOfIt) {
  LocalityDecider decider(*machine_);
  decide(decider);
  ASSERT_EQ(state().vcpus[0].where().stage, vmm::PlaceStage::asked);
  EXPECT_EQ(state().vcpus[0].where().target, 1);
  ASSERT_EQ(log().size(), 1u);
  EXPECT_EQ(log()[0].outcome, Outcome::asked);

  auto& v = state().vcpus[0];
  EXPECT_TRUE(vmm::take_step(v.place, {Kind::prepared, 1}));
  EXPECT_TRUE(vmm::take_step(v.place, {Kind::hand_over, 0}));
  v.move.begun.store(1'000);
  v.move.entered.store(501'000);
  EXPECT_TRUE(vmm::take_step(v.place, {Kind::arrived, 1}));
  decider.work(now_ns_ + 1);
  EXPECT_EQ(log()[0].outcome, Outcome::done);
  EXPECT_EQ(log()[0].took_us, 500u);

  const auto why = tools::why_json(*machine_);
  EXPECT_EQ(why["policy"], "affinity");
  EXPECT_EQ(why["decisions"][0]["vcpu"], 0);
  EXPECT_EQ(why["decisions"][0]["to"], 1);
  EXPECT_EQ(why["decisions"][0]["pause_us"], 500);
  const std::string text = tools::why_text(why);
  EXPECT_NE(text.find("vCPU 0 goes from node 0 to node 1: 100 pages"), std::string::npos) << text;
  EXPECT_NE(text.find("done, it stood still for 500 us"), std::string::npos) << text;
}

TEST_F(Decider, AnotherPolicyDecidesFromWhenItIsSet) {
  record().policy.store(PolicyKind::fixed);
  LocalityDecider decider(*machine_);
  decide(decider);
  EXPECT_TRUE(log().empty());
  record().policy.store(PolicyKind::affinity);
  u64 now = now_ns_ + 100'000'000;
  decider.work(now);
  EXPECT_TRUE(log().empty()) << "of what was seen before it knows nothing";
  fetch(100, now);
  for (int i = 0; i < 4; ++i) decider.work(now += 100'000'000);
  ASSERT_EQ(log().size(), 1u);
  EXPECT_EQ(state().vcpus[0].where().target, 1);
}

TEST_F(Decider, AMoveThatWasCalledOffIsRefused) {
  LocalityDecider decider(*machine_);
  decide(decider);
  EXPECT_TRUE(vmm::take_step(state().vcpus[0].place,
                             {.kind = Kind::call_off, .refusal = vmm::MoveRefusal::target_failed}));
  decider.work(now_ns_ + 1);
  ASSERT_EQ(log().size(), 1u);
  EXPECT_EQ(log()[0].outcome, Outcome::refused);
}

TEST_F(Decider, AMoveThatNobodyCarriesOutIsCalledOff) {
  LocalityDecider decider(*machine_);
  decide(decider);
  decider.work(now_ns_ + 6'000'000'000);
  EXPECT_EQ(state().vcpus[0].where().stage, vmm::PlaceStage::settled);
  EXPECT_EQ(state().vcpus[0].node(), 0u);
  decider.work(now_ns_ + 6'100'000'000);
  EXPECT_EQ(log()[0].outcome, Outcome::refused);
}

TEST_F(Decider, StaticLeavesAllWhereItIs) {
  record().policy.store(PolicyKind::fixed);
  LocalityDecider decider(*machine_);
  decide(decider);
  EXPECT_EQ(state().vcpus[0].where().stage, vmm::PlaceStage::settled);
  EXPECT_TRUE(log().empty());
  EXPECT_GT(record().steps.load(), 0u);
}

TEST_F(Decider, NothingGoesToANodeThatTakesNone) {
  state().nodes[1].stage.store(NodeStage::emptying);
  LocalityDecider decider(*machine_);
  decide(decider);
  EXPECT_EQ(state().vcpus[0].where().stage, vmm::PlaceStage::settled);
}

TEST_F(Decider, NothingMovesInAGuestThatDoesNotRun) {
  state().control.phase.store(Phase::paused);
  LocalityDecider decider(*machine_);
  decide(decider);
  EXPECT_EQ(state().vcpus[0].where().stage, vmm::PlaceStage::settled);
}

class Arrivals : public Decider {
 protected:
  // Both vCPUs on node 0; nodes 0 and 1 were there when the first step was taken.
  void SetUp() override {
    machine_ = vmm::make_test_machine(2, 2);
    Decider::SetUp();
    record().policy.store(PolicyKind::learned);
    settle(1, 0);
    decider_.emplace(*machine_);
    step();
  }
  void settle(u32 vcpu, u32 node) {
    auto& place = state().vcpus[vcpu].place;
    EXPECT_TRUE(vmm::take_step(place, {Kind::ask, static_cast<u8>(node)}));
    arrive(vcpu, node);
  }
  void arrive(u32 vcpu, u32 node) {
    auto& place = state().vcpus[vcpu].place;
    EXPECT_TRUE(vmm::take_step(place, {Kind::prepared, static_cast<u8>(node)}));
    EXPECT_TRUE(vmm::take_step(place, {Kind::hand_over, static_cast<u8>(1 - node)}));
    EXPECT_TRUE(vmm::take_step(place, {Kind::arrived, static_cast<u8>(node)}));
  }
  void step(u64 after_ns = 100'000'000) { decider_->work(now_ns_ += after_ns); }
  // Another process is node 1.
  void come_back() { machine_->instances().join(vmm::kFirstNodeInstance + 1, 1001); }
  bool is_asked() const {
    return machine_->state().vcpus[1].where().stage == vmm::PlaceStage::asked;
  }
  std::optional<LocalityDecider> decider_;
};

TEST_F(Arrivals, ANodeThatWasThereAtTheStartGetsNothing) {
  for (int i = 0; i < 5; ++i) step();
  EXPECT_FALSE(is_asked());
  EXPECT_TRUE(log().empty());
}

TEST_F(Arrivals, ANodeThatComesGetsOneOnce) {
  come_back();
  step();
  ASSERT_TRUE(is_asked());
  EXPECT_EQ(log()[0].decision.because, locality::Because::node_came);
  arrive(1, 1);
  step();
  EXPECT_EQ(log()[0].outcome, Outcome::done);
  auto& place = state().vcpus[1].place;  // by hand, away from it
  EXPECT_TRUE(vmm::take_step(place, {Kind::ask, 0}));
  arrive(1, 0);
  for (int i = 0; i < 50; ++i) step();
  EXPECT_EQ(log().size(), 1u);
}

TEST_F(Arrivals, WhoTakesTheRoleOverKnowsWhoHasCome) {
  come_back();
  decider_.emplace(*machine_);
  step();
  EXPECT_TRUE(is_asked());
  decider_.emplace(*machine_);
  step();
  EXPECT_EQ(log().size(), 1u) << "it is on its way already";
}

TEST_F(Arrivals, WhatWasCalledOffIsTriedAgainLater) {
  come_back();
  step();
  EXPECT_TRUE(vmm::take_step(state().vcpus[1].place,
                             {.kind = Kind::call_off, .refusal = vmm::MoveRefusal::target_failed}));
  step();
  step();
  EXPECT_FALSE(is_asked());
  step(2'000'000'000);
  EXPECT_TRUE(is_asked());
  EXPECT_EQ(log().size(), 2u);
}

bool within(const std::function<bool()>& holds) {
  for (int i = 0; i < 3000; ++i) {  // half a minute, on a busy machine under a sanitizer
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class Service : public Decider {
 protected:
  // This test's process is node `self`.
  std::unique_ptr<LocalityService> serve(u32 self) {
    auto fd = machine_->pool().fd().duplicate();
    auto pool = fabric::Pool::attach(fd.take(), "again");
    node_ = vmm::Machine::attach(pool.take(), vmm::kFirstNodeInstance + self).take();
    return std::make_unique<LocalityService>(*node_, self);
  }
  bool decides(u32 node) {
    return fabric::InstanceId::unpack(record().decider.load()).id == vmm::kFirstNodeInstance + node;
  }
  void report(u64 temperature) {
    fabric::record_health(machine_->health(), vmm::kFirstNodeInstance + 1,
                          fabric::HealthReading::temperature, temperature);
  }
  // Three readings that go up, as fast as the service looks.
  void heat_up() {
    for (const u64 t : {60u, 75u, 90u}) {
      report(t);
      std::this_thread::sleep_for(std::chrono::milliseconds(250));
    }
  }
  void empty_node_1() {
    ASSERT_TRUE(within([&] { return state().nodes[1].stage.load() == NodeStage::emptying; }));
    ASSERT_TRUE(within([&] { return state().vcpus[1].where().stage == vmm::PlaceStage::asked; }));
    auto& place = state().vcpus[1].place;
    EXPECT_TRUE(vmm::take_step(place, {Kind::prepared, 0}));
    EXPECT_TRUE(vmm::take_step(place, {Kind::hand_over, 1}));
    EXPECT_TRUE(vmm::take_step(place, {Kind::arrived, 0}));
    state().nodes[1].stage.store(NodeStage::empty);
  }
  std::unique_ptr<vmm::Machine> node_;
};

TEST_F(Service, TakesTheRoleOverFromOneThatDied) {
  const auto dead = machine_->instances().join(vmm::kFirstNodeInstance + 1, 1001);
  ASSERT_TRUE(fabric::claim(record().decider, dead, machine_->instances()));
  auto service = serve(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(decides(1)) << "as long as it lives it has the role";
  machine_->instances().join(vmm::kFirstNodeInstance + 1, 1002);
  EXPECT_TRUE(within([&] { return decides(0); }));
  EXPECT_TRUE(within([&] { return record().costs.dram_ns.load() != 0; })) << "costs are measured";
  service.reset();
  EXPECT_EQ(record().decider.load(), 0u);
}

TEST_F(Service, ANodeThatHeatsUpIsEvacuatedAndWhyTells) {
  auto service = serve(0);
  ASSERT_TRUE(within([&] { return decides(0); }));
  heat_up();
  empty_node_1();
  ASSERT_TRUE(within([&] { return !log().empty() && log()[0].outcome == Outcome::done; }));
  EXPECT_EQ(state().vcpus[1].node(), 0u);
  const std::string text = tools::why_text(tools::why_json(*machine_));
  EXPECT_NE(text.find("node 1 is evacuated: its temperature is 90 and would reach"),
            std::string::npos)
      << text;
  std::vector<fabric::EventKind> events;
  fabric::read_events(machine_->events(), 0,
                      [&](const fabric::Event& e) { events.push_back(e.kind); });
  EXPECT_NE(std::ranges::find(events, fabric::EventKind::node_failing), events.end());
  EXPECT_NE(std::ranges::find(events, fabric::EventKind::node_evacuated), events.end());
}

TEST_F(Service, OneThatIsWarmStays) {
  auto service = serve(0);
  ASSERT_TRUE(within([&] { return decides(0); }));
  for (const u64 t : {60u, 60u, 59u, 60u}) {
    report(t);
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
  EXPECT_EQ(state().nodes[1].stage.load(), NodeStage::active);
  EXPECT_TRUE(log().empty());
}

TEST_F(Service, AnEvacuationWhoseDeciderDiedIsDoneAgain) {
  const auto dead = machine_->instances().join(vmm::kFirstNodeInstance + 5, 1001);
  ASSERT_TRUE(fabric::claim(record().nodes[1].evacuator, dead, machine_->instances()));
  state().nodes[1].stage.store(NodeStage::emptying);
  record().decisions.append(to_leave({1, {fabric::HealthReading::wear, 99, 5, 3}}, 1),
                            Outcome::asked);
  machine_->instances().join(vmm::kFirstNodeInstance + 5, 1002);  // another life
  auto service = serve(0);
  empty_node_1();
  EXPECT_TRUE(within([&] { return record().nodes[1].evacuator.load() == 0; }));
  ASSERT_EQ(log().size(), 2u);
  EXPECT_EQ(log()[1].outcome, Outcome::done);
}

}  // namespace
}  // namespace dvm::migration
