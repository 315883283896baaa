// How the machine runs a device step: under the device's lock, with its interrupt line following
// the published state. Private to machine_*.cc.
#pragma once

#include "vmm/machine.h"

namespace dvm::vmm {

// The pin a device drives, and its place among the sources of that pin.
struct Line {
  u8 pin;
  u8 source;
};
inline constexpr Line kSerialLine{layout::kSerialGsi, 0};
inline constexpr Line kRtcLine{layout::kRtcGsi, 0};
inline constexpr Line kSciLine{layout::kSciGsi, 0};
inline constexpr Line kPitLine{layout::kPitGsi, 0};
inline constexpr u8 kRngSlot = 1;
inline constexpr Line kRngLine{intx_gsi(kRngSlot, 1), kRngSlot};
inline bool rng_irq(const VirtioPciState& s) { return intx_level(s.pci); }

// A step of a device without a line.
template <typename T, typename Step>
auto Machine::step(DeviceCell<T>& cell, Step&& fn) {
  const fabric::LockGuard guard(cell.lock, self_, *instances_);
  return publish_step(cell, fn);
}

// What a device without a line, or the IOAPIC, holds: a reader without the lock could see a step
// half made. Devices with a line are read by a step, which mends the line after a death.
template <typename T, typename Look>
auto Machine::look(DeviceCell<T>& cell, Look&& fn) {
  const fabric::LockGuard guard(cell.lock, self_, *instances_);
  return fn(cell.published());
}

// A step of a device whose line has the level `level(state)`. If the lock's former owner died
// between publishing and driving the line, the line is driven again.
template <typename T, typename Level, typename Step>
auto Machine::step(DeviceCell<T>& cell, Line line, Level&& level, Step&& fn) {
  IoApicMessages messages;
  const auto locked = [&] {
    const fabric::LockGuard guard(cell.lock, self_, *instances_);
    const bool before = level(cell.published());
    const auto drive = [&] {
      const bool after = level(cell.published());
      if (before != after || guard.result().from_dead())
        messages = drive_line(line.pin, line.source, after);
    };
    if constexpr (std::is_void_v<decltype(publish_step(cell, fn))>) {
      publish_step(cell, fn);
      drive();
    } else {
      auto answer = publish_step(cell, fn);
      drive();
      return answer;
    }
  };
  if constexpr (std::is_void_v<decltype(locked())>) {
    locked();
    send_all(messages);
  } else {
    auto answer = locked();
    send_all(messages);
    return answer;
  }
}

}  // namespace dvm::vmm
