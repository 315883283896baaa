// What can be made to go wrong with a guest on purpose, and when: one request, as the pool keeps
// it.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "fabric/instance.h"

namespace dvm::fabric {

enum class FaultKind : u32 {
  none,
  kill,         // the process gets SIGKILL
  kill_host,    // the process and all that serves its host
  hang,         // all its threads stop; with a duration they go on after it
  slow,         // it runs `share` percent of each period
  power_fail,   // it and what it had in private memory are gone at once
  partition,    // its messages and everyone's to it are cut
  lost_lines,   // it dies with lines that it has written and not yet written back
  telemetry,    // a health reading of it
  panic_guest,  // the guest's OS panics
  corrupt,      // bits of a byte in the pool's metadata flip, or a page of guest RAM goes bad
};
inline constexpr u32 kFaultKinds = 11;

enum class TriggerKind : u32 { now, at, point, random };

// The stable id of nobody: panic_guest and corrupt are aimed at no process.
inline constexpr u32 kNoTarget = 0xff;
inline constexpr std::size_t kPointNameBytes = 36;  // with a terminating zero

// Zeroed is a request for nothing. Times are milliseconds from the arming.
struct FaultRequest {
  FaultKind kind = FaultKind::none;
  TriggerKind trigger = TriggerKind::now;
  u32 target = kNoTarget;  // stable id of a process
  u32 occurrence = 1;      // point: fires at the k-th hit in the target (any, without), from 1
  u64 duration_ms = 0;     // hang, slow, partition; 0: without end
  u64 delay_ms = 0;        // at: when; random: the mean of an exponential distribution
  u64 seed = 0;            // random
  u32 share = 10;          // slow: percent of the time that it runs, 1 to 99
  u32 period_ms = 100;     // slow: of stopping and going on
  u32 reading = 0;         // telemetry: HealthReading
  u32 mask = 0;            // corrupt: the bits to flip; 0: it is about a page of the guest's
  u64 value = 0;           // telemetry: of the reading; corrupt: offset in the pool, bytes, or the
                           // page's guest physical address
  std::array<char, kPointNameBytes> point{};
  u32 reserved = 0;

  std::string_view point_name() const { return point.data(); }
};
static_assert(sizeof(FaultRequest) == 64 + kPointNameBytes + 4);

// "kill-host"; and back, none for a name that is none.
std::string_view fault_name(FaultKind kind);
std::optional<FaultKind> fault_by_name(std::string_view name);
constexpr bool has_target(FaultKind kind) {
  return kind != FaultKind::panic_guest && kind != FaultKind::corrupt;
}
// It goes on for a while rather than being over at once.
constexpr bool lasts(FaultKind kind) {
  return kind == FaultKind::hang || kind == FaultKind::slow || kind == FaultKind::partition ||
         kind == FaultKind::lost_lines;
}

constexpr bool is_bad_page(const FaultRequest& request) {
  return request.kind == FaultKind::corrupt && request.mask == 0;
}
// It takes a process that has a guest, not the manager's own.
constexpr bool needs_guest(const FaultRequest& request) {
  return request.kind == FaultKind::panic_guest || is_bad_page(request);
}

// When a random fault comes: the same for the same seed, wherever it is asked. Milliseconds.
u64 random_delay_ms(u64 seed, u64 mean_ms);

}  // namespace dvm::fabric
