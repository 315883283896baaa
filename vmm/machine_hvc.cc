// The virtio console between the guest's driver and the launcher. Output waits in a ring in the
// pool, and in the driver's queue when that is full; input waits with the launcher until the driver
// has buffers. Any process serves both queues.
#include <algorithm>

#include "vmm/epoch_record.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

// Bytes of the ring that are free when `moved` have been put into it.
u64 room(u64 moved, const ConsoleOut& out) {
  const u64 waiting = moved - out.consumed.load(std::memory_order_seq_cst);
  return ConsoleOut::kBytes - std::min(waiting, ConsoleOut::kBytes);
}

void put(ConsoleOut& out, u64 at, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) out.data[at++ % ConsoleOut::kBytes] = static_cast<char>(byte);
}

}  // namespace

bool Machine::has_virtio_console() const {
  return find_function(config().functions, FunctionKind::console).has_value();
}

// Byte n goes to its slot before the state that counts it is published: a step done again after a
// death writes the same byte to the same slot. True: the driver has bytes that wait for room.
bool Machine::transmit_hvc(u32 function, bool again) {
  ConsoleOut& out = state_->virtio_console;
  FunctionCounters& counters = state_->functions[function].counters;
  bool waits = false;
  u64 sent = 0;
  const auto process = [&](QueueState& q, const LiveQueue&) -> Status {
    const u64 first = q.moved;
    const u16 before = q.used_idx;
    DVM_ASSIGN(waits, console_transmit(q, memory(), room(q.moved, out),
                                       [&](u64 at, auto bytes) { put(out, at, bytes); }));
    sent = q.moved - first;
    counters.out_bytes.fetch_add(sent, std::memory_order_relaxed);
    counters.out_ops.fetch_add(static_cast<u16>(q.used_idx - before), std::memory_order_relaxed);
    return {};
  };
  serve_queue(function, kConsoleTransmitQueue, again, process);
  if (sent != 0) fabric::ring(out.produced);
  return waits;
}

void Machine::serve_hvc(u32 function, u16 queue, bool again) {
  ConsoleOut& out = state_->virtio_console;
  if (queue == kConsoleTransmitQueue) {
    if (!transmit_hvc(function, again)) return;
    // Either the reader sees that the guest waits, or we see what it has read.
    out.writer_waits.store(1);
    transmit_hvc(function, false);
    return;
  }
  if (queue != kConsoleReceiveQueue) return;
  if (again)
    serve_queue(function, queue, true, [](QueueState&, const LiveQueue&) { return Status(); });
  // The launcher holds input back while there are no buffers.
  if (out.reader_waits.exchange(0) != 0 || again) fabric::ring(out.produced);
}

// Under the queue's lock: a step counts a byte before its state is published.
u64 Machine::hvc_moved(u32 function) {
  return look(state_->functions[function].queues[kConsoleTransmitQueue],
              [](const QueueState& q) { return q.moved; });
}

std::size_t Machine::console_output(ConsolePort port, std::span<char> to) {
  if (port == ConsolePort::serial) return console_output(to);
  const auto function = find_function(config().functions, FunctionKind::console);
  if (!function) return 0;
  ConsoleOut& out = state_->virtio_console;
  const u64 first = out.consumed.load(std::memory_order_relaxed);
  const u64 produced = hvc_moved(*function);
  const u64 may = released(produced, &EpochRecord::virtio_out);
  const std::size_t n = std::min<u64>(to.size(), may > first ? may - first : 0);
  for (std::size_t i = 0; i < n; ++i) to[i] = out.data[(first + i) % ConsoleOut::kBytes];
  out.consumed.store(first + n, std::memory_order_seq_cst);
  if (n != 0 && out.writer_waits.exchange(0) != 0)
    serve_hvc(*function, kConsoleTransmitQueue, false);
  return n;
}

std::size_t Machine::console_input(ConsolePort port, std::span<const char> from) {
  if (port == ConsolePort::serial) return console_input(from);
  const auto function = find_function(config().functions, FunctionKind::console);
  if (!function) return from.size();
  FunctionCounters& counters = state_->functions[*function].counters;
  std::size_t typed = 0;
  serve_queue(*function, kConsoleReceiveQueue, false, [&](QueueState& q, const LiveQueue&) {
    auto rest = from;
    const u16 before = q.used_idx;
    const Status served = console_receive(q, memory(), rest);
    typed = from.size() - rest.size();
    counters.in_bytes.fetch_add(typed, std::memory_order_relaxed);
    counters.in_ops.fetch_add(static_cast<u16>(q.used_idx - before), std::memory_order_relaxed);
    return served;
  });
  return typed;
}

void Machine::set_console_size(ConsoleSize size) {
  const auto function = find_function(config().functions, FunctionKind::console);
  if (!function || state_->functions[*function].capacity.exchange(size.packed()) == size.packed())
    return;
  kick_all(
      step_function(*function, [size](VirtioPciState& s,
                                      Effects& effects) { console_set_size(s, size, effects); }),
      std::nullopt);
}

}  // namespace dvm::vmm
