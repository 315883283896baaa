#include "vmm/coherent_memory.h"

#include <sys/prctl.h>
#include <unistd.h>

#include "vmm/fault_owner.h"

namespace dvm::vmm {

static_assert(layout::kMaxNodes <= hyperkernel::kMaxNodes);

Result<std::unique_ptr<CoherentMemory>> CoherentMemory::join(Machine& machine, u32 member,
                                                             fabric::Peer& peer) {
  if (member >= hyperkernel::kMaxNodes)
    return error("member {} of page coherence: at most {}", member, hyperkernel::kMaxNodes);
  // The others take hold of this process's frames by its descriptors. Where Yama confines that to
  // descendants, all who descend from the launcher may. Without Yama: an error of no meaning.
  ::prctl(PR_SET_PTRACER, ::getppid(), 0, 0, 0);
  std::unique_ptr<CoherentMemory> memory(new CoherentMemory(machine));
  hyperkernel::PagerOptions options;
  options.enter_thread = [&peer]() -> std::shared_ptr<void> {
    auto life = peer.register_thread();
    if (!life.ok()) return nullptr;
    return std::shared_ptr<fabric::LifeRegistration>(life.take());
  };
  options.mapped = [m = memory.get()](hyperkernel::PageRun run) { m->mapped(run); };
  if (machine.self().id != kNetInstance)
    options.seen = [m = memory.get(), member](const auto& fault) { m->note(fault, member); };
  options.failed = [&machine, member](const Error& why) {
    fmt::print(stderr, "dvm: member {} of page coherence cannot go on: {}\n", member, why.message);
    machine.request_stop(StopReason::error);
  };
  options.recovered = [&machine](u32 dead, u64 pages, u64 lost) {
    machine.log_event(fabric::EventKind::pages_recovered, {dead, pages, lost});
  };
  DVM_ASSIGN(memory->pager_, hyperkernel::Pager::start(machine.pool(), machine.instances(),
                                                       machine.self(), member, std::move(options)));
  DVM_TRY(memory->pager_->begin());
  machine.use_memory(memory->pager_->view());
  return memory;
}

CoherentMemory::~CoherentMemory() { machine_.use_memory(nullptr); }

void CoherentMemory::tell(PreFault* pre_fault) {
  const std::lock_guard guard(mutex_);
  pre_fault_ = pre_fault;
  if (pre_fault_ == nullptr) return;
  for (const auto& run : pager_->owned()) pre_fault_->mapped(run);
}

void CoherentMemory::mapped(hyperkernel::PageRun run) {
  const std::lock_guard guard(mutex_);
  if (pre_fault_ != nullptr) pre_fault_->mapped(run);
}

void CoherentMemory::note(const hyperkernel::ServedFault& fault, u32 member) {
  locality::Observation seen = hyperkernel::observation_of(fault, member);
  seen.vcpu = vcpu_that_waits(machine_.state(), member, fault.thread);
  // dvm-net is no node that a vCPU could go to.
  const bool has_net = machine_.state().nodes[net_member()].stage.load() == NodeStage::none;
  if (seen.from == net_member() && has_net) seen.from = locality::kAtHome;
  machine_.locality().nodes[member].seen.push(seen);
}

void CoherentMemory::take_wishes() {
  const u32 member = machine_.self().id - kFirstNodeInstance;
  machine_.locality().nodes[member].wishes.take([this](u32 page) { pager_->sample(page); });
}

std::optional<u32> CoherentMemory::member_of(fabric::InstanceId who) const {
  if (who.id == kNetInstance) return net_member();
  const u32 node = who.id - kFirstNodeInstance;
  if (node < layout::kMaxNodes) return node;
  return std::nullopt;
}

void CoherentMemory::recover(fabric::InstanceId dead) {
  const auto member = member_of(dead);
  if (!member) return;
  if (const Status done = pager_->recover(*member); !done.ok())
    fmt::print(stderr, "dvm: pages of member {}: {}\n", *member, done.error().message);
}

}  // namespace dvm::vmm
