#include "srt/disk_replicas.h"

#include <algorithm>
#include <cstring>

namespace dvm::srt {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

ReplicaPlace DiskReplicas::ram_place(u64 gpa) const {
  return {ReplicaPlace::Kind::ram, static_cast<u16>(boots_.boot()), gpa};
}

std::span<const std::byte> DiskReplicas::source(const ReplicaPlace& place) const {
  if (place.kind == ReplicaPlace::Kind::kept) return table_.kept(place.at);
  const hyperkernel::GuestMemory* ram = boots_.ram(place.boot);
  if (ram == nullptr) return {};
  const auto found = ram->span_from(place.at, kBlockBytes);
  return found.size() == kBlockBytes ? found : std::span<std::byte>();
}

// Copied first and looked at then, so that what is looked at is what the guest gets.
bool DiskReplicas::copy_proved(const TransferWalk& part, const Replica& found) {
  const auto from = source(found.place);
  if (from.empty()) return false;
  const hyperkernel::GuestMemory* now = boots_.ram(static_cast<u16>(boots_.boot()));
  if (part.is_whole() && part.in_one_piece()) {
    const auto to = now->span(part.gpa(), kBlockBytes);
    if (!to.ok()) return false;
    if (to->data() != from.data()) std::memmove(to->data(), from.data(), kBlockBytes);
    return block_sum(to->data()) == found.sum;
  }
  std::memcpy(bounce_.data(), from.data(), kBlockBytes);
  if (block_sum(bounce_.data()) != found.sum) return false;
  u64 at = part.in_block();
  for (const MemoryPiece& piece : part.pieces()) {
    if (!now->write(piece.gpa, std::span(bounce_).subspan(at, piece.bytes)).ok()) return false;
    at += piece.bytes;
  }
  return true;
}

std::optional<Replica> DiskReplicas::kept_copy(BlockKey key,
                                               std::span<const std::byte> content) const {
  return copy_in(table_.keep(key, boots_.boot()), content);
}

std::optional<Replica> DiskReplicas::copy_in(std::optional<u64> frame,
                                             std::span<const std::byte> content) const {
  if (!frame) return std::nullopt;
  const auto to = table_.kept(*frame);
  std::memcpy(to.data(), content.data(), kBlockBytes);
  return Replica{{ReplicaPlace::Kind::kept, 0, *frame}, block_sum(to.data())};
}

// The copy that is worth most: one that lasts, else the one the guest has just been given.
void DiskReplicas::note_served(const TransferWalk& part, const Replica& found, u64 writes,
                               bool keep) {
  const BlockKey block = key(part.block());
  const u32 boot = boots_.boot();
  const bool kept = found.place.kind == ReplicaPlace::Kind::kept;
  const bool ahead = kept && table_.is_ahead(found.place.at);
  if (ahead) table_.figures().ahead_used.fetch_add(1, kRelaxed);
  // What was read ahead has done its work: its frame is for what is yet to be read.
  const bool moves = !kept || (ahead && !keep);
  if (!moves || !part.is_whole() || !part.in_one_piece()) return table_.use(block, boot);
  Replica now{ram_place(part.gpa()), found.sum};
  if (keep) {
    const auto content = source(now.place);
    if (const auto copy = kept_copy(block, content); copy && copy->sum == found.sum) now = *copy;
  }
  if (table_.put(block, now, writes, boot) && !kept && found.place.boot != static_cast<u16>(boot))
    boots_.release(found.place.boot, found.place.at);
}

bool DiskReplicas::serve_part(const TransferWalk& part, bool keep) {
  const BlockKey block = key(part.block());
  const u64 writes = table_.writes(block);
  const auto found = table_.find(block);
  if (!found) return false;
  if (!copy_proved(part, *found)) {
    table_.drop(block, *found, Dropped::changed);
    return false;
  }
  note_served(part, *found, writes, keep);
  return true;
}

// What a loader reads; and small reads while the guest boots: of what its kernel and udev probe and
// of metadata, whose pages are soon given to others. Each would be a request of its own again.
bool DiskReplicas::is_to_be_kept(const DiskTransfer& read, bool passing) const {
  constexpr u64 kSmall = 2, kOfABoot = 128 * kMiB / kBlockBytes;
  return passing ||
         (blocks_of(read.offset, read.bytes) <= kSmall && table_.used_in(boots_.boot()) < kOfABoot);
}

void DiskReplicas::serve(const DiskTransfer& read, OngoingTransfer& state, u64 disk_bytes) {
  ReplicaFigures& figures = table_.figures();
  figures.reads.fetch_add(1, kRelaxed);
  state.keep = is_to_be_kept(read, state.passing);
  state.writes.clear();
  u64 first = read.bytes, end = 0, served = 0, missed = 0;
  for (TransferWalk part(read); part.next();) {
    state.writes.push_back(table_.writes(key(part.block())));
    if (part.block() <= BlockKey::kMaxBlock && serve_part(part, state.keep)) {
      ++served;
      continue;
    }
    ++missed;
    first = std::min(first, part.at());
    end = part.at() + part.bytes();
  }
  state.left_bytes = end > first ? end - first : 0;
  state.left_at = state.left_bytes == 0 ? 0 : first;
  round_out(read, state, disk_bytes);
  figures.blocks_missed.fetch_add(missed, kRelaxed);
  if (state.left_bytes == 0) figures.reads_served.fetch_add(1, kRelaxed);
  figures.blocks_served.fetch_add(served, kRelaxed);
  figures.bytes_served.fetch_add(read.bytes - state.left_bytes, kRelaxed);
}

// Loaders read by the sector, one after the other: with the first of a block all of it comes.
void DiskReplicas::round_out(const DiskTransfer& read, OngoingTransfer& state,
                             u64 disk_bytes) const {
  state.before.clear();
  state.after.clear();
  if (!state.passing || state.left_bytes == 0) return;
  const u64 begin = read.offset + state.left_at, end = begin + state.left_bytes;
  state.before.resize(begin % kBlockBytes);
  if (align_up(end, kBlockBytes) <= disk_bytes)
    state.after.resize(align_up(end, kBlockBytes) - end);
}

// Of a whole block that lies in one piece, as it is in memory now.
std::optional<Replica> DiskReplicas::replica_of(const TransferWalk& part) const {
  if (!part.is_whole() || !part.in_one_piece() || part.block() > BlockKey::kMaxBlock)
    return std::nullopt;
  const ReplicaPlace place = ram_place(part.gpa());
  const auto content = source(place);
  if (content.empty()) return std::nullopt;
  return Replica{place, block_sum(content.data())};
}

// Put together of what lies around it and in it; empty: not all of the block was read.
std::span<const std::byte> DiskReplicas::whole_block(const TransferWalk& part,
                                                     const OngoingTransfer& state) {
  const u64 end = part.at() + part.bytes();
  const bool first = part.at() == state.left_at, last = end == state.left_at + state.left_bytes;
  const u64 rest = kBlockBytes - part.in_block() - part.bytes();
  if (part.in_block() != 0 && !(first && state.before.size() == part.in_block())) return {};
  if (rest != 0 && !(last && state.after.size() == rest)) return {};
  if (part.in_block() != 0) std::ranges::copy(state.before, bounce_.begin());
  u64 at = part.in_block();
  const hyperkernel::GuestMemory* now = boots_.ram(static_cast<u16>(boots_.boot()));
  for (const MemoryPiece& piece : part.pieces()) {
    if (!now->read(piece.gpa, std::span(bounce_).subspan(at, piece.bytes)).ok()) return {};
    at += piece.bytes;
  }
  if (rest != 0) std::ranges::copy(state.after, bounce_.begin() + static_cast<i64>(at));
  return bounce_;
}

void DiskReplicas::read_ends(const DiskTransfer& read, const OngoingTransfer& state) {
  std::size_t index = 0;
  for (TransferWalk part(read); part.next(); ++index) {
    auto replica = state.keep ? std::nullopt : replica_of(part);
    const BlockKey block = key(part.block());
    if (state.keep && part.block() <= BlockKey::kMaxBlock) {
      if (const auto content = whole_block(part, state); !content.empty())
        replica = kept_copy(block, content);
      if (!replica) replica = replica_of(part);
    }
    if (replica) table_.put(block, *replica, state.writes[index], boots_.boot());
  }
}

// What goes on where another write ended may be a journal: it is written from pages that change
// soon afterwards, and read when the guest comes back from a panic.
void DiskReplicas::write_begins(const DiskTransfer& write, OngoingTransfer& state) {
  state.appends = table_.goes_on(disk_, write.offset, write.offset + write.bytes);
  state.writes.clear();
  state.sums.clear();
  for (TransferWalk part(write); part.next();) {
    state.writes.push_back(table_.write_begins(key(part.block()), Dropped::written));
    const auto replica = replica_of(part);
    state.sums.push_back(replica ? replica->sum : BlockSum{});
  }
}

Replica DiskReplicas::copy_of_written(const TransferWalk& part, const Replica& now) const {
  const auto content = source(now.place);
  const auto frame = table_.keep_written(key(part.block()), boots_.boot());
  const auto copy = content.empty() ? std::nullopt : copy_in(frame, content);
  return copy && copy->sum == now.sum ? *copy : now;
}

void DiskReplicas::write_ends(const DiskTransfer& write, const OngoingTransfer& state, bool done) {
  std::size_t index = 0;
  for (TransferWalk part(write); part.next(); ++index) {
    auto now = done ? replica_of(part) : std::nullopt;
    if (now && now->sum != state.sums[index]) now.reset();
    if (now && state.appends) now = copy_of_written(part, *now);
    table_.write_ends(key(part.block()), now, state.writes[index], boots_.boot());
  }
}

void DiskReplicas::range_changes(u64 offset, u64 bytes) {
  const u64 first = offset / kBlockBytes;
  table_.range_changes(disk_, first, first + blocks_of(offset, bytes));
}

}  // namespace dvm::srt
