#include "fabric/fabric_service.h"

#include "fabric/line_buffer.h"
#include "fabric/partition.h"

namespace dvm::fabric {

FabricService::FabricService(FabricState& fabric, InstanceTable& instances, InstanceId self,
                             ServiceOptions options)
    : fabric_(fabric),
      instances_(instances),
      options_(std::move(options)),
      group_(fabric.groups[FabricState::kEveryone], self, instances) {}

Result<std::unique_ptr<FabricService>> FabricService::start(FabricState& fabric,
                                                            InstanceTable& instances,
                                                            InstanceId self,
                                                            ServiceOptions options) {
  std::unique_ptr<FabricService> service(
      new FabricService(fabric, instances, self, std::move(options)));
  const ServiceOptions& o = service->options_;
  DVM_TRY(o.routines.agree(fabric));
  DVM_ASSIGN(service->peer_, Peer::join(fabric, self, o.host));
  Peer& peer = *service->peer_;
  service->manager_ = std::make_unique<Manager>(fabric, instances, peer, o.hooks, o.eagerness);
  service->runner_ = std::make_unique<RecoveryRunner>(fabric, instances, o.routines, peer);
  // Their only error is that no life word is free: there is one for each of them from the start.
  service->managing_ = std::thread([m = service->manager_.get()] { (void)m->run(); });
  service->recovering_ = std::thread([r = service->runner_.get()] { (void)r->run(); });
  // Under a manager: the group's lock may be held by one who dies with it, and is to be buried.
  DVM_TRY(service->group_.join(o.policy));
  if (o.faults.board != nullptr) service->start_injector();
  return service;
}

void FabricService::start_injector() {
  FaultBoard& board = *options_.faults.board;
  const u32 id = peer_->self().id;
  watch_partition(&board.cut, id);
  watch_staging(&board.staged, id);
  on_fault_fired([&board](const ArmedFault& fault) { fault_fired(board, fault); });
  watch_faults(&board.points, id);
  injector_ = std::make_unique<FaultInjector>(options_.faults, fabric_, instances_, *peer_,
                                              options_.fault_hooks);
  injecting_ = std::thread([i = injector_.get()] { (void)i->run(); });
}

FabricService::~FabricService() {
  if (!peer_) return;    // never joined
  (void)group_.leave();  // an error when it was never joined
  if (manager_) manager_->stop();
  if (runner_) runner_->stop();
  if (injector_) {
    injector_->stop();
    injecting_.join();
    watch_faults(nullptr, ~0u);
    watch_staging(nullptr, 0);
    watch_partition(nullptr, 0);
  }
  if (managing_.joinable()) managing_.join();
  if (recovering_.joinable()) recovering_.join();
  instances_.retire(peer_->self(), InstanceState::gone);
}

void FabricService::beat() {
  peer_->beat();
  std::array<Notification, 16> heard;
  for (;;) {
    const auto result = group_.read(heard);
    if (options_.heard) {
      for (u32 i = 0; i < result.count; ++i) options_.heard(heard[i]);
    }
    if (result.overflowed) {
      for (const Notification& death : group_.catch_up().deaths) {
        if (options_.heard) options_.heard(death);
      }
    } else if (result.count == 0) {
      return;
    }
  }
}

u64 FabricService::tick_ns() const { return detector_config(fabric_, options_.host).tick_ns(); }

}  // namespace dvm::fabric
