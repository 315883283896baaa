// What has become of one failure, in the pool: which instance failed, how far its burial is, and
// who runs its recovery. Whoever dies while working on it, another reads here where to go on.
#pragma once

#include <array>
#include <atomic>

#include "fabric/detector.h"
#include "fabric/instance.h"

namespace dvm::fabric {

// suspect: being powered off. fenced: stopped and drained, its generation is (about to be) retired.
// announced: every group it was in knows. salvaged: every recovery routine has run. dead: done.
enum class FailureStage : u8 { none, suspect, fenced, announced, salvaged, dead };

// The one word that decides: every stage is entered by one compare-and-swap, hence once.
struct FailureWord {
  u32 generation = 0;
  FailureStage stage = FailureStage::none;
  FailureCause cause = FailureCause::none;
  u16 step = 0;  // of recovery: routines done so far

  constexpr u64 packed() const {
    return (static_cast<u64>(generation) << 32) | (static_cast<u64>(step) << 16) |
           (static_cast<u64>(cause) << 8) | static_cast<u64>(stage);
  }
  static constexpr FailureWord unpack(u64 word) {
    return {static_cast<u32>(word >> 32), static_cast<FailureStage>(word & 0xff),
            static_cast<FailureCause>((word >> 8) & 0xff), static_cast<u16>((word >> 16) & 0xffff)};
  }
  constexpr bool unfinished() const {
    return stage != FailureStage::none && stage != FailureStage::dead;
  }
};

// One per stable id. Times: CLOCK_MONOTONIC, ns; for people and benches, nothing depends on them.
// Death between any two stores leaves the word at a stage whose work is done again from its start;
// every such work is idempotent.
struct alignas(64) FailureRecord {
  std::atomic<u64> word;    // FailureWord
  std::atomic<u64> runner;  // packed InstanceId of who runs its recovery; 0: nobody yet
  std::atomic<u64> suspect_ns;
  std::atomic<u64> fenced_ns;
  std::atomic<u64> announced_ns;
  std::atomic<u64> dead_ns;
  std::atomic<u32> runners;  // that took a turn
  u32 reserved;
};
static_assert(sizeof(FailureRecord) == 64);

using FailureTable = std::array<FailureRecord, kMaxInstances>;

inline FailureWord look(const FailureRecord& record) {
  return FailureWord::unpack(record.word.load(std::memory_order_acquire));
}

// Moves the failure of `who` from one stage to the next; true for the one caller that did. Setting
// `step` is part of the same store. False: another did, or the record is about another generation.
bool advance(FailureTable& table, InstanceId who, FailureStage from, FailureStage to, u16 step = 0);
// Opens a failure (none, or a finished one of an earlier generation, becomes suspect). Only the
// first caller's cause stands.
bool begin_failure(FailureTable& table, InstanceTable& instances, InstanceId who,
                   FailureCause cause);

}  // namespace dvm::fabric
