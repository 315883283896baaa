// What nodes and who decides leave for each other in the pool.
#include "hyperkernel/locality/locality_record.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "hyperkernel/served_fault.h"

namespace dvm::locality {
namespace {

Observation seen_at(u64 time_ns, u32 page = 1) {
  return {.time_ns = time_ns, .page = page, .took_ns = 5, .vcpu = 0, .node = 1, .from = 0};
}

TEST(ObservationRing, IsReadInOrderFromWhereOneWas) {
  const auto ring = std::make_unique<ObservationRing>();
  u64 place = 0;
  std::vector<u64> times;
  const auto note = [&](const Observation& o) { times.push_back(o.time_ns); };
  for (u64 t = 1; t <= 3; ++t) ring->push(seen_at(t));
  EXPECT_EQ(ring->read(place, note), 0u);
  ring->push(seen_at(4));
  EXPECT_EQ(ring->read(place, note), 0u);
  EXPECT_EQ(ring->read(place, note), 0u);
  EXPECT_EQ(times, (std::vector<u64>{1, 2, 3, 4}));
}

TEST(ObservationRing, WhatWasOverwrittenIsCountedAsLost) {
  const auto ring = std::make_unique<ObservationRing>();
  for (u64 t = 0; t < ObservationRing::kSlots + 10; ++t) ring->push(seen_at(t));
  u64 place = 0, first = ~0ull, count = 0;
  const u64 lost = ring->read(place, [&](const Observation& o) {
    first = std::min(first, o.time_ns);
    ++count;
  });
  EXPECT_EQ(lost, 10u);
  EXPECT_EQ(first, 10u);
  EXPECT_EQ(count, ObservationRing::kSlots);
}

TEST(ObservationRing, OneWhoseWriterDiedIsNotThere) {
  const auto ring = std::make_unique<ObservationRing>();
  ring->push(seen_at(1));
  ring->push(seen_at(2));
  ring->push(seen_at(3));
  ring->slots[1].number.store(0);  // died before the last store
  u64 place = 0;
  std::vector<u64> times;
  EXPECT_EQ(ring->read(place, [&](const Observation& o) { times.push_back(o.time_ns); }), 1u);
  EXPECT_EQ(times, (std::vector<u64>{1, 3}));
}

TEST(ObservationRing, DamageIsNotPassedOn) {
  const auto ring = std::make_unique<ObservationRing>();
  Observation bad = seen_at(1);
  bad.node = 200;
  ring->push(bad);
  bad = seen_at(1);
  bad.vcpu = 5000;
  ring->push(bad);
  bad = seen_at(1);
  bad.from = 100;
  ring->push(bad);
  u64 place = 0;
  EXPECT_EQ(ring->read(place, [](const Observation&) { FAIL(); }), 3u);
  place = 1000;  // as if the tail had been overwritten
  EXPECT_EQ(ring->read(place, [](const Observation&) { FAIL(); }), 0u);
  EXPECT_EQ(place, 3u);
}

TEST(ObservationRing, ManyWriteWhileOneReads) {
  const auto ring = std::make_unique<ObservationRing>();
  constexpr u32 kWriters = 3, kEach = 20'000;
  std::vector<std::thread> writers;
  std::atomic<u32> running{kWriters};
  for (u32 w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (u32 i = 0; i < kEach; ++i) {
        Observation o = seen_at(i, w);
        o.took_ns = i;
        ring->push(o);
      }
      --running;
    });
  }
  u64 place = 0, lost = 0, count = 0;
  for (bool last = false; !last;) {
    last = running.load() == 0;
    lost += ring->read(place, [&](const Observation& o) {
      EXPECT_EQ(o.time_ns, o.took_ns) << "torn";
      ++count;
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(count + lost, u64{kWriters} * kEach);
  EXPECT_GT(count, 0u);
}

TEST(DecisionLog, KeepsTheLastAndWhatCameOfThem) {
  const auto log = std::make_unique<DecisionLog>();
  for (u64 i = 1; i <= DecisionLog::kSlots + 5; ++i)
    EXPECT_EQ(log->append({.time_ns = i, .vcpu = 1, .to = 1}, Outcome::asked), i);
  log->settle(DecisionLog::kSlots + 5, Outcome::done, 42);
  log->settle(3, Outcome::refused);  // overwritten: another's
  std::vector<LoggedDecision> all;
  log->read(0, [&](const LoggedDecision& d) { all.push_back(d); });
  ASSERT_EQ(all.size(), DecisionLog::kSlots);
  EXPECT_EQ(all.front().number, 6u);
  for (std::size_t i = 0; i + 1 < all.size(); ++i) EXPECT_EQ(all[i].outcome, Outcome::asked);
  EXPECT_EQ(all.back().outcome, Outcome::done);
  EXPECT_EQ(all.back().took_us, 42u);
}

TEST(DecisionLog, DamageIsLeftOut) {
  const auto log = std::make_unique<DecisionLog>();
  log->append({.time_ns = 1}, Outcome::asked);
  log->append({.time_ns = 2}, Outcome::asked);
  log->append({.time_ns = 3}, Outcome::asked);
  log->slots[0].words[5].store(~0ull);
  log->slots[1].outcome.store(99);
  std::vector<u64> times;
  log->read(0, [&](const LoggedDecision& d) { times.push_back(d.decision.time_ns); });
  EXPECT_EQ(times, std::vector<u64>{3});
}

TEST(WishBox, GivesEachWishOnceAndDropsWhatDoesNotFit) {
  WishBox box{};
  for (u32 page = 0; page < WishBox::kWishes; ++page) EXPECT_TRUE(box.put(page));
  EXPECT_FALSE(box.put(1000));
  std::vector<u32> taken;
  box.take([&](u32 page) { taken.push_back(page); });
  EXPECT_EQ(taken.size(), WishBox::kWishes);
  EXPECT_EQ(taken.front(), 0u);
  box.take([](u32) { FAIL(); });
  EXPECT_TRUE(box.put(7));
}

TEST(LocalityCosts, WhatIsOutOfRangeIsNotBelieved) {
  const auto record = std::make_unique<LocalityRecord>();
  EXPECT_EQ(costs_of(*record).page_move_ns, CostModel{}.page_move_ns);
  publish_costs(*record, {.dram_ns = 80, .region_ns = 300, .page_move_ns = 9'000});
  EXPECT_EQ(costs_of(*record).page_move_ns, 9'000);
  EXPECT_EQ(costs_of(*record).region_ns, 300);
  record->costs.vcpu_move_ns.store(~0ull);
  EXPECT_EQ(costs_of(*record).dram_ns, CostModel{}.dram_ns);
}

using hyperkernel::DirEntry;
using hyperkernel::PageMode;

Observation of(PageMode mode, hyperkernel::NodeSet nodes, bool writes) {
  return hyperkernel::observation_of(
      {9, 1'000, 50, DirEntry{.frame = 9, .mode = mode, .nodes = nodes}, 1, writes}, 1);
}

TEST(ServedFault, TellsWhereThePageWas) {
  EXPECT_EQ(of(PageMode::owned, 0b1, true), (Observation{.time_ns = 1'000,
                                                         .page = 9,
                                                         .took_ns = 50,
                                                         .node = 1,
                                                         .from = 0,
                                                         .kind = SeenKind::write}));
  EXPECT_EQ(of(PageMode::owned, 0b1, false).kind, SeenKind::read);
  EXPECT_EQ(of(PageMode::replicated, 0, false).from, kAtHome);
  EXPECT_EQ(of(PageMode::replicated, 0b101, true).from, kCopies);
  EXPECT_EQ(of(PageMode::replicated, 0b10, true).from, kAtHome) << "only this node has a copy";
  EXPECT_EQ(of(PageMode::shared, 0, true).from, kInRegion);
}

TEST(ServedFault, OneForWhatTheNodeHadIsASample) {
  EXPECT_EQ(of(PageMode::owned, 0b10, true).kind, SeenKind::sample);
  EXPECT_EQ(of(PageMode::owned, 0b10, true).from, 1);
  EXPECT_EQ(of(PageMode::replicated, 0b11, false).kind, SeenKind::sample);
}

}  // namespace
}  // namespace dvm::locality
