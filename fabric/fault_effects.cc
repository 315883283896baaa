#include "fabric/fault_effects.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "fabric/line_buffer.h"
#include "fabric/partition.h"

namespace dvm::fabric {
namespace {

constexpr u32 kWakes = 1000;  // a millisecond each

}  // namespace

u64 FaultEffects::until_ns(const FaultRequest& request, u64 began_ns) {
  if (!lasts(request.kind)) return began_ns;
  if (request.kind == FaultKind::lost_lines) return began_ns + kLostLinesNs;
  return request.duration_ms == 0 ? ~u64{0} : began_ns + request.duration_ms * 1'000'000;
}

// Only ever the process that the fault was pinned to: see open_process.
bool FaultEffects::signal(const FaultRecord& record, int number) const {
  const InstanceId victim = InstanceId::unpack(record.victim.load());
  const auto process = open_process(fabric_.peers.records[victim.id], victim);
  return process && ::syscall(SYS_pidfd_send_signal, process->get(), number, nullptr, 0) == 0;
}

FaultFailure FaultEffects::corrupt(const FaultRequest& request) const {
  if (is_bad_page(request)) {
    return hooks_.bad_page && hooks_.bad_page(request.value) ? FaultFailure::none
                                                             : FaultFailure::refused;
  }
  if (request.value >= place_.metadata.size()) return FaultFailure::refused;
  auto& byte = reinterpret_cast<u8&>(place_.metadata[request.value]);
  std::atomic_ref(byte).fetch_xor(static_cast<u8>(request.mask));
  return FaultFailure::none;
}

void FaultEffects::tell_health(const FaultRequest& request) const {
  const auto reading = static_cast<HealthReading>(request.reading);
  record_health(*place_.health, request.target, reading, request.value);
  append_event(*place_.events, self_, instances_, EventKind::node_health,
               {request.target, request.reading, request.value});
}

u32 FaultEffects::index_of(const FaultRecord& record) const {
  return static_cast<u32>(&record - place_.board->records.data());
}

FaultFailure FaultEffects::begin(const FaultRecord& record) {
  const FaultRequest& request = record.request;
  const auto sent = [](bool ok) { return ok ? FaultFailure::none : FaultFailure::no_process; };
  switch (request.kind) {
    case FaultKind::none: return FaultFailure::refused;
    case FaultKind::kill_host:
      if (hooks_.kill_survivors) hooks_.kill_survivors(request.target);
      [[fallthrough]];
    case FaultKind::kill:
      // At a point the process has done it to itself already.
      return sent(signal(record, SIGKILL) || request.trigger == TriggerKind::point);
    case FaultKind::power_fail:
      return sent(signal(record, SIGPWR) || request.trigger == TriggerKind::point);
    case FaultKind::hang: return sent(signal(record, SIGSTOP));
    case FaultKind::slow: return FaultFailure::none;
    case FaultKind::partition:
      place_.board->cut.fetch_or(partition_bit(request.target));
      return FaultFailure::none;
    case FaultKind::lost_lines:
      place_.board->staged.fetch_or(u64{1} << request.target);
      arm_fault(place_.board->points, kLinesStaged, FaultAction::kill, 0, request.target, 0,
                index_of(record) + 1);
      return FaultFailure::none;
    case FaultKind::telemetry: tell_health(request); return FaultFailure::none;
    case FaultKind::panic_guest:
      return hooks_.panic_guest && hooks_.panic_guest() ? FaultFailure::none
                                                        : FaultFailure::refused;
    case FaultKind::corrupt: return corrupt(request);
  }
  return FaultFailure::refused;
}

u64 FaultEffects::keep_up(const FaultRecord& record, u64 now_ns) {
  const FaultRequest& request = record.request;
  if (request.kind != FaultKind::slow) return ~u64{0};
  const u64 period = request.period_ms * u64{1'000'000};
  const u64 runs = period / 100 * request.share;
  const u64 at = (now_ns - std::min(now_ns, record.began_ns.load())) % period;
  const bool stop = at >= runs;
  u32& last = stopped_[index_of(record)];
  const u32 wanted = 1 + (stop ? 1u : 0u);
  if (last != wanted) signal(record, stop ? SIGSTOP : SIGCONT);
  last = wanted;
  return now_ns + (stop ? period - at : runs - at);
}

void FaultEffects::heal(const FaultRequest& request) const {
  place_.board->cut.fetch_and(~partition_bit(request.target));
  ring(fabric_.role.changed);
  ring(fabric_.recovery_due);
  ring(fabric_.peers.changed);
  for (Group& group : fabric_.groups) ring(group.changed);
  ring(place_.events->written);
  ring(place_.board->changed);
}

// One that hangs at a point says that it is due there, and only then stands still: it may have been
// stopped and woken by us before that.
void FaultEffects::wake(const FaultRecord& record) const {
  FaultTable& points = place_.board->points;
  const u32 request = index_of(record) + 1;
  bool there = signal(record, SIGCONT);
  for (u32 i = 0; i < kWakes && there && any_armed(points, request); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    there = signal(record, SIGCONT);
  }
  disarm_faults(points, request);  // of one that was killed meanwhile
}

void FaultEffects::end(const FaultRecord& record) {
  const FaultRequest& request = record.request;
  stopped_[index_of(record)] = 0;
  if (request.kind == FaultKind::hang) wake(record);
  if (request.kind == FaultKind::slow) signal(record, SIGCONT);
  if (request.kind == FaultKind::partition) heal(request);
  if (request.kind == FaultKind::lost_lines) {
    signal(record, SIGKILL);
    disarm_faults(place_.board->points, index_of(record) + 1);  // not for a successor
    place_.board->staged.fetch_and(~(u64{1} << request.target));
  }
}

}  // namespace dvm::fabric
