#include "vmm/devices/serial.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

namespace dvm::vmm {
namespace {

using namespace serial;

class SerialTest : public ::testing::Test {
 protected:
  u8 read(u16 offset) { return serial_read(uart_, offset, env_); }
  void write(u16 offset, u8 value) {
    Effects effects;
    serial_write(uart_, offset, value, env_, effects);
    if (effects.tx) sent_ += static_cast<char>(*effects.tx);
  }
  void receive(const std::string& text) {
    for (const char c : text) serial_receive(uart_, static_cast<u8>(c));
  }
  u8 interrupt() { return read(kInterruptIdentOrFifoControl) & 0x0f; }
  void enable_fifos(u8 trigger_code = 0) {
    write(kInterruptIdentOrFifoControl,
          static_cast<u8>(kFcrEnable | trigger_code << kFcrTriggerShift));
  }

  SerialState uart_;
  DeviceEnv env_;
  std::string sent_;
};

TEST_F(SerialTest, StateAfterMasterReset) {
  EXPECT_EQ(read(kInterruptEnable), 0);
  EXPECT_EQ(read(kInterruptIdentOrFifoControl), kIirNone);
  EXPECT_EQ(read(kLineControl), 0);
  EXPECT_EQ(read(kModemControl), 0);
  EXPECT_EQ(read(kLineStatus), kLsrHoldingEmpty | kLsrTransmitterEmpty);
  EXPECT_EQ(read(kModemStatus), kMsrCts | kMsrDsr | kMsrDcd);
  EXPECT_FALSE(serial_irq(uart_));
}

// The steps of Linux's 8250 driver (autoconfig), up to and with its optional look for variants.
TEST_F(SerialTest, LinuxAutoconfigFinds16550A) {
  write(kInterruptEnable, 0);
  EXPECT_EQ(read(kInterruptEnable), 0);
  write(kInterruptEnable, 0x0f);
  EXPECT_EQ(read(kInterruptEnable), 0x0f);
  write(kInterruptEnable, 0);

  write(kModemControl, kMcrLoop | kMcrOut2 | kMcrRts);
  EXPECT_EQ(read(kModemStatus) & 0xf0, kMsrDcd | kMsrCts);
  write(kModemControl, 0);

  write(kLineControl, 0xbf);
  write(kInterruptIdentOrFifoControl, 0);
  write(kLineControl, 0);
  enable_fifos();
  EXPECT_EQ(read(kInterruptIdentOrFifoControl) >> 6, 3);

  write(kLineControl, kLcrDivisorLatch);
  EXPECT_NE(read(kInterruptIdentOrFifoControl), 0);  // no EFR of an ST16C650
  write(kLineControl, 0xbf);
  EXPECT_NE(read(kInterruptIdentOrFifoControl), 0);
  write(kLineControl, 0);
  write(kInterruptIdentOrFifoControl, kFcrEnable | 0x20);
  EXPECT_EQ(read(kInterruptIdentOrFifoControl) & 0xe0, 0xc0);  // no 64-byte FIFO of a TI16750
  write(kInterruptEnable, 0x40);
  EXPECT_EQ(read(kInterruptEnable) & 0x40, 0);  // no UUE of an XScale
}

TEST_F(SerialTest, DivisorLatchHidesDataAndInterruptEnable) {
  write(kInterruptEnable, kIerReceived);
  write(kLineControl, kLcrDivisorLatch | 3);
  write(kData, 0x01);
  write(kInterruptEnable, 0x02);
  EXPECT_EQ(read(kData), 0x01);
  EXPECT_EQ(read(kInterruptEnable), 0x02);
  EXPECT_EQ(uart_.divisor, 0x0201);
  write(kLineControl, 3);
  EXPECT_EQ(read(kInterruptEnable), kIerReceived);
  EXPECT_EQ(sent_, "");
}

TEST_F(SerialTest, ScratchHoldsAnyByte) {
  write(kScratch, 0xa5);
  EXPECT_EQ(read(kScratch), 0xa5);
}

TEST_F(SerialTest, SentBytesAreNumbered) {
  write(kData, 'h');
  write(kData, 'i');
  EXPECT_EQ(sent_, "hi");
  EXPECT_EQ(uart_.tx_count, 2u);
}

TEST_F(SerialTest, EnablingTransmitterEmptyRaisesItAndReadingIirClearsIt) {
  for (int again = 0; again < 2; ++again) {  // Linux's test for UARTs that do not reassert it
    write(kInterruptEnable, kIerTransmitterEmpty);
    EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
    EXPECT_EQ(interrupt(), kIirNone);
    write(kInterruptEnable, 0);
  }
  write(kInterruptEnable, kIerTransmitterEmpty);
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
  write(kInterruptEnable, kIerTransmitterEmpty);  // no rising edge, so nothing new
  EXPECT_EQ(interrupt(), kIirNone);
  write(kData, 'x');
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
}

TEST_F(SerialTest, Priorities) {
  write(kInterruptEnable, kIerMask);
  read(kInterruptIdentOrFifoControl);
  write(kModemControl, kMcrLoop);  // CTS, DSR, DCD change
  write(kModemControl, 0);
  write(kData, 'x');
  receive("ab");  // no FIFO: the second overruns the first
  EXPECT_EQ(interrupt(), kIirLineStatus);
  EXPECT_EQ(read(kLineStatus) & (kLsrDataReady | kLsrOverrun), kLsrDataReady | kLsrOverrun);
  EXPECT_EQ(interrupt(), kIirReceived);
  EXPECT_EQ(read(kData), 'b');
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
  EXPECT_EQ(interrupt(), kIirModemStatus);
  EXPECT_NE(read(kModemStatus) & 0x0f, 0);
  EXPECT_EQ(interrupt(), kIirNone);
}

TEST_F(SerialTest, TriggerLevelTellsReceivedFromTimeout) {
  enable_fifos(2);  // 8 bytes
  write(kInterruptEnable, kIerReceived);
  receive("1234567");
  EXPECT_EQ(interrupt(), kIirReceiveTimeout);
  receive("8");
  EXPECT_EQ(interrupt(), kIirReceived);
  for (const char c : std::string("12345678")) EXPECT_EQ(read(kData), c);
  EXPECT_EQ(interrupt(), kIirNone);
}

TEST_F(SerialTest, OverrunOfAFullFifoKeepsWhatItHas) {
  enable_fifos();
  receive("0123456789abcdef");
  EXPECT_EQ(serial_rx_room(uart_), 0u);
  EXPECT_EQ(read(kLineStatus) & kLsrOverrun, 0);
  receive("X");
  EXPECT_EQ(read(kLineStatus) & kLsrOverrun, kLsrOverrun);
  EXPECT_EQ(read(kLineStatus) & kLsrOverrun, 0);
  for (const char c : std::string("0123456789abcdef")) EXPECT_EQ(read(kData), c);
  EXPECT_EQ(read(kLineStatus) & kLsrDataReady, 0);
}

TEST_F(SerialTest, FifoControlClearsTheReceiver) {
  enable_fifos();
  receive("abc");
  write(kInterruptIdentOrFifoControl, kFcrEnable);
  EXPECT_EQ(serial_rx_room(uart_), 13u);
  write(kInterruptIdentOrFifoControl, kFcrEnable | kFcrClearReceive);
  EXPECT_EQ(serial_rx_room(uart_), 16u);
  receive("abc");
  write(kInterruptIdentOrFifoControl, 0);
  EXPECT_EQ(read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(serial_rx_room(uart_), 1u);
}

TEST_F(SerialTest, Out2GatesTheInterruptLine) {
  write(kInterruptEnable, kIerReceived);
  receive("a");
  EXPECT_FALSE(serial_irq(uart_));
  write(kModemControl, kMcrOut2);
  EXPECT_TRUE(serial_irq(uart_));
  write(kModemControl, kMcrOut2 | kMcrLoop);
  EXPECT_FALSE(serial_irq(uart_));
  write(kModemControl, kMcrOut2);
  read(kData);
  EXPECT_FALSE(serial_irq(uart_));
}

TEST_F(SerialTest, LoopbackSendsToItself) {
  enable_fifos();
  write(kModemControl, kMcrLoop);
  env_.tx_ready = false;  // the console has no part in it
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(read(kLineStatus) & kLsrHoldingEmpty, kLsrHoldingEmpty);
    write(kData, static_cast<u8>(i));
  }
  EXPECT_EQ(serial_rx_room(uart_), 0u);
  serial_receive(uart_, 0xff);  // the line is cut
  for (int i = 0; i < 16; ++i) EXPECT_EQ(read(kData), i);
  EXPECT_EQ(read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(sent_, "");
  EXPECT_EQ(uart_.tx_count, 0u);
}

TEST_F(SerialTest, LoopbackModemLinesAndTheirDeltas) {
  write(kModemControl, kMcrLoop | kMcrOut1);
  read(kModemStatus);
  write(kModemControl, kMcrLoop | kMcrDtr);
  EXPECT_EQ(read(kModemStatus), kMsrDsr | kMsrDsr >> 4 | kMsrTrailingRing);
  EXPECT_EQ(read(kModemStatus), kMsrDsr);
  write(kModemControl, kMcrLoop | kMcrDtr | kMcrOut1);
  EXPECT_EQ(read(kModemStatus), kMsrDsr | kMsrRing);  // the start of a ring is no change
}

TEST_F(SerialTest, AFullConsoleMakesTheGuestWait) {
  write(kModemControl, kMcrOut2);
  write(kInterruptEnable, kIerTransmitterEmpty);
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
  write(kData, 'a');
  EXPECT_TRUE(serial_irq(uart_));

  env_.tx_ready = false;
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);  // acknowledged, but then the guest finds
  EXPECT_EQ(read(kLineStatus) & (kLsrHoldingEmpty | kLsrTransmitterEmpty), 0);
  EXPECT_TRUE(serial_tx_waiting(uart_));
  EXPECT_FALSE(serial_irq(uart_));

  env_.tx_ready = true;
  serial_tx_drained(uart_);
  EXPECT_FALSE(serial_tx_waiting(uart_));
  EXPECT_TRUE(serial_irq(uart_));
  EXPECT_EQ(interrupt(), kIirTransmitterEmpty);
  serial_tx_drained(uart_);  // nobody waits: no new interrupt
  EXPECT_FALSE(serial_irq(uart_));
}

TEST_F(SerialTest, EnablingTheInterruptOnAFullConsoleWaitsForIt) {
  write(kModemControl, kMcrOut2);
  env_.tx_ready = false;
  write(kInterruptEnable, kIerTransmitterEmpty);
  EXPECT_FALSE(serial_irq(uart_));
  EXPECT_TRUE(serial_tx_waiting(uart_));
  serial_tx_drained(uart_);
  EXPECT_TRUE(serial_irq(uart_));
}

TEST_F(SerialTest, ABurstStartedInTimeIsSentWholeAndNoMore) {
  write(kData, 0);
  env_.tx_ready = false;
  for (int i = 1; i < 40; ++i) write(kData, static_cast<u8>(i));
  EXPECT_EQ(sent_.size(), kTransmitBurst);
  EXPECT_EQ(uart_.tx_count, kTransmitBurst);
}

// Model: what comes out are the bytes put in, in order, as long as the sender heeds the room.
TEST_F(SerialTest, ReceivedBytesComeOutInOrder) {
  std::mt19937 random(1);
  enable_fifos(3);
  std::deque<u8> model;
  u8 next = 0;
  for (int step = 0; step < 100'000; ++step) {
    if (random() % 2 == 0) {
      if (serial_rx_room(uart_) > 0) {
        model.push_back(next);
        serial_receive(uart_, next++);
      }
    } else if (read(kLineStatus) & kLsrDataReady) {
      ASSERT_FALSE(model.empty());
      ASSERT_EQ(read(kData), model.front());
      model.pop_front();
    }
    ASSERT_EQ(serial_rx_room(uart_), kFifoBytes - model.size());
    ASSERT_EQ(read(kLineStatus) & kLsrOverrun, 0);
  }
}

// Whatever the guest does: the state stays in its bounds, the console gets no more than it was
// ready for, and each byte has its number.
TEST_F(SerialTest, RandomAccessesKeepTheInvariants) {
  std::mt19937 random(2);
  int unready_burst = 0;
  for (int step = 0; step < 200'000; ++step) {
    env_.tx_ready = random() % 32 == 0;
    const u16 offset = static_cast<u16>(random());
    const std::size_t sent_before = sent_.size();
    switch (random() % 4) {
      case 0: read(offset); break;
      case 1: serial_receive(uart_, static_cast<u8>(random())); break;
      case 2: serial_tx_drained(uart_); break;
      default: write(offset, static_cast<u8>(random())); break;
    }
    unready_burst =
        env_.tx_ready ? 0 : unready_burst + static_cast<int>(sent_.size() - sent_before);
    ASSERT_LE(uart_.rx_count, kFifoBytes);
    ASSERT_LT(uart_.rx_head, kFifoBytes);
    ASSERT_LE(serial_rx_room(uart_), kFifoBytes);
    ASSERT_LT(unready_burst, kTransmitBurst);
    ASSERT_EQ(uart_.tx_count, sent_.size());
  }
}

}  // namespace
}  // namespace dvm::vmm
