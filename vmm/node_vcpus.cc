#include "vmm/node_vcpus.h"

namespace dvm::vmm {

using Kind = PlaceStep::Kind;

NodeVcpus::NodeVcpus(Machine& machine, Vm& vm, fabric::Peer& peer, Keeper* keeper)
    : machine_(machine),
      vm_(vm),
      peer_(peer),
      keeper_(keeper),
      node_(machine.self().id - kFirstNodeInstance) {}

Status NodeVcpus::make_ahead(const Machine& machine, Vm& vm, u32 node) {
  const bool all = machine.config().protection != Protection::none;  // as `make` with a keeper
  for (u32 i = 0; i < machine.config().vcpus; ++i) {
    if (!all && machine.state().vcpus[i].node() != node) continue;
    DVM_ASSIGN(Vcpu vcpu, make_vcpu(machine, vm, i));
    DVM_TRY(vm.readable_msrs(vcpu));
    vm.keep_ahead(i, std::move(vcpu));
  }
  return {};
}

Status NodeVcpus::make() {
  for (u32 i = 0; i < machine_.config().vcpus; ++i) {
    // Where nodes may die, those of the others too: making a KVM vCPU is most of taking one over.
    if (keeper_ != nullptr || machine_.state().vcpus[i].node() == node_) DVM_TRY(add(i));
  }
  return {};
}

Status NodeVcpus::add(u32 vcpu) {
  DVM_ASSIGN(auto thread, VcpuThread::create(machine_, vm_, vcpu, peer_));
  if (keeper_ != nullptr) keeper_->keep(vcpu, thread.get());
  threads_.push_back(std::move(thread));
  return {};
}

void NodeVcpus::start() {
  for (auto& thread : threads_) thread->start();
}

VcpuThread* NodeVcpus::find(u32 vcpu) const {
  for (const auto& thread : threads_) {
    if (thread->index() == vcpu) return thread.get();
  }
  return nullptr;
}

void NodeVcpus::look_at_moves() {
  for (u32 i = 0; i < machine_.config().vcpus; ++i) {
    VcpuRecord& v = machine_.state().vcpus[i];
    const VcpuPlace place = v.where();
    const bool moves = place.stage == PlaceStage::asked || place.stage == PlaceStage::ready;
    if (moves && place.node == node_ && !machine_.is_alive(place.target))
      take_step(v.place, {.kind = Kind::call_off, .refusal = MoveRefusal::target_died});
    const bool comes = place.stage == PlaceStage::arriving || place.stage == PlaceStage::settled;
    if (comes && place.node == node_ && find(i) == nullptr) adopt(i);
    if (place.stage != PlaceStage::asked || place.target != node_) continue;
    if (!machine_.takes_vcpus(node_)) {
      take_step(v.place, {.kind = Kind::call_off, .refusal = MoveRefusal::target_empty});
    } else if (find(i) == nullptr) {
      if (const Status added = add(i); added.ok()) {
        threads_.back()->start();
      } else {
        fmt::print(stderr, "dvm-node {}: no vCPU {}: {}\n", node_, i, added.error().message);
        take_step(v.place, {.kind = Kind::call_off, .refusal = MoveRefusal::target_failed});
      }
    }
  }
}

// One that a dying node has left to this one. Without it there is no guest.
void NodeVcpus::adopt(u32 vcpu) {
  if (const Status added = add(vcpu); added.ok()) {
    threads_.back()->start();
  } else {
    fmt::print(stderr, "dvm-node {}: no vCPU {}: {}\n", node_, vcpu, added.error().message);
    machine_.request_stop(StopReason::error);
  }
}

void NodeVcpus::publish_stats() {
  for (const auto& thread : threads_) thread->publish_stats();
}

void NodeVcpus::join() {
  for (auto& thread : threads_) thread->join();
  if (keeper_ != nullptr) {
    for (const auto& thread : threads_) keeper_->forget(thread->index());
  }
  threads_.clear();
}

void NodeVcpus::dismiss() {
  for (auto& thread : threads_) thread->dismiss();
  join();
}

}  // namespace dvm::vmm
