// A node's thread for locality: ten times a second it looks whether the role to decide is free, and
// decides while it has it; a node that fails slowly is evacuated from a thread of its own, as that
// takes as long as it takes.
//
// Death: the role is a claim (fabric/claim.h), taken over by the first to see that its owner is
// gone. Who takes it over finds a node half evacuated by the one before, and evacuates it again.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "migration/locality_decider.h"

namespace dvm::migration {

class LocalityService {
 public:
  // As node `self`. `machine` outlives it.
  LocalityService(vmm::Machine& machine, u32 self);
  ~LocalityService();
  LocalityService(const LocalityService&) = delete;
  LocalityService& operator=(const LocalityService&) = delete;

 private:
  void run();
  bool has_role();
  void look_at_health(u64 now_ns);
  bool take_up_evacuations();
  void evacuate_failing(const locality::Decision& why);

  vmm::Machine& machine_;
  const u32 self_;
  std::optional<LocalityDecider> decider_;  // while it has the role
  std::optional<HealthWatch> health_;       // likewise
  std::thread evacuation_;
  std::atomic<bool> evacuating_{false};
  std::mutex mutex_;  // of stopping_
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // last: uses the others
};

}  // namespace dvm::migration
