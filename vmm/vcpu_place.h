// Where a vCPU is, and where it is about to go: one word of its record, so that everybody agrees at
// every instant on who runs it.
//
//               ask            prepared            hand_over             arrived
//   settled(n) ----> asked(n,t) -----> ready(n,t) ----------> arriving(t) -----> settled(t)
//       ^               |                  |
//       +---------------+--- call_off -----+
//
//   any of settled(n), asked(n,t), ready(n,t) -- give_up(n,h) --> arriving(h)
//   arriving(t) -- pass_on(t,h) --> arriving(h)        settled(n) -- reassign(n,h) --> settled(h)
//
// Asked by anyone; `prepared` and `arrived` are steps of the target's thread for the vCPU, and
// `hand_over` of the source's, after it has left the vCPU's whole state in the pool
// (vcpu_state.h). That step is the commit: before it the vCPU is the source's, after it the
// target's, and there is no instant at which it is both's or neither's. Each step is one
// compare-and-swap.
//
// `give_up` leaves the vCPU to an heir that knows nothing of it yet: a step of its node when the
// power fails, or of the node's keeper (keeper.h), again after the state is whole in the pool.
// `pass_on`: the heir died before it took it. `reassign`: the vCPU has no state, as it has not run
// since the machine's reset.
//
// Death: of the asker: the move goes on. Of the target before the commit: any survivor, and the
// source itself, calls the move off. Of the source before it: the vCPU went with it. Of the target
// after it: the state lies in the pool until the place is settled.
#pragma once

#include <atomic>
#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

enum class PlaceStage : u8 { settled, asked, ready, arriving };

// Why a move was called off.
enum class MoveRefusal : u8 {
  none,
  target_died,
  target_failed,  // to make or prepare its vCPU; it says why on stderr
  source_failed,  // to read the vCPU's state; as above
  target_empty,   // it takes no vCPUs any more
  timed_out,
  reset,
  source_died,  // or lost its power: the vCPU went to another
};
inline constexpr MoveRefusal kLastMoveRefusal = MoveRefusal::source_died;

struct VcpuPlace {
  u8 node = 0;
  u8 target = 0;  // asked and ready: where it is to go
  PlaceStage stage = PlaceStage::settled;
  MoveRefusal refusal = MoveRefusal::none;  // of the last move asked for
  u32 moves = 0;                            // committed so far

  constexpr u64 packed() const {
    return u64{moves} << 32 | u64{static_cast<u8>(refusal)} << 24 |
           u64{static_cast<u8>(stage)} << 16 | u64{target} << 8 | node;
  }
  static constexpr VcpuPlace unpack(u64 word) {
    return {static_cast<u8>(word), static_cast<u8>(word >> 8),
            static_cast<PlaceStage>(static_cast<u8>(word >> 16)),
            static_cast<MoveRefusal>(static_cast<u8>(word >> 24)), static_cast<u32>(word >> 32)};
  }
  friend constexpr bool operator==(VcpuPlace, VcpuPlace) = default;
};

struct PlaceStep {
  enum class Kind : u8 { ask, prepared, call_off, hand_over, arrived, give_up, pass_on, reassign };
  Kind kind;
  u8 node =
      0;  // ask: where to; pass_on, reassign: who is dead; the others but call_off: who does it
  MoveRefusal refusal = MoveRefusal::none;  // call_off
  u8 heir = 0;                              // give_up, pass_on, reassign
};

// The place after that step; nothing: the step is not (or no longer) possible.
constexpr std::optional<VcpuPlace> place_after(VcpuPlace p, PlaceStep step) {
  using Kind = PlaceStep::Kind;
  switch (step.kind) {
    case Kind::ask:
      if (p.stage != PlaceStage::settled || p.node == step.node) return std::nullopt;
      return VcpuPlace{p.node, step.node, PlaceStage::asked, MoveRefusal::none, p.moves};
    case Kind::prepared:
      if (p.stage != PlaceStage::asked || p.target != step.node) return std::nullopt;
      return VcpuPlace{p.node, p.target, PlaceStage::ready, MoveRefusal::none, p.moves};
    case Kind::call_off:
      if (p.stage != PlaceStage::asked && p.stage != PlaceStage::ready) return std::nullopt;
      return VcpuPlace{p.node, 0, PlaceStage::settled, step.refusal, p.moves};
    case Kind::hand_over:
      if (p.stage != PlaceStage::ready || p.node != step.node) return std::nullopt;
      return VcpuPlace{p.target, 0, PlaceStage::arriving, MoveRefusal::none, p.moves + 1};
    case Kind::arrived:
      if (p.stage != PlaceStage::arriving || p.node != step.node) return std::nullopt;
      return VcpuPlace{p.node, 0, PlaceStage::settled, p.refusal, p.moves};
    case Kind::give_up:
      if (p.stage == PlaceStage::arriving || p.node != step.node) return std::nullopt;
      return VcpuPlace{step.heir, 0, PlaceStage::arriving, MoveRefusal::source_died, p.moves + 1};
    case Kind::pass_on:
      if (p.stage != PlaceStage::arriving || p.node != step.node) return std::nullopt;
      return VcpuPlace{step.heir, 0, PlaceStage::arriving, p.refusal, p.moves};
    case Kind::reassign:
      if (p.stage == PlaceStage::arriving || p.node != step.node) return std::nullopt;
      return VcpuPlace{step.heir, 0, PlaceStage::settled, MoveRefusal::none, p.moves};
  }
  return std::nullopt;
}

// Takes the step, if it is possible; returns what the place was before it.
inline std::optional<VcpuPlace> take_step(std::atomic<u64>& place, PlaceStep step) {
  u64 seen = place.load(std::memory_order_seq_cst);
  for (;;) {
    const VcpuPlace before = VcpuPlace::unpack(seen);
    const auto after = place_after(before, step);
    if (!after) return std::nullopt;
    if (place.compare_exchange_weak(seen, after->packed(), std::memory_order_seq_cst))
      return before;
  }
}

}  // namespace dvm::vmm
