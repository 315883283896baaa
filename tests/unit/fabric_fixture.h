// A fabric in shared memory, and processes that take part in it and are killed.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "fabric/fabric_state.h"
#include "fabric/failpoint.h"
#include "fabric/manager.h"
#include "fabric/recovery.h"
#include "tests/sanitized.h"

namespace dvm::fabric {

#if defined(DVM_WITH_ASAN) || defined(DVM_WITH_TSAN)
inline constexpr u64 kTestSlowness = 5;
#else
inline constexpr u64 kTestSlowness = 1;
#endif

inline void sleep_ms(u64 ms) {
  const timespec t{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000 * 1'000'000)};
  ::nanosleep(&t, nullptr);
}

// True as soon as `holds` does, within a generous while.
template <typename Condition>
bool eventually(Condition holds, u64 within_ms = 5000 * kTestSlowness) {
  const u64 until = monotonic_ns() + within_ms * 1'000'000;
  while (!holds()) {
    if (monotonic_ns() > until) return false;
    sleep_ms(1);
  }
  return true;
}

struct FabricWorld {
  InstanceTable instances;
  FabricState fabric;
  FaultTable faults;
  std::array<std::atomic<u64>, 64> scratch;
};

class FabricTest : public ::testing::Test {
 protected:
  static constexpr u32 kObserver = 60;

  void SetUp() override {
    void* p = ::mmap(nullptr, sizeof(FabricWorld), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    world_ = static_cast<FabricWorld*>(p);
    onlooker_ = instances().join(kObserver + 1, ::getpid());
    fabric().deadline_ms.store(static_cast<u32>(400 * kTestSlowness));
  }
  void TearDown() override {
    for (const auto& [pid, id] : children_) ::kill(pid, SIGKILL);
    for (const auto& [pid, id] : children_) ::waitpid(pid, nullptr, 0);
    watch_faults(nullptr, ~0u);
    ::munmap(world_, sizeof(FabricWorld));
  }

  FabricState& fabric() { return world_->fabric; }
  InstanceTable& instances() { return world_->instances; }
  Group& everyone() { return fabric().groups[FabricState::kEveryone]; }

  // Forks; the child runs `body` as instance `id` and exits.
  pid_t fork_as(u32 id, const std::function<void(InstanceId)>& body) {
    const InstanceId self = instances().join(id, 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      watch_faults(&world_->faults, id);
      body(self);
      ::_exit(0);
    }
    children_[pid] = id;
    return pid;
  }
  // A member that beats until it is killed.
  pid_t fork_member(u32 id, u32 host = 0, Policy policy = {}) {
    const u64 before = fabric().peers.records[id].instance.load();
    const pid_t pid = fork_as(id, [this, host, policy](InstanceId self) {
      auto peer = Peer::join(fabric(), self, host);
      if (!peer.ok()) ::_exit(2);
      Membership group(everyone(), self, instances());
      if (!group.join(policy).ok()) ::_exit(3);
      for (;;) {
        (*peer)->beat();
        sleep_ms(10);
      }
    });
    EXPECT_TRUE(eventually([&] {
      return fabric().peers.records[id].instance.load() != before &&
             member(id).who == current(id) && member(id).state == MemberState::joined;
    }));
    return pid;
  }
  // A process that runs a manager and a recovery runner.
  pid_t fork_manager(u32 id, Manager::Eagerness eagerness, const RecoveryTable& table,
                     const ManagerHooks& hooks = {}) {
    const pid_t pid = fork_as(id, [this, eagerness, &table, &hooks](InstanceId self) {
      auto peer = Peer::join(fabric(), self, 0);
      if (!peer.ok()) ::_exit(2);
      Membership group(everyone(), self, instances());
      if (!group.join({}).ok()) ::_exit(3);
      Manager manager(fabric(), instances(), **peer, hooks, eagerness);
      RecoveryRunner runner(fabric(), instances(), table, **peer);
      std::thread managing([&] { (void)manager.run(); });
      std::thread recovering([&] { (void)runner.run(); });
      for (;;) {
        (*peer)->beat();
        sleep_ms(10);
      }
    });
    EXPECT_TRUE(eventually([&] {
      return member(id).state == MemberState::joined &&
             (eagerness == Manager::Eagerness::stand_by || holder() == current(id));
    }));
    return pid;
  }

  InstanceId current(u32 id) { return {id, instances().slots[id].generation.load()}; }
  InstanceId holder() { return RoleWord::unpack(fabric().role.word.load()).holder; }
  GroupView::Member member(u32 id) {
    return Membership(everyone(), onlooker_, instances()).view().members[id];
  }
  FailureStage stage(u32 id) { return look(fabric().failures[id]).stage; }
  void kill_child(pid_t pid) {
    ::kill(pid, SIGKILL);
    reap(pid);
  }
  int reap(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    children_.erase(pid);
    return status;
  }
  // Everything that happened in the group so far, from the log.
  std::vector<Notification> history() {
    std::vector<Notification> all(Group::kLog);
    Membership reader(everyone(), onlooker_, instances());
    everyone().members[kObserver + 1].cursor.store(0);
    all.resize(reader.read(all).count);
    return all;
  }
  u32 count(MemberState kind, InstanceId who) {
    u32 n = 0;
    for (const Notification& h : history()) n += h.kind == kind && h.who == who ? 1 : 0;
    return n;
  }

  FabricWorld* world_ = nullptr;
  InstanceId onlooker_;  // looks at groups, belongs to none
  std::map<pid_t, u32> children_;
};

}  // namespace dvm::fabric
