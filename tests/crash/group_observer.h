// A member that checks what it hears: every notification in its place, every life joined before it
// ends, every death counted, and nobody announced as dead who may still act.
#pragma once

#include <array>
#include <string>

#include "fabric/membership.h"

namespace dvm::crash {

// Plain data beside the handle: a copy goes on from where the original was. One thread.
class GroupObserver {
 public:
  GroupObserver(fabric::Group& group, fabric::InstanceId self,
                const fabric::InstanceTable& instances)
      : instances_(instances), membership_(group, self, instances) {}

  Status join(fabric::Policy policy);
  Status leave() { return membership_.leave(); }
  // Reads all there is; the first thing that is wrong with it, or nothing.
  std::string take_in();
  // As a member that has fallen behind.
  std::string catch_up();

  fabric::MemberState state(u32 id) const { return lives_[id].state; }
  // The generation of `id` whose death was last heard of; 0: none.
  u32 last_death(u32 id) const { return lives_[id].last_death; }

 private:
  struct Life {
    fabric::InstanceId who;
    fabric::MemberState state = fabric::MemberState::none;
    u32 deaths = 0;
    u32 last_death = 0;
  };
  std::string hear(const fabric::Notification& n);
  std::string hear_death(const fabric::Notification& n);
  void take_over(const fabric::GroupView& view);

  const fabric::InstanceTable& instances_;
  fabric::Membership membership_;
  u64 last_ = 0;  // sequence heard of
  std::array<Life, fabric::kMaxInstances> lives_;
};

}  // namespace dvm::crash
