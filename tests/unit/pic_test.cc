// The 8259 pair, by what its data sheet says.
#include "vmm/irq/pic.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

class PicTest : public ::testing::Test {
 protected:
  // As a PC BIOS sets it up: vectors 8 and 0x70, ICW4 for an 8086, all inputs open.
  void SetUp() override { program(0x01); }
  void program(u8 icw4) {
    for (u8 chip = 0; chip < 2; ++chip) {
      pic_write(s_, chip, 0, 0x11);
      pic_write(s_, chip, 1, chip == 0 ? 0x08 : 0x70);
      pic_write(s_, chip, 1, chip == 0 ? 0x04 : 0x02);
      pic_write(s_, chip, 1, icw4);
      pic_write(s_, chip, 1, 0x00);
    }
  }
  void pulse(u8 line) {
    pic_set_line(s_, line, true);
    pic_set_line(s_, line, false);
  }
  u8 in_service(u8 chip) {
    pic_write(s_, chip, 0, 0x0b);
    return pic_read(s_, chip, 0);
  }
  void eoi(u8 chip) { pic_write(s_, chip, 0, 0x20); }

  PicState s_;
};

TEST_F(PicTest, everything_is_masked_at_power_on) {
  s_ = {};
  for (u8 line = 0; line < kPicLines; ++line) pulse(line);
  EXPECT_FALSE(pic_output(s_));
}

TEST_F(PicTest, an_edge_is_kept_until_acknowledged_and_served_once) {
  pulse(0);
  ASSERT_TRUE(pic_output(s_));
  EXPECT_EQ(pic_acknowledge(s_), 0x08);
  EXPECT_FALSE(pic_output(s_));
  EXPECT_EQ(in_service(0), 0x01);
  eoi(0);
  EXPECT_EQ(in_service(0), 0);
  EXPECT_FALSE(pic_output(s_));
}

TEST_F(PicTest, a_line_that_stays_high_is_one_edge) {
  pic_set_line(s_, 4, true);
  EXPECT_EQ(pic_acknowledge(s_), 0x0c);
  eoi(0);
  pic_set_line(s_, 4, true);
  EXPECT_FALSE(pic_output(s_));
  pic_set_line(s_, 4, false);
  pic_set_line(s_, 4, true);
  EXPECT_TRUE(pic_output(s_));
}

TEST_F(PicTest, a_lower_input_interrupts_a_higher_one_and_waits_for_its_like) {
  pulse(4);
  EXPECT_EQ(pic_acknowledge(s_), 0x0c);
  pulse(5);
  EXPECT_FALSE(pic_output(s_));
  pulse(1);
  ASSERT_TRUE(pic_output(s_));
  EXPECT_EQ(pic_acknowledge(s_), 0x09);
  eoi(0);
  EXPECT_FALSE(pic_output(s_)) << "input 4 is still in service";
  eoi(0);
  EXPECT_TRUE(pic_output(s_));
}

TEST_F(PicTest, the_slave_comes_through_the_cascade) {
  pulse(8);
  ASSERT_TRUE(pic_output(s_));
  EXPECT_EQ(pic_acknowledge(s_), 0x70);
  EXPECT_EQ(in_service(0), 0x04);
  EXPECT_EQ(in_service(1), 0x01);
  eoi(1);
  pulse(9);
  EXPECT_FALSE(pic_output(s_)) << "the master has the cascade in service";
  eoi(0);
  EXPECT_EQ(pic_acknowledge(s_), 0x71);
}

TEST_F(PicTest, the_mask_holds_back_and_does_not_forget) {
  pic_write(s_, 0, 1, 0xfe);
  pulse(4);
  EXPECT_FALSE(pic_output(s_));
  EXPECT_FALSE(pic_hears(s_, 4));
  EXPECT_TRUE(pic_hears(s_, 0));
  EXPECT_FALSE(pic_hears(s_, 8)) << "the cascade is masked";
  pic_write(s_, 0, 1, 0x00);
  EXPECT_EQ(pic_acknowledge(s_), 0x0c);
}

TEST_F(PicTest, nothing_waiting_is_answered_by_input_7_and_not_in_service) {
  EXPECT_EQ(pic_acknowledge(s_), 0x0f);
  EXPECT_EQ(in_service(0), 0);
}

TEST_F(PicTest, a_level_triggered_input_asks_as_long_as_it_is_high) {
  pic_elcr_write(s_, 1, 0xff);
  EXPECT_EQ(pic_elcr_read(s_, 1), 0xde) << "RTC and coprocessor stay edge triggered";
  pic_set_line(s_, 9, true);
  EXPECT_EQ(pic_acknowledge(s_), 0x71);
  eoi(1);
  eoi(0);
  EXPECT_TRUE(pic_output(s_));
  pic_set_line(s_, 9, false);
  EXPECT_FALSE(pic_output(s_));
}

TEST_F(PicTest, automatic_end_of_interrupt) {
  program(0x03);
  pulse(0);
  EXPECT_EQ(pic_acknowledge(s_), 0x08);
  EXPECT_EQ(in_service(0), 0);
}

TEST_F(PicTest, rotation_gives_the_served_input_the_lowest_priority) {
  pulse(3);
  EXPECT_EQ(pic_acknowledge(s_), 0x0b);
  pic_write(s_, 0, 0, 0xa0);  // rotate on non-specific end of interrupt
  pulse(3);
  pulse(5);
  EXPECT_EQ(pic_acknowledge(s_), 0x0d);
}

TEST_F(PicTest, polling_acknowledges) {
  pulse(4);
  pic_write(s_, 0, 0, 0x0c);
  EXPECT_EQ(pic_read(s_, 0, 0), 0x84);
  EXPECT_EQ(in_service(0), 0x10);
}

// Whatever is written: a pending output always has a vector of the programmed ranges.
TEST_F(PicTest, any_writes_leave_a_state_that_answers) {
  u32 random = 1;
  const auto next = [&random] {
    return static_cast<u8>((random = random * 1664525 + 1013904223) >> 24);
  };
  for (int i = 0; i < 200'000; ++i) {
    const u8 what = next();
    if (what < 100)
      pic_write(s_, what & 1, (what >> 1) & 1, next());
    else if (what < 200)
      pic_set_line(s_, next(), what & 1);
    else if (what < 220)
      pic_read(s_, what & 1, (what >> 1) & 1);
    else if (what < 230)
      pic_elcr_write(s_, what & 1, next());
    else
      pic_acknowledge(s_);
    for (const PicChip& chip : s_.chips) ASSERT_TRUE(chip.base % 8 == 0 && chip.lowest < 8);
  }
}

}  // namespace
}  // namespace dvm::vmm
