// The block device's requests, by the clause of virtio 1.2 §5.2 that they hold.
#include "vmm/virtio/blk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "tests/unit/virtio_fake_driver.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest
using virtio::BlkType;

constexpr u64 kHeader = kBuffers;
constexpr u64 kData = kBuffers + 0x1000;
constexpr u64 kStatus = kBuffers + 0x8000;
constexpr u64 kDiskBytes = 1 * kMiB;
constexpr u64 kDiskSectors = kDiskBytes / 512;

class VirtioBlkTest : public ::testing::Test {
 protected:
  VirtioBlkTest() {
    geometry_.bytes = kDiskBytes;
    geometry_.discard = geometry_.write_zeroes = true;
    geometry_.id = blk_id("serial-0");
    guest_.store<u8>(kStatus, 0xaa);
  }
  void header(BlkType type, u64 sector, u64 at = kHeader) {
    guest_.store(at, virtio::BlkHeader{static_cast<u32>(type), 0, sector});
  }
  void readable(u64 gpa, u32 bytes) {
    ASSERT_EQ(chain_.count, chain_.readable_count);
    chain_.segments[chain_.count++] = {gpa, bytes};
    chain_.readable_count = chain_.count;
  }
  void writable(u64 gpa, u32 bytes) { chain_.segments[chain_.count++] = {gpa, bytes}; }
  void clear() { chain_.count = chain_.readable_count = 0; }
  BlkNext parse() { return blk_parse(chain_, guest_.memory, geometry_, request_); }
  u32 finish(BlkStatus status) {
    return blk_finish(guest_.memory, request_, geometry_, status).value();
  }
  // A request with the usual three parts.
  BlkNext simple(BlkType type, u64 sector, u32 bytes) {
    clear();
    header(type, sector);
    readable(kHeader, 16);
    if (bytes != 0 && type == BlkType::in) writable(kData, bytes);
    if (bytes != 0 && type != BlkType::in) readable(kData, bytes);
    writable(kStatus, 1);
    return parse();
  }
  BlkNext range(BlkType type, u64 sector, u32 sectors, u32 flags) {
    guest_.store(kData, virtio::BlkRange{sector, sectors, flags});
    return simple(type, 0, 16);
  }
  bool answers(BlkNext next, BlkStatus status) {
    return next == BlkNext::finish && request_.status == status;
  }

  FakeGuest guest_;
  BlkGeometry geometry_;
  Chain chain_{};
  BlkRequest request_{};
};

TEST_F(VirtioBlkTest, verify_5_2_4_configuration) {
  geometry_.physical_bytes = 4096;
  geometry_.queues = 4;
  const VirtioPciState state = make_virtio_blk(geometry_);
  virtio::BlkConfig config{};
  std::memcpy(&config, state.device_config.data(), sizeof(config));
  EXPECT_EQ(config.capacity, kDiskSectors);
  EXPECT_EQ(config.seg_max, 254u);
  EXPECT_EQ(config.blk_size, 512u);
  EXPECT_EQ(config.physical_block_exp, 3);
  EXPECT_EQ(config.num_queues, 4);
  EXPECT_EQ(config.max_discard_seg, 1u);
  EXPECT_EQ(config.discard_sector_alignment, 8u);
  EXPECT_EQ(config.write_zeroes_may_unmap, 1);
  EXPECT_EQ(state.queue_count, 4);
  EXPECT_EQ(state.offered_features & 0xffff, 0x7644u);
}

TEST_F(VirtioBlkTest, verify_5_2_3_features_follow_the_disk) {
  geometry_.read_only = true;
  const u64 features = make_virtio_blk(geometry_).offered_features;
  EXPECT_NE(features & virtio::kBlkFeatureReadOnly, 0u);
  EXPECT_EQ(features & (virtio::kBlkFeatureDiscard | virtio::kBlkFeatureWriteZeroes |
                        virtio::kBlkFeatureMultiQueue),
            0u);
}

TEST_F(VirtioBlkTest, verify_5_2_6_read_and_write) {
  ASSERT_EQ(simple(BlkType::in, 8, 4096), BlkNext::submit);
  EXPECT_EQ(request_.op, BlkOp::read);
  EXPECT_EQ(request_.offset, 4096u);
  EXPECT_EQ(request_.bytes, 4096u);
  ASSERT_EQ(request_.data().size(), 1u);
  EXPECT_EQ(request_.data()[0].gpa, kData);
  EXPECT_EQ(finish(BlkStatus::ok), 4097u);
  EXPECT_EQ(guest_.load<u8>(kStatus), 0);

  ASSERT_EQ(simple(BlkType::out, 8, 4096), BlkNext::submit);
  EXPECT_EQ(request_.op, BlkOp::write);
  EXPECT_EQ(finish(BlkStatus::io_error), 1u);
  EXPECT_EQ(guest_.load<u8>(kStatus), 1);
}

// §2.7.8.2: what was not written must not be counted, and the status lies behind it.
TEST_F(VirtioBlkTest, verify_2_7_8_2_a_failed_read_counts_nothing) {
  ASSERT_EQ(simple(BlkType::in, 8, 512), BlkNext::submit);
  EXPECT_EQ(finish(BlkStatus::io_error), 0u);
  EXPECT_EQ(guest_.load<u8>(kStatus), 1);
}

// §2.7.4.3: framing means nothing.
TEST_F(VirtioBlkTest, verify_2_7_4_3_any_framing) {
  header(BlkType::out, 3, kHeader);
  readable(kHeader, 1);
  readable(kHeader + 1, 9);
  readable(kHeader + 10, 6 + 100);  // the rest of the header, and data behind it
  readable(kData, 412);
  writable(kData + 0x1000, 7);  // the status is the last of these
  ASSERT_EQ(parse(), BlkNext::submit);
  EXPECT_EQ(request_.offset, 3 * 512u);
  ASSERT_EQ(request_.data().size(), 2u);
  EXPECT_EQ(request_.data()[0].gpa, kHeader + 16);
  EXPECT_EQ(request_.data()[0].bytes, 100u);
  EXPECT_EQ(request_.data()[1].bytes, 412u);
  EXPECT_EQ(request_.status_gpa, kData + 0x1000 + 6);
  EXPECT_EQ(finish(BlkStatus::ok), 0u) << "a gap before the status";

  clear();
  header(BlkType::in, 0);
  readable(kHeader, 16);
  writable(kData, 500);
  writable(kData + 0x1000, 13);  // 12 of data, then the status
  ASSERT_EQ(parse(), BlkNext::submit);
  EXPECT_EQ(request_.bytes, 512u);
  ASSERT_EQ(request_.data().size(), 2u);
  EXPECT_EQ(request_.data()[1].bytes, 12u);
  EXPECT_EQ(request_.status_gpa, kData + 0x1000 + 12);
  EXPECT_EQ(finish(BlkStatus::ok), 513u);
}

TEST_F(VirtioBlkTest, AsManySegmentsAsAQueueHolds) {
  header(BlkType::in, 0);
  readable(kHeader, 16);
  for (u32 i = 0; i < 255; ++i) writable(kData, i == 254 ? 513 : 512);
  ASSERT_EQ(chain_.count, kMaxQueueSize);
  ASSERT_EQ(parse(), BlkNext::submit);
  EXPECT_EQ(request_.bytes, 255u * 512);
  EXPECT_EQ(request_.data().size(), 255u);
}

TEST_F(VirtioBlkTest, MalformedChainsNeedAReset) {
  header(BlkType::in, 0);
  EXPECT_EQ(parse(), BlkNext::needs_reset) << "empty";
  readable(kHeader, 16);
  EXPECT_EQ(parse(), BlkNext::needs_reset) << "no status";
  clear();
  writable(kStatus, 1);
  EXPECT_EQ(parse(), BlkNext::needs_reset) << "no header";
  clear();
  readable(kHeader, 15);
  writable(kStatus, 1);
  EXPECT_EQ(parse(), BlkNext::needs_reset) << "half a header";
  clear();
  header(BlkType::discard, 0);
  readable(kHeader, 16 + 15);
  writable(kStatus, 1);
  EXPECT_EQ(parse(), BlkNext::needs_reset) << "half a range";
}

TEST_F(VirtioBlkTest, verify_5_2_6_2_outside_of_the_disk) {
  EXPECT_EQ(simple(BlkType::in, kDiskSectors - 1, 512), BlkNext::submit);
  for (const u64 sector : {kDiskSectors, kDiskSectors - 1, ~u64{0}, ~u64{0} / 512, u64{1} << 55}) {
    EXPECT_TRUE(answers(simple(BlkType::in, sector, 1024), BlkStatus::io_error)) << sector;
    EXPECT_TRUE(answers(simple(BlkType::out, sector, 1024), BlkStatus::io_error)) << sector;
  }
  EXPECT_TRUE(answers(simple(BlkType::in, 0, 511), BlkStatus::io_error)) << "half a sector";
  EXPECT_TRUE(answers(simple(BlkType::in, 0, 0), BlkStatus::ok)) << "nothing";
  EXPECT_TRUE(answers(simple(BlkType::in, kDiskSectors + 1, 0), BlkStatus::io_error));
}

TEST_F(VirtioBlkTest, BlocksLargerThanASectorAreWhole) {
  geometry_.block_bytes = geometry_.physical_bytes = 4096;
  EXPECT_EQ(simple(BlkType::in, 8, 4096), BlkNext::submit);
  EXPECT_TRUE(answers(simple(BlkType::in, 1, 4096), BlkStatus::io_error));
  EXPECT_TRUE(answers(simple(BlkType::in, 8, 512), BlkStatus::io_error));
}

TEST_F(VirtioBlkTest, MoreThanOneRequestMayHave) {
  geometry_.bytes = 8 * kGiB;
  FakeGuest small;
  header(BlkType::in, 0);
  readable(kHeader, 16);
  writable(kData, 0x8000'0001);  // blk_parse does not touch the data
  EXPECT_TRUE(answers(parse(), BlkStatus::io_error));
}

TEST_F(VirtioBlkTest, verify_5_2_6_2_read_only) {
  geometry_.read_only = true;
  EXPECT_EQ(simple(BlkType::in, 0, 512), BlkNext::submit);
  EXPECT_TRUE(answers(simple(BlkType::out, 0, 512), BlkStatus::io_error));
  EXPECT_TRUE(answers(range(BlkType::discard, 0, 8, 0), BlkStatus::unsupported));
  EXPECT_TRUE(answers(range(BlkType::write_zeroes, 0, 8, 0), BlkStatus::unsupported));
}

TEST_F(VirtioBlkTest, FlushUnknownAndId) {
  EXPECT_EQ(simple(BlkType::flush, 123, 0), BlkNext::submit);
  EXPECT_EQ(request_.op, BlkOp::flush);
  for (const u32 type : {2u, 3u, 5u, 9u, 10u, 14u, 0x8000'0000u, 0xffff'ffffu}) {
    EXPECT_TRUE(answers(simple(static_cast<BlkType>(type), 0, 0), BlkStatus::unsupported)) << type;
  }
  EXPECT_EQ(finish(request_.status), 1u);
  EXPECT_EQ(guest_.load<u8>(kStatus), 2);

  clear();
  header(BlkType::get_id, 0);
  readable(kHeader, 16);
  writable(kData, 4);
  writable(kData + 0x100, 16);
  writable(kStatus, 1);
  EXPECT_TRUE(answers(parse(), BlkStatus::ok));
  EXPECT_EQ(finish(request_.status), 21u);
  std::array<char, 20> id{};
  ASSERT_TRUE(guest_.memory.read(kData, std::as_writable_bytes(std::span(id).first(4))).ok());
  ASSERT_TRUE(
      guest_.memory.read(kData + 0x100, std::as_writable_bytes(std::span(id).subspan(4))).ok());
  EXPECT_STREQ(id.data(), "serial-0");
}

TEST_F(VirtioBlkTest, IdWithLittleOrMuchRoom) {
  for (const u32 room : {3u, 100u}) {
    guest_.store<u8>(kData + 20, 0x77);
    clear();
    header(BlkType::get_id, 0);
    readable(kHeader, 16);
    writable(kData, room);
    writable(kStatus, 1);
    EXPECT_TRUE(answers(parse(), BlkStatus::ok));
    EXPECT_EQ(finish(BlkStatus::ok), room == 3 ? 4u : 20u);
    EXPECT_EQ(guest_.load<u8>(kData + 20), 0x77);
  }
  EXPECT_EQ(blk_id("a serial that is much too long")[19], 'c');
}

TEST_F(VirtioBlkTest, verify_5_2_6_discard_and_write_zeroes) {
  ASSERT_EQ(range(BlkType::discard, 8, 16, 0), BlkNext::submit);
  EXPECT_EQ(request_.op, BlkOp::discard);
  EXPECT_EQ(request_.offset, 4096u);
  EXPECT_EQ(request_.bytes, 8192u);
  ASSERT_EQ(range(BlkType::write_zeroes, 8, 16, 1), BlkNext::submit);
  EXPECT_TRUE(request_.unmap);
  // §5.2.6.2: unmap is for write zeroes only, the other flags for nobody.
  EXPECT_TRUE(answers(range(BlkType::discard, 8, 16, 1), BlkStatus::unsupported));
  EXPECT_TRUE(answers(range(BlkType::discard, 8, 16, 2), BlkStatus::unsupported));
  EXPECT_TRUE(answers(range(BlkType::write_zeroes, 8, 16, 0x8000'0001), BlkStatus::unsupported));
  EXPECT_TRUE(answers(range(BlkType::discard, kDiskSectors - 1, 2, 0), BlkStatus::io_error));
  EXPECT_TRUE(answers(range(BlkType::discard, ~u64{0}, 2, 0), BlkStatus::io_error));
  EXPECT_TRUE(answers(range(BlkType::discard, 0, 0xffff'ffff, 0), BlkStatus::io_error));
  EXPECT_TRUE(answers(range(BlkType::discard, 0, 0, 0), BlkStatus::ok));
  guest_.store(kData, virtio::BlkRange{0, 8, 0});
  EXPECT_TRUE(answers(simple(BlkType::discard, 0, 32), BlkStatus::unsupported)) << "two ranges";
  geometry_.discard = false;
  EXPECT_TRUE(answers(range(BlkType::discard, 0, 8, 0), BlkStatus::unsupported)) << "not offered";
  ASSERT_EQ(range(BlkType::write_zeroes, 0, 8, 1), BlkNext::submit);
  EXPECT_FALSE(request_.unmap) << "a hint that is not taken";
}

// A node that takes over derives the same request.
TEST_F(VirtioBlkTest, TheSameChainIsTheSameRequest) {
  ASSERT_EQ(simple(BlkType::in, 8, 4096), BlkNext::submit);
  const BlkRequest first = request_;
  request_.count = 9;
  request_.segments.fill({1, 1});
  ASSERT_EQ(parse(), BlkNext::submit);
  EXPECT_EQ(request_.offset, first.offset);
  EXPECT_EQ(request_.count, first.count);
  EXPECT_EQ(request_.data()[0].gpa, first.data()[0].gpa);
  EXPECT_EQ(request_.status_gpa, first.status_gpa);
}

TEST_F(VirtioBlkTest, ErrorsOfTheDisk) {
  EXPECT_EQ(blk_status_of(0), BlkStatus::ok);
  EXPECT_EQ(blk_status_of(EIO), BlkStatus::io_error);
  EXPECT_EQ(blk_status_of(ENOSPC), BlkStatus::io_error);
  EXPECT_EQ(blk_status_of(ENOTSUP), BlkStatus::unsupported);
}

TEST_F(VirtioBlkTest, verify_5_2_6_2_without_flush_writes_are_durable) {
  VirtioPciState state = make_virtio_blk(geometry_);
  EXPECT_TRUE(blk_writes_through(state));
  state.driver_features = virtio::kBlkFeatureFlush;
  EXPECT_FALSE(blk_writes_through(state));
}

TEST_F(VirtioBlkTest, verify_5_2_5_a_grown_disk_is_told) {
  VirtioPciState state = make_virtio_blk(geometry_);
  state.status = virtio::kStatusDriverOk;
  Effects effects;
  const u8 generation = state.config_generation;
  blk_set_capacity(state, 2 * kDiskBytes, effects);
  u64 capacity = 0;
  std::memcpy(&capacity, state.device_config.data(), sizeof(capacity));
  EXPECT_EQ(capacity, 2 * kDiskSectors);
  EXPECT_NE(state.config_generation, generation);
  EXPECT_EQ(state.isr & virtio::kIsrConfig, virtio::kIsrConfig);
}

}  // namespace
}  // namespace dvm::vmm
