// Threat model: the guest owns the configuration space, the BAR and all of its RAM, and writes
// anything anywhere at any time. Whatever it does, a step ends, stays within RAM (the sanitizers
// watch), and leaves what is not the guest's to change as it was; after a reset the device works.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/virtio_fake_driver.h"
#include "vmm/virtio/interrupts.h"
#include "vmm/virtio/rng.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest

class HostileGuest {
 public:
  explicit HostileGuest(u32 seed) : random_(seed) {}

  void act() {
    switch (pick(32)) {
      case 0:
      case 1: config_access(); break;
      case 2:
      case 3: bar_access(pick(kVirtioBarBytes + 0x100)); break;
      case 4: bar_access(pick(64)); break;  // the common configuration
      case 5: scribble(kDesc, 16 * kRngQueueSize); break;
      case 6: scribble(kAvail, 64); break;
      case 7: serve_queue(true, [](QueueState&) { return Status{}; }); break;
      case 8:
      case 9: set_up(); break;
      case 10:
      case 11:
      case 12:
      case 13: any_descriptor(); break;
      case 14:
      case 15:
      case 16:
      case 17: good_descriptor(); break;
      case 18:
      case 19:
      case 20:
      case 21:
      case 22: ring_.offer(static_cast<u16>(pick(kRngQueueSize))); break;
      case 23: ring_.offer(static_cast<u16>(random_())); break;
      default: serve(driver_.notify(0)); break;
    }
    EXPECT_LE(effects_.msi_count, effects_.msi.size());
    effects_ = {};
    driver_.effects = {};
  }

  // Whatever happened before.
  void check_works_after_reset() {
    guest_.ram.assign(guest_.ram.size(), std::byte{0});
    driver_.write_config(static_cast<u16>(driver_.msix_capability() + 2), 2, 0);
    set_up();
    ring_.descriptor(0, kBuffers, 32, ring::kDescriptorWrite);
    ring_.offer(0);
    serve(driver_.notify(0));
    EXPECT_EQ(ring_.used_idx(), 1);
    EXPECT_EQ(ring_.used(0).bytes_written, 32u);
    EXPECT_TRUE(virtio_irq(state_));
    EXPECT_EQ(driver_.read_config(0, 4), 0x1044'1af4u);
    EXPECT_EQ(state_.offered_features, virtio::kCommonFeatures);
  }

  u64 served_bytes() const { return served_bytes_; }

 private:
  u64 pick(u64 bound) { return random_() % bound; }
  u64 any() { return pick(3) == 0 ? pick(16) : random_(); }
  u8 any_size() { return static_cast<u8>(pick(8) == 0 ? pick(256) : u64{1} << pick(4)); }

  void set_up() {
    driver_.write_config(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster);
    EXPECT_TRUE(driver_.negotiate(driver_.offered_features()));
    ring_.set_avail_idx(0);
    driver_.enable_queue(0, kRngQueueSize, static_cast<u16>(pick(4)));
    driver_.add_status(virtio::kStatusDriverOk);
  }
  void config_access() {
    const u16 offset = static_cast<u16>(pick(4) == 0 ? pick(0x1100) : pick(0x100));
    if (pick(2) == 0) {
      virtio_config_read(state_, offset, any_size());
    } else {
      serve(driver_.settle(
          virtio_config_write(state_, offset, any_size(), static_cast<u32>(any()), effects_)));
    }
    bar_window(state_.pci, static_cast<u32>(pick(8)));
  }
  void bar_access(u64 offset) {
    const u32 bar = pick(16) == 0 ? static_cast<u32>(pick(8)) : kVirtioBar;
    if (pick(64) == 0) offset = random_();
    if (pick(3) == 0) {
      virtio_bar_read(state_, bar, offset, any_size());
    } else {
      serve(driver_.settle(virtio_bar_write(state_, bar, offset, any_size(), any(), effects_)));
    }
  }
  void scribble(u64 gpa, u64 bytes) {
    for (u64 i = 0, n = pick(8); i < n; i++)
      guest_.store(gpa + pick(bytes), static_cast<u8>(any()));
  }
  void any_descriptor() {
    const u64 gpa = pick(8) == 0 ? random_() : pick(2) == 0 ? kIndirect : kBuffers + pick(0x1'0000);
    const u32 bytes = static_cast<u32>(pick(4) == 0 ? 16 * pick(12) : pick(0x2'0000));
    const u16 flags = static_cast<u16>(pick(8));
    const u16 next = static_cast<u16>(pick(kRngQueueSize + 1));
    const u32 index = static_cast<u32>(pick(kRngQueueSize));
    pick(2) == 0 ? ring_.descriptor(index, gpa, bytes, flags, next)
                 : ring_.indirect(index, gpa, bytes, flags, next);
  }
  void good_descriptor() {
    ring_.descriptor(static_cast<u32>(pick(kRngQueueSize)), kBuffers,
                     static_cast<u32>(pick(0x2'0000)), ring::kDescriptorWrite);
  }
  void serve(const BarWriteResult& result) {
    if (!result.notified) return;
    EXPECT_EQ(*result.notified, kRngQueue);
    u64 step_bytes = 0;
    serve_queue(false, [&](QueueState& q) {
      return rng_process(q, guest_.memory, [&](std::span<std::byte> to) {
        std::fill(to.begin(), to.end(), static_cast<std::byte>(random_()));
        step_bytes += to.size();
      });
    });
    EXPECT_LE(step_bytes, u64{kRngQueueSize} * kRngMaxChainBytes);
    served_bytes_ += step_bytes;
  }
  void serve_queue(bool again, const std::function<Status(QueueState&)>& process) {
    service_.serve(guest_.memory, effects_, again, process);
  }

  std::mt19937_64 random_;
  FakeGuest guest_;
  FakeRing ring_{guest_, kRngQueueSize};
  VirtioPciState state_ = make_virtio_rng();
  FakePciDriver driver_{state_};
  FakeService service_{state_};
  Effects effects_;
  u64 served_bytes_ = 0;
};

TEST(VirtioProperty, RandomAccessesAndDescriptors) {
  u64 served = 0;
  for (u32 seed = 1; seed <= 40; seed++) {
    SCOPED_TRACE(seed);
    HostileGuest guest(seed);
    for (int i = 0; i < 10'000; i++) guest.act();
    guest.check_works_after_reset();
    served += guest.served_bytes();
  }
  EXPECT_GT(served, 1'000'000u) << "the test should reach the data path";
}

}  // namespace
}  // namespace dvm::vmm
