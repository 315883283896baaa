#include "tools/node_supervisor.h"

#include <sys/wait.h>

#include <algorithm>
#include <chrono>

#include "tools/message.h"
#include "tools/recovery_count.h"
#include "vmm/coherent_memory.h"
#include "vmm/net/net_device.h"

namespace dvm::tools {

using fabric::EventKind;
using vmm::NodeStage;
using vmm::Phase;
using vmm::StopReason;

namespace {

// A node needs far less to leave. After a death the guest is lost and the caller waits.
constexpr std::chrono::milliseconds kPatience{2000}, kPatienceAfterDeath{500};

bool has_keepers(const vmm::Machine& machine) {
  return machine.config().protection != vmm::Protection::none;
}

}  // namespace

NodeSupervisor::NodeSupervisor(asio::io_context& io, vmm::Machine& machine, NodeLaunch launch,
                               std::function<void()> on_all_ended)
    : io_(io),
      machine_(machine),
      launch_(std::move(launch)),
      on_all_ended_(std::move(on_all_ended)),
      patience_(io) {}

NodeSupervisor::~NodeSupervisor() {
  failures_.reset();
  kill_rest();
  for (const Watched& node : nodes_) {
    if (!node.ended) ::waitpid(node.process.pid(), nullptr, 0);
  }
  if (manager_) manager_->end();
}

Status NodeSupervisor::start(u32 nodes) {
  for (u32 i = 0; i < nodes; ++i) DVM_TRY(spawn(i, false));
  return start_manager();
}

Status NodeSupervisor::spawn(u32 index, bool added) {
  DVM_ASSIGN(NodeProcess process, NodeProcess::spawn(launch_, index));
  // Put on the list before anything can fail, so that the destructor knows of it.
  auto own = process.pidfd().duplicate();
  if (!own) {
    process.kill();
    ::waitpid(process.pid(), nullptr, 0);
    return own.error();
  }
  nodes_.emplace_back(io_, std::move(process), own.take());
  nodes_.back().added = added;
  watch(nodes_.back());
  return {};
}

// One whose last holder has left the fabric, whom nobody is recovering, and from whom there is
// nothing to be taken over any more.
Result<u32> NodeSupervisor::free_number() {
  const bool net = machine_.has_software_coherence() && vmm::find_net_function(machine_.config());
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    const u32 id = vmm::kFirstNodeInstance + n;
    const bool taken = machine_.state().nodes[n].stage.load() != NodeStage::none ||
                       !machine_.instances().has_ended(id) ||
                       fabric_->peers.records[id].instance.load() != 0 ||
                       fabric::look(fabric_->failures[id]).unfinished() ||
                       (net && n == vmm::net_member()) || machine_.holds_chains(id);
    if (!taken) return n;
  }
  return error("no node number is free; allowed: {} nodes", vmm::layout::kMaxNodes);
}

Result<u32> NodeSupervisor::add() {
  if (stopped_ || machine_.state().control.phase.load() == Phase::stopped)
    return error("the guest has stopped");
  DVM_ASSIGN(const u32 node, free_number());
  std::erase_if(nodes_, [&](const Watched& w) { return w.ended && w.process.index() == node; });
  vmm::NodeRecord& record = machine_.state().nodes[node];
  record.ready_for_boot.store(0);
  record.stage.store(NodeStage::starting);  // from now on a reset waits for it
  if (const Status spawned = spawn(node, true); !spawned.ok()) {
    take_off(node);
    return spawned.error();
  }
  return node;
}

// That goes with it: of one without a vCPU the others take all over.
bool NodeSupervisor::holds_nothing(u32 node) const {
  const vmm::MachineState& s = machine_.state();
  const NodeStage stage = s.nodes[node].stage.load();
  if (stage == NodeStage::empty || stage == NodeStage::leaving) return true;
  if (stage != NodeStage::active && stage != NodeStage::emptying) return false;
  for (u32 i = 0; i < machine_.config().vcpus; ++i) {
    if (s.vcpus[i].node() == node) return false;
  }
  return s.control.boots.load() != 0;
}

// What a dead node sent to the servers of disks is done, or never will be: as long as a chain is in
// hand there may be something.
void NodeSupervisor::fence_servers(u32 node) {
  const bool runs = machine_.state().control.phase.load() != Phase::stopped;
  if (launch_.restart_servers && runs && machine_.any_in_flight()) {
    if (const Status again = launch_.restart_servers(); !again.ok()) {
      say("{} - the guest ends (a dead node's requests cannot be taken over)",
          again.error().message);
      return machine_.request_stop(StopReason::error);
    }
  }
  const u32 id = vmm::kFirstNodeInstance + node;
  machine_.state().nodes[node].servers_fenced.store(
      machine_.instances().slots[id].generation.load());
}

// Not in the machine any more; a reset need not wait for it.
void NodeSupervisor::take_off(u32 node) {
  fence_servers(node);
  machine_.state().nodes[node].stage.store(NodeStage::none);
  machine_.ring_nodes();
}

// After the nodes: they have more to do before they are needed.
Status NodeSupervisor::start_manager() {
  using fabric::RegionKind;
  DVM_ASSIGN(fabric_, machine_.pool().record<fabric::FabricState>(RegionKind::membership,
                                                                  fabric::kMembershipVersion));
  DVM_ASSIGN(const std::string program, sibling_program("dvm-fabric"));
  DVM_ASSIGN(manager_, FabricProcess::spawn(launch_.ghosts, program, launch_.pool,
                                            launch_.pool_name, launch_.lifeline));
  DVM_ASSIGN(Fd own, manager_->pidfd().duplicate());
  manager_ended_.emplace(io_, own.release());
  watch_manager();
  failures_.emplace(fabric_->recovery_due, [this] { return look_at_failures(); });
  return {};
}

// A node has stood by and takes the role; all that is left to do here is to say so.
void NodeSupervisor::watch_manager() {
  manager_ended_->async_wait(asio::posix::stream_descriptor::wait_read,
                             [this](const asio::error_code& failure) {
                               if (failure) return;
                               const auto status = manager_->reap();
                               if (!status) return watch_manager();
                               say("the fabric manager (pid {}) died: {} - a node takes its place",
                                   manager_->pid(), describe_wait_status(*status));
                               manager_.reset();
                             });
}

std::optional<u64> NodeSupervisor::look_at_failures() {
  for (u32 i = 0; i < vmm::layout::kMaxNodes; ++i) {
    const auto failure = fabric::look(fabric_->failures[vmm::kFirstNodeInstance + i]);
    if (failure.stage < fabric::FailureStage::announced) posted_ &= ~(1u << i);  // another one
    if (failure.stage < fabric::FailureStage::announced || (posted_ & (1u << i)) != 0) continue;
    posted_ |= 1u << i;
    asio::post(io_, [this, i, cause = failure.cause] { node_announced(i, cause); });
  }
  return std::nullopt;
}

// It has stopped for certain, but the kernel may still be taking it apart: what it ended with is
// reported when it is collected.
void NodeSupervisor::node_announced(u32 index, fabric::FailureCause cause) {
  for (Watched& node : nodes_) {
    if (node.process.index() != index || node.ended || killing_) continue;
    if (machine_.state().control.phase.load() == Phase::stopped || holds_nothing(index)) continue;
    node.announced = true;
    if (cause != fabric::FailureCause::died)
      say("node {} (pid {}) hung: it was powered off", index, node.process.pid());
    if (!has_keepers(machine_)) machine_.request_stop(StopReason::node_died);
    if (machine_.epoch() != nullptr) look_at_keeper(node.process.pid(), 0);
  }
}

void NodeSupervisor::watch(Watched& node) {
  node.readable.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this, &node](const asio::error_code& failure) {
                             if (!failure) node_ended(node);
                           });
}

void NodeSupervisor::node_ended(Watched& node) {
  const auto status = node.process.reap();
  if (!status) return watch(node);
  node.ended = true;
  node.status = *status;
  retire(node.process);
  await_keeper(node);
}

void NodeSupervisor::tell_end(Watched& node) {
  const int* const status = &node.status;
  const bool in_order = WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
  const u32 index = node.process.index();
  const NodeStage stage = machine_.state().nodes[index].stage.load();
  const bool never_joined = node.added && stage == NodeStage::starting;
  if (never_joined)
    say("node {} (pid {}) could not start: {}", index, node.process.pid(),
        describe_wait_status(*status));
  if (holds_nothing(index) && !in_order && !killing_) {
    const bool empty = stage == NodeStage::empty || stage == NodeStage::leaving;
    say("node {} (pid {}) died: {} - it {}, the guest goes on", index, node.process.pid(),
        describe_wait_status(*status), empty ? "was empty" : "had no vCPU");
    if (!empty) log_death(node.process, *status);
  }
  if (never_joined || holds_nothing(index)) {
    if (in_order) count_power_failure(machine_, index);
    take_off(index);
  } else if (machine_.state().control.phase.load() != Phase::stopped || node.announced) {
    report_death(node.process, *status);
  } else if (!in_order && !killing_) {
    say("node {} (pid {}) did not leave in order: {}", node.process.index(), node.process.pid(),
        describe_wait_status(*status));
  }
  all_may_have_ended();
}

void NodeSupervisor::all_may_have_ended() {
  if (!stopped_ || !all_ended()) return;
  patience_.cancel();
  on_all_ended_();
}

std::string NodeSupervisor::why_lost(u32 node) const {
  if (!has_keepers(machine_)) return "its vCPUs' state went with it";
  const vmm::KeeperRecord& record = machine_.state().keepers[node];
  const auto trouble = static_cast<std::size_t>(record.trouble.load());
  const bool stopped = record.state.load() == vmm::KeeperState::done;
  return fmt::format(
      "its keeper: {}",
      stopped ? "the guest stopped meanwhile"
              : vmm::kKeeperTroubles[std::min(trouble, vmm::kKeeperTroubles.size() - 1)]);
}

void NodeSupervisor::report_death(const NodeProcess& process, int status) {
  if (machine_.state().nodes[process.index()].stage.load() == NodeStage::starting) {
    say("node {} (pid {}) could not start: {}", process.index(), process.pid(),
        describe_wait_status(status));
  } else {
    say("node {} (pid {}) died: {} - the guest ends ({})", process.index(), process.pid(),
        describe_wait_status(status), why_lost(process.index()));
  }
  log_death(process, status);
  machine_.request_stop(StopReason::node_died);
}

void NodeSupervisor::log_death(const NodeProcess& process, int status) {
  machine_.log_event(EventKind::node_died,
                     {process.index(), static_cast<u64>(process.pid()), static_cast<u64>(status)});
}

// Before anything else is done with the pool: its locks may be held by the dead one. The fabric
// manager does this for every node that had joined; it may be dead itself.
void NodeSupervisor::retire(const NodeProcess& process) {
  const u32 id = vmm::kFirstNodeInstance + process.index();
  const auto& slot = machine_.instances().slots[id];
  const auto state = slot.state.load();
  if (state != fabric::InstanceState::active && state != fabric::InstanceState::suspect) return;
  machine_.instances().retire({id, slot.generation.load()}, fabric::InstanceState::dead);
}

void NodeSupervisor::machine_stopped() {
  if (stopped_) return;
  stopped_ = true;
  if (all_ended()) return on_all_ended_();
  const bool died = machine_.state().control.stop_reason.load() == StopReason::node_died;
  patience_.expires_after(died ? kPatienceAfterDeath : kPatience);
  patience_.async_wait([this, died](const asio::error_code& cancelled) {
    if (cancelled) return;
    if (!died) say("a node does not leave: it is killed");
    kill_rest();
  });
}

void NodeSupervisor::kill_rest() {
  killing_ = true;
  for (const Watched& node : nodes_) {
    if (!node.ended) node.process.kill();
    if (node.keeper) node.keeper->kill();
  }
}

bool NodeSupervisor::all_ended() const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [](const Watched& n) { return n.ended && !n.keeper; });
}

}  // namespace dvm::tools
