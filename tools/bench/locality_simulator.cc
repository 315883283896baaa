#include "tools/bench/locality_simulator.h"

#include <algorithm>
#include <queue>

namespace dvm::bench {
namespace {

using locality::Act;
using locality::Decision;

class Simulation {
 public:
  Simulation(MemoryWorkload& workload, const SimulatedMachine& machine, locality::Policy& policy)
      : workload_(workload),
        costs_(machine.costs),
        policy_(policy),
        world_(workload, costs_, machine.region_pages, policy),
        clock_(workload.placement.size()),
        moves_(workload.placement.size()) {
    placement_.node_of = workload.placement;
    placement_.nodes = workload.nodes;
    const u32 vcpus = static_cast<u32>(clock_.size());
    const u32 share = (vcpus + workload.nodes - 1) / workload.nodes;
    for (u32 n = 0; n < workload.nodes; ++n)
      placement_.slots[n] = machine.slots != 0 ? machine.slots : share + (share + 3) / 4;
    for (u32 n = 0; n < workload.nodes; ++n) load_[n] = placement_.load(n);
  }
  SimulatedRun run();

 private:
  void step(u64 now_ns);
  void wait_for_all(u32 vcpu, const MemoryAccess& access);
  void carry_on(u32 vcpu, double at, const MemoryAccess& access);
  bool carry_out(const Decision& decision, u64 now_ns);
  void move(u16 vcpu, u8 to, u64 now_ns);
  double stretch(u8 node) const {
    return std::max(1.0, static_cast<double>(load_[node]) / placement_.slots[node]);
  }

  MemoryWorkload& workload_;
  const locality::CostModel costs_;
  locality::Policy& policy_;
  PageWorld world_;
  locality::Placement placement_;
  std::array<u32, locality::kMaxNodes> load_{};
  std::vector<double> clock_;
  std::vector<u32> moves_;
  locality::StepClock steps_;
  using Next = std::pair<double, u32>;
  std::priority_queue<Next, std::vector<Next>, std::greater<>> queue_;
  std::vector<std::pair<u32, MemoryAccess>> waiting_;
  SimulatedRun result_;
};

void Simulation::move(u16 vcpu, u8 to, u64 now_ns) {
  --load_[placement_.node_of[vcpu]];
  ++load_[to];
  placement_.node_of[vcpu] = to;
  clock_[vcpu] = std::max(clock_[vcpu], static_cast<double>(now_ns)) + costs_.vcpu_move_ns;
  ++moves_[vcpu];
  ++result_.vcpu_moves;
}

bool Simulation::carry_out(const Decision& d, u64 now_ns) {
  const auto on = [this](u16 v, u8 node) {
    return v < clock_.size() && placement_.node_of[v] == node;
  };
  if (d.act == Act::move_vcpu && on(d.vcpu, d.from) && d.to < placement_.nodes) {
    move(d.vcpu, d.to, now_ns);
    return true;
  }
  if (d.act == Act::swap_vcpus && on(d.vcpu, d.from) && on(d.other, d.to)) {
    move(d.vcpu, d.to, now_ns);
    move(d.other, d.from, now_ns);
    return true;
  }
  return false;
}

void Simulation::step(u64 now_ns) {
  std::vector<Decision> wanted;
  policy_.decide(now_ns, placement_, costs_, wanted);
  for (const Decision& d : wanted) {
    ++result_.decisions;
    if (!carry_out(d, now_ns)) policy_.refused(d);
    result_.last_decisions.push_back(d);
  }
  if (result_.last_decisions.size() > 16)
    result_.last_decisions.erase(result_.last_decisions.begin(), result_.last_decisions.end() - 16);
  std::vector<locality::SampleWish> wishes;
  policy_.wish_samples(wishes);
  for (const auto& wish : wishes) world_.sample(wish, now_ns);
}

void Simulation::carry_on(u32 v, double at, const MemoryAccess& access) {
  const u8 node = placement_.node_of[v];
  const double begun = std::max(clock_[v], at);  // it may have been moved meanwhile
  const double cost = world_.access(access, static_cast<u16>(v), node, static_cast<u64>(begun));
  clock_[v] = begun + (access.think_ns + cost) * stretch(node);
  queue_.push({clock_[v], v});
}

// The last to come takes the others along.
void Simulation::wait_for_all(u32 v, const MemoryAccess& access) {
  waiting_.push_back({v, access});
  if (waiting_.size() < clock_.size()) return;
  double last = 0;
  for (const auto& [vcpu, next] : waiting_) last = std::max(last, clock_[vcpu]);
  const auto all = std::move(waiting_);
  waiting_.clear();
  for (const auto& [vcpu, next] : all) carry_on(vcpu, last, next);
}

SimulatedRun Simulation::run() {
  for (u32 v = 0; v < clock_.size(); ++v) queue_.push({0, v});
  while (!queue_.empty()) {
    const auto [at, v] = queue_.top();
    queue_.pop();
    if (at < clock_[v]) {  // it was moved meanwhile
      queue_.push({clock_[v], v});
      continue;
    }
    const u64 now_ns = static_cast<u64>(at);
    if (steps_.due(now_ns, world_.take_fault_cost(), costs_)) step(now_ns);
    const auto access = workload_.next(v);
    if (!access) continue;
    if (access->waits) {
      wait_for_all(v, *access);
    } else {
      carry_on(v, at, *access);
    }
  }
  for (const double done : clock_) {
    result_.last_done_s = std::max(result_.last_done_s, done / 1e9);
    result_.vcpu_time_s += done / 1e9;
  }
  result_.counts = world_.counts();
  result_.most_moves_of_one = moves_.empty() ? 0 : *std::max_element(moves_.begin(), moves_.end());
  result_.placement = placement_.node_of;
  return result_;
}

}  // namespace

SimulatedRun simulate(MemoryWorkload& workload, const SimulatedMachine& machine,
                      locality::Policy& policy) {
  return Simulation(workload, machine, policy).run();
}

}  // namespace dvm::bench
