#include "vmm/devices/serial.h"

namespace dvm::vmm {

using namespace serial;

namespace {

bool fifos_enabled(const SerialState& state) { return (state.fcr & kFcrEnable) != 0; }
bool in_loopback(const SerialState& state) { return (state.mcr & kMcrLoop) != 0; }
bool divisor_latched(const SerialState& state) { return (state.lcr & kLcrDivisorLatch) != 0; }
std::size_t rx_capacity(const SerialState& state) { return fifos_enabled(state) ? kFifoBytes : 1; }

void clear_receiver(SerialState& state) {
  state.rx_head = 0;
  state.rx_count = 0;
}

// The line to the other end: in loopback our own outputs come back, else the console is
// always there and listening.
u8 modem_lines(u8 mcr) {
  if ((mcr & kMcrLoop) == 0) return kMsrCts | kMsrDsr | kMsrDcd;
  u8 lines = 0;
  if (mcr & kMcrRts) lines |= kMsrCts;
  if (mcr & kMcrDtr) lines |= kMsrDsr;
  if (mcr & kMcrOut1) lines |= kMsrRing;
  if (mcr & kMcrOut2) lines |= kMsrDcd;
  return lines;
}

// "Interrupt Control Functions". Bytes below the trigger level count as timed out at once: no more
// are on the way that would be worth the wait.
u8 pending_interrupt(const SerialState& state) {
  if ((state.ier & kIerLineStatus) && state.overrun) return kIirLineStatus;
  if ((state.ier & kIerReceived) && state.rx_count > 0) {
    const u8 trigger = kFcrTriggerLevels[state.fcr >> kFcrTriggerShift];
    return !fifos_enabled(state) || state.rx_count >= trigger ? kIirReceived : kIirReceiveTimeout;
  }
  if ((state.ier & kIerTransmitterEmpty) && state.thre_pending) return kIirTransmitterEmpty;
  if ((state.ier & kIerModemStatus) && state.msr_delta != 0) return kIirModemStatus;
  return kIirNone;
}

void push_received(SerialState& state, u8 value) {
  if (state.rx_count < rx_capacity(state)) {
    state.rx[(state.rx_head + state.rx_count) % kFifoBytes] = value;
    ++state.rx_count;
    return;
  }
  state.overrun = true;  // a full FIFO keeps what it has, a lone RBR is overwritten
  if (!fifos_enabled(state)) state.rx[state.rx_head % kFifoBytes] = value;
}

u8 pop_received(SerialState& state) {
  if (state.rx_count == 0) return 0;
  const u8 value = state.rx[state.rx_head % kFifoBytes];
  state.rx_head = static_cast<u8>((state.rx_head + 1) % kFifoBytes);
  --state.rx_count;
  return value;
}

// Sending takes no time: THR is empty again at once, and says so by a new interrupt, unless the
// console has to drain first.
void transmit(SerialState& state, u8 value, const DeviceEnv& env, Effects& effects) {
  state.thre_pending = false;
  if (in_loopback(state)) {
    push_received(state, value);
    state.thre_pending = true;
    return;
  }
  if (env.tx_ready) state.tx_credit = kTransmitBurst;
  if (state.tx_credit > 0) {
    --state.tx_credit;
    ++state.tx_count;
    effects.tx = value;
  }
  if (env.tx_ready) {
    state.thre_pending = true;
  } else {
    state.tx_waiting = true;
  }
}

// Enabling the interrupt while THR is empty raises it, even if reading IIR had cleared it; Linux
// tests for it.
void write_interrupt_enable(SerialState& state, u8 value, const DeviceEnv& env) {
  const bool rises = (value & kIerTransmitterEmpty) && !(state.ier & kIerTransmitterEmpty);
  state.ier = value & kIerMask;
  if (!rises) return;
  state.thre_pending = env.tx_ready || in_loopback(state);
  if (!state.thre_pending) state.tx_waiting = true;
}

void write_fifo_control(SerialState& state, u8 value) {
  const bool toggles = ((value ^ state.fcr) & kFcrEnable) != 0;
  // The other bits are not programmed unless the enable bit is written with them.
  if ((value & kFcrEnable) == 0) value = 0;
  if (toggles || (value & kFcrClearReceive)) clear_receiver(state);
  state.fcr = value & (kFcrEnable | 3u << kFcrTriggerShift);
}

void write_modem_control(SerialState& state, u8 value) {
  const u8 before = modem_lines(state.mcr);
  state.mcr = value & kMcrMask;
  const u8 after = modem_lines(state.mcr);
  u8 changed = static_cast<u8>((before ^ after) >> kMsrDeltaShift);
  if (after & kMsrRing) changed &= static_cast<u8>(~kMsrTrailingRing);  // only its end is told
  state.msr_delta |= changed;
}

u8 read_line_status(SerialState& state, const DeviceEnv& env) {
  u8 value = 0;
  if (state.rx_count > 0) value |= kLsrDataReady;
  if (state.overrun) value |= kLsrOverrun;
  state.overrun = false;
  if (env.tx_ready || in_loopback(state)) {
    value |= kLsrHoldingEmpty | kLsrTransmitterEmpty;
  } else {
    state.tx_waiting = true;
  }
  return value;
}

// Reading it acknowledges a transmitter-empty interrupt, if that is the one it tells.
u8 read_interrupt_ident(SerialState& state) {
  const u8 cause = pending_interrupt(state);
  if (cause == kIirTransmitterEmpty) state.thre_pending = false;
  return fifos_enabled(state) ? static_cast<u8>(cause | kIirFifosEnabled) : cause;
}

u8 read_modem_status(SerialState& state) {
  const u8 value = modem_lines(state.mcr) | state.msr_delta;
  state.msr_delta = 0;
  return value;
}

}  // namespace

u8 serial_read(SerialState& state, u16 offset, const DeviceEnv& env) {
  switch (offset % 8) {
    case kData:
      return divisor_latched(state) ? static_cast<u8>(state.divisor) : pop_received(state);
    case kInterruptEnable:
      return divisor_latched(state) ? static_cast<u8>(state.divisor >> 8) : state.ier;
    case kInterruptIdentOrFifoControl: return read_interrupt_ident(state);
    case kLineControl: return state.lcr;
    case kModemControl: return state.mcr;
    case kLineStatus: return read_line_status(state, env);
    case kModemStatus: return read_modem_status(state);
    default: return state.scratch;
  }
}

void serial_write(SerialState& state, u16 offset, u8 value, const DeviceEnv& env,
                  Effects& effects) {
  switch (offset % 8) {
    case kData:
      if (divisor_latched(state)) {
        state.divisor = static_cast<u16>((state.divisor & 0xff00) | value);
      } else {
        transmit(state, value, env, effects);
      }
      break;
    case kInterruptEnable:
      if (divisor_latched(state)) {
        state.divisor = static_cast<u16>((value << 8) | (state.divisor & 0xff));
      } else {
        write_interrupt_enable(state, value, env);
      }
      break;
    case kInterruptIdentOrFifoControl: write_fifo_control(state, value); break;
    case kLineControl: state.lcr = value; break;
    case kModemControl: write_modem_control(state, value); break;
    case kScratch: state.scratch = value; break;
    default: break;  // LSR and MSR are for reading
  }
}

// Loopback forces OUT2's pin inactive, and with it a PC's interrupt line.
bool serial_irq(const SerialState& state) {
  return (state.mcr & kMcrOut2) && !in_loopback(state) && pending_interrupt(state) != kIirNone;
}

std::size_t serial_rx_room(const SerialState& state) {
  if (in_loopback(state)) return 0;
  const std::size_t capacity = rx_capacity(state);
  return state.rx_count < capacity ? capacity - state.rx_count : 0;
}

void serial_receive(SerialState& state, u8 value) {
  if (!in_loopback(state)) push_received(state, value);
}

void serial_tx_drained(SerialState& state) {
  if (!state.tx_waiting) return;
  state.tx_waiting = false;
  state.thre_pending = true;
}

}  // namespace dvm::vmm
