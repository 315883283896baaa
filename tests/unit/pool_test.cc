#include "fabric/pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "fabric/crc32c.h"

namespace dvm::fabric {
namespace {

PoolSpec small_spec(const std::string& path = "") {
  return {path, "test", {{RegionKind::events, 1, 5000}, {RegionKind::machine, 3, 100}}, 4 * kMiB};
}

class PoolFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::temp_directory_path() / fmt::format("dvm-pool-test-{}", ::getpid());
    std::filesystem::create_directories(dir_);
    path_ = (dir_ / "pool").string();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // Makes a pool file whose user is gone.
  void leave_pool() {
    auto pool = Pool::create(small_spec(path_));
    ASSERT_TRUE(pool.ok()) << pool.error().message;
  }
  void overwrite(u64 offset, u8 value) {
    auto fd = Fd::open(path_, O_RDWR);
    ASSERT_TRUE(fd.ok());
    ASSERT_EQ(::pwrite(fd->get(), &value, 1, static_cast<off_t>(offset)), 1);
  }

  std::filesystem::path dir_;
  std::string path_;
};

TEST(Crc32c, HasTheCheckValueOfItsStandard) {
  EXPECT_EQ(crc32c(std::as_bytes(std::span("123456789", 9))), 0xe3069283u);
}

TEST(PoolLayout, RegionsAreAlignedAndDoNotOverlap) {
  const auto h = make_header(small_spec().metadata, 4 * kMiB, kPageBytes);
  ASSERT_TRUE(h.ok());
  EXPECT_TRUE(check_header(*h, h->total_bytes, "x").ok());
  EXPECT_TRUE(is_aligned(h->metadata_bytes, kHugePageBytes));
}

TEST(PoolLayout, EveryFlippedByteOfAHeaderIsNoticed) {
  const auto good = make_header(small_spec().metadata, 4 * kMiB, kPageBytes);
  for (std::size_t i = 0; i < sizeof(PoolHeader); ++i) {
    PoolHeader bad = *good;
    reinterpret_cast<u8*>(&bad)[i] ^= 0x10;
    EXPECT_FALSE(check_header(bad, good->total_bytes, "x").ok()) << "byte " << i;
  }
}

// A header with a right checksum may still lie: whatever it says, an accepted one is in bounds.
TEST(PoolLayout, AnAcceptedHeaderIsInBounds) {
  const auto good = make_header(small_spec().metadata, 4 * kMiB, kPageBytes);
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    PoolHeader h = *good;
    for (int i = 0; i < 2; ++i) {
      auto* word = reinterpret_cast<u8*>(&h) + 8 + random() % (sizeof(h) - 16);
      const u64 value = random() >> (random() % 64);
      std::memcpy(word, &value, 1 + random() % 8);
    }
    h.checksum = header_checksum(h);
    if (!check_header(h, good->total_bytes, "x").ok()) continue;
    for (u32 r = 0; r < h.region_count; ++r) {
      EXPECT_LE(h.regions[r].offset + h.regions[r].bytes, good->total_bytes);
    }
  }
}

TEST(PoolLayout, SizesThatOverflowAreRefused) {
  EXPECT_FALSE(make_header({}, ~0ull - 100, kPageBytes).ok());
}

TEST(Pool, CreatedAndAttachedSeeTheSameRegion) {
  auto pool = Pool::create(small_spec());
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  auto region = pool->region(RegionKind::machine, 3);
  ASSERT_TRUE(region.ok());
  std::memset(region->data(), 0x5a, region->size());
  auto other = Pool::attach(pool->fd().duplicate().take(), "other");
  ASSERT_TRUE(other.ok()) << other.error().message;
  EXPECT_EQ(other->region(RegionKind::machine, 3)->front(), std::byte{0x5a});
  EXPECT_FALSE(other->region(RegionKind::machine, 4).ok()) << "another version must be refused";
  EXPECT_FALSE(other->region(RegionKind::frames, 1).ok());
}

TEST_F(PoolFileTest, APoolInUseIsRefused) {
  auto first = Pool::create(small_spec(path_));
  ASSERT_TRUE(first.ok());
  auto second = Pool::create(small_spec(path_));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("in use by another guest"), std::string::npos);
}

TEST_F(PoolFileTest, ALeftPoolIsReusedAndADamagedOneRefused) {
  leave_pool();
  EXPECT_TRUE(Pool::create(small_spec(path_)).ok());
  overwrite(8, 99);  // version
  auto bad = Pool::create(small_spec(path_));
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("layout version 99"), std::string::npos)
      << bad.error().message;
  EXPECT_TRUE(std::filesystem::exists(path_)) << "a file we did not make is never removed";
}

TEST_F(PoolFileTest, AFileThatIsNoPoolIsRefusedUntouched) {
  {
    auto fd = Fd::open(path_, O_RDWR | O_CREAT);
    const std::string text(8192, 'x');
    ASSERT_TRUE(fd->write_all(std::as_bytes(std::span(text)), "x").ok());
  }
  auto pool = Pool::create(small_spec(path_));
  ASSERT_FALSE(pool.ok());
  EXPECT_NE(pool.error().message.find("not a dvm pool"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path_), 8192u);
}

TEST_F(PoolFileTest, ATruncatedPoolIsRefused) {
  leave_pool();
  std::filesystem::resize_file(path_, kMiB);
  EXPECT_FALSE(Pool::create(small_spec(path_)).ok());
}

TEST_F(PoolFileTest, AnUnwritablePathIsOneClearLine) {
  auto pool = Pool::create(small_spec((dir_ / "no" / "such" / "dir").string()));
  ASSERT_FALSE(pool.ok());
  EXPECT_EQ(pool.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace dvm::fabric
