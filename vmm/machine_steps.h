// How the machine runs a device step: under the device's lock, with what follows from it (interrupt
// line, messages into inboxes) done before the lock is released. So a death anywhere in it is told
// to the next one that takes the lock, who does again what may be missing; only kicks, which come
// after, have nobody to repeat them but mend_devices. Private to machine_*.cc.
#pragma once

#include <utility>

#include "fabric/failpoint.h"
#include "vmm/machine.h"
#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {

// The pin a device drives, and its place among the sources of that pin.
struct Line {
  u8 pin;
  u8 source;
};
inline constexpr Line kSerialLine{layout::kSerialGsi, 0};
inline constexpr Line kRtcLine{layout::kRtcGsi, 0};
inline constexpr Line kSciLine{layout::kSciGsi, 0};
inline constexpr Line kErrorSourceLine{layout::kErrorSourceGsi, 0};
inline constexpr Line kGenerationLine{layout::kGenerationGsi, 0};
inline constexpr Line kPitLine{layout::kPitGsi, 0};
inline Line function_line(u32 function) {
  return {function_gsi(function), function_slot(function)};
}

// Calls `body(after)`, where `after` is what is to be done when its result is known; returns that
// result, if it has one.
template <typename Body, typename After>
auto then(Body&& body, After&& after) {
  if constexpr (std::is_void_v<decltype(body())>) {
    body();
    after();
  } else {
    auto answer = body();
    after();
    return answer;
  }
}

// A device's lock. Taken over from the dead: an operation that was published is counted, for who
// finishes the exit that it is part of.
template <typename T>
class Machine::CellGuard {
 public:
  CellGuard(DeviceCell<T>& cell, Machine& m) : guard_(cell.lock, m.self_, *m.instances_) {
    if (!guard_.result().from_dead()) return;
    const u64 slot = cell.version.load(std::memory_order_acquire) % 2;
    const u64 last = cell.operation[slot];
    const OperationId id = OperationId::unpack(last);
    if (last != 0 && id.vcpu < layout::kMaxVcpus)
      m.state_->vcpus[id.vcpu].journal.operations.count(id, cell.answer[slot]);
  }
  const fabric::LockResult& result() const { return guard_.result(); }

 private:
  const fabric::LockGuard guard_;
};

// A step of a device without a line.
template <typename T, typename Step>
auto Machine::step(DeviceCell<T>& cell, Step&& fn) {
  const CellGuard guard(cell, *this);
  bool done = false;
  return publish_operation(cell, fn, done);
}

// What a device without a line holds: a reader without the lock could see a step half made. Devices
// with a line are read by a step, which mends the line after a death.
template <typename T, typename Look>
auto Machine::look(DeviceCell<T>& cell, Look&& fn) {
  const CellGuard guard(cell, *this);
  return fn(cell.published());
}

// A step of the IOAPIC, `fn(state)` gives the messages. After a death they may have been decided on
// and never posted: they are posted again.
template <typename Step>
VcpuSet Machine::step_ioapic(Step&& fn) {
  const fabric::LockGuard guard(state_->ioapic.lock, self_, *instances_);
  VcpuSet changed = post_messages(publish_step(state_->ioapic, fn));
  fabric::failpoint("device.ioapic_posted");
  if (guard.result().from_dead())
    changed |= post_messages(ioapic_resend(state_->ioapic.published()));
  return changed;
}

// A step of a device whose line has the level `level(state)`. If the lock's former owner died
// between publishing and driving the line, the line is driven again.
template <typename T, typename Level, typename Step>
auto Machine::step(DeviceCell<T>& cell, Line line, Level&& level, Step&& fn) {
  VcpuSet changed = 0;
  const auto locked = [&] {
    const CellGuard guard(cell, *this);
    const bool before = level(cell.published());
    bool done = false;
    return then([&] { return publish_operation(cell, fn, done); },
                [&] {
                  const bool after = level(cell.published());
                  if (before != after || done || guard.result().from_dead())
                    changed = drive_line(line.pin, line.source, after);
                  fabric::failpoint("device.line_driven");
                });
  };
  return then(locked, [&] { kick_all(changed, std::nullopt); });
}

// A step of the PIT, whose interrupt is a pulse that leaves no trace in its state: after a death
// one is given in any case.
template <typename Step>
auto Machine::step_pit(Step&& fn) {
  VcpuSet changed = 0;
  const auto locked = [&] {
    const CellGuard guard(state_->pit, *this);
    if (guard.result().from_dead()) changed = pulse_pit();
    bool done = false;
    return publish_operation(state_->pit, fn, done);
  };
  return then(locked, [&] { kick_all(changed, std::nullopt); });
}

template <typename Read>
auto Machine::read_ioapic(Read&& fn) {
  decltype(fn(state_->ioapic.published())) answer{};
  const VcpuSet changed = step_ioapic([&](const IoApicState& s) {
    answer = fn(s);
    return IoApicMessages{};
  });
  kick_all(changed, std::nullopt);
  return answer;
}

template <typename Read>
auto Machine::read_function(u32 function, Read&& fn) {
  return step(state_->functions[function].device, function_line(function), virtio_irq, fn);
}

}  // namespace dvm::vmm
