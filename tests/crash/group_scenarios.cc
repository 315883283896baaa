// Operations on control groups and on failures, to be killed in.
#include <unistd.h>

#include <thread>

#include "fabric/manager.h"
#include "tests/crash/scenario.h"

namespace dvm::crash {
namespace {

using namespace fabric;  // NOLINT

void nothing(World&, Worker&) {}
void victim_is_in(World&, Worker& k) { k.join(0); }

// Instance `id` is in both groups, and dies.
void member_dies(World& w, u32 id) {
  Worker& other = worker_as(w, id);
  for (u32 g = 0; g < kGroups; ++g) other.join(g);
  stop(w, id);
}

void bury(World& w, u32 id) {
  Worker& other = worker_as(w, 9);
  other.bury(id);
  w.instances().retire({9, w.instances().slots[9].generation.load()}, InstanceState::gone);
}

// The victim is what was 1 before, died and was recovered; then there is much to catch up with.
void lived_before(World& w, Worker&) {
  member_dies(w, 2);
  bury(w, 2);
}

void much_happens(World& w, Worker& k) {
  k.join(0);
  Worker& other = worker_as(w, 2);
  for (u32 i = 0; i < Group::kLog; ++i) {
    other.join(0);
    other.leave(0);
  }
  member_dies(w, 3);
  bury(w, 3);
}

void change_of_the_dead(World& w, std::string_view point) {
  die_at(w, 2, point, [](Worker& k) { k.join(0); });
  stop(w, 2);
}

void announce_and_recover(World& w, Worker& k) {
  for (u32 id = 2; id <= 4; ++id) {
    if (!w.is_over(id)) k.bury(id);
  }
}

void dead_runner(World& w, std::string_view point) {
  member_dies(w, 2);
  die_at(w, 3, point, [](Worker& k) {
    k.join(0);
    k.bury(2);
  });
  stop(w, 3);
}

// A process in the fabric that beats no more: a peer, and maybe the manager.
void dead_peer(World& w, u32 id, bool manager) {
  die_at(w, id, manager ? "group.done" : "peer.joined", [&](Worker& k) {
    auto peer = Peer::join(w.fabric(), {id, w.instances().slots[id].generation.load()}, 0);
    if (!peer.ok()) ::_exit(2);
    if (manager) w.fabric().role.word.store(RoleWord{(*peer)->self(), 1}.packed());
    k.join(0);
  });
}

// Its whole life: joins, stands by, takes the role of the dead, buries all that died, and leaves.
void life_of_a_manager(World& w, Worker& k) {
  const InstanceId self = victim(w);
  w.fabric().deadline_ms.store(~0u);
  auto peer = Peer::join(w.fabric(), self, 0);
  if (!peer.ok()) return w.complain(peer.error().message);
  Manager manager(w.fabric(), w.instances(), **peer, {}, Manager::Eagerness::first);
  std::thread managing([&] { (void)manager.run(); });
  const u64 until = monotonic_ns() + 20'000'000'000;
  const auto buried = [&](u32 id) { return w.fabric().peers.records[id].instance.load() == 0; };
  while (!(manager.leads() && buried(2) && buried(3)) && monotonic_ns() < until) {
    k.recover_due();
    ::usleep(100);
  }
  if (!buried(2) || !buried(3)) w.complain("the manager did not bury the dead");
  manager.stop();
  managing.join();
  w.instances().retire(self, InstanceState::gone);
}

}  // namespace

void add_group_scenarios(std::vector<Scenario>& to) {
  const auto add = [&](const char* name, Part part, std::function<void(World&, Worker&)> prepare,
                       std::function<void(World&, Worker&)> operation, bool threads = false) {
    to.push_back({name, part, std::move(prepare), std::move(operation), threads});
  };
  const auto join = [](World&, Worker& k) { k.join(0); };
  add("join", Part::groups, nothing, join);
  add("join a group that is new", Part::groups, nothing,
      [](World&, Worker& k) { k.join(kFreshGroup); });
  add("join after others lived and died", Part::groups, lived_before, join);
  add("leave", Part::groups, victim_is_in, [](World&, Worker& k) { k.leave(0); });
  add("leave and join again", Part::groups, victim_is_in, [](World&, Worker& k) {
    k.leave(0);
    k.join(0);
  });
  add("read", Part::groups, victim_is_in, [](World&, Worker& k) { k.read(0); });
  add("catch up", Part::groups, much_happens, [](World&, Worker& k) { k.read(0); });
  for (const char* point : {"group.written", "group.armed", "group.counted", "group.applied"}) {
    add(
        "join over a change of the dead", Part::groups,
        [point](World& w, Worker&) { change_of_the_dead(w, point); }, join);
  }
  add(
      "announce and recover", Part::failures, [](World& w, Worker&) { member_dies(w, 2); },
      announce_and_recover);
  for (const char* point : {"group.armed", "manager.told_group", "recovery.claimed",
                            "recovery.stepped", "recovery.salvaged", "recovery.told"}) {
    add(
        "announce and recover what the dead began", Part::failures,
        [point](World& w, Worker&) { dead_runner(w, point); }, announce_and_recover);
  }
  add(
      "a manager's life", Part::failures,
      [](World& w, Worker&) {
        dead_peer(w, 2, false);
        dead_peer(w, 3, true);
      },
      life_of_a_manager, true);
}

}  // namespace dvm::crash
