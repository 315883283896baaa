#include "srt/replica_table.h"

#include <algorithm>
#include <bit>

#include "fabric/crc32c.h"
#include "fabric/failpoint.h"

namespace dvm::srt {
namespace {

using fabric::RegionKind;

// A bucket is to be about so full when every page of RAM holds a block.
constexpr u64 kPagesForBucket = 14;

u64 mixed(u64 x) {  // splitmix64's last steps
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
  return x ^ x >> 31;
}

u64 check_of(u64 key, u64 place, const BlockSum& sum) {
  return mixed(key ^ mixed(place ^ mixed(sum.low ^ mixed(sum.high + 1))));
}

u64 frames_bytes(u64 frames) { return align_up(frames * sizeof(KeptFrame), kPageBytes); }
u64 hints_bytes(u64 pages) { return align_up(pages * sizeof(PageHint), kPageBytes); }

u32 header_checksum(const ReplicaHeader& header) {
  return fabric::crc32c(
      std::as_bytes(std::span(&header, 1)).first(offsetof(ReplicaHeader, checksum)));
}

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

u64 ReplicaSize::region_bytes() const {
  return kPageBytes + frames_bytes(kept_frames) + hints_bytes(ram_pages) +
         buckets * sizeof(ReplicaBucket) + align_up(runs * sizeof(BlockRun), kPageBytes);
}

namespace {

u64 buckets_for(u64 ram_bytes) {
  return std::bit_ceil(std::max<u64>(ram_bytes / kPageBytes / kPagesForBucket, 16));
}

// RAM has a hole below 4 GiB, of 1 GiB at most.
u64 hints_for(u64 ram_bytes) { return (ram_bytes + kGiB) / kPageBytes; }

u64 table_bytes_for(u64 ram_bytes) {
  return buckets_for(ram_bytes) * sizeof(ReplicaBucket) + hints_bytes(hints_for(ram_bytes));
}

}  // namespace

u64 default_replica_budget(u64 ram_bytes) { return std::max(ram_bytes / 2, 64 * kMiB); }

u64 least_replica_budget(u64 ram_bytes) { return 2 * table_bytes_for(ram_bytes); }

// A third of what the table leaves is for copies of its own: what loaders read is some tens of MiB.
ReplicaSize replica_size(u64 ram_bytes, u64 budget) {
  const u64 table = table_bytes_for(ram_bytes);
  // Read-ahead of page caches makes runs of some 32 KiB and more.
  constexpr u64 kBlocksInRun = 8, kMostRuns = 1 << 19;
  const u64 runs = std::min(budget / kPageBytes / kBlocksInRun, kMostRuns);
  return {buckets_for(ram_bytes), (std::max(budget, table) - table) / 3 / kPageBytes, budget,
          hints_for(ram_bytes), static_cast<u32>(runs)};
}

Status ReplicaTable::format(const fabric::Pool& pool, const ReplicaSize& size, u64 kept_at) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::replicas, kReplicasVersion));
  if (bytes.size() < size.region_bytes())
    return error("pool {}: no room for {} buckets of replicas", pool.name(), size.buckets);
  auto* header = std::construct_at(reinterpret_cast<ReplicaHeader*>(bytes.data()));
  header->buckets = size.buckets;
  header->kept_frames = size.kept_frames;
  header->kept_at = kept_at;
  header->budget = size.budget;
  header->ram_pages = size.ram_pages;
  header->runs = size.runs;
  header->checksum = header_checksum(*header);
  return {};
}

Result<ReplicaTable> ReplicaTable::of(const fabric::Pool& pool, fabric::InstanceId self,
                                      const fabric::InstanceTable& instances) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::replicas, kReplicasVersion));
  auto* header = reinterpret_cast<ReplicaHeader*>(bytes.data());
  const ReplicaSize size{header->buckets, header->kept_frames, header->budget, header->ram_pages,
                         header->runs};
  const u64 total = pool.header().total_bytes;
  if (header->checksum != header_checksum(*header) || !std::has_single_bit(size.buckets) ||
      size.buckets > bytes.size() || size.ram_pages > bytes.size() ||
      size.region_bytes() > bytes.size() || header->kept_at > total ||
      size.kept_frames > (total - header->kept_at) / kPageBytes)
    return error("pool {}: its replica table's header is damaged", pool.name());
  ReplicaTable table;
  table.header_ = header;
  table.self_ = self;
  table.instances_ = &instances;
  std::byte* at = bytes.data() + kPageBytes;
  table.frames_ = {reinterpret_cast<KeptFrame*>(at), size.kept_frames};
  at += frames_bytes(size.kept_frames);
  table.hints_ = {reinterpret_cast<PageHint*>(at), size.ram_pages};
  at += hints_bytes(size.ram_pages);
  table.buckets_ = {reinterpret_cast<ReplicaBucket*>(at), size.buckets};
  at += size.buckets * sizeof(ReplicaBucket);
  table.runs_ = {reinterpret_cast<BlockRun*>(at), size.runs};
  if (size.kept_frames != 0) {
    DVM_ASSIGN(table.kept_, Mapping::shared(pool.fd(), header->kept_at,
                                            size.kept_frames * kPageBytes, pool.name()));
  }
  return table;
}

ReplicaBucket& ReplicaTable::bucket(BlockKey key) const {
  return buckets_[mixed(key.packed()) & (buckets_.size() - 1)];
}

namespace {

// The entry's number in its bucket, if it is whole.
std::optional<u32> index_of(const ReplicaBucket& at, u64 key) {
  for (u32 i = 0; i < kEntriesInBucket; ++i) {
    const ReplicaEntry& e = at.entries[i];
    if (at.keys[i] == key && e.check == check_of(key, e.place, e.sum)) return i;
  }
  return std::nullopt;
}

Replica replica_of(const ReplicaEntry& entry) {
  return {ReplicaPlace::unpack(entry.place), entry.sum};
}

}  // namespace

std::optional<Replica> ReplicaTable::find(BlockKey key) const {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const auto index = index_of(at, key.packed());
  if (!index) return std::nullopt;
  return replica_of(at.entries[*index]);
}

u32 ReplicaTable::next_order(u32 boot) const {
  u64 before = header_->order.load(kRelaxed);
  for (;;) {
    const u64 after = (before >> 32 == boot ? before : u64{boot} << 32) + 1;
    if (header_->order.compare_exchange_weak(before, after, kRelaxed))
      return static_cast<u32>(after);
  }
}

u64 ReplicaTable::used_in(u32 boot) const {
  const u64 order = header_->order.load(kRelaxed);
  return order >> 32 == boot ? order & 0xffff'ffff : 0;
}

void ReplicaTable::erase(ReplicaBucket& at, u32 index, Dropped why) {
  free_frame(ReplicaPlace::unpack(at.entries[index].place), at.keys[index]);
  at.keys[index] = 0;
  at.entries[index].check = 0;
  header_->figures.entries.fetch_sub(1, kRelaxed);
  header_->figures.dropped[static_cast<u32>(why)].fetch_add(1, kRelaxed);
}

// In the place of its entry, of a free or damaged one, or of the one that was used longest ago.
void ReplicaTable::place(ReplicaBucket& at, BlockKey key, const Replica& replica, u32 boot) {
  const u64 word = key.packed();
  std::optional<u32> index = index_of(at, word);
  u32 order = 0;
  if (index) {
    const ReplicaEntry& before = at.entries[*index];
    if (before.boot == boot) order = before.order;
    if (before.place != replica.place.packed())
      free_frame(ReplicaPlace::unpack(before.place), word);
  } else {
    u32 oldest = 0;
    for (u32 i = 0; i < kEntriesInBucket && !index; ++i) {
      const ReplicaEntry& e = at.entries[i];
      if (at.keys[i] == 0 || e.check != check_of(at.keys[i], e.place, e.sum)) index = i;
      const ReplicaEntry& o = at.entries[oldest];
      if (e.boot < o.boot || (e.boot == o.boot && e.order > o.order)) oldest = i;
    }
    if (!index) {
      index = oldest;
      erase(at, oldest, Dropped::displaced);
    } else if (at.keys[*index] != 0) {
      header_->figures.entries.fetch_sub(1, kRelaxed);  // one that was half written
    }
    header_->figures.entries.fetch_add(1, kRelaxed);
  }
  ReplicaEntry& entry = at.entries[*index];
  entry.check = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // a death between two of these leaves none
  fabric::failpoint("replica.placed");
  at.keys[*index] = word;
  entry.place = replica.place.packed();
  entry.sum = replica.sum;
  entry.boot = boot;
  entry.order = order != 0 || boot == 0 ? order : next_order(boot);
  fabric::failpoint("replica.unchecked");
  std::atomic_signal_fence(std::memory_order_seq_cst);
  entry.check = check_of(word, entry.place, entry.sum);
  header_->figures.put.fetch_add(1, kRelaxed);
  hint_at(replica.place, at);
}

void ReplicaTable::hint_at(const ReplicaPlace& place, const ReplicaBucket& at) {
  if (place.kind != ReplicaPlace::Kind::ram || place.at % kPageBytes != 0 ||
      place.at / kPageBytes >= hints_.size())
    return;
  hints_[place.at / kPageBytes].bucket.store(static_cast<u32>(&at - buckets_.data()) + 1, kRelaxed);
}

std::optional<ReplicaTable::Listed> ReplicaTable::block_in(u16 boot, u64 gpa) const {
  if (gpa % kPageBytes != 0 || gpa / kPageBytes >= hints_.size()) return std::nullopt;
  const u32 hint = hints_[gpa / kPageBytes].bucket.load(kRelaxed);
  if (hint == 0 || hint > buckets_.size()) return std::nullopt;
  ReplicaBucket& at = buckets_[hint - 1];
  const ReplicaPlace place{ReplicaPlace::Kind::ram, boot, gpa};
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  for (u32 i = 0; i < kEntriesInBucket; ++i) {
    const ReplicaEntry& e = at.entries[i];
    if (at.keys[i] == 0 || e.place != place.packed() ||
        e.check != check_of(at.keys[i], e.place, e.sum))
      continue;
    return Listed{BlockKey::unpack(at.keys[i]), replica_of(e), e.boot, e.order};
  }
  return std::nullopt;
}

bool ReplicaTable::put(BlockKey key, const Replica& replica, u64 writes, u32 boot) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  if (at.writes.load(kRelaxed) != writes) return false;
  place(at, key, replica, boot);
  return true;
}

bool ReplicaTable::put_ahead(BlockKey key, u64 frame, const BlockSum& sum, u64 writes) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const bool has_room = std::ranges::count(at.keys, 0) != 0;
  if (at.writes.load(kRelaxed) != writes || index_of(at, key.packed()) || !has_room) return false;
  place(at, key, {{ReplicaPlace::Kind::kept, 0, frame}, sum}, 0);
  header_->figures.ahead.fetch_add(1, kRelaxed);
  return true;
}

void ReplicaTable::use(BlockKey key, u32 boot) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const auto index = index_of(at, key.packed());
  if (!index) return;
  ReplicaEntry& entry = at.entries[*index];
  if (entry.boot == boot) return;
  entry.boot = boot;
  entry.order = next_order(boot);
  const ReplicaPlace place = ReplicaPlace::unpack(entry.place);
  if (place.kind == ReplicaPlace::Kind::kept && place.at < frames_.size())
    frames_[place.at].boot.store(boot, kRelaxed);
}

u64 ReplicaTable::write_begins(BlockKey key, Dropped why) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const u64 count = at.writes.load(kRelaxed) + 1;
  at.writes.store(count, std::memory_order_release);
  fabric::failpoint("replica.write_counted");
  if (const auto index = index_of(at, key.packed())) erase(at, *index, why);
  return count;
}

void ReplicaTable::write_ends(BlockKey key, const std::optional<Replica>& now, u64 begun,
                              u32 boot) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const u64 count = at.writes.load(kRelaxed);
  at.writes.store(count + 1, std::memory_order_release);
  fabric::failpoint("replica.write_counted");
  // What a read has put in since saw the disk before the write, or after, or in between.
  if (const auto index = index_of(at, key.packed())) erase(at, *index, Dropped::written);
  if (now && count == begun) place(at, key, *now, boot);
}

void ReplicaTable::drop(BlockKey key, const Replica& found, Dropped why) {
  ReplicaBucket& at = bucket(key);
  const fabric::LockGuard guard(at.lock, self_, *instances_);
  const auto index = index_of(at, key.packed());
  if (index && replica_of(at.entries[*index]) == found) erase(at, *index, why);
}

void ReplicaTable::erase_if(const std::function<bool(BlockKey)>& goes, Dropped why) {
  for (ReplicaBucket& at : buckets_) {
    const fabric::LockGuard guard(at.lock, self_, *instances_);
    at.writes.fetch_add(1, std::memory_order_release);
    for (u32 i = 0; i < kEntriesInBucket; ++i) {
      if (at.keys[i] != 0 && goes(BlockKey::unpack(at.keys[i]))) erase(at, i, why);
    }
  }
}

void ReplicaTable::forget(u16 disk) {
  erase_if([disk](BlockKey key) { return key.disk == disk; }, Dropped::unknown);
}

void ReplicaTable::forget_all() {
  erase_if([](BlockKey) { return true; }, Dropped::unknown);
}

void ReplicaTable::range_changes(u16 disk, u64 first, u64 last) {
  if (last - first > buckets_.size()) {
    const auto inside = [&](BlockKey key) {
      return key.disk == disk && key.block >= first && key.block < last;
    };
    return erase_if(inside, Dropped::discarded);
  }
  for (u64 block = first; block < last; ++block) write_begins({disk, block}, Dropped::discarded);
}

void ReplicaTable::each(const std::function<void(const Listed&)>& visit) const {
  for (ReplicaBucket& at : buckets_) {
    std::array<std::optional<Listed>, kEntriesInBucket> found;
    {
      const fabric::LockGuard guard(at.lock, self_, *instances_);
      for (u32 i = 0; i < kEntriesInBucket; ++i) {
        const ReplicaEntry& e = at.entries[i];
        if (at.keys[i] == 0 || e.check != check_of(at.keys[i], e.place, e.sum)) continue;
        found[i] = Listed{BlockKey::unpack(at.keys[i]), replica_of(e), e.boot, e.order};
      }
    }
    for (const auto& listed : found) {
      if (listed) visit(*listed);
    }
  }
}

bool ReplicaTable::goes_on(u16 disk, u64 begin, u64 end) {
  const auto name = [disk](u64 at) { return u64{disk} << 48 ^ at; };
  for (auto& slot : header_->ends) {
    u64 before = name(begin);
    if (slot.compare_exchange_strong(before, name(end), kRelaxed)) return true;
  }
  const u64 next = header_->next_end.fetch_add(1, kRelaxed);
  header_->ends[next % header_->ends.size()].store(name(end), kRelaxed);
  return false;
}

void ReplicaTable::want(std::span<const BlockRun> runs) {
  const auto some = runs.first(std::min(runs.size(), runs_.size()));
  std::ranges::copy(some, runs_.begin());
  header_->wanted.store(static_cast<u32>(some.size()), std::memory_order_release);
}

std::span<const BlockRun> ReplicaTable::wanted() const {
  const std::size_t count = header_->wanted.load(std::memory_order_acquire);
  return runs_.first(std::min(count, runs_.size()));
}

}  // namespace dvm::srt
