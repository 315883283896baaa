// The operations that are killed in, as one instance does them.
#pragma once

#include <memory>
#include <optional>

#include "fabric/recovery.h"
#include "tests/crash/world.h"

namespace dvm::crash {

class Worker {
 public:
  Worker(World& world, fabric::InstanceId self, Mistake mistake);

  Status attach();  // to the allocator
  void word_section();
  void queue_section();
  void append();
  void allocate_and_free(u64 random);
  void publish(u64 random);
  void retire(u64 index);
  void change_word(u64 random);  // publishes in a word that is empty, retires from one that is not
  void recover_someone(u64 random);

  // worker_groups.cc
  void join(u32 group);  // by a policy that follows from the instance
  void leave(u32 group);
  void read(u32 group) { complain(observer(group).take_in()); }
  void catch_up(u32 group) { complain(observer(group).catch_up()); }
  void change_group(u64 random);  // one of these

  // worker_failures.cc
  // Takes the manager's role when it is free; while it has it, announces what is fenced.
  void lead();
  void recover_due();
  bool bury(u32 id);  // announces and recovers one fenced failure; false: come back later
  const fabric::RecoveryTable& routines() const { return routines_; }

 private:
  void section(Guarded& g, const fabric::LockResult& result, auto&& release);
  u64 allocate(u64 random);
  GroupObserver& observer(u32 group);
  void intend(u32 group, Intent intent);
  void complain(const std::string& what) {
    if (!what.empty()) world_.complain(what);
  }
  void leave_without_journal(u32 group);
  bool announce(fabric::InstanceId who);
  void recover_unclaimed(u32 id);
  void add_routines();

  World& world_;
  fabric::InstanceId self_;
  Mistake mistake_;
  std::unique_ptr<fabric::BlockCache> cache_;
  u64 appended_ = 0;
  u64 announced_ = 0;
  std::array<std::optional<GroupObserver>, kGroups + 1> groups_;  // while a member
  fabric::RecoveryTable routines_;
};

// The routine that a member may ask for by its policy, and which members do.
inline constexpr u32 kOwnRoutine = 2;
inline bool asks_for_own_routine(fabric::InstanceId who) { return who.generation % 4 == 1; }

}  // namespace dvm::crash
