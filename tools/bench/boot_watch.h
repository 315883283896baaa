// A boot followed from its beginning until the system answers, with what it read from its disk.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "tools/bench/boot_phase.h"
#include "tools/bench/guest_console.h"
#include "tools/bench/host_meters.h"
#include "tools/bench/service_probe.h"

namespace dvm::tools {

// Since the boot began.
struct BootPoint {
  double s = 0;
  DiskReads reads;
};

struct BootTrace {
  std::array<std::optional<BootPoint>, kBootPhases> phases;
  std::optional<BootPoint> service;  // sshd's greeting
  HostMemory memory;                 // in the end
};

// Where the machine is, and what it may take.
struct BootPlace {
  std::string disk;  // the host's device under it; empty: its reads are not counted
  u16 port = 0;      // that leads to its sshd; 0: not looked at
  double limit_s = 0;
};

class BootWatch {
 public:
  // The boot begins now.
  static Result<BootWatch> begin(GuestConsole& console, const BootPlace& place);
  // Logs in when it can, asks how the system is, and returns when all that starts has started and
  // sshd has greeted. An error: not in time, or not well.
  Result<BootTrace> follow();

 private:
  using Clock = std::chrono::steady_clock;
  BootWatch(GuestConsole& console, BootPlace place, DiskReads before)
      : console_(console), place_(std::move(place)), before_(before) {}
  Status go_on(ServiceProbe& probe);
  Status reached(BootPhase phase, ServiceProbe& probe);
  Status note_service(const ServiceProbe& probe);
  Result<BootPoint> point(Clock::time_point at) const;
  Status check() const;
  bool done() const;

  GuestConsole& console_;
  BootPlace place_;
  DiskReads before_;
  Clock::time_point start_ = Clock::now();
  PhaseWatch phases_;
  BootTrace trace_;
};

}  // namespace dvm::tools
