// A 16550A UART: the guest's console.
// "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs", National Semiconductor, 1995;
// what is in quotes below is a heading of it.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace serial {

// Registers, as offsets from the base port ("Summary of Registers"). Offsets 0 and 1 are the
// divisor while DLAB is set.
inline constexpr u16 kData = 0;  // RBR when read, THR when written
inline constexpr u16 kInterruptEnable = 1;
inline constexpr u16 kInterruptIdentOrFifoControl = 2;  // IIR when read, FCR when written
inline constexpr u16 kLineControl = 3;
inline constexpr u16 kModemControl = 4;
inline constexpr u16 kLineStatus = 5;
inline constexpr u16 kModemStatus = 6;
inline constexpr u16 kScratch = 7;

// "Interrupt Enable Register".
inline constexpr u8 kIerReceived = 0x01;
inline constexpr u8 kIerTransmitterEmpty = 0x02;
inline constexpr u8 kIerLineStatus = 0x04;
inline constexpr u8 kIerModemStatus = 0x08;
inline constexpr u8 kIerMask = 0x0f;

// "Interrupt Identification Register", highest priority first.
inline constexpr u8 kIirLineStatus = 0x06;
inline constexpr u8 kIirReceived = 0x04;
inline constexpr u8 kIirReceiveTimeout = 0x0c;
inline constexpr u8 kIirTransmitterEmpty = 0x02;
inline constexpr u8 kIirModemStatus = 0x00;
inline constexpr u8 kIirNone = 0x01;
inline constexpr u8 kIirFifosEnabled = 0xc0;

// "FIFO Control Register".
inline constexpr u8 kFcrEnable = 0x01;
inline constexpr u8 kFcrClearReceive = 0x02;
inline constexpr u8 kFcrTriggerShift = 6;
inline constexpr std::array<u8, 4> kFcrTriggerLevels = {1, 4, 8, 14};

// "Line Control Register".
inline constexpr u8 kLcrDivisorLatch = 0x80;

// "Modem Control Register".
inline constexpr u8 kMcrDtr = 0x01;
inline constexpr u8 kMcrRts = 0x02;
inline constexpr u8 kMcrOut1 = 0x04;
inline constexpr u8 kMcrOut2 = 0x08;  // on a PC, lets the interrupt reach the bus
inline constexpr u8 kMcrLoop = 0x10;
inline constexpr u8 kMcrMask = 0x1f;

// "Line Status Register".
inline constexpr u8 kLsrDataReady = 0x01;
inline constexpr u8 kLsrOverrun = 0x02;
inline constexpr u8 kLsrHoldingEmpty = 0x20;
inline constexpr u8 kLsrTransmitterEmpty = 0x40;

// "Modem Status Register": four lines, and below each one a bit that tells that it changed.
inline constexpr u8 kMsrTrailingRing = 0x04;
inline constexpr u8 kMsrCts = 0x10;
inline constexpr u8 kMsrDsr = 0x20;
inline constexpr u8 kMsrRing = 0x40;
inline constexpr u8 kMsrDcd = 0x80;
inline constexpr u8 kMsrDeltaShift = 4;

inline constexpr std::size_t kFifoBytes = 16;
// DeviceEnv::tx_ready must mean that the console has room for this many bytes: a driver that saw
// THRE fills a whole transmit FIFO without looking again. The UART sends at most this many after
// tx_ready was last true, and drops the rest as the hardware would.
inline constexpr u8 kTransmitBurst = 16;

}  // namespace serial

// Member initialisers are the state after master reset ("UART Reset Configuration"); 9600 baud, as
// firmware leaves it.
struct SerialState {
  u64 tx_count = 0;                         // bytes sent so far: the number of the next one
  std::array<u8, serial::kFifoBytes> rx{};  // ring
  u16 divisor = 12;
  u8 rx_head = 0;  // index of the oldest byte
  u8 rx_count = 0;
  u8 tx_credit = 0;           // bytes we may yet send without tx_ready
  bool tx_waiting = false;    // the guest was told to wait for the console
  bool thre_pending = false;  // transmitter-empty interrupt not yet acknowledged
  bool overrun = false;
  u8 ier = 0;
  u8 fcr = 0;
  u8 lcr = 0;
  u8 mcr = 0;
  u8 msr_delta = 0;
  u8 scratch = 0;
};
static_assert(sizeof(SerialState) == 40);
static_assert(std::is_trivially_copyable_v<SerialState>);

// Bits of `offset` beyond 7 are ignored, as by the hardware's three address lines.
u8 serial_read(SerialState& state, u16 offset, const DeviceEnv& env);
void serial_write(SerialState& state, u16 offset, u8 value, const DeviceEnv& env, Effects& effects);

// The level of the interrupt line.
bool serial_irq(const SerialState& state);

// How many bytes serial_receive can take without an overrun. 0 in loopback, where the receiver is
// off the line: what comes from the console waits there.
std::size_t serial_rx_room(const SerialState& state);
void serial_receive(SerialState& state, u8 value);

// True once the guest has been told to wait. The machine then calls serial_tx_drained as soon as
// the console has room for a burst; it looks at the room once more after it has published the state
// that waits, so that a console which drained in between is not missed.
inline bool serial_tx_waiting(const SerialState& state) { return state.tx_waiting; }
void serial_tx_drained(SerialState& state);

}  // namespace dvm::vmm
