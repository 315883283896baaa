#include "tests/crash/world.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "tests/crash/worker.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT: the subject of all of this

Result<std::unique_ptr<World>> World::make() {
  auto w = std::make_unique<World>();
  const u64 region = allocator_region_bytes(kFrames, kObjectBytes);
  DVM_ASSIGN(w->pool_,
             Pool::create({"",
                           "crash",
                           {{RegionKind::instances, kInstancesVersion, sizeof(InstanceTable)},
                            {RegionKind::machine, 1, sizeof(Record)},
                            {RegionKind::allocator, kAllocatorVersion, region},
                            {RegionKind::membership, kMembershipVersion, sizeof(FabricState)},
                            {RegionKind::events, kEventsVersion, sizeof(EventLog)}},
                           kFrames * kPageBytes}));
  DVM_ASSIGN(w->instances_,
             w->pool_.record<InstanceTable>(RegionKind::instances, kInstancesVersion));
  DVM_ASSIGN(w->record_, w->pool_.record<Record>(RegionKind::machine, 1));
  DVM_ASSIGN(w->log_, w->pool_.record<EventLog>(RegionKind::events, kEventsVersion));
  DVM_ASSIGN(w->fabric_, w->pool_.record<FabricState>(RegionKind::membership, kMembershipVersion));
  DVM_TRY(FrameAllocator::format(w->pool_, 0));
  DVM_ASSIGN(auto allocator, FrameAllocator::attach(w->pool_, *w->instances_));
  w->allocator_.emplace(std::move(allocator));
  DVM_ASSIGN(const auto where, w->pool_.region_header(RegionKind::machine, 1));
  w->words_offset_ = where.offset + offsetof(Record, words);
  auto* first = reinterpret_cast<std::byte*>(w->instances_);
  w->image_ = {first, static_cast<u64>(reinterpret_cast<std::byte*>(w->log_ + 1) - first)};
  return w;
}

bool mistake_by_name(const std::string& name, Mistake& mistake) {
  static const std::map<std::string, Mistake> names = {
      {"none", Mistake::none},
      {"unlock-before-publish", Mistake::unlock_before_publish},
      {"no-mend", Mistake::no_mend},
      {"free-without-log", Mistake::free_without_log},
      {"free-while-named", Mistake::free_while_named},
      {"publish-without-log", Mistake::publish_without_log},
      {"never-release", Mistake::never_release},
      {"skip-announcement", Mistake::skip_announcement},
      {"leave-without-journal", Mistake::leave_without_journal},
      {"recover-unclaimed", Mistake::recover_unclaimed}};
  const auto found = names.find(name);
  if (found == names.end()) return false;
  mistake = found->second;
  return true;
}

void World::complain(const std::string& what) {
  u32 none = 0;
  if (!record_->violated.compare_exchange_strong(none, 1)) return;
  std::strncpy(record_->violation.data(), what.c_str(), record_->violation.size() - 1);
  record_->violated.store(2);
}

std::atomic<u64>& World::holder_of(u64 block) {
  const u64 frames = allocator_->frames_offset();
  if (block >= frames) return record_->frame_holders[(block - frames) / kPageBytes];
  return *std::launder(reinterpret_cast<std::atomic<u64>*>(allocator_->object(block)));
}

void World::check_guarded(const char* name, const Guarded& g,
                          std::vector<std::string>& found) const {
  u64 sum = 0;
  for (const auto& entry : g.ledger) sum += entry.load();
  if (g.a.load() != sum || g.b.load() != sum || g.inside.load() != 0) {
    found.push_back(fmt::format("{}: a {}, b {}, ledger {}, inside {:#x}", name, g.a.load(),
                                g.b.load(), sum, g.inside.load()));
  }
}

// Every used block is named by exactly one word, every word names a used block, the rest is free.
void World::check_blocks(std::vector<std::string>& found) {
  const AllocatorReport report = allocator_->check();
  for (const auto& v : report.violations) found.push_back("allocator: " + v);
  std::map<u64, u64> named;
  for (u64 i = 0; i < kWords; ++i) {
    const u64 block = record_->words[i].load();
    if (block == 0) continue;
    if (++named[block] > 1) found.push_back(fmt::format("block {:#x} is named twice", block));
    const auto place = allocator_->place_of(block);
    if (!place.ok() || BlockState::unpack(place.value().word().load()).use != BlockUse::used)
      found.push_back(fmt::format("word {} names block {:#x}, which is not used", i, block));
  }
  if (report.frames.used + report.objects.used != named.size()) {
    found.push_back(fmt::format("{} blocks are used, {} are named: leaked",
                                report.frames.used + report.objects.used, named.size()));
  }
  for (const AllocatorCount& c : {report.frames, report.objects}) {
    if (c.cached + c.held + c.retiring != 0) {
      found.push_back(fmt::format("{} cached, {} held, {} retiring: owned by nobody alive",
                                  c.cached, c.held, c.retiring));
    }
  }
  if (report.frames.free + report.frames.used != kFrames) found.push_back("frames are missing");
}

void World::check_log(std::vector<std::string>& found) {
  const u64 tail = log_->tail.load();
  u64 expected = tail > EventLog::kEvents ? tail - EventLog::kEvents : 0;
  read_events(*log_, 0, [&](const Event& e) {
    if (e.sequence != ++expected || e.arguments[1] != ~e.arguments[0] ||
        e.instance != e.arguments[2])
      found.push_back(fmt::format("event {} is not whole", e.sequence));
  });
  if (expected != tail) found.push_back(fmt::format("events after {} are missing", expected));
}

// All are known to be stopped, so all are fenced first: whatever lock is waited for then comes
// free.
void World::settle(Worker& mender, InstanceId survivor, std::vector<std::string>& found) {
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const InstanceSlot& slot = instances_->slots[id];
    const u32 generation = slot.generation.load();
    if (id == survivor.id || generation == 0 || slot.state.load() == InstanceState::gone) continue;
    fence({id, generation % 2 == 0 ? generation - 1 : generation});
  }
  for (u32 id = 0; id < kMaxInstances; ++id) {
    while (!mender.bury(id)) {
    }
    if (id != survivor.id && fabric_->failures[id].word.load() != 0) check_burial(id, found);
  }
}

std::vector<std::string> World::settle_and_check(InstanceId survivor) {
  std::vector<std::string> found;
  Worker mender(*this, survivor, Mistake::none);
  settle(mender, survivor, found);
  mender.word_section();
  mender.queue_section();
  mender.append();
  for (Group& group : fabric_->groups) (void)Membership(group, survivor, *instances_).view();
  check_guarded("word lock", record_->under_word, found);
  check_guarded("queue lock", record_->under_queue, found);
  check_blocks(found);
  check_groups(found);
  check_log(found);
  if (record_->violated.load() != 0) found.emplace_back(record_->violation.data());
  return found;
}

}  // namespace dvm::crash
