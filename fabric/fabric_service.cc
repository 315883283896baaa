#include "fabric/fabric_service.h"

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
  DVM_TRY(service->group_.join(o.policy));
  Peer& peer = *service->peer_;
  service->manager_ = std::make_unique<Manager>(fabric, instances, peer, o.hooks, o.eagerness);
  service->runner_ = std::make_unique<RecoveryRunner>(fabric, instances, o.routines, peer);
  // Their only error is that no life word is free: there is one for each of them from the start.
  service->managing_ = std::thread([m = service->manager_.get()] { (void)m->run(); });
  service->recovering_ = std::thread([r = service->runner_.get()] { (void)r->run(); });
  return service;
}

FabricService::~FabricService() {
  if (!peer_) return;  // never joined
  if (manager_) manager_->stop();
  if (runner_) runner_->stop();
  if (managing_.joinable()) managing_.join();
  if (recovering_.joinable()) recovering_.join();
  (void)group_.leave();
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
