// The balloon: pages that the guest gives up or reports as free go back to the pool's file. The
// system call for that is made without a lock: until then the chain is held (queue_hold), so that a
// death in between leaves it to a survivor; giving the same pages back again does no harm, as the
// driver has not got them back yet.
#include "srt/freed_pages.h"
#include "vmm/machine_steps.h"
#include "vmm/virtio/balloon.h"

namespace dvm::vmm {

// A chain in hand, and what it names.
struct Machine::HeldPages {
  u16 head = 0;
  u32 generation = 0;
  BalloonQueue queue = BalloonQueue::none;
  std::vector<GuestRun> runs;
};

namespace {

// A chain that somebody took who is dead.
std::optional<u16> orphan(const QueueState& q, const fabric::InstanceTable& instances) {
  for (u16 head = 0; head < q.size; ++head) {
    const u8 holder = q.holder[head % kMaxQueueSize];
    if (holder != 0 && instances.has_ended(holder - 1u)) return head;
  }
  return std::nullopt;
}

u64 total(const std::vector<GuestRun>& runs) {
  u64 bytes = 0;
  for (const GuestRun& run : runs) bytes += run.bytes;
  return bytes;
}

}  // namespace

bool Machine::take_balloon_chain(u32 function, u16 queue, bool again, HeldPages& taken) {
  bool any = false;
  serve_queue(function, queue, again, [&](QueueState& q, const LiveQueue& live) -> Status {
    Chain chain;
    const auto left = again ? orphan(q, *instances_) : std::nullopt;
    if (left) DVM_TRY(queue_chain(q, memory(), *left, chain));
    if (!left) {
      DVM_ASSIGN(any, queue_pop(q, memory(), chain));
      if (!any) return {};
    }
    taken.head = chain.head;
    taken.generation = live.generation;
    taken.queue = balloon_queue(queue, live.features);
    if (taken.queue == BalloonQueue::reporting) {
      taken.runs = balloon_reported(chain);
    } else {
      DVM_ASSIGN(taken.runs, balloon_frames(chain, memory()));
    }
    any = true;
    queue_hold(q, chain.head, self_.id);
    return {};
  });
  return any;
}

// Returns how many bytes the pool's file took back. What is no RAM is passed over: the guest chose
// the addresses. With software coherence nothing is: others may have copies of what goes.
// What pages hold of disks stays, if these were reported as free and not asked back by the host.
u64 Machine::give_back(const std::vector<GuestRun>& runs, bool freed) {
  u64 given = 0;
  // What is gone could not be put back.
  if (!release_ || epoch_ != nullptr) return given;
  const u32 boot = state_->control.boots.load();
  for (const GuestRun& run : runs) {
    if (srt::ReplicaTable* const table = freed ? replicas() : nullptr)
      srt::keep_blocks(*table, memory(), boot, run.gpa, run.bytes);
    given += release_ram(boot, run.gpa, run.bytes);
  }
  return given;
}

void Machine::serve_balloon(u32 function, u16 queue, bool again) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const BalloonQueue kind = balloon_queue(queue, driver_of(function).features);
  if (kind == BalloonQueue::stats) return serve_balloon_stats(function, queue, again);
  if (kind == BalloonQueue::none) return;
  FunctionCounters& counters = state_->functions[function].counters;
  BalloonRecord& record = state_->balloon;
  for (HeldPages taken; take_balloon_chain(function, queue, again, taken); taken = {}) {
    const u64 bytes = total(taken.runs);
    if (taken.queue == BalloonQueue::deflate) {
      record.deflated.fetch_add(bytes, relaxed);  // touched, it is there again
    } else {
      const u64 given = give_back(taken.runs, taken.queue == BalloonQueue::reporting);
      auto& sum = taken.queue == BalloonQueue::inflate ? record.ballooned : record.reported;
      sum.fetch_add(given, relaxed);
      record.kept.fetch_add(bytes - given, relaxed);
    }
    counters.out_ops.fetch_add(1, relaxed);
    counters.out_bytes.fetch_add(bytes, relaxed);
    const FinishedChain done{taken.head, 0};
    finish_chains(function, queue, taken.generation, {&done, 1});
  }
}

// The driver's buffer stays in its queue, not taken, until somebody wants new figures: its content
// is looked at where it lies, in a copy of the queue's state.
void Machine::serve_balloon_stats(u32 function, u16 queue, bool again) {
  BalloonRecord& record = state_->balloon;
  bool told = false;
  serve_queue(function, queue, again, [&](QueueState& q, const LiveQueue&) -> Status {
    Chain chain;
    QueueState copy = q;
    DVM_ASSIGN(told, queue_pop(copy, memory(), chain));
    if (!told) return {};
    DVM_ASSIGN(const BalloonStats stats, balloon_stats(chain, memory()));
    for (u32 tag = 0; tag < kBalloonStats; ++tag) record.stats[tag].store(stats[tag]);
    return {};
  });
  if (!told) return;
  record.stats_told.fetch_add(1);
  fabric::ring(record.changed);
}

// Gives the buffer back: the driver fills it anew.
void Machine::request_balloon_stats() {
  const auto function = find_function(config().functions, FunctionKind::balloon);
  if (!function) return;
  const u16 queue = balloon_stats_queue();
  if (balloon_queue(queue, driver_of(*function).features) != BalloonQueue::stats) return;
  serve_queue(*function, queue, false, [&](QueueState& q, const LiveQueue&) -> Status {
    Chain chain;
    for (;;) {
      DVM_ASSIGN(const bool any, queue_pop(q, memory(), chain));
      if (!any) return {};
      DVM_TRY(queue_push_used(q, memory(), chain.head, 0));
    }
  });
}

void Machine::set_balloon(u64 bytes) {
  const auto function = find_function(config().functions, FunctionKind::balloon);
  if (!function) return;
  state_->functions[*function].capacity.store(bytes);
  kick_all(step_function(*function,
                         [bytes](VirtioPciState& s, Effects& effects) {
                           balloon_set_target(s, bytes, effects);
                         }),
           std::nullopt);
}

u64 Machine::balloon_actual() {
  const auto function = find_function(config().functions, FunctionKind::balloon);
  if (!function) return 0;
  return look(state_->functions[*function].device,
              [](const VirtioPciState& s) { return vmm::balloon_actual(s); });
}

}  // namespace dvm::vmm
