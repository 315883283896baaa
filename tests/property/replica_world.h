// What the replica model's sequences happen to: a plain disk beside the table, guest memory, two
// nodes, and requests in flight. Each step is one thing at random; every read is checked.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <random>
#include <vector>

#include "fabric/pool.h"
#include "srt/ahead_read.h"
#include "srt/freed_pages.h"
#include "tests/property/replica_boots.h"

namespace dvm::srt::model {

using fabric::RegionKind;
class World {
 public:
  World(u64 seed, u64 budget) : random_(seed) {
    const auto size = replica_size(kPages * kPageBytes, budget);
    fabric::PoolSpec spec{
        .name = "replicas",
        .metadata = {{RegionKind::replicas, kReplicasVersion, size.region_bytes()}},
        .frames_bytes = size.kept_frames * kPageBytes};
    pool_ = fabric::Pool::create(spec).take();
    const auto frames = pool_.region_header(RegionKind::frames, 1).take();
    EXPECT_TRUE(ReplicaTable::format(pool_, size, frames.offset).ok());
    for (u32 node = 0; node < 2; ++node) join(node);
    disk_.resize(kBlocks * kSectorsInBlock);
    for (auto& sector : disk_) sector = {next_value()};
  }

  void step() {
    static constexpr std::array kWeights = {30, 22, 30, 12, 3, 6, 2, 3, 1, 8, 10};
    std::discrete_distribution<int> which(kWeights.begin(), kWeights.end());
    switch (which(random_)) {
      case 0: return begin_read();
      case 1: return begin_write();
      case 2: return go_on();
      case 3: return scribble();
      case 4: return discard();
      case 5: return void(finish_all());
      case 6: return reset();
      case 7: return free_pages();
      case 9: return begin_ahead();
      case 10: return go_on_ahead();
      default: return die();
    }
  }
  void end() {
    finish_all();
    while (!aheads_.empty()) finish_ahead(aheads_.begin());
    // All of it once more, whoever has it.
    for (u64 block = 0; block < kBlocks; ++block) {
      Request r = make(false, block * kBlockBytes, kBlockBytes, 0, {{0, kBlockBytes}});
      start_read(std::move(r));
      finish_all();
    }
  }
  u64 served() const { return table(0).figures().blocks_served.load(); }
  u64 freed_kept() const { return table(0).figures().freed_kept.load(); }
  u64 put_ahead() const { return table(0).figures().ahead.load(); }
  u64 used_ahead() const { return table(0).figures().ahead_used.load(); }
  u64 dropped(Dropped why) const {
    return table(0).figures().dropped[static_cast<u32>(why)].load();
  }

 private:
  struct Node {
    fabric::InstanceId id;
    std::optional<ReplicaTable> table;
    std::optional<DiskReplicas> replicas;
  };
  struct Request {
    bool is_write = false;
    u32 node = 0;
    u64 offset = 0, bytes = 0;
    std::vector<MemoryPiece> memory;
    OngoingTransfer state;
    bool landed = false;
    bool orphan = false;  // its process has died: it lands, or is done again
    // By sector: what a plain disk may give, of a read: all it has held since it began.
    std::vector<std::vector<Sector>> allowed;
    DiskTransfer transfer() const { return {offset, bytes, memory}; }
  };

  // Of blocks that nobody has asked for; its memory is its process's own.
  struct Ahead {
    u32 node = 0;
    AheadRead read;
    std::vector<std::byte> content;  // once it has landed
  };

  Sector next_value() { return ++value_; }
  u64 pick(u64 below) { return std::uniform_int_distribution<u64>(0, below - 1)(random_); }
  const ReplicaTable& table(u32 node) const { return *nodes_[node].table; }

  void join(u32 node) {
    Node& n = nodes_[node];
    n.replicas.reset();
    n.table.reset();
    n.id = instances_.join(1 + node, 1);
    n.table = ReplicaTable::of(pool_, n.id, instances_).take();
    n.replicas.emplace(*n.table, boots_, kDisk);
  }

  Request make(bool is_write, u64 offset, u64 bytes, u32 node, std::vector<MemoryPiece> memory) {
    Request r;
    r.is_write = is_write;
    r.node = node;
    r.offset = offset;
    r.bytes = bytes;
    r.memory = std::move(memory);
    return r;
  }
  // Whole blocks most of the time, parts of some now and then; memory in one piece, or in several.
  std::optional<Request> any_request(bool is_write) {
    u64 first = pick(kBlocks * kSectorsInBlock), count = 1 + pick(24);
    if (pick(4) != 0) {
      first = first / kSectorsInBlock * kSectorsInBlock;
      count = kSectorsInBlock * (1 + pick(3));
    }
    if (is_write && pick(3) == 0) first = written_to_ % (kBlocks * kSectorsInBlock);
    count = std::min(count, kBlocks * kSectorsInBlock - first);
    if (is_write) written_to_ = first + count;  // as a journal is written
    std::vector<MemoryPiece> memory;
    u64 left = count * kSector;
    u64 gpa = pick(kPages) * kPageBytes + (pick(5) == 0 ? kSector * pick(8) : 0);
    while (left != 0) {
      const u64 here = pick(4) == 0 ? std::min(left, kSector * (1 + pick(6))) : left;
      if (gpa + here > kPages * kPageBytes) return std::nullopt;
      memory.push_back({gpa, here});
      left -= here;
      gpa += here + (pick(2) == 0 ? kPageBytes : 0);
    }
    if (busy(memory)) return std::nullopt;  // a driver gives a buffer to one request at a time
    return make(is_write, first * kSector, count * kSector, static_cast<u32>(pick(2)),
                std::move(memory));
  }
  bool busy(const std::vector<MemoryPiece>& memory, bool writes_too = true) const {
    for (const Request& r : requests_) {
      if (r.is_write && !writes_too) continue;
      for (const MemoryPiece& a : r.memory) {
        for (const MemoryPiece& b : memory)
          if (a.gpa < b.gpa + b.bytes && b.gpa < a.gpa + a.bytes) return true;
      }
    }
    return false;
  }

  template <typename Visit>
  static void each_sector(const Request& r, Visit&& visit) {
    u64 index = 0;
    for (const MemoryPiece& piece : r.memory) {
      for (u64 at = 0; at < piece.bytes; at += kSector, ++index)
        visit(index, r.offset / kSector + index, piece.gpa + at);
    }
  }
  Sector value_at(u64 gpa) const { return boots_.now().load<Sector>(gpa).value(); }
  // Every word of the sector, so that a block's sum tells all its sectors.
  void fill(u64 gpa, Sector value) {
    for (u64 at = 0; at < kSector; at += sizeof value)
      ASSERT_TRUE(boots_.now().store(gpa + at, value).ok());
  }

  void begin_read() {
    if (auto r = any_request(false)) start_read(std::move(*r));
  }
  void start_read(Request r) {
    r.allowed.resize(r.bytes / kSector);
    each_sector(r, [&](u64 i, u64 sector, u64) { r.allowed[i] = disk_[sector]; });
    r.state.passing = pick(6) == 0;
    auto& replicas = *nodes_[r.node].replicas;
    replicas.serve(r.transfer(), r.state, kBlocks * kBlockBytes);
    requests_.push_back(std::move(r));
    if (requests_.back().state.left_bytes == 0) finish(std::prev(requests_.end()));
  }

  void begin_write() {
    auto made = any_request(true);
    if (!made) return;
    Request& r = *made;
    each_sector(r, [&](u64, u64, u64 gpa) {
      if (pick(2) == 0) fill(gpa, next_value());
    });
    issue(r);
    requests_.push_back(std::move(r));
  }
  void issue(Request& r) { nodes_[r.node].replicas->write_begins(r.transfer(), r.state); }

  // The disk holds it from now on, and who is reading may read it.
  void set(u64 sector, Sector value) {
    disk_[sector].push_back(value);
    for (Request& r : requests_) {
      if (r.is_write || sector < r.offset / kSector || sector >= (r.offset + r.bytes) / kSector)
        continue;
      r.allowed[sector - r.offset / kSector].push_back(value);
    }
  }

  static bool is_left(const Request& r, u64 at) {
    return at >= r.state.left_at && at < r.state.left_at + r.state.left_bytes;
  }
  void read_around(u64 offset, std::vector<std::byte>& to) {
    for (u64 at = 0; at < to.size(); at += sizeof(Sector))
      std::memcpy(to.data() + at, &disk_[(offset + at) / kSector].back(), sizeof(Sector));
  }

  void land(Request& r) {
    if (r.landed) return;
    r.landed = true;
    if (!r.is_write) {
      const u64 left = r.offset + r.state.left_at;
      read_around(left - r.state.before.size(), r.state.before);
      read_around(left + r.state.left_bytes, r.state.after);
    }
    each_sector(r, [&](u64 i, u64 sector, u64 gpa) {
      if (r.is_write) {
        set(sector, value_at(gpa));
      } else if (is_left(r, i * kSector)) {
        fill(gpa, disk_[sector].back());
      }
    });
  }

  void finish(std::list<Request>::iterator at) {
    Request& r = *at;
    if (r.orphan) {  // its successor does all of it again
      r.orphan = false;
      r.landed = false;
      r.node = static_cast<u32>(pick(2));
      auto& replicas = *nodes_[r.node].replicas;
      if (r.is_write) return issue(r);
      replicas.serve(r.transfer(), r.state, kBlocks * kBlockBytes);
      if (r.state.left_bytes != 0) return;
    }
    land(r);
    auto& replicas = *nodes_[r.node].replicas;
    if (r.is_write) {
      replicas.write_ends(r.transfer(), r.state, pick(30) != 0);
    } else {
      if (r.state.left_bytes != 0) replicas.read_ends(r.transfer(), r.state);
      each_sector(r, [&](u64 i, u64 sector, u64 gpa) {
        ASSERT_TRUE(std::ranges::count(r.allowed[i], value_at(gpa)) != 0)
            << "sector " << sector << " read as " << value_at(gpa) << ", the disk has "
            << disk_[sector].back();
        for (u64 word = 0; word < kSector; word += 8)
          ASSERT_EQ(value_at(gpa + word), value_at(gpa)) << "sector " << sector << " is torn";
      });
    }
    const Request ended = std::move(r);
    requests_.erase(at);
    if (ended.is_write) each_sector(ended, [&](u64, u64 sector, u64) { settle(sector); });
  }
  // Nobody writes it: it holds what came last.
  void settle(u64 sector) {
    for (const Request& r : requests_)
      if (r.is_write && sector >= r.offset / kSector && sector < (r.offset + r.bytes) / kSector)
        return;
    disk_[sector] = {disk_[sector].back()};
  }

  void begin_ahead() {
    const u32 node = static_cast<u32>(pick(2));
    const u64 first = pick(kBlocks);
    const u32 blocks = static_cast<u32>(std::min<u64>(1 + pick(12), kBlocks - first));
    auto read =
        AheadRead::begin(*nodes_[node].table, {.first = first, .blocks = blocks, .disk = kDisk}, 8);
    if (read.bytes() != 0) aheads_.push_back({node, std::move(read), {}});
  }
  void land_ahead(Ahead& ahead) {
    if (!ahead.content.empty()) return;
    ahead.content.resize(ahead.read.bytes());
    read_around(ahead.read.offset(), ahead.content);
  }
  void finish_ahead(std::list<Ahead>::iterator at) {
    land_ahead(*at);
    if (pick(20) == 0) at->content.clear();  // it failed
    at->read.end(*nodes_[at->node].table, at->content);
    aheads_.erase(at);
  }
  void go_on_ahead() {
    if (aheads_.empty()) return;
    const auto at = std::next(aheads_.begin(), static_cast<long>(pick(aheads_.size())));
    if (pick(2) == 0) return land_ahead(*at);
    finish_ahead(at);
  }

  void go_on() {
    if (requests_.empty()) return;
    auto at = std::next(requests_.begin(), static_cast<long>(pick(requests_.size())));
    if (pick(2) == 0) return land(*at);
    finish(at);
  }
  void finish_all() {
    while (!requests_.empty()) finish(requests_.begin());
  }

  // The guest writes to memory: anywhere but where the disk writes; also to what is being written.
  void scribble() {
    const u64 gpa = pick(kPages * kSectorsInBlock) * kSector;
    if (!busy({{gpa, kSector}}, false)) fill(gpa, next_value());
  }

  // The guest frees pages, and tells.
  void free_pages() {
    const u64 first = pick(kPages), count = std::min(1 + pick(8), kPages - first);
    if (busy({{first * kPageBytes, count * kPageBytes}})) return;
    const u64 gpa = first * kPageBytes, bytes = count * kPageBytes;
    keep_blocks(*nodes_[pick(2)].table, boots_.now(), boots_.boot(), gpa, bytes);
    ASSERT_TRUE(boots_.now().fill(gpa, bytes, std::byte{0}).ok());
  }

  void discard() {
    const u64 first = pick(kBlocks * kSectorsInBlock);
    const u64 count = std::min<u64>(1 + pick(40), kBlocks * kSectorsInBlock - first);
    for (const Request& r : requests_) {
      const bool apart =
          r.offset / kSector >= first + count || first >= (r.offset + r.bytes) / kSector;
      if (!apart && r.is_write) return;  // no order of the two is promised
    }
    auto& replicas = *nodes_[pick(2)].replicas;
    replicas.range_changes(first * kSector, count * kSector);
    for (u64 s = first; s < first + count; ++s) {
      set(s, next_value());
      settle(s);
    }
    replicas.range_changes(first * kSector, count * kSector);
  }

  void reset() {
    finish_all();
    boots_.reset();
  }

  // A node's process ends; what it had in hand lands, or not, and is done again.
  void die() {
    const u32 node = static_cast<u32>(pick(2));
    instances_.retire(nodes_[node].id, fabric::InstanceState::dead);
    for (Request& r : requests_) {
      if (r.node != node) continue;
      if (pick(2) == 0) land(r);
      r.orphan = true;
    }
    std::erase_if(aheads_, [&](const Ahead& ahead) { return ahead.node == node; });
    join(node);
  }

  std::mt19937_64 random_;
  u64 value_ = 0;
  u64 written_to_ = 0;
  fabric::Pool pool_;
  fabric::InstanceTable instances_{};
  Boots boots_;
  std::array<Node, 2> nodes_;
  // What a sector holds, last, and what it may be read as while it is being written.
  std::vector<std::vector<Sector>> disk_;
  std::list<Request> requests_;
  std::list<Ahead> aheads_;
};

}  // namespace dvm::srt::model
