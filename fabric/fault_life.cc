#include "fabric/fault_life.h"

#include <algorithm>

namespace dvm::fabric {
namespace {

using Order = FaultStep::Order;
using Executor = FaultSight::Executor;

FaultStep begin(FaultLife life, const FaultSight& seen, Order order) {
  if (!seen.chosen) return {life, Order::nothing, seen.now_ns + kFaultPollNs};
  life.stage = FaultStage::acting;
  return {life, order, seen.now_ns};
}

FaultStep armed(FaultLife life, const FaultSight& seen) {
  const bool by_point = life.trigger == TriggerKind::point;
  if (seen.target_gone) {
    if (!seen.chosen) return {life, Order::nothing, seen.now_ns + kFaultPollNs};
    life.stage = FaultStage::failed;
    return {life, Order::drop, ~u64{0}};
  }
  // Of a target that dies before its point is hit nobody tells us: a look now and then.
  if (by_point) return {life, Order::nothing, seen.now_ns + 5 * kFaultPollNs};
  if (seen.now_ns < life.due_ns) return {life, Order::nothing, life.due_ns};
  return begin(life, seen, Order::start);
}

FaultStep acting(FaultLife life, const FaultSight& seen) {
  if (seen.executor == Executor::dead || seen.executor == Executor::nobody)
    return begin(life, seen, Order::start_again);
  if (seen.executor != Executor::self) return {life, Order::nothing, seen.now_ns + kFaultPollNs};
  if (seen.now_ns >= life.until_ns || seen.target_gone) {
    life.stage = FaultStage::done;
    return {life, Order::end, ~u64{0}};
  }
  // Its target may die meanwhile, and then it is over.
  return {life, Order::nothing, std::min(life.until_ns, seen.now_ns + 5 * kFaultPollNs)};
}

}  // namespace

FaultStep step(FaultLife life, const FaultSight& seen) {
  switch (life.stage) {
    case FaultStage::free:
    case FaultStage::writing:
    case FaultStage::done:
    case FaultStage::failed: break;
    case FaultStage::armed: return armed(life, seen);
    case FaultStage::due: return begin(life, seen, Order::start);
    case FaultStage::acting: return acting(life, seen);
  }
  return {life};
}

}  // namespace dvm::fabric
