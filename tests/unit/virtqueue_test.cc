// Tests are named after the clause of virtio 1.2 that they hold.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/virtio_fake_driver.h"
#include "vmm/virtio/queue.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest
using ring::kDescriptorIndirect;
using ring::kDescriptorNext;
using ring::kDescriptorWrite;

constexpr u16 kSize = 8;

class VirtqueueTest : public ::testing::Test {
 protected:
  VirtqueueTest() {
    queue_ = make_queue(make_queue_setup(kSize), 1);
    queue_.desc = kDesc;
    queue_.avail = kAvail;
    queue_.used = kUsed;
    queue_.indirect = 1;
  }
  bool pops() {
    const auto popped = queue_pop(queue_, guest_.memory, chain_);
    return popped.ok() && popped.value();
  }
  bool finds_nothing() {
    const auto popped = queue_pop(queue_, guest_.memory, chain_);
    return popped.ok() && !popped.value();
  }
  // An error that leaves the queue as it was.
  bool refuses() {
    const QueueState before = queue_;
    const bool failed = !queue_pop(queue_, guest_.memory, chain_).ok();
    return failed && std::memcmp(&before, &queue_, sizeof(queue_)) == 0;
  }
  bool push(u16 head, u32 bytes) {
    return queue_push_used(queue_, guest_.memory, head, bytes).ok();
  }
  bool flush() {
    const auto wanted = queue_flush_used(queue_, guest_.memory);
    EXPECT_TRUE(wanted.ok());
    return wanted.ok() && wanted.value();
  }

  FakeGuest guest_;
  FakeRing ring_{guest_, kSize};
  QueueState queue_;
  Chain chain_;
};

TEST_F(VirtqueueTest, EmptyAtFirst) { EXPECT_TRUE(finds_nothing()); }

TEST_F(VirtqueueTest, verify_2_7_5_chain_is_followed_in_order) {
  ring_.descriptor(3, kBuffers, 16, kDescriptorNext, 1);
  ring_.descriptor(1, kBuffers + 0x100, 32, kDescriptorNext | kDescriptorWrite, 6);
  ring_.descriptor(6, kBuffers + 0x200, 64, kDescriptorWrite);
  ring_.offer(3);
  ASSERT_TRUE(pops());
  EXPECT_EQ(chain_.head, 3);
  ASSERT_EQ(chain_.readable().size(), 1u);
  ASSERT_EQ(chain_.writable().size(), 2u);
  EXPECT_EQ(chain_.readable()[0].gpa, kBuffers);
  EXPECT_EQ(chain_.writable()[0].bytes, 32u);
  EXPECT_EQ(chain_.writable()[1].gpa, kBuffers + 0x200);
  EXPECT_TRUE(finds_nothing());
}

TEST_F(VirtqueueTest, verify_2_7_5_2_loop_ends) {
  ring_.descriptor(0, kBuffers, 16, kDescriptorNext, 1);
  ring_.descriptor(1, kBuffers, 16, kDescriptorNext, 0);
  ring_.offer(0);
  EXPECT_TRUE(refuses());
}

TEST_F(VirtqueueTest, verify_2_7_5_2_chain_as_long_as_the_queue_is_whole) {
  for (u16 i = 0; i < kSize; i++) {
    ring_.descriptor(i, kBuffers + 16u * i, 16, i + 1 < kSize ? kDescriptorNext : 0,
                     static_cast<u16>(i + 1));
  }
  ring_.offer(0);
  ASSERT_TRUE(pops());
  EXPECT_EQ(chain_.count, kSize);
}

TEST_F(VirtqueueTest, verify_2_7_5_2_more_than_4_gib_in_total) {
  // Only a large RAM could hold this; the total is refused before the addresses are looked at.
  ring_.descriptor(0, kRamBase, 0xffff'ffff, kDescriptorNext, 1);
  ring_.descriptor(1, kRamBase, 2);
  ring_.offer(0);
  EXPECT_TRUE(refuses());
}

TEST_F(VirtqueueTest, verify_2_7_4_2_readable_behind_writable) {
  ring_.descriptor(0, kBuffers, 16, kDescriptorNext | kDescriptorWrite, 1);
  ring_.descriptor(1, kBuffers, 16);
  ring_.offer(0);
  EXPECT_TRUE(refuses());
}

TEST_F(VirtqueueTest, BadDescriptorsAreRefused) {
  struct {
    u64 gpa;
    u32 bytes;
  } const cases[] = {{kRamBase + kRamBytes, 1}, {kRamBase + kRamBytes - 1, 2}, {0, 1}, {~0ull, 1},
                     {~0ull - 7, 16},           {kRamBase, 0xffff'ffff}};
  ring_.offer(0);
  for (const auto& c : cases) {
    ring_.descriptor(0, c.gpa, c.bytes);
    EXPECT_TRUE(refuses()) << std::hex << c.gpa << "+" << c.bytes;
  }
  ring_.descriptor(0, kBuffers, 4, kDescriptorNext, kSize);
  EXPECT_TRUE(refuses()) << "next does not exist";
}

TEST_F(VirtqueueTest, HeadThatDoesNotExistIsRefused) {
  ring_.offer(kSize);
  EXPECT_TRUE(refuses());
}

TEST_F(VirtqueueTest, EmptyDescriptorsAreLeftOut) {
  ring_.descriptor(0, ~0ull, 0, kDescriptorNext, 1);
  ring_.descriptor(1, kBuffers, 4);
  ring_.offer(0);
  ASSERT_TRUE(pops());
  EXPECT_EQ(chain_.count, 1);
}

TEST_F(VirtqueueTest, verify_2_7_5_3_indirect_table) {
  ring_.indirect(0, kBuffers, 16, kDescriptorNext, 2);
  ring_.indirect(2, kBuffers + 0x100, 32, kDescriptorWrite);
  ring_.descriptor(5, kIndirect, 3 * 16, kDescriptorIndirect);
  ring_.offer(5);
  ASSERT_TRUE(pops());
  EXPECT_EQ(chain_.head, 5);
  EXPECT_EQ(chain_.readable().size(), 1u);
  EXPECT_EQ(chain_.writable().size(), 1u);
}

TEST_F(VirtqueueTest, verify_2_7_5_3_2_normal_descriptors_then_an_indirect_one) {
  ring_.descriptor(0, kBuffers, 8, kDescriptorNext, 1);
  // The write flag of the table's own descriptor is ignored.
  ring_.descriptor(1, kIndirect, 16, kDescriptorIndirect | kDescriptorWrite);
  ring_.indirect(0, kBuffers, 8);
  ring_.offer(0);
  ASSERT_TRUE(pops());
  EXPECT_EQ(chain_.readable().size(), 2u);
}

TEST_F(VirtqueueTest, verify_2_7_5_3_1_indirect_rules) {
  ring_.offer(0);
  ring_.indirect(0, kBuffers, 8);
  ring_.descriptor(0, kIndirect, 16, kDescriptorIndirect | kDescriptorNext, 1);
  EXPECT_TRUE(refuses()) << "with NEXT";
  ring_.descriptor(0, kIndirect, 17, kDescriptorIndirect);
  EXPECT_TRUE(refuses()) << "part of a descriptor";
  ring_.descriptor(0, kIndirect, 0, kDescriptorIndirect);
  EXPECT_TRUE(refuses()) << "empty table";
  ring_.descriptor(0, kRamBase + kRamBytes, 16, kDescriptorIndirect);
  EXPECT_TRUE(refuses()) << "table outside of RAM";
  ring_.descriptor(0, ~0xfull, 0xffff'fff0, kDescriptorIndirect);
  EXPECT_TRUE(refuses()) << "table that wraps";
  ring_.descriptor(0, kIndirect, 16, kDescriptorIndirect);
  ring_.indirect(0, kIndirect, 16, kDescriptorIndirect);
  EXPECT_TRUE(refuses()) << "indirect in indirect";
  ring_.indirect(0, kBuffers, 8, kDescriptorNext, 1);
  EXPECT_TRUE(refuses()) << "next outside of the table";
  ring_.indirect(0, kBuffers, 8, kDescriptorNext, 0);
  EXPECT_TRUE(refuses()) << "loop";
  ring_.indirect(0, kBuffers, 8);
  queue_.indirect = 0;
  EXPECT_TRUE(refuses()) << "not negotiated";
}

TEST_F(VirtqueueTest, verify_2_7_size_and_alignment) {
  ring_.descriptor(0, kBuffers, 4);
  ring_.offer(0);
  const QueueState good = queue_;
  for (const u16 size : std::initializer_list<u16>{0, 3, 512, 0xffff}) {
    queue_.size = size;
    EXPECT_TRUE(refuses()) << size;
  }
  queue_ = good;
  queue_.desc += 8;
  EXPECT_TRUE(refuses());
  queue_ = good;
  queue_.avail += 1;
  EXPECT_TRUE(refuses());
  queue_ = good;
  queue_.used += 2;
  EXPECT_TRUE(refuses());
  queue_ = good;
  EXPECT_TRUE(pops());
}

TEST_F(VirtqueueTest, RingsOutsideOfRamAreRefused) {
  ring_.descriptor(0, kBuffers, 4);
  ring_.offer(0);
  const QueueState good = queue_;
  queue_.avail = ~1ull;
  EXPECT_TRUE(refuses());
  queue_ = good;
  queue_.desc = ~0xfull;
  EXPECT_TRUE(refuses());
  queue_ = good;
  queue_.used = ~3ull;
  ASSERT_TRUE(pops());
  EXPECT_FALSE(push(0, 0));
  queue_.used_idx++;
  EXPECT_FALSE(queue_flush_used(queue_, guest_.memory).ok());
}

TEST_F(VirtqueueTest, verify_2_7_6_no_more_outstanding_than_the_queue_holds) {
  ring_.descriptor(0, kBuffers, 4);
  ring_.set_avail_idx(kSize + 1);
  EXPECT_TRUE(refuses());
  ring_.set_avail_idx(kSize);
  for (int i = 0; i < kSize; i++) ASSERT_TRUE(pops());
  ring_.set_avail_idx(kSize + 1);
  EXPECT_TRUE(refuses()) << "nothing was given back yet";
  ring_.set_avail_idx(2);
  EXPECT_TRUE(refuses()) << "the index went back";
}

TEST_F(VirtqueueTest, verify_2_7_8_used_ring_and_index) {
  ring_.descriptor(2, kBuffers, 4, kDescriptorWrite);
  ring_.offer(2);
  ASSERT_TRUE(pops());
  ASSERT_TRUE(push(2, 4));
  EXPECT_EQ(ring_.used(0).head, 2u);
  EXPECT_EQ(ring_.used(0).bytes_written, 4u);
  EXPECT_EQ(ring_.used_idx(), 0) << "not before it is published";
  EXPECT_TRUE(flush());
  EXPECT_EQ(ring_.used_idx(), 1);
  EXPECT_FALSE(flush()) << "nothing new";
}

TEST_F(VirtqueueTest, IndicesWrapAround) {
  queue_.last_avail = queue_.used_idx = queue_.published_used = 0xfffe;
  ring_.set_avail_idx(0xfffe);
  ring_.descriptor(0, kBuffers, 4);
  for (u32 i = 0; i < 5; i++) {
    ring_.offer(0);
    ASSERT_TRUE(pops());
    ASSERT_TRUE(push(0, i));
    EXPECT_TRUE(flush());
    EXPECT_EQ(ring_.used_idx(), static_cast<u16>(0xffff + i));
    EXPECT_EQ(ring_.used(0xfffe + i).bytes_written, i);
  }
}

TEST_F(VirtqueueTest, verify_2_7_7_2_no_interrupt_flag) {
  ring_.descriptor(0, kBuffers, 4);
  for (const u16 flags : std::initializer_list<u16>{0, 1}) {
    ring_.set_flags(flags);
    ring_.offer(0);
    ASSERT_TRUE(pops());
    ASSERT_TRUE(push(0, 0));
    EXPECT_EQ(flush(), flags == 0);
  }
}

TEST_F(VirtqueueTest, verify_2_7_7_2_used_event) {
  queue_.event_idx = 1;
  ring_.set_flags(1);  // ignored with EVENT_IDX
  ring_.descriptor(0, kBuffers, 4);
  const auto complete = [this](int chains) {
    for (int i = 0; i < chains; i++) {
      ring_.offer(0);
      EXPECT_TRUE(pops());
      EXPECT_TRUE(push(0, 0));
    }
    return flush();
  };
  ring_.set_used_event(0);
  EXPECT_TRUE(complete(1)) << "entry 0 is filled";
  EXPECT_FALSE(complete(1)) << "entry 0 was filled before";
  ring_.set_used_event(4);
  EXPECT_FALSE(complete(2)) << "entries 2 and 3";
  EXPECT_TRUE(complete(3)) << "entries 4 to 6";
  ring_.set_used_event(7);
  EXPECT_TRUE(complete(1));
  ring_.set_used_event(0xffff);
  EXPECT_FALSE(complete(1));
}

// What is decided later covers all that was shown since, and the wish as it is then.
TEST_F(VirtqueueTest, AnInterruptDecidedLater) {
  queue_.event_idx = 1;
  ring_.descriptor(0, kBuffers, 4);
  const u16 told = queue_.published_used;
  for (int i = 0; i < 3; ++i) {
    ring_.offer(0);
    ASSERT_TRUE(pops());
    ASSERT_TRUE(push(0, 0));
    ASSERT_TRUE(queue_republish_used(queue_, guest_.memory).ok());
  }
  const auto wanted = [&] { return queue_wants_interrupt(queue_, guest_.memory, told).value(); };
  for (const u16 event : std::initializer_list<u16>{0, 1, 2}) {
    ring_.set_used_event(event);
    EXPECT_TRUE(wanted()) << event;
  }
  ring_.set_used_event(3);
  EXPECT_FALSE(wanted()) << "the driver has looked at all three";
}

TEST_F(VirtqueueTest, verify_2_7_10_avail_event_is_set_before_giving_up) {
  queue_.event_idx = 1;
  ring_.descriptor(0, kBuffers, 4);
  ring_.offer(0);
  ring_.offer(0);
  ASSERT_TRUE(pops());
  EXPECT_EQ(ring_.avail_event(), 0);
  ASSERT_TRUE(pops());
  EXPECT_TRUE(finds_nothing());
  EXPECT_EQ(ring_.avail_event(), 2);
}

// A step that dies before it is published is done again from the old state.
TEST_F(VirtqueueTest, ARepeatedStepWritesTheSamePlaces) {
  ring_.descriptor(1, kBuffers, 4, kDescriptorWrite);
  ring_.offer(1);
  const QueueState published = queue_;
  const auto step = [this] {
    ASSERT_TRUE(pops());
    ASSERT_TRUE(push(chain_.head, 4));
  };
  step();
  const auto once = guest_.ram;
  queue_ = published;
  step();
  EXPECT_EQ(guest_.ram, once);
  EXPECT_EQ(ring_.used_idx(), 0) << "the driver has seen neither";

  const QueueState served = queue_;
  EXPECT_TRUE(flush());
  queue_ = served;  // died between the store and the publication
  EXPECT_TRUE(flush());
  EXPECT_EQ(ring_.used_idx(), 1);
  queue_ = served;
  EXPECT_TRUE(queue_republish_used(queue_, guest_.memory).ok());
  EXPECT_EQ(ring_.used_idx(), 1);
}

TEST_F(VirtqueueTest, AChainHasOneHolder) {
  queue_hold(queue_, 3, 0);
  queue_hold(queue_, 3, 5);  // taken over
  queue_hold(queue_, 4, 1);
  EXPECT_EQ(queue_.in_flight, 2);
  EXPECT_EQ(queue_.holder[3], 6);
  queue_unhold(queue_, 3);
  queue_unhold(queue_, 3);
  queue_hold(queue_, kMaxQueueSize, 1);  // there is no such chain
  queue_unhold(queue_, kMaxQueueSize);
  EXPECT_EQ(queue_.in_flight, 1);
}

}  // namespace
}  // namespace dvm::vmm
