// What one device step asks of the world outside. A step is a pure function of (state, access); the
// machine publishes the new state first and carries these out afterwards.
#pragma once

#include <array>
#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

enum class PowerRequest : u8 { none, reset, shutdown, panic };

// A message-signalled interrupt: a write of `data` to `address` (Intel SDM vol. 3A §11.11).
struct Msi {
  u64 address;
  u32 data;
};

// What a device step may know of the world: given to it, so that a step stays a pure function.
struct DeviceEnv {
  u64 now_ns = 0;        // guest time: monotonic, starts near 0 at machine start, never goes back
  i64 wall_seconds = 0;  // host UTC, seconds since 1970
  bool tx_ready = true;  // the console has room for serial::kTransmitBurst bytes
};

struct Effects {
  PowerRequest power = PowerRequest::none;
  std::optional<u8> tx;       // a byte leaving the serial port
  std::array<Msi, 18> msi{};  // one of each vector of a function
  u8 msi_count = 0;

  void raise_msi(const Msi& m) {
    if (msi_count < msi.size()) msi[msi_count++] = m;
  }
};

}  // namespace dvm::vmm
