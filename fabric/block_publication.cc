// How a block becomes reachable from the pool and ceases to be, each as one logged step.
#include "fabric/block_cache.h"
#include "fabric/failpoint.h"
#include "fabric/line_buffer.h"

namespace dvm::fabric {

void BlockCache::write_log(LogOp op, u64 block, u64 state, u32 version, const Publication& p) {
  LineBuffer lines;
  lines.store(log_->version, version);
  lines.store(log_->block, block);
  lines.store(log_->state, state);
  lines.store(log_->target, p.target);
  lines.store(log_->mask, p.mask);
  lines.store(log_->expected, p.expected);
  lines.store(log_->desired, p.desired);
  lines.write_back();
  set_log(op);
}

Result<bool> BlockCache::publish(u64 block, const Publication& to) {
  DVM_ASSIGN(const BlockPlace place, allocator_->place_of(block));
  DVM_ASSIGN(std::atomic<u64>* const word, allocator_->target_word(to.target));
  u64 held = place.word().load(std::memory_order_acquire);
  const BlockState state = BlockState::unpack(held);
  if (state.use != BlockUse::held || state.owner != self_)
    return error("block {:#x} is not held by {}.{}", block, self_.id, self_.generation);
  if (((to.expected ^ to.desired) & to.mask) == 0)
    return error("block {:#x}: the word at {:#x} would not change its name", block, to.target);
  write_log(LogOp::publish, block, held, state.version, to);
  failpoint("allocator.publish_logged");
  u64 expected = to.expected;
  const bool exchanged = word->compare_exchange_strong(expected, to.desired);
  failpoint("allocator.publish_exchanged");
  // Fails only if one that retires it has settled it for us.
  if (exchanged)
    place.word().compare_exchange_strong(held, state.becoming(BlockUse::used).packed());
  failpoint("allocator.publish_settled");
  set_log(LogOp::none);
  return exchanged;
}

// The state is read before the word: a name found in the word then belongs to that life of the
// block, since the name of a life is gone from its word before the life ends.
void BlockCache::settle(BlockWord& state_word, const std::atomic<u64>& word, const Publication& p) {
  u64 seen = state_word.load(std::memory_order_acquire);
  const BlockState state = BlockState::unpack(seen);
  if (state.use != BlockUse::held) return;
  if (((word.load(std::memory_order_acquire) ^ p.expected) & p.mask) != 0) return;
  state_word.compare_exchange_strong(seen, state.becoming(BlockUse::used).packed());
}

Result<bool> BlockCache::retire(u64 block, const Publication& from) {
  DVM_ASSIGN(const BlockPlace place, allocator_->place_of(block));
  DVM_ASSIGN(std::atomic<u64>* const word, allocator_->target_word(from.target));
  if (((from.expected ^ from.desired) & from.mask) == 0)
    return error("block {:#x}: the word at {:#x} would not change its name", block, from.target);
  settle(place.word(), *word, from);
  u64 used = place.word().load(std::memory_order_acquire);
  const BlockState state = BlockState::unpack(used);
  if (state.use != BlockUse::used) return false;
  visit(*place.chunk);
  u64 retiring = BlockState::retiring_by(self_, lane_).packed();
  write_log(LogOp::claim, block, retiring, state.version, from);
  failpoint("allocator.claim_logged");
  if (!place.word().compare_exchange_strong(used, retiring)) {
    set_log(LogOp::none);
    return false;
  }
  failpoint("allocator.claimed");
  u64 expected = from.expected;
  bool exchanged = false;
  if (((word->load() ^ from.expected) & from.mask) == 0) {
    set_log(LogOp::retire);
    failpoint("allocator.retire_logged");
    exchanged = word->compare_exchange_strong(expected, from.desired);
    failpoint("allocator.retire_exchanged");
  }
  if (exchanged) {
    keep(place, block, state);
  } else {
    place.word().store(used, std::memory_order_release);
  }
  failpoint("allocator.retire_settled");
  set_log(LogOp::none);
  return exchanged;
}

}  // namespace dvm::fabric
