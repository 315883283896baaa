// Where the machine is between two epochs: one word of the pool, so that everybody agrees on it.
//
//              stop               close              commit
//   open(e) ─────────> stopping(e) ────> closing(e) ────────> open(e+1)
//      ^                   |                |
//      +----- call_off ----+----------------+
//
//   any(e) ── roll_back ──> rolling(e) ── restored ──> open(e)
//
//   stopping  each vCPU leaves the guest and its state in the bank of e+1
//   closing   they stand still, and whoever closes has all devices' locks: pages written in e are
//             protected again, those written all the time saved for e+1, devices copied to the bank
//   rolling   what ran in e is void: the nodes come to rest, and one of them puts e's beginning
//             back
//
// `commit` is the instant at which everything of e becomes what has happened. Each step is one
// compare-and-swap by whoever has claimed the coordinator's role, but for roll_back, which anyone
// takes. Death between two steps: another node claims the role and goes on from what the word says.
// `turn` grows with each stop and roll-back, so that an answer to one is no answer to the next.
#pragma once

#include <atomic>
#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

// How long an epoch may be chosen to last.
inline constexpr u32 kLeastEpochMs = 5, kMostEpochMs = 10'000;

enum class EpochStage : u8 { open, stopping, closing, rolling };

struct EpochWord {
  u32 epoch = 1;  // the one that runs, or is ended or rolled back; 0 is none
  u32 turn = 0;   // 16 bits
  EpochStage stage = EpochStage::open;

  static constexpr u32 kTurns = 1u << 16;
  // With a byte that makes all eight of them zero together: which epoch the machine goes back to
  // after all its processes were lost hangs on this word.
  constexpr u64 packed() const {
    const u64 word = u64{epoch} << 32 | u64{turn % kTurns} << 16 | static_cast<u8>(stage);
    return word | u64{parity(word)} << 8;
  }
  static constexpr EpochWord unpack(u64 word) {
    return {static_cast<u32>(word >> 32), static_cast<u32>(word >> 16) % kTurns,
            static_cast<EpochStage>(static_cast<u8>(word))};
  }
  static constexpr u8 parity(u64 word) {
    word ^= word >> 32;
    word ^= word >> 16;
    return static_cast<u8>(word ^ word >> 8);
  }
  friend constexpr bool operator==(EpochWord, EpochWord) = default;
};

enum class EpochStep : u8 { stop, close, commit, call_off, roll_back, restored };

// The word after that step; nothing: the step is not (or no longer) possible.
constexpr std::optional<EpochWord> epoch_after(EpochWord w, EpochStep step) {
  using enum EpochStage;
  const u32 next_turn = (w.turn + 1) % EpochWord::kTurns;
  switch (step) {
    case EpochStep::stop:
      if (w.stage != open) return std::nullopt;
      return EpochWord{w.epoch, next_turn, stopping};
    case EpochStep::close:
      if (w.stage != stopping) return std::nullopt;
      return EpochWord{w.epoch, w.turn, closing};
    case EpochStep::commit:
      if (w.stage != closing) return std::nullopt;
      return EpochWord{w.epoch + 1, w.turn, open};
    case EpochStep::call_off:
      if (w.stage != stopping && w.stage != closing) return std::nullopt;
      return EpochWord{w.epoch, w.turn, open};
    case EpochStep::roll_back: return EpochWord{w.epoch, next_turn, rolling};
    case EpochStep::restored:
      if (w.stage != rolling) return std::nullopt;
      return EpochWord{w.epoch, w.turn, open};
  }
  return std::nullopt;
}

// Takes the step from exactly that word; false: somebody took one before.
inline bool take_epoch_step(std::atomic<u64>& word, EpochWord from, EpochStep step) {
  const auto after = epoch_after(from, step);
  u64 seen = from.packed();
  return after && word.compare_exchange_strong(seen, after->packed(), std::memory_order_seq_cst);
}

// Do the vCPUs stand still, once they have answered?
constexpr bool holds_vcpus(EpochStage stage) { return stage != EpochStage::open; }
// Does whoever would let a page be written have to wait? Between the protection of what was written
// and the commit it would be of neither epoch.
constexpr bool holds_writers(EpochStage stage) { return stage == EpochStage::closing; }

}  // namespace dvm::vmm
