// The virtio functions of a machine: what each is, and its state in the pool. Function n is the PCI
// device n + 1 on bus 0.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "vmm/device_cell.h"
#include "vmm/pci/host_bridge.h"
#include "vmm/virtio/device.h"

namespace dvm::vmm {

inline constexpr u32 kMaxFunctions = 12;
inline constexpr u32 kMaxBlockQueues = 8;

enum class FunctionKind : u32 { none, rng, block, net, console, balloon };

// FunctionConfig::flags of a block device.
inline constexpr u32 kBlockReadOnly = 1, kBlockDiscard = 2, kBlockWriteZeroes = 4;

// What never changes about a function. Part of the machine's configuration.
struct FunctionConfig {
  FunctionKind kind = FunctionKind::none;
  u32 queues = 0;       // block: request queues; net: pairs of receive and transmit
  u32 flags = 0;        // of the kind
  u32 block_bytes = 0;  // block: logical, and physical
  u32 physical_bytes = 0;
  std::array<char, 20> serial{};  // block: what GET_ID answers (virtio 1.2 §5.2.6)
  std::array<u8, 6> mac{};        // net
  std::array<u8, 18> reserved{};
};
static_assert(sizeof(FunctionConfig) == 64);

// For people: read without a lock, written by whoever does the work.
struct FunctionCounters {
  std::atomic<u64> notifications;
  std::atomic<u64> interrupts;
  std::atomic<u64> in_ops;  // reads; packets received
  std::atomic<u64> out_ops;
  std::atomic<u64> other_ops;
  std::atomic<u64> in_bytes;
  std::atomic<u64> out_bytes;
  std::atomic<u64> errors;
  std::atomic<u64> dropped;
};

// Lock order within one function: queue cells by ascending index, then the device's registers.
struct VirtioFunction {
  // Where the driver finds the BAR now, 0: nowhere. Follows from the registers; the bus looks here,
  // without a lock.
  std::atomic<u64> bar;
  // What the driver is told and may change while the machine runs. block: bytes; console: its
  // terminal's size (ConsoleSize::packed); balloon: bytes that the guest is asked for.
  std::atomic<u64> capacity;
  // By node: the BAR at which its KVM takes notifications itself, 0: none (vmm/io_event_fds.h).
  std::array<std::atomic<u64>, layout::kMaxNodes> ioeventfd_bars;
  FunctionCounters counters;
  DeviceCell<VirtioPciState> device;
  std::array<DeviceCell<QueueState>, kMaxVirtioQueues> queues;
};

// `bar`, after the registers changed. The caller has the device's lock.
inline void follow_bar(VirtioFunction& f) {
  const auto window = bar_window(f.device.published().pci, kVirtioBar);
  f.bar.store(window ? window->base : 0, std::memory_order_release);
}

// The first function of that kind, if there is one.
constexpr std::optional<u32> find_function(
    const std::array<FunctionConfig, kMaxFunctions>& functions, FunctionKind kind) {
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (functions[i].kind == kind) return i;
  }
  return std::nullopt;
}

constexpr u8 function_slot(u32 function) { return static_cast<u8>(function + 1); }
constexpr u8 function_gsi(u32 function) { return intx_gsi(function_slot(function), 1); }

// Every machine has a source of entropy.
constexpr std::array<FunctionConfig, kMaxFunctions> only_rng() {
  std::array<FunctionConfig, kMaxFunctions> functions{};
  functions[0].kind = FunctionKind::rng;
  return functions;
}

}  // namespace dvm::vmm
