#include "vmm/node.h"

#include <algorithm>

#include "fabric/failpoint.h"

namespace dvm::vmm {

using fabric::EventKind;

namespace {

// To load a guest or to make a KVM VM, on a machine that does either slowly.
constexpr u32 kBootAllowanceMs = 60'000;

std::atomic<bool> power_failed{false};
std::atomic<fabric::Doorbell*> own_bell{nullptr};

}  // namespace

Node::Node(std::unique_ptr<Machine> machine, u32 index, BootSource boot,
           std::vector<DiskSource> disks)
    : machine_(std::move(machine)),
      index_(index),
      record_(machine_->state().nodes[index]),
      boot_(std::move(boot)),
      disk_sources_(std::move(disks)) {
  boot_.watchdog = machine_->config().watchdog != 0;
}

void Node::power_fails() {
  power_failed.store(true);
  if (fabric::Doorbell* bell = own_bell.load()) fabric::ring(*bell);
}

// The vCPUs' threads see it before they next enter the guest.
void Node::look_at_power() {
  if (!power_failed.load() || !keeper_) return;
  if (has_vcpus() && !somebody_else_takes_vcpus()) machine_->request_save();
  if (record_.power_fails.load() != 0) return;
  u32 vcpus = 0;
  for (u32 i = 0; i < machine_->config().vcpus; ++i)
    vcpus += machine_->state().vcpus[i].node() == index_ ? 1u : 0u;
  NodeStage active = NodeStage::active;
  record_.stage.compare_exchange_strong(active, NodeStage::emptying);
  record_.power_fails.store(1);
  for (u32 i = 0; i < machine_->config().vcpus; ++i)
    if (machine_->state().vcpus[i].node() == index_) machine_->kick(i, std::nullopt);
  machine_->log_event(EventKind::power_failing, {index_, vcpus});
}

bool Node::somebody_else_takes_vcpus() const {
  for (u32 node = 0; node < layout::kMaxNodes; ++node) {
    if (node != index_ && machine_->takes_vcpus(node)) return true;
  }
  return false;
}

Status Node::run() {
  record_.power_fails.store(0);
  own_bell.store(&record_.bell);
  DVM_TRY(join());
  DVM_TRY(work());
  leave();
  return {};
}

Status Node::join() {
  using fabric::RegionKind;
  DVM_ASSIGN(auto* state, machine_->pool().record<fabric::FabricState>(RegionKind::membership,
                                                                       fabric::kMembershipVersion));
  fabric::ServiceOptions options;
  options.policy = {fabric::PolicyKind::migrate, 0};
  options.heard = [this](const fabric::Notification& n) { heard(n); };
  options.faults = machine_->fault_place();
  options.fault_hooks = machine_->fault_hooks();
  DVM_ASSIGN(fabric_, fabric::FabricService::start(*state, machine_->instances(), machine_->self(),
                                                   std::move(options)));
  if (machine_->has_software_coherence()) {
    fabric_->allow_ms(kBootAllowanceMs);
    DVM_ASSIGN(memory_, CoherentMemory::join(*machine_, index_, fabric_->peer()));
  }
  for (DiskSource& source : disk_sources_) {
    DVM_ASSIGN(auto disk, NodeDisk::open(*machine_, std::move(source), &fabric_->peer()));
    disks_.push_back(std::move(disk));
  }
  if (start_servers_) DVM_TRY(start_servers_(fabric_->peer()));
  // Where a guest runs already, who cannot run it is no part of it.
  if (machine_->state().cpu.count.load() != 0) DVM_TRY(check_host());
  if (machine_->config().protection != Protection::none) {
    DVM_ASSIGN(keeper_, Keeper::start(*machine_, index_));
  }
  if (machine_->epoch() != nullptr) DVM_TRY(join_epochs());
  NodeStage starting = NodeStage::starting;
  record_.stage.compare_exchange_strong(starting, NodeStage::active);
  machine_->log_event(
      EventKind::node_joined,
      {index_, static_cast<u64>(machine_->instances().slots[machine_->self().id].pid.load())});
  return {};
}

Status Node::join_epochs() {
  EpochMemberOptions options;
  options.coordinates = true;
  options.peer = &fabric_->peer();
  options.committed = [this] {
    for (auto& disk : disks_) disk->committed();
  };
  options.released = release_;
  options.rest = [this] {
    for (auto& disk : disks_) disk->drain();
  };
  options.io_over = [this] {
    return std::ranges::all_of(disks_, [](const auto& disk) { return disk->drained(); });
  };
  DVM_ASSIGN(epochs_, EpochMember::join(*machine_, std::move(options)));
  return {};
}

// Pages first: mending devices looks at guest memory that the dead one may have had.
void Node::heard(const fabric::Notification& what) {
  if (what.kind != fabric::MemberState::died) return;
  if (memory_) memory_->recover(what.who);
  if (leaving_ || stage() == NodeStage::empty) return;
  machine_->mend_devices();
  if (keeper_ && what.who.id >= kFirstNodeInstance) {
    pass_on_vcpus(*machine_, what.who.id - kFirstNodeInstance);
    fabric::ring(record_.bell);
  }
}

Status Node::work() {
  MachineControl& control = machine_->state().control;
  for (;;) {
    const u32 seen = fabric::listen(record_.bell);
    const Phase phase = control.phase.load(std::memory_order_acquire);
    if (phase == Phase::stopped || stage() == NodeStage::leaving) break;
    if (stage() == NodeStage::empty) {
      serve(seen);
      continue;
    }
    if (phase == Phase::resetting) {
      fabric_->allow_ms(kBootAllowanceMs);
      prepare_boot();
      if (everyone_ready() && may_load()) DVM_TRY(carry_out_reset());
    } else if (!vm_) {
      fabric_->allow_ms(kBootAllowanceMs);
      DVM_TRY(start_vcpus());
    }
    fabric_->allow_ms(0);
    if (stage() == NodeStage::emptying && !has_vcpus()) stand_down();
    if (control.phase.load(std::memory_order_acquire) == phase) serve(seen);
  }
  return {};
}

// Or is to get one: that is called off, or it comes and is sent on.
bool Node::has_vcpus() const {
  for (u32 i = 0; i < machine_->config().vcpus; ++i) {
    const VcpuPlace place = machine_->state().vcpus[i].where();
    const bool comes = place.stage == PlaceStage::asked || place.stage == PlaceStage::ready;
    if (place.node == index_ || (comes && place.target == index_)) return true;
  }
  return false;
}

// Gives up all that this process has of the guest; it goes on beating.
void Node::stand_down() {
  fabric_->allow_ms(kBootAllowanceMs);
  if (vcpus_) vcpus_->dismiss();
  stop_vcpus();
  close_devices();
  record_.stage.store(record_.power_fails.load() != 0 ? NodeStage::leaving : NodeStage::empty);
  fabric_->allow_ms(0);
  // A reset may wait for this node; somebody else may have to read the network.
  machine_->ring_nodes();
  fabric::ring(machine_->state().control.changed);
}

void Node::close_devices() {
  warmer_.stop();
  for (auto& disk : disks_) disk->drain();  // with what waits for an epoch's end
  epochs_.reset();
  disks_.clear();  // these reach guest memory
  if (stop_servers_) std::exchange(stop_servers_, nullptr)();
  bring_pages_home();
  memory_.reset();
}

// A page may be in another node's hands just then, and come back here.
void Node::bring_pages_home() {
  if (!memory_) return;
  if (const Status home = memory_->leave(); !home.ok())
    fmt::print(stderr, "dvm-node {}: pages do not go home: {}\n", index_, home.error().message);
}

void Node::leave() {
  fabric_->allow_ms(kBootAllowanceMs);
  stop_vcpus();
  leaving_ = true;
  fabric_->beat();  // a death that was not heard of yet: its pages are brought home still
  machine_->log_event(EventKind::node_left, {index_});
  epochs_.reset();
  warmer_.stop();
  disks_.clear();  // these reach guest memory
  if (stop_servers_) stop_servers_();
  memory_.reset();
  fabric_.reset();
}

void Node::launcher_gone() { machine_->request_stop(StopReason::launcher_died); }

// What a reset leaves behind, and what the next one will need: while the guest gets on.
void Node::look_after_boot() {
  sweep_.look();
  if (machine_->state().vcpus[0].node() == index_) warmer_.look(&fabric_->peer());
  const u32 boot = machine_->state().control.boots.load();
  if (reserved_for_ == boot) return;
  reserved_for_ = boot;
  reserve_.refill();
}

// Device timers are served where vCPU 0 runs; the other nodes only listen.
void Node::serve(u32 seen) {
  fabric::failpoint("node.serves");
  fabric_->beat();
  // Who takes a checkpoint has all devices' locks.
  if (machine_->state().control.checkpoint.load() != 0)
    return fabric::wait(record_.bell, seen, fabric::monotonic_ns() + fabric_->tick_ns());
  if (look_) look_();
  if (keeper_) help_keepers(*machine_);
  look_at_power();
  if (memory_) memory_->take_wishes();
  if (vcpus_) {
    vcpus_->look_at_moves();
    vcpus_->publish_stats();
  }
  if (vm_) look_after_boot();
  if (io_event_fds_) {
    for (const auto& disk : disks_) {
      io_event_fds_->follow(disk->function(), disk->server().notified_before(),
                            disk->server().bell());
    }
  }
  u64 until = fabric::monotonic_ns() + fabric_->tick_ns();
  if (vm_ && machine_->state().vcpus[0].node() == index_) {
    machine_->run_device_timers();
    if (const auto deadline_ns = machine_->next_device_deadline()) {
      const u64 now = machine_->now_ns();
      until =
          std::min(until, fabric::monotonic_ns() + (*deadline_ns > now ? *deadline_ns - now : 0));
    }
  }
  fabric::wait(record_.bell, seen, until);
}

}  // namespace dvm::vmm
