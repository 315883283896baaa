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
  State(std::unique_ptr<DiskEngine> the_engine, OnComplete complete, OnLook look, u32 depth)
      : engine(std::move(the_engine)),
        on_complete(std::move(complete)),
        on_look(std::move(look)),
        tasks(depth) {
    for (auto& task : tasks) idle.push_back(&task);
    ended.reserve(depth);
    completions.reserve(depth);
  }

  enum class Turn { work, rest, end };
  void loop();
  void look(Look why);
  Turn next();
  bool run(bool block);
  void deliver();
  void wake();
  bool all_idle() const { return idle.size() == tasks.size(); }

  std::unique_ptr<DiskEngine> engine;
  OnComplete on_complete;
  OnLook on_look;
  std::thread thread;

  mutable std::mutex mutex;
  std::condition_variable rested;
  std::vector<DiskTask> tasks;     // the array never changes
  std::vector<DiskTask*> idle;     // guarded by mutex, as is all up to stopping
  std::vector<DiskTask*> waiting;  // submitted, not yet started
  bool sleeping = false;           // the thread waits, or is about to: it needs a wake-up
  bool resting = false;            // it sleeps, and has looked since anybody poked
  bool stopping = false;

  // The thread's own.
  std::vector<DiskTask*> starting;
  std::vector<EndedTask> ended;
  std::vector<DiskCompletion> completions;
};

// As long as there is work nothing waits: what completes at once is told in one go, and who submits
// meanwhile need not wake anybody.
void DiskQueue::State::loop() {
  engine->enter();
  look(Look::rung);
  for (Turn turn = next(); turn != Turn::end; turn = next()) {
    const bool rung = run(turn == Turn::rest);
    look(rung ? Look::rung : Look::working);
  }
}

void DiskQueue::State::look(Look why) {
  if (on_look) on_look(why);
}

DiskQueue::State::Turn DiskQueue::State::next() {
  {
    const std::lock_guard lock(mutex);
    starting.swap(waiting);
    if (!starting.empty()) return Turn::work;
    if (stopping && all_idle()) return Turn::end;
    sleeping = true;  // what is submitted, or poked, from here on wakes
  }
  look(Look::last);
  const std::lock_guard lock(mutex);
  if (!sleeping) return Turn::work;
  resting = all_idle();
  if (resting) rested.notify_all();
  return Turn::rest;
}

// True: the bell was rung.
bool DiskQueue::State::run(bool block) {
  for (DiskTask* task : starting) {
    if (is_well_formed(task->request)) {
      engine->start(*task);
    } else {
      ended.push_back({task, EINVAL});
    }
  }
  starting.clear();
  const bool rung = engine->run(block, ended);
  if (block) {
    const std::lock_guard lock(mutex);
    sleeping = resting = false;
  }
  if (!ended.empty()) deliver();
  return rung;
}

void DiskQueue::State::deliver() {
  completions.clear();
  for (const EndedTask& e : ended) {
    e.task->transfer.end();
    completions.push_back({e.task->request.cookie, e.error});
  }
  {
    const std::lock_guard lock(mutex);
    for (const EndedTask& e : ended) idle.push_back(e.task);
  }
  ended.clear();
  on_complete(completions);
}

void DiskQueue::State::wake() {
  bool sleeps = false;
  {
    const std::lock_guard lock(mutex);
    sleeps = std::exchange(sleeping, false);
    resting = false;
  }
  if (sleeps) engine->wake();
}

Result<std::unique_ptr<DiskQueue>> DiskQueue::open(const Disk& disk, OnComplete on_complete,
                                                   u32 depth, OnLook on_look) {
  return open(std::make_unique<UringEngine>(disk), std::move(on_complete), depth,
              std::move(on_look));
}

Result<std::unique_ptr<DiskQueue>> DiskQueue::open(std::unique_ptr<DiskEngine> engine,
                                                   OnComplete on_complete, u32 depth,
                                                   OnLook on_look) {
  if (depth == 0 || depth > kMaxDepth) {
    return error("disk queue: found a depth of {}; allowed: 1 to {}", depth, kMaxDepth);
  }
  DVM_TRY(engine->prepare(depth));
  return std::unique_ptr<DiskQueue>(new DiskQueue(std::make_unique<State>(
      std::move(engine), std::move(on_complete), std::move(on_look), depth)));
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

void DiskQueue::poke() { state_->wake(); }

const Fd& DiskQueue::bell() const { return state_->engine->bell(); }

void DiskQueue::drain() {
  poke();
  std::unique_lock lock(state_->mutex);
  state_->rested.wait(lock, [this] { return state_->resting; });
}

u32 DiskQueue::in_flight() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<u32>(state_->tasks.size() - state_->idle.size());
}

}  // namespace dvm::srt
