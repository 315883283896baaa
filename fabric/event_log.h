// What happened to the machine, in order, kept in the pool: fabric state, never rolled back.
#pragma once

#include <array>
#include <functional>
#include <string_view>

#include "fabric/doorbell.h"
#include "fabric/pool_lock.h"

namespace dvm::fabric {

enum class EventKind : u32 {
  none,
  machine_started,  // nodes, vcpus, memory bytes
  node_joined,      // node, pid
  node_left,        // node
  node_died,        // node, pid, wait status
  vcpu_started,     // vcpu, node, SIPI vector
  guest_reset,      // boot number
  guest_shutdown,
  guest_panicked,  // cause: vmm::PanicCause
  guest_error,     // vcpu, KVM exit reason, detail
  paused,
  resumed,
  power_button,
  warning,           // code of what was refused or missed
  fault_injected,    // number, fault_tag (fault_board.h), its value or duration
  fault_ended,       // number, fault_tag
  fault_failed,      // number, fault_tag, FaultFailure
  node_health,       // stable id, HealthReading, value
  net_restarted,     // pid, deaths so far
  disk_resized,      // disk, bytes
  pages_recovered,   // of which node, pages that it had, of these without their content
  vcpu_moved,        // vcpu, from node << 32 | to node, ns that it stood still
  node_evacuated,    // node, vCPUs that went elsewhere
  node_failing,      // node, HealthReading, ms until it is at what a node can bear
  node_recovered,    // node that died, vCPUs that its keeper left to others, ns that took it
  power_failing,     // node, vCPUs that it has
  rolled_back,       // epoch that was begun anew, pages put back, 1: the guest starts again instead
  machine_resumed,   // from what (ResumePoint; 3: a checkpoint), pages put back, resumptions so far
  machine_saved,     // as the power fails, its vCPUs are: ns that took
  disk_taken_over,   // PCI function, requests of the dead that are done again, ns waited for their
                     // I/O
  guest_restarted,   // boot, ns from the wish to reset until its first vCPU runs, ns of these until
                     // all nodes stood still
  checkpoint_taken,  // ns that the guest stood still, pages written, pages it has
};
inline constexpr EventKind kLastEventKind = EventKind::checkpoint_taken;
std::string_view event_name(EventKind kind);
// The names of a kind's arguments, in order; empty where it has fewer.
std::array<std::string_view, 3> event_arguments(EventKind kind);

struct Event {
  u64 sequence;  // from 1
  u64 time_ns;   // CLOCK_MONOTONIC of the host
  EventKind kind;
  u32 instance;  // stable id of the writer
  std::array<u64, 3> arguments;
};
static_assert(sizeof(Event) == 48);

// A ring: the newest kEvents are kept. `tail` is stored after the event it covers, so an event
// whose writer died is not there at all.
struct EventLog {
  static constexpr u32 kEvents = 4096;
  PoolLock lock;
  std::atomic<u64> tail;  // number of events ever written
  Doorbell written;
  u32 reserved;
  std::array<Event, kEvents> ring;
};
inline constexpr u32 kEventsVersion = 1;
Status check_record(const EventLog& log, const RecordPlace& place);

void append_event(EventLog& log, InstanceId self, const InstanceTable& instances, EventKind kind,
                  std::array<u64, 3> arguments = {});
// Calls `each` for the events after sequence `after`, oldest first; returns the last sequence seen.
// Events already overwritten are skipped.
u64 read_events(const EventLog& log, u64 after, const std::function<void(const Event&)>& each);

}  // namespace dvm::fabric
