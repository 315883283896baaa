#include "fabric/failpoint.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>

namespace dvm::fabric {
namespace {

constinit FaultTable empty_table{};
std::atomic<FaultTable*> watched{&empty_table};
std::atomic<u32> own_id{~0u};
std::function<void(const ArmedFault&)> fired_callback;

std::string_view name_of(const ArmedFault& fault) {
  return {fault.point.data(), ::strnlen(fault.point.data(), fault.point.size())};
}

// True for the one hit that is to fire.
bool take_turn(ArmedFault& fault) {
  u32 left = fault.skip.load(std::memory_order_relaxed);
  while (left != 0) {
    if (fault.skip.compare_exchange_weak(left, left - 1)) return false;
  }
  u32 not_fired = 0;
  return fault.fired.compare_exchange_strong(not_fired, 1);
}

void sleep_ms(u64 milliseconds) {
  const timespec t{static_cast<time_t>(milliseconds / 1000),
                   static_cast<long>(milliseconds % 1000 * 1'000'000)};
  ::nanosleep(&t, nullptr);
}

// False for all but one that frees it.
bool free_slot(FaultTable& table, ArmedFault& fault) {
  const FaultAction was = fault.state.exchange(FaultAction::none);
  if (was != FaultAction::none) table.armed.fetch_sub(1);
  return was != FaultAction::none;
}

void fire(FaultTable& table, ArmedFault& fault, FaultAction action) {
  if (fired_callback) fired_callback(fault);
  if (action == FaultAction::hang) {
    // Whoever is to wake us may have been told before we stand still: it wakes us again
    // (any_armed).
    ::kill(::getpid(), SIGSTOP);
    free_slot(table, fault);
    return;
  }
  if (!free_slot(table, fault)) return;  // taken back at this moment
  switch (action) {
    case FaultAction::none:
    case FaultAction::arming:
    case FaultAction::hang:
    case FaultAction::report: break;
    case FaultAction::kill: ::kill(::getpid(), SIGKILL); break;
    case FaultAction::sleep: sleep_ms(fault.milliseconds); break;
  }
}

}  // namespace

namespace detail {

constinit std::atomic<const std::atomic<u32>*> armed_word{&empty_table.armed};

void hit(std::string_view point) {
  FaultTable& table = *watched.load();
  for (ArmedFault& fault : table.faults) {
    const FaultAction action = fault.state.load(std::memory_order_acquire);
    if (action == FaultAction::none || action == FaultAction::arming) continue;
    if (point != name_of(fault)) continue;
    const u32 only = fault.instance.load();
    if ((only == ~0u || only == own_id.load()) && take_turn(fault)) fire(table, fault, action);
  }
}

}  // namespace detail

void watch_faults(FaultTable* table, u32 stable_id) {
  watched.store(table != nullptr ? table : &empty_table);
  own_id.store(stable_id);
  detail::armed_word.store(&watched.load()->armed);
}

void on_fault_fired(std::function<void(const ArmedFault&)> callback) {
  fired_callback = std::move(callback);
}

bool arm_fault(FaultTable& table, std::string_view point, FaultAction action, u32 skip,
               u32 instance, u64 milliseconds, u32 request) {
  if (point.empty() || point.size() >= sizeof(ArmedFault::point) || action == FaultAction::none)
    return false;
  for (ArmedFault& fault : table.faults) {
    FaultAction none = FaultAction::none;
    if (!fault.state.compare_exchange_strong(none, FaultAction::arming)) continue;
    fault.point.fill('\0');
    std::copy(point.begin(), point.end(), fault.point.begin());
    fault.skip.store(skip);
    fault.fired.store(0);
    fault.instance.store(instance);
    fault.milliseconds = milliseconds;
    fault.request = request;
    table.armed.fetch_add(1);  // first: it may fire at once
    fault.state.store(action, std::memory_order_release);
    return true;
  }
  return false;
}

bool any_armed(const FaultTable& table, u32 request) {
  return std::ranges::any_of(table.faults, [&](const ArmedFault& fault) {
    const FaultAction state = fault.state.load();
    return state != FaultAction::none && state != FaultAction::arming && fault.request == request;
  });
}

void disarm_faults(FaultTable& table, u32 request) {
  for (ArmedFault& fault : table.faults) {
    const FaultAction state = fault.state.load();
    if (state == FaultAction::none || state == FaultAction::arming || fault.request != request)
      continue;
    free_slot(table, fault);
  }
}

}  // namespace dvm::fabric
