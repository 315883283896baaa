#include "migration/locality_service.h"

#include <sys/prctl.h>

#include <chrono>
#include <optional>

#include "fabric/claim.h"
#include "migration/cost_probe.h"
#include "migration/evacuation.h"

namespace dvm::migration {

using locality::Decision;
using vmm::NodeStage;

namespace {

constexpr u64 kLookNs = 100'000'000;

}  // namespace

LocalityService::LocalityService(vmm::Machine& machine, u32 self)
    : machine_(machine), self_(self), thread_([this] { run(); }) {}

LocalityService::~LocalityService() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
  if (evacuation_.joinable()) evacuation_.join();
}

void LocalityService::run() {
  ::prctl(PR_SET_NAME, "locality");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const u64 now = fabric::monotonic_ns();
    u64 next = now + kLookNs;
    if (has_role()) {
      next = decider_->work(now);
      look_at_health(now);
    }
    lock.lock();
    stop_.wait_for(lock, std::chrono::nanoseconds(next - now), [this] { return stopping_; });
  }
  if (decider_) fabric::disclaim(machine_.locality().decider);
}

// A node that is on its way out leaves the role to others.
bool LocalityService::has_role() {
  auto& record = machine_.locality();
  const bool fit = machine_.state().nodes[self_].stage.load() == NodeStage::active &&
                   machine_.state().control.boots.load() != 0;
  if (!fit) {
    if (decider_) fabric::disclaim(record.decider);
    decider_.reset();
    health_.reset();
    return false;
  }
  if (decider_) return true;
  if (!fabric::claim(record.decider, machine_.self(), machine_.instances())) return false;
  if (record.costs.dram_ns.load() == 0) locality::publish_costs(record, measure_costs(machine_));
  decider_.emplace(machine_);
  health_.emplace(machine_);
  return true;
}

void LocalityService::look_at_health(u64 now_ns) {
  if (evacuating_.load() || take_up_evacuations()) return;
  const auto failing = health_->look(now_ns);
  if (!failing) return;
  machine_.log_event(fabric::EventKind::node_failing,
                     {failing->node, static_cast<u64>(failing->verdict.reading),
                      failing->verdict.left_ns / 1'000'000});
  evacuate_failing(to_leave(*failing, now_ns));
}

// What a decider that died had begun: the node is put back to what it was, and evacuated for the
// same reason.
bool LocalityService::take_up_evacuations() {
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    auto& word = machine_.locality().nodes[n].evacuator;
    if (word.load() == 0 || !fabric::claim(word, machine_.self(), machine_.instances())) continue;
    NodeStage emptying = NodeStage::emptying;
    machine_.state().nodes[n].stage.compare_exchange_strong(emptying, NodeStage::active);
    fabric::disclaim(word);
    std::optional<Decision> why;
    machine_.locality().decisions.read(0, [&](const locality::LoggedDecision& logged) {
      const Decision& d = logged.decision;
      if (d.act == locality::Act::evacuate_node && d.from == n) why = d;
    });
    if (!why || !machine_.takes_vcpus(n)) continue;
    evacuate_failing(*why);
    return true;
  }
  return false;
}

void LocalityService::evacuate_failing(const Decision& why) {
  auto& node = machine_.locality().nodes[why.from];
  if (!fabric::claim(node.evacuator, machine_.self(), machine_.instances())) return;
  if (evacuation_.joinable()) evacuation_.join();
  const u64 number = machine_.locality().decisions.append(why, locality::Outcome::asked);
  evacuating_.store(true);
  evacuation_ = std::thread([this, &node, number, which = why.from] {
    const auto done = evacuate(machine_, which);
    if (!done.ok())
      fmt::print(stderr, "dvm-node {}: node {} is failing, and cannot be evacuated: {}\n", self_,
                 which, done.error().message);
    machine_.locality().decisions.settle(
        number, done.ok() ? locality::Outcome::done : locality::Outcome::refused);
    fabric::disclaim(node.evacuator);
    evacuating_.store(false);
  });
}

}  // namespace dvm::migration
