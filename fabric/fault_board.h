// The faults that were asked for, in the pool: anyone posts, one living process carries each out
// (fault_injector.h). Pending ones outlive whoever posted them and whoever was to carry them out.
#pragma once

#include "fabric/doorbell.h"
#include "fabric/failpoint.h"
#include "fabric/fault_life.h"
#include "fabric/health.h"
#include "fabric/result.h"

namespace dvm::fabric {

// How far a fault is, and in whose hands. One word, so that it is taken exactly once; `number`
// keeps a slow executor from taking a later fault in the same record for the one it looked at.
struct FaultWord {
  FaultStage stage = FaultStage::free;
  u16 number = 0;       // of the fault, modulo 2^16
  InstanceId executor;  // acting

  constexpr u64 packed() const {
    return (static_cast<u64>(executor.generation) << 32) | (static_cast<u64>(number) << 16) |
           (static_cast<u64>(executor.id & 0xff) << 8) | static_cast<u64>(stage);
  }
  static constexpr FaultWord unpack(u64 word) {
    return {static_cast<FaultStage>(word & 0xff),
            static_cast<u16>(word >> 16),
            {static_cast<u32>(word >> 8) & 0xff, static_cast<u32>(word >> 32)}};
  }
};
static_assert(kMaxInstances <= 256);

enum class FaultFailure : u32 { none, target_gone, no_process, refused };
std::string_view failure_text(FaultFailure failure);

// Written while `word` says writing, read afterwards. Death of its writer leaves it so: one record
// is lost, nothing fires.
struct alignas(64) FaultRecord {
  std::atomic<u64> word;  // FaultWord
  std::atomic<u64> due_ns;
  std::atomic<u64> began_ns;  // by its executor, once; 0: not yet
  std::atomic<u64> victim;    // packed InstanceId that it began with: not a successor of it
  std::atomic<u32> failure;   // FaultFailure
  u32 number;                 // from 1, the guest's faults
  FaultRequest request;
};
static_assert(sizeof(FaultRecord) == 192);

// All zero is a valid start.
struct FaultBoard {
  static constexpr u32 kRecords = 64;
  FaultTable points;
  Doorbell changed;              // posted, due, healed
  std::atomic<u32> last_number;  // given
  std::atomic<u32> cut;          // partition.h
  u32 reserved;
  std::atomic<u64> staged;  // line_buffer.h: bit by stable id
  std::array<u64, 5> reserved_tail;
  std::array<FaultRecord, kRecords> records;
};
static_assert(sizeof(FaultBoard) == 64 * 64 + 64 + 192 * 64);
inline constexpr u32 kFaultsVersion = 1;
Status check_record(const FaultBoard& board, const RecordPlace& place);

// Arms a fault; returns its number. Precondition: the request was checked (a target in range, a
// point's name that fits). Error: kRecords faults are pending, or too many points armed.
// Threads: any, of any process.
Result<u32> post_fault(FaultBoard& board, const FaultRequest& request);
// The record of a fault; nothing once it was overwritten by a later one.
const FaultRecord* find_fault(const FaultBoard& board, u32 number);
inline FaultWord look(const FaultRecord& record) {
  return FaultWord::unpack(record.word.load(std::memory_order_acquire));
}
// In the process that hit the point an armed fault waited for: it is due. For on_fault_fired.
void fault_fired(FaultBoard& board, const ArmedFault& armed);

// For events: what a fault is, in one number; and back.
constexpr u64 fault_tag(const FaultRequest& r) {
  return static_cast<u64>(r.kind) | (static_cast<u64>(r.target & 0xff) << 8) |
         (is_bad_page(r) ? 1u << 16 : 0u);
}
constexpr FaultKind tagged_kind(u64 tag) { return static_cast<FaultKind>(tag & 0xff); }
constexpr bool tagged_bad_page(u64 tag) { return (tag >> 16 & 1) != 0; }
constexpr u32 tagged_target(u64 tag) { return static_cast<u32>(tag >> 8) & 0xff; }

}  // namespace dvm::fabric
