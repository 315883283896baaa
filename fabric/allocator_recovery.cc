// What the allocator does after a death, and how it is checked.
#include "fabric/failpoint.h"
#include "fabric/frame_allocator.h"

namespace dvm::fabric {
namespace {

bool is_of(InstanceId owner, u32 id, u32 generation) {
  return owner.valid() && owner.id == id && owner.generation <= generation;
}

void count(AllocatorCount& c, BlockUse use) {
  switch (use) {
    case BlockUse::free: ++c.free; break;
    case BlockUse::cached: ++c.cached; break;
    case BlockUse::held: ++c.held; break;
    case BlockUse::used: ++c.used; break;
    case BlockUse::retiring: ++c.retiring; break;
  }
}

// What may not be, whoever lives.
std::string flaw_of(BlockState s, const BlockChunk& chunk) {
  if (s.use > BlockUse::retiring) return "is in no known state";
  const bool owned = s.use != BlockUse::free && s.use != BlockUse::used;
  if (owned != s.owner.valid() || s.owner.id >= kMaxInstances)
    return owned ? "has no owner" : "has an owner";
  if (owned && (chunk.visitors.load() >> s.owner.id & 1) == 0)
    return "is owned by one that its chunk does not know";
  return {};
}

}  // namespace

// The state word decides. Of publish: another state or version means that somebody has seen the
// block in its word and settled it. Of a retirement: only its owner, now dead, could have moved it
// on; under `claim` the word is untouched, under `retire` it named the block and only its owner
// could take it out.
Status FrameAllocator::replay(AllocatorLane& lane) const {
  LogRecord& log = lane.log;
  const auto op = static_cast<LogOp>(log.op.load(std::memory_order_acquire));
  if (op == LogOp::none) return {};
  const auto at = static_cast<u64>(reinterpret_cast<std::byte*>(&log) - metadata_.data());
  if (op > LogOp::retire) return error("pool {}: log at {:#x}: unknown operation", name_, at);
  const auto place = place_of(log.block);
  const auto target = target_word(log.target);
  if (!place.ok()) return error("pool {}: log at {:#x}: {}", name_, at, place.error().message);
  if (!target.ok()) return error("pool {}: log at {:#x}: {}", name_, at, target.error().message);
  u64 state = log.state;
  const u64 mask = log.mask;
  const u64 named = (op == LogOp::publish ? log.desired : log.expected) & mask;
  const bool in_its_word =
      op == LogOp::claim || ((*target)->load(std::memory_order_acquire) & mask) == named;
  failpoint("allocator.replay");
  const BlockState after{in_its_word ? BlockUse::used : BlockUse::free, {}, log.version};
  (*place).word().compare_exchange_strong(state, after.packed(), std::memory_order_acq_rel);
  failpoint("allocator.replayed");
  log.op.store(static_cast<u32>(LogOp::none), std::memory_order_release);
  return {};
}

// Every chunk whose `visitors` names the id. The bit goes once the chunk is clean; until this ends
// no new generation of the id can attach, so nobody sets it meanwhile. A block still `retiring` is
// one whose log could not be read: it stays, lost rather than given twice.
void FrameAllocator::free_blocks_of(u32 id, u32 generation) const {
  const u64 bit = 1ull << id;
  const auto sweep = [&](BlockChunk& chunk) {
    if ((chunk.visitors.load(std::memory_order_acquire) & bit) == 0) return;
    for (u32 i = 0; i < kBlocksPerChunk; ++i) {
      u64 seen = chunk.blocks[i].load(std::memory_order_acquire);
      const BlockState state = BlockState::unpack(seen);
      if (!is_of(state.owner, id, generation) || state.use == BlockUse::retiring) continue;
      failpoint("allocator.sweep");
      if (chunk.blocks[i].compare_exchange_strong(seen, state.becoming(BlockUse::free).packed()))
        chunk.probably_used.fetch_and(~(1ull << i));
    }
    chunk.visitors.fetch_and(~bit);
  };
  for (BlockChunk& chunk : frame_chunks_) sweep(chunk);
  for (BlockChunk& chunk : slab_chunks_) sweep(chunk);
}

Status FrameAllocator::recover(InstanceId dead, InstanceId self) {
  if (dead.id >= kMaxInstances || !dead.valid())
    return error("pool {}: instance {}.{} cannot be recovered", name_, dead.id, dead.generation);
  // Whoever died in here left its work to be done again from the start: each step is idempotent.
  const LockGuard guard(header_->recovering, self, *instances_);
  return recover_locked(dead);
}

Result<u32> FrameAllocator::take_lane(InstanceId self) {
  if (self.id >= kMaxInstances || !self.valid())
    return error("pool {}: instance {}.{} cannot allocate", name_, self.id, self.generation);
  const LockGuard guard(header_->recovering, self, *instances_);
  if (self.generation > 1) DVM_TRY(recover_locked({self.id, self.generation - 1}));
  for (u32 lane = 0; lane < kLanes; ++lane) {
    u64 nobody = 0;
    if (header_->lanes[lane].owner.compare_exchange_strong(nobody, self.packed())) return lane;
  }
  return error("pool {}: all {} lanes of the allocator are taken", name_, kLanes);
}

Status FrameAllocator::recover_locked(InstanceId dead) {
  if (is_recovered(dead)) return {};
  Status status;
  for (AllocatorLane& lane : header_->lanes) {
    const InstanceId owner = InstanceId::unpack(lane.owner.load(std::memory_order_acquire));
    if (!is_of(owner, dead.id, dead.generation)) continue;
    if (auto s = replay(lane); !s.ok()) {
      status = s;
      continue;  // the lane stays as evidence
    }
    failpoint("allocator.lane_replayed");
    lane.owner.store(0, std::memory_order_release);
  }
  failpoint("allocator.lanes_done");
  free_blocks_of(dead.id, dead.generation);
  failpoint("allocator.blocks_done");
  header_->recovered[dead.id].store(dead.generation, std::memory_order_release);
  return status;
}

AllocatorReport FrameAllocator::check() const {
  AllocatorReport report;
  const auto complain = [&](u64 offset, const BlockState& s, const std::string& what) {
    report.violations.push_back(fmt::format("block at {:#x} {} (state {}, owner {}.{}, version {})",
                                            offset, what, static_cast<u32>(s.use), s.owner.id,
                                            s.owner.generation, s.version));
  };
  const auto look = [&](BlockChunk& chunk, u32 index, u64 offset, AllocatorCount& c) {
    const BlockState s = BlockState::unpack(chunk.blocks[index].load());
    count(c, s.use);
    if (const std::string flaw = flaw_of(s, chunk); !flaw.empty()) complain(offset, s, flaw);
    if (s.owner.valid() && is_recovered(s.owner)) complain(offset, s, "is owned by the recovered");
  };
  for (u64 f = 0; f < header_->frame_count; ++f) {
    const u64 chunk = f / kBlocksPerChunk;
    const u32 index = f % kBlocksPerChunk;
    look(frame_chunks_[chunk], index, frame_offset(chunk, index), report.frames);
  }
  for (u64 slab = 0; slab < slab_chunks_.size(); ++slab) {
    const u32 object_class = slab_chunks_[slab].object_class.load();
    if (object_class == 0) {
      ++report.slabs_without_class;
      continue;
    }
    if (object_class > kObjectClasses) {
      report.violations.push_back(fmt::format("slab {} has unknown class {}", slab, object_class));
      continue;
    }
    for (u32 i = 0; i < kBlocksPerChunk >> (object_class - 1); ++i)
      look(slab_chunks_[slab], i, object_offset(slab, i), report.objects);
  }
  for (u32 i = 0; i < kLanes; ++i) {
    const InstanceId owner = InstanceId::unpack(header_->lanes[i].owner.load());
    if (owner.valid() && is_recovered(owner))
      report.violations.push_back(fmt::format("lane {} belongs to the recovered", i));
  }
  return report;
}

}  // namespace dvm::fabric
