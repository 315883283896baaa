#include "vmm/disk_server.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>

#include "fabric/failpoint.h"
#include "vmm/epoch_record.h"

namespace dvm::vmm {
namespace {

// What is given back in one step: completions of one queue.
struct Batch {
  u16 queue;
  u32 generation;
  std::vector<FinishedChain> chains;
};

void add_to(std::vector<Batch>& batches, u16 queue, u32 generation, FinishedChain chain) {
  auto batch = std::ranges::find_if(
      batches, [&](const Batch& b) { return b.queue == queue && b.generation == generation; });
  if (batch == batches.end()) batch = batches.insert(batch, Batch{queue, generation, {}});
  batch->chains.push_back(chain);
}

// What the disk's thread writes to the pool it writes while registered (fabric/peer.h).
thread_local std::unique_ptr<fabric::LifeRegistration> registration;

}  // namespace

BlkGeometry block_geometry(const FunctionConfig& config, u64 capacity) {
  BlkGeometry geometry;
  geometry.bytes = capacity;
  geometry.block_bytes = config.block_bytes;
  geometry.physical_bytes = config.physical_bytes;
  geometry.queues = static_cast<u16>(config.queues);
  geometry.read_only = (config.flags & kBlockReadOnly) != 0;
  geometry.discard = (config.flags & kBlockDiscard) != 0;
  geometry.write_zeroes = (config.flags & kBlockWriteZeroes) != 0;
  geometry.id = config.serial;
  return geometry;
}

DiskServer::DiskServer(Machine& machine, u32 function, DiskTakeover::Drained drained,
                       fabric::Peer* peer)
    : machine_(machine),
      function_(function),
      peer_(peer),
      takeover_(std::move(drained), [this] { disk_->poke(); }) {}

Result<std::unique_ptr<DiskServer>> DiskServer::open(Machine& machine, u32 function,
                                                     const OpenQueue& open_queue,
                                                     DiskTakeover::Drained drained,
                                                     fabric::Peer* peer,
                                                     std::unique_ptr<srt::DiskReplicas> replicas) {
  std::unique_ptr<DiskServer> server(new DiskServer(machine, function, std::move(drained), peer));
  server->replicas_ = std::move(replicas);
  DiskServer* s = server.get();
  DVM_ASSIGN(s->disk_, open_queue([s](auto completions) { s->completed(completions); },
                                  [s](auto why) { s->look(why); }));
  machine.set_server(function, server.get());
  return server;
}

DiskServer::~DiskServer() {
  machine_.set_server(function_, nullptr);
  if (disk_) drain();
  takeover_.stop();
}

void DiskServer::drain() {
  constexpr auto kNap = std::chrono::milliseconds(1);
  for (;;) {
    const u64 before = takeover_.total();
    const bool waited = takeover_.waits() || held_count_.load() != 0;
    notified_.fetch_or(known_.load());  // the bell may have been rung, and not been heard yet
    disk_->drain();
    if (!waited && takeover_.total() == before) return;  // else some may be in flight by now
    std::this_thread::sleep_for(kNap);
  }
}

DiskOperation* DiskServer::new_operation() {
  if (free_.empty()) {
    operations_.push_back(std::make_unique<DiskOperation>());
    return operations_.back().get();
  }
  DiskOperation* operation = free_.back();
  free_.pop_back();
  return operation;
}

void DiskServer::serve(u16 queue, bool again) {
  if (queue >= kMaxVirtioQueues) return;  // a doorbell that the driver made up
  const u64 bit = u64{1} << queue;
  if (again) {
    const auto nothing = [](auto&, auto&) { return Status{}; };
    if (machine_.serve_queue(function_, queue, true, nothing)) notified_.fetch_or(bit);
    orphaned_.fetch_or(bit);
  } else {
    if ((known_.load(std::memory_order_relaxed) & bit) == 0) known_.fetch_or(bit);
    notified_.fetch_or(bit);
  }
  disk_->poke();
}

void DiskServer::look(srt::DiskQueue::Look why) {
  if (peer_ != nullptr && !registration) {
    if (auto life = peer_->register_thread(); life.ok()) registration = life.take();
  }
  const bool void_now = rolls_back(machine_.epoch()) ||
                        (machine_.epoch() != nullptr && can_go_on(machine_.state().control));
  if (void_now) return drop_held();
  const bool last = why == srt::DiskQueue::Look::last;
  const u64 told = notified_.exchange(0);
  u64 queues = watched_ | told;
  if (why == srt::DiskQueue::Look::rung) {
    const u64 known = known_.load(std::memory_order_relaxed);
    queues |= known;
    // Notified by KVM: no exit has counted it.
    if (told == 0 && known != 0)
      machine_.counters(function_).notifications.fetch_add(1, std::memory_order_relaxed);
  }
  for (u64 left = queues; left != 0; left &= left - 1) {
    const u16 queue = static_cast<u16>(std::countr_zero(left));
    machine_.serve_queue(function_, queue, false, [&](QueueState& state, const LiveQueue& live) {
      return take_all(state, live, queue, last ? WhenEmpty::ask : WhenEmpty::leave);
    });
  }
  watched_ = last ? 0 : queues;
  take_over();
  submit_waiting();
}

// What the dead had in hand, when their I/O is over.
void DiskServer::take_over() {
  for (u64 left = orphaned_.exchange(0); left != 0; left &= left - 1) {
    const u16 queue = static_cast<u16>(std::countr_zero(left));
    takeover_.take_over(queue, machine_.take_over_chains(function_, queue));
  }
  if (!takeover_.waits()) return;
  if (machine_.state().control.phase.load() == Phase::stopped) return takeover_.drop();
  const auto released = takeover_.release();
  const auto& chains = released.chains;
  if (!chains.empty()) {
    machine_.log_event(fabric::EventKind::disk_taken_over,
                       {function_, chains.size(), released.waited_ns});
  }
  for (auto first = chains.begin(); first != chains.end();) {
    const auto other = [&](const DiskTakeover::Held& h) {
      return h.queue != first->queue || h.generation != first->generation;
    };
    const auto end = std::find_if(first, chains.end(), other);
    resume(first->queue, first->generation, {first, end});
    first = end;
  }
}

// Each request is made again of its chain; it is held already.
void DiskServer::resume(u16 queue, u32 generation, std::span<const DiskTakeover::Held> held) {
  std::size_t made = 0;
  const auto again = [&](QueueState& state, const LiveQueue& live) -> Status {
    if (state.generation != generation) return {};  // of before a machine's reset
    Status all;
    for (const DiskTakeover::Held& h : held) {
      Chain chain;
      queue_unhold(state, h.head);
      Status good = queue_chain(state, machine_.memory(), h.head, chain);
      if (good.ok()) good = begin(state, live, queue, chain, geometry());
      if (good.ok()) ++made;
      if (!good.ok()) all = good;
    }
    return all;
  };
  const bool live = machine_.serve_queue(function_, queue, false, again);
  // What is not made again may have been written, or in part.
  if (made != held.size() && replicas_) replicas_->lose_track();
  if (live) return;
  // The driver wants them no more.
  std::vector<FinishedChain> chains;
  for (const DiskTakeover::Held& h : held) chains.push_back({h.head, 0});
  machine_.finish_chains(function_, queue, generation, chains);
}

BlkGeometry DiskServer::geometry() const {
  return block_geometry(machine_.config().functions[function_],
                        machine_.state().functions[function_].capacity.load());
}

// Bounded by the queue's size: no more chains can be taken before some are given back.
Status DiskServer::take_all(QueueState& state, const LiveQueue& live, u16 queue,
                            WhenEmpty when_empty) {
  const BlkGeometry present = geometry();
  Chain chain;
  for (;;) {
    DVM_ASSIGN(const bool any, queue_pop(state, machine_.memory(), chain, when_empty));
    if (!any) return {};
    DVM_TRY(begin(state, live, queue, chain, present));
  }
}

// What a chain asks for, which nobody has in hand: held and put on the list, or answered.
Status DiskServer::begin(QueueState& state, const LiveQueue& live, u16 queue, const Chain& chain,
                         const BlkGeometry& present) {
  DiskOperation* operation = new_operation();
  operation->queue = queue;
  operation->generation = live.generation;
  operation->epoch = running_epoch(machine_.epoch());
  // A driver that cannot ask for a flush counts on every write (virtio 1.2 §5.2.6.2).
  operation->durable = (live.features & virtio::kBlkFeatureFlush) == 0;
  // A driver that never flushes is a loader's: what it reads it soon loads something over.
  operation->transfer.passing = operation->durable;
  operation->looked_up = false;
  const BlkNext next = blk_parse(chain, machine_.memory(), present, operation->request);
  if (next == BlkNext::submit && operation->map_buffers(machine_.memory()).ok()) {
    queue_hold(state, chain.head, machine_.self().id);
    waiting_.push_back(operation);
    return {};
  }
  const Status answered =
      next == BlkNext::finish
          ? answer(state, operation->request, present)
          : Status(error("virtio-blk: a chain without a header or without a status"));
  free_.push_back(operation);
  return answered;
}

// Of a request that needs no disk.
Status DiskServer::answer(QueueState& state, const BlkRequest& request,
                          const BlkGeometry& geometry) {
  count(request, request.status != BlkStatus::ok);
  DVM_ASSIGN(const u32 written, blk_finish(machine_.memory(), request, geometry, request.status));
  return queue_push_used(state, machine_.memory(), request.head, written);
}

// What it does cannot be undone, and what made the guest ask for it may be.
bool DiskServer::is_held_back(const DiskOperation& operation) const {
  const BlkOp op = operation.request.op;
  return holds_output(machine_.epoch(), machine_.state().control) && op != BlkOp::read &&
         op != BlkOp::flush && operation.epoch >= running_epoch(machine_.epoch());
}

// The machine rolls back: all that is not issued is asked for again, or never was.
void DiskServer::drop_held() {
  for (auto* list : {&held_back_, &waiting_}) {
    for (DiskOperation* operation : *list) free_.push_back(operation);
    list->clear();
  }
  held_count_.store(0);
  takeover_.drop();
}

void DiskServer::hold_back_waiting() {
  std::erase_if(waiting_, [&](DiskOperation* operation) {
    if (!is_held_back(*operation)) return false;
    held_back_.push_back(operation);
    return true;
  });
  held_count_.store(held_back_.size());
  if (!held_back_.empty()) machine_.epoch()->output_waits.store(1);
}

void DiskServer::submit_waiting() {
  std::erase_if(held_back_, [&](DiskOperation* operation) {
    if (is_held_back(*operation)) return false;
    waiting_.push_back(operation);
    return true;
  });
  hold_back_waiting();
  if (waiting_.empty()) return;
  fabric::failpoint("disk.taken");
  std::vector<Ended> answered;
  while (!waiting_.empty()) {
    DiskOperation& operation = *waiting_.front();
    if (replicas_ && operation.is_answered_by(*replicas_, geometry().bytes)) {
      answered.push_back({&operation, 0});
    } else {
      if (replicas_) operation.begins(*replicas_);
      const srt::DiskRequest asked = operation.disk_request();
      if (disk_->submit({&asked, 1}) == 0) break;
    }
    waiting_.pop_front();
    fabric::failpoint("disk.submitted");
  }
  if (!answered.empty()) finish(answered);
}

void DiskServer::completed(std::span<const srt::DiskCompletion> done) {
  fabric::failpoint("disk.completed");
  std::vector<Ended> ended;
  for (const srt::DiskCompletion& completion : done) {
    auto* operation = reinterpret_cast<DiskOperation*>(completion.cookie);
    if (replicas_) operation->ends(*replicas_, completion.error == 0);
    ended.push_back({operation, completion.error});
  }
  finish(ended);
  submit_waiting();
}

void DiskServer::finish(std::span<const Ended> done) {
  const BlkGeometry geometry = block_geometry(machine_.config().functions[function_], 0);
  std::vector<Batch> batches;
  for (const auto& [operation, error] : done) {
    count(operation->request, error != 0);
    const auto written =
        blk_finish(machine_.memory(), operation->request, geometry, blk_status_of(error));
    if (!written.ok()) machine_.fail_device(function_);
    add_to(batches, operation->queue, operation->generation,
           {operation->request.head, written.ok() ? *written : 0});
    free_.push_back(operation);
  }
  fabric::failpoint("disk.answered");
  for (const Batch& batch : batches)
    machine_.finish_chains(function_, batch.queue, batch.generation, batch.chains);
  // A reset waits for what was taken over.
  if (machine_.state().control.phase.load() == Phase::resetting) machine_.ring_nodes();
}

void DiskServer::count(const BlkRequest& request, bool failed) {
  constexpr auto relaxed = std::memory_order_relaxed;
  FunctionCounters& counters = machine_.counters(function_);
  if (failed) counters.errors.fetch_add(1, relaxed);
  switch (request.op) {
    case BlkOp::read:
      counters.in_ops.fetch_add(1, relaxed);
      counters.in_bytes.fetch_add(request.bytes, relaxed);
      break;
    case BlkOp::write:
      counters.out_ops.fetch_add(1, relaxed);
      counters.out_bytes.fetch_add(request.bytes, relaxed);
      break;
    default: counters.other_ops.fetch_add(1, relaxed);
  }
}

}  // namespace dvm::vmm
