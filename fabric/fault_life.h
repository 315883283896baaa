// A fault's life, apart from clocks, processes and the pool: what is seen goes in, the next stage
// and what is to be done come out. fabric/fault_injector.h feeds it and does it.
//
//   armed -> (due) -> acting -> done         armed -> failed: its target is gone
//
// `due` is a named point's hit: written by the process that hit it. `acting` names its executor;
// when that dies another starts again, which is right because every start is idempotent.
#pragma once

#include "fabric/fault.h"

namespace dvm::fabric {

enum class FaultStage : u32 { free, writing, armed, due, acting, done, failed };

struct FaultLife {
  FaultStage stage = FaultStage::free;
  TriggerKind trigger = TriggerKind::now;
  u64 due_ns = 0;    // CLOCK_MONOTONIC; of a point: ignored
  u64 until_ns = 0;  // acting: when it ends; ~0: never
};

struct FaultSight {
  enum class Executor { nobody, self, living, dead };
  u64 now_ns = 0;
  bool target_gone = false;  // has left or is known to be dead
  bool chosen = false;       // this process is the one to carry it out
  Executor executor = Executor::nobody;
};

struct FaultStep {
  enum class Order {
    nothing,
    start,        // claim it, log it, make it happen
    start_again,  // the same for an executor that died on the way: it may have logged it
    end,          // undo what lasted
    drop,         // it cannot happen any more
  };
  FaultLife life;
  Order order = Order::nothing;
  u64 look_again_ns = ~u64{0};  // at the latest
};

// How often one looks whether what another has to do is done.
inline constexpr u64 kFaultPollNs = 20'000'000;

FaultStep step(FaultLife life, const FaultSight& seen);

}  // namespace dvm::fabric
