// Random requests against a model of the disk: many in flight, of any alignment and number of
// buffers, none of them overlapping (of those that do nothing is promised).
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/disk_fixture.h"

namespace dvm::srt {
namespace {

using namespace testing;  // NOLINT: disks to test with

constexpr u64 kDiskBytes = 4 * kMiB;
constexpr u64 kStripeBytes = 64 * kKiB;  // one request each and round
constexpr u64 kStripes = kDiskBytes / kStripeBytes;
constexpr u64 kRoom = 2 * kStripeBytes;  // memory of a request, for gaps and odd beginnings

class RandomDisk {
 public:
  RandomDisk(QueueUnderTest& q, u32 seed) : q_(q), random_(seed) {}

  // One request for each stripe, all in flight together, then all checked.
  void round() {
    struct Planned {
      DiskRequest request;
      std::vector<iovec> buffers;
    };
    std::vector<Planned> planned(kStripes);
    for (u64 s = 0; s < kStripes; ++s) {
      Planned& p = planned[s];
      plan(s, p.request, p.buffers);
      p.request.buffers = p.buffers;
      while (q_.queue->submit({&p.request, 1}) == 0) std::this_thread::yield();
    }
    q_.queue->drain();
    for (const Planned& p : planned) check(p.request);
  }
  const std::vector<std::byte>& model() const { return model_; }

 private:
  u64 below(u64 limit) { return random_() % limit; }

  void plan(u64 stripe, DiskRequest& r, std::vector<iovec>& buffers) {
    const u64 sectors = kStripeBytes / 512;
    const u64 first = below(sectors);
    r.offset = stripe * kStripeBytes + first * 512;
    r.bytes = (1 + below(sectors - first)) * 512;
    r.cookie = next_cookie_++;
    r.op = std::array{DiskOp::read,  DiskOp::read,  DiskOp::write,       DiskOp::write,
                      DiskOp::write, DiskOp::flush, DiskOp::write_zeroes}[below(7)];
    r.unmap = below(2) == 0;
    r.durable = below(8) == 0;
    if (r.op == DiskOp::write_zeroes) {
      std::fill_n(model_.begin() + static_cast<i64>(r.offset), r.bytes, std::byte{0});
    }
    if (r.op != DiskOp::read && r.op != DiskOp::write) return;
    cut(memory_.data() + stripe * kRoom, r.bytes, buffers);
    if (r.op == DiskOp::read) return;
    u64 at = r.offset;
    for (const iovec& b : buffers) {
      auto* to = static_cast<std::byte*>(b.iov_base);
      std::memset(to, static_cast<int>(random_()), b.iov_len);
      for (u64 i = 0; i + 8 <= b.iov_len; i += 64) {
        const u64 word = random_();
        std::memcpy(to + i, &word, sizeof(word));
      }
      std::memcpy(model_.data() + at, to, b.iov_len);
      at += b.iov_len;
    }
  }

  // Into buffers that are aligned like pages, sectors or nothing.
  void cut(std::byte* room, u64 bytes, std::vector<iovec>& buffers) {
    const u64 unit = std::array<u64, 3>{4096, 512, 1}[below(3)];
    if (unit == 1) room += below(64);
    for (u64 left = bytes; left > 0;) {
      u64 part = below(3) == 0 ? left : std::min(left, unit * (1 + below(16384 / unit)));
      if (buffers.size() > 40) part = left;
      buffers.push_back({room, part});
      room += part;
      left -= part;
    }
  }

  void check(const DiskRequest& r) {
    EXPECT_EQ(q_.completions.of(r.cookie), 0);
    if (r.op != DiskOp::read) return;
    u64 at = r.offset;
    for (const iovec& b : r.buffers) {
      ASSERT_EQ(std::memcmp(b.iov_base, model_.data() + at, b.iov_len), 0) << "at " << at;
      at += b.iov_len;
    }
  }

  QueueUnderTest& q_;
  std::mt19937_64 random_;
  Pages memory_{kStripes * kRoom};
  std::vector<std::byte> model_ = std::vector<std::byte>(kDiskBytes);
  u64 next_cookie_ = 1;
};

class DiskRandomTest : public ::testing::TestWithParam<DiskCache> {};

TEST_P(DiskRandomTest, ReadsWhatWasWritten) {
  DVM_NEEDS_URING();
  const ImageFile image(kDiskBytes);
  {
    QueueUnderTest q({.path = image.path(), .cache = GetParam()}, 24);
    ASSERT_TRUE(q.queue);
    RandomDisk disk(q, 1);
    for (int i = 0; i < 12 && !HasFailure(); ++i) disk.round();
    EXPECT_EQ(image.content(), disk.model());
  }
}

INSTANTIATE_TEST_SUITE_P(All, DiskRandomTest,
                         ::testing::Values(DiskCache::direct, DiskCache::buffered));

}  // namespace
}  // namespace dvm::srt
