#include <gtest/gtest.h>

#include <cstring>

#include "hyperkernel/locality/trace_format.h"

namespace dvm::locality {
namespace {

Trace some() {
  Trace t{.nodes = 2, .pages = 100, .lost = 3, .placement = {0, 1, 1}, .seen = {}};
  t.seen.push_back({.time_ns = 0, .page = 7, .took_ns = 11'000, .vcpu = 0, .node = 0, .from = 1});
  t.seen.push_back({.time_ns = 5,
                    .page = 99,
                    .took_ns = 12'000,
                    .vcpu = kNoVcpu,
                    .node = 1,
                    .from = kAtHome,
                    .kind = SeenKind::write});
  return t;
}

std::string refused(const std::vector<std::byte>& bytes) {
  const auto trace = decode_trace(bytes, "t");
  return trace.ok() ? "taken" : trace.error().message;
}

TEST(LocalityTrace, ComesBackAsItWas) {
  const Trace t = some();
  const auto back = decode_trace(encode_trace(t), "t");
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->nodes, t.nodes);
  EXPECT_EQ(back->pages, t.pages);
  EXPECT_EQ(back->lost, t.lost);
  EXPECT_EQ(back->placement, t.placement);
  EXPECT_EQ(back->seen, t.seen);
}

TEST(LocalityTrace, EveryByteIsUnderTheChecksumOrRefusedForItself) {
  const auto good = encode_trace(some());
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{1};
    EXPECT_NE(refused(bad), "taken") << "byte " << i;
  }
}

TEST(LocalityTrace, EveryLengthButTheRightOneIsRefused) {
  const auto good = encode_trace(some());
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_NE(refused({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)}), "taken");
  auto longer = good;
  longer.push_back({});
  EXPECT_NE(refused(longer), "taken");
}

TEST(LocalityTrace, AnotherVersionIsRefusedByItsNumber) {
  auto bytes = encode_trace(some());
  bytes[offsetof(TraceHeader, version)] = std::byte{2};
  EXPECT_EQ(refused(bytes), "t: trace of version 2, this dvm reads version 1");
}

TEST(LocalityTrace, WhatIsOutOfRangeIsNamed) {
  Trace t = some();
  t.seen[1].node = 2;
  EXPECT_EQ(refused(encode_trace(t)), "t: record 1: node is out of range");
  t = some();
  t.seen[0].page = 100;
  EXPECT_EQ(refused(encode_trace(t)), "t: record 0: page is out of range");
  t = some();
  t.seen[0].time_ns = 6;  // later than the next
  EXPECT_EQ(refused(encode_trace(t)), "t: record 1: time_ns is out of range");
  t = some();
  t.placement[2] = 2;
  EXPECT_EQ(refused(encode_trace(t)), "t: vCPU 2 is on node 2 of 2");
  t = some();
  t.nodes = 17;
  EXPECT_NE(refused(encode_trace(t)).find("17 nodes"), std::string::npos);
}

TEST(LocalityTrace, NormalisingOrdersAndTakesOutWhatMayNotBeThere) {
  Trace t = some();
  t.seen[0].time_ns = 1'000;
  t.seen[1].time_ns = 900;
  t.seen.push_back({.time_ns = 1, .page = 4'000});
  normalise(t);
  ASSERT_EQ(t.seen.size(), 2u);
  EXPECT_EQ(t.seen[0].time_ns, 0u);
  EXPECT_EQ(t.seen[0].page, 99u);
  EXPECT_EQ(t.seen[1].time_ns, 100u);
  EXPECT_TRUE(decode_trace(encode_trace(t), "t").ok());
}

}  // namespace
}  // namespace dvm::locality
