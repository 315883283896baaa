#include "tests/crash/scenario.h"

#include <sys/wait.h>
#include <unistd.h>

#include "fabric/failpoint.h"

namespace dvm::crash {
namespace {

using namespace fabric;  // NOLINT

void nothing(World&, Worker&) {}

InstanceId join(World& w, u32 id) { return w.instances().join(id, 1); }
void die(World& w, InstanceId who) { w.instances().retire(who, InstanceState::dead); }

void break_section(Guarded& g, InstanceId who) {
  g.inside.store(who.packed());
  g.a.fetch_add(1);
}

void word_held_by_dead(World& w, Worker&) {
  const InstanceId dead = join(w, 2);
  acquire(w.record().word_lock, dead, w.instances());
  break_section(w.record().under_word, dead);
  die(w, dead);
}

// `waiters` places behind a holder, all of the dead.
void queue_of_dead(World& w, u64 waiters) {
  const InstanceId dead = join(w, 2);
  acquire(w.record().queue_lock, dead, w.instances());
  break_section(w.record().under_queue, dead);
  for (u64 i = 0; i < waiters; ++i)
    detail::enter_contended(w.record().queue_lock, detail::slot_owner(dead), w.instances());
  die(w, dead);
}

// The cache of one that is gone: never looked at again, never given back.
BlockCache& lost_cache(World& w, InstanceId who) {
  return *new BlockCache(BlockCache::attach(w.allocator(), who).take());  // NOLINT
}

std::atomic<u64>& state_of(World& w, u64 block) {
  return w.allocator().place_of(block).value().word();
}

LogRecord& log_of(World& w, InstanceId who) {
  auto& lanes = w.allocator().header().lanes;
  for (auto& lane : lanes)
    if (lane.owner.load() == who.packed()) return lane.log;
  return lanes[0].log;
}

void write_log(World& w, InstanceId who, LogOp op, u64 block, u64 state, u64 word, u64 before,
               u64 after) {
  LogRecord& log = log_of(w, who);
  log.version.store(BlockState::unpack(state_of(w, block).load()).version);
  log.block.store(block);
  log.state.store(state);
  log.target.store(w.word_offset(word));
  log.mask.store(~0ull);
  log.expected.store(before);
  log.desired.store(after);
  log.op.store(static_cast<u32>(op));
}

// Instance 2 died after its block was named, before the block was marked as used.
void published_not_settled(World& w, Worker&) {
  const InstanceId dead = join(w, 2);
  const u64 block = lost_cache(w, dead).allocate_frame();
  write_log(w, dead, LogOp::publish, block, state_of(w, block).load(), 0, 0, block);
  w.record().words[0].store(block);
  die(w, dead);
}

void retired_half(World& w, bool taken_out) {
  const InstanceId dead = join(w, 3);
  BlockCache& cache = lost_cache(w, dead);
  const u64 block = cache.allocate_object(64);
  w.holder_of(block).store(0);
  (void)cache.publish(block, {w.word_offset(1), 0, block, ~0ull});
  const u64 retiring = BlockState::retiring_by(dead, 7).packed();
  write_log(w, dead, LogOp::retire, block, retiring, 1, block, 0);
  state_of(w, block).store(retiring);
  if (taken_out) w.record().words[1].store(0);
  cache.allocate_frame();
  die(w, dead);
}

void much_to_recover(World& w, Worker& worker) {
  published_not_settled(w, worker);
  retired_half(w, true);
}

void recover_both(World& w, Worker&) {
  const InstanceId self{1, w.instances().slots[1].generation.load()};
  (void)w.allocator().recover({2, 1}, self);
  (void)w.allocator().recover({3, 1}, self);
}

void publish_first(World&, Worker& worker) { worker.publish(0); }

}  // namespace

InstanceId victim(World& w) { return {1, w.instances().slots[1].generation.load()}; }

Worker& worker_as(World& w, u32 id) {
  return *new Worker(w, w.instances().join(id, 1), Mistake::none);  // NOLINT: its cache is not ours
}

void stop(World& w, u32 id) { w.fence({id, w.instances().slots[id].generation.load()}); }

void die_at(World& w, u32 id, std::string_view point, const std::function<void(Worker&)>& act) {
  const InstanceId self = w.instances().join(id, 1);
  const pid_t child = ::fork();
  if (child == 0) {
    static FaultTable table{};
    arm_fault(table, point, FaultAction::kill, 0, ~0u, 0);
    watch_faults(&table, id);
    Worker worker(w, self, Mistake::none);
    act(worker);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSIGNALED(status)) w.complain(fmt::format("nothing died at {}", point));
}

std::vector<Scenario> all_scenarios() {
  const auto word = [](World&, Worker& k) { k.word_section(); };
  const auto queue = [](World&, Worker& k) { k.queue_section(); };
  const auto publish = [](World&, Worker& k) { k.publish(4 * kWords); };
  const auto retire = [](World&, Worker& k) { k.retire(0); };
  std::vector<Scenario> all = {
      {"word lock", Part::locks, nothing, word},
      {"word lock of the dead", Part::locks, word_held_by_dead, word},
      {"queue lock", Part::locks, nothing, queue},
      {"queue lock, a round later", Part::locks,
       [](World&, Worker& k) {
         for (u64 i = 0; i < 70; ++i) k.queue_section();
       },
       queue},
      {"queue lock of the dead", Part::locks, [](World& w, Worker&) { queue_of_dead(w, 0); },
       queue},
      {"queue of three dead", Part::locks, [](World& w, Worker&) { queue_of_dead(w, 2); }, queue},
      {"queue full of the dead", Part::locks,
       [](World& w, Worker&) { queue_of_dead(w, QueueLock::kSlots - 1); }, queue},
      {"allocate and free a frame", Part::allocator, nothing,
       [](World&, Worker& k) { k.allocate_and_free(0); }},
      {"allocate and free an object", Part::allocator, nothing,
       [](World&, Worker& k) { k.allocate_and_free(1); }},
      {"publish", Part::allocator, nothing, publish},
      {"publish in a word that is taken", Part::allocator, publish_first, publish},
      {"retire", Part::allocator, publish_first, retire},
      {"retire what the dead published", Part::allocator, published_not_settled, retire},
      {"recover", Part::allocator, much_to_recover, recover_both},
      {"recover an undone retirement", Part::allocator,
       [](World& w, Worker&) { retired_half(w, false); }, recover_both},
      {"attach to the allocator", Part::allocator, much_to_recover,
       [](World&, Worker& k) { (void)k.attach(); }},
      {"append an event", Part::log, nothing, [](World&, Worker& k) { k.append(); }},
  };
  add_group_scenarios(all);
  return all;
}

}  // namespace dvm::crash
