// A running guest whose nodes are made to die, and brought back.
#pragma once

#include <functional>
#include <string>

#include "fabric/fabric_state.h"
#include "fabric/pool.h"
#include "tools/bench/death_instants.h"
#include "tools/guest_connection.h"
#include "vmm/epoch_record.h"
#include "vmm/machine_state.h"

namespace dvm::tools {

// Its pool is looked at, and not written. Waits look now and then only: the guest may share this
// processor. vCPU N is at home on node N.
class Victim {
 public:
  static Result<Victim> open(const std::string& name, const std::string& pool_path);

  // Node N ends; returns once its vCPU runs elsewhere.
  Result<DeathInstants> lose(u32 node, DeathKind kind);
  // The node of a death: is added again, and its vCPU goes home.
  Status come_back(u32 node);
  // A node that runs no vCPU is killed, and added again.
  Status replace_spare(u32 node);
  Status stop();

 private:
  Victim(fabric::Pool pool, GuestConnection connection)
      : pool_(std::move(pool)), connection_(std::move(connection)) {}

  Status end(u32 node, DeathKind kind) const;
  Status add_again(u32 node);
  Status ask(const nlohmann::json& request);
  Status insist(const nlohmann::json& request);
  Status wait_until(const std::string& what, const std::function<bool()>& so) const;

  fabric::Pool pool_;
  GuestConnection connection_;
  const vmm::MachineState* machine_ = nullptr;
  const vmm::EpochRecord* epoch_ = nullptr;  // with epochs
  const fabric::FabricState* fabric_ = nullptr;
  const fabric::InstanceTable* instances_ = nullptr;
};

}  // namespace dvm::tools
