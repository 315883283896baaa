#include "srt/disk_queue.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <vector>

#include "srt/disk_engine.h"
#include "srt/uring_engine.h"

namespace dvm::srt {
namespace {

constexpr u32 kMaxDepth = 4096;

// What no engine should have to meet.
bool is_well_formed(const DiskRequest& r) {
  if (r.op == DiskOp::flush) return true;
  if (r.offset + r.bytes < r.offset || r.offset + r.bytes > u64{INT64_MAX}) return false;
  if (!moves_data(r.op)) return true;
  if (r.buffers.size() > kMaxDiskBuffers) return false;
  u64 sum = 0;
  for (const iovec& b : r.buffers) {
    if (b.iov_len > r.bytes - sum) return false;
    sum += b.iov_len;
  }
  return sum == r.bytes;
}

}  // namespace

struct DiskQueue::State {
  State(std::unique_ptr<DiskEngine> the_engine, OnComplete callback, u32 depth)
      : engine(std::move(the_engine)), on_complete(std::move(callback)), tasks(depth) {
    for (auto& task : tasks) idle.push_back(&task);
    ended.reserve(depth);
    completions.reserve(depth);
  }

  void loop();
  bool take_work(bool& block);
  void deliver();

  std::unique_ptr<DiskEngine> engine;
  OnComplete on_complete;
  std::thread thread;

  mutable std::mutex mutex;
  std::condition_variable drained;
  std::vector<DiskTask> tasks;     // the array never changes
  std::vector<DiskTask*> idle;     // guarded by mutex, as are the next four
  std::vector<DiskTask*> waiting;  // submitted, not yet started
  bool sleeping = false;           // the thread waits, or is about to: it needs a wake-up
  bool delivering = false;         // the callback runs
  bool stopping = false;

  // The thread's own.
  std::vector<DiskTask*> starting;
  std::vector<EndedTask> ended;
  std::vector<DiskCompletion> completions;
};

void DiskQueue::State::loop() {
  engine->enter();
  bool block = false;
  while (take_work(block)) {
    for (DiskTask* task : starting) {
      if (is_well_formed(task->request)) {
        engine->start(*task);
      } else {
        ended.push_back({task, EINVAL});
        block = false;
      }
    }
    starting.clear();
    engine->run(block, ended);
    if (!ended.empty()) deliver();
  }
}

// False when the queue stops and nothing is left to do.
bool DiskQueue::State::take_work(bool& block) {
  const std::lock_guard lock(mutex);
  if (stopping && idle.size() == tasks.size()) return false;
  starting.swap(waiting);
  sleeping = block = true;  // what is submitted from here on wakes the engine
  return true;
}

void DiskQueue::State::deliver() {
  completions.clear();
  for (const EndedTask& e : ended) {
    e.task->transfer.end();
    completions.push_back({e.task->request.cookie, e.error});
  }
  {
    const std::lock_guard lock(mutex);
    sleeping = false;
    delivering = true;
    for (const EndedTask& e : ended) idle.push_back(e.task);
  }
  ended.clear();
  on_complete(completions);
  const std::lock_guard lock(mutex);
  delivering = false;
  if (idle.size() == tasks.size()) drained.notify_all();
}

Result<std::unique_ptr<DiskQueue>> DiskQueue::open(const Disk& disk, OnComplete on_complete,
                                                   u32 depth) {
  return open(std::make_unique<UringEngine>(disk), std::move(on_complete), depth);
}

Result<std::unique_ptr<DiskQueue>> DiskQueue::open(std::unique_ptr<DiskEngine> engine,
                                                   OnComplete on_complete, u32 depth) {
  if (depth == 0 || depth > kMaxDepth) {
    return error("disk queue: found a depth of {}; allowed: 1 to {}", depth, kMaxDepth);
  }
  DVM_TRY(engine->prepare(depth));
  return std::unique_ptr<DiskQueue>(
      new DiskQueue(std::make_unique<State>(std::move(engine), std::move(on_complete), depth)));
}

DiskQueue::DiskQueue(std::unique_ptr<State> state) : state_(std::move(state)) {
  // Signals are for the threads that made this one: kicks, and the process's own.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->thread = std::thread([this] { state_->loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(state_->thread.native_handle(), "disk");
}

DiskQueue::~DiskQueue() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->engine->wake();
  state_->thread.join();
}

std::size_t DiskQueue::submit(std::span<const DiskRequest> requests) {
  std::size_t taken = 0;
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    for (; taken < requests.size() && !state_->idle.empty(); ++taken) {
      DiskTask* task = state_->idle.back();
      state_->idle.pop_back();
      const DiskRequest& r = requests[taken];
      task->request = r;
      task->buffers.assign(r.buffers.begin(), r.buffers.end());
      task->request.buffers = task->buffers;
      task->attempts = task->stage = 0;
      state_->waiting.push_back(task);
    }
    if (taken > 0) wake = std::exchange(state_->sleeping, false);
  }
  if (wake) state_->engine->wake();
  return taken;
}

void DiskQueue::drain() {
  std::unique_lock lock(state_->mutex);
  state_->drained.wait(
      lock, [this] { return state_->idle.size() == state_->tasks.size() && !state_->delivering; });
}

u32 DiskQueue::in_flight() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<u32>(state_->tasks.size() - state_->idle.size());
}

}  // namespace dvm::srt
