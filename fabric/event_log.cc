#include "fabric/event_log.h"

#include <bit>

#include "fabric/failpoint.h"
#include "fabric/line_buffer.h"

namespace dvm::fabric {
namespace {

struct KindInfo {
  std::string_view name;
  std::array<std::string_view, 3> arguments;
};

constexpr KindInfo info(EventKind kind) {
  switch (kind) {
    case EventKind::none: break;
    case EventKind::machine_started: return {"machine_started", {"nodes", "vcpus", "memory_bytes"}};
    case EventKind::node_joined: return {"node_joined", {"node", "pid", ""}};
    case EventKind::node_left: return {"node_left", {"node", "", ""}};
    case EventKind::node_died: return {"node_died", {"node", "pid", "wait_status"}};
    case EventKind::vcpu_started: return {"vcpu_started", {"vcpu", "node", "sipi_vector"}};
    case EventKind::checkpoint_taken: return {"checkpoint_taken", {"stood_ns", "written", "pages"}};
    case EventKind::guest_restarted: return {"guest_restarted", {"boot", "took_ns", "stopped_ns"}};
    case EventKind::guest_reset: return {"guest_reset", {"boot", "", ""}};
    case EventKind::guest_shutdown: return {"guest_shutdown", {"", "", ""}};
    case EventKind::guest_panicked: return {"guest_panicked", {"cause", "", ""}};
    case EventKind::guest_error: return {"guest_error", {"vcpu", "exit_reason", "detail"}};
    case EventKind::paused: return {"paused", {"", "", ""}};
    case EventKind::resumed: return {"resumed", {"", "", ""}};
    case EventKind::power_button: return {"power_button", {"", "", ""}};
    case EventKind::warning: return {"warning", {"code", "", ""}};
    case EventKind::fault_injected: return {"fault_injected", {"number", "fault", "detail"}};
    case EventKind::fault_ended: return {"fault_ended", {"number", "fault", ""}};
    case EventKind::fault_failed: return {"fault_failed", {"number", "fault", "why"}};
    case EventKind::net_restarted: return {"net_restarted", {"pid", "deaths"}};
    case EventKind::disk_resized: return {"disk_resized", {"disk", "bytes"}};
    case EventKind::pages_recovered: return {"pages_recovered", {"node", "pages", "lost"}};
    case EventKind::vcpu_moved: return {"vcpu_moved", {"vcpu", "nodes", "pause_ns"}};
    case EventKind::node_evacuated: return {"node_evacuated", {"node", "vcpus", ""}};
    case EventKind::node_failing: return {"node_failing", {"node", "reading", "in_ms"}};
    case EventKind::rolled_back: return {"rolled_back", {"epoch", "pages", "restarts"}};
    case EventKind::node_recovered: return {"node_recovered", {"node", "vcpus", "took_ns"}};
    case EventKind::machine_resumed: return {"machine_resumed", {"from", "pages", "resumptions"}};
    case EventKind::machine_saved: return {"machine_saved", {"took_ns", ""}};
    case EventKind::power_failing: return {"power_failing", {"node", "vcpus"}};
    case EventKind::disk_taken_over:
      return {"disk_taken_over", {"function", "requests", "waited_ns"}};
    case EventKind::node_health: return {"node_health", {"node", "reading", "value"}};
  }
  return {"unknown", {"", "", ""}};
}

// Word by word: a reader may look at an event that is being overwritten. It tells by the sequence.
using EventWords = std::array<u64, sizeof(Event) / sizeof(u64)>;

void store_event(Event& to, const Event& from) {
  const auto words = std::bit_cast<EventWords>(from);
  auto* target = reinterpret_cast<std::atomic<u64>*>(&to);
  LineBuffer lines;
  for (std::size_t i = 0; i < words.size(); ++i) lines.store(target[i], words[i]);
  lines.write_back();
}

Event load_event(const Event& from) {
  EventWords words;
  auto* source = reinterpret_cast<u64*>(const_cast<Event*>(&from));
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = std::atomic_ref(source[i]).load(std::memory_order_relaxed);
  return std::bit_cast<Event>(words);
}

}  // namespace

std::string_view event_name(EventKind kind) { return info(kind).name; }
std::array<std::string_view, 3> event_arguments(EventKind kind) { return info(kind).arguments; }

void append_event(EventLog& log, InstanceId self, const InstanceTable& instances, EventKind kind,
                  std::array<u64, 3> arguments) {
  {
    const LockGuard guard(log.lock, self,
                          instances);  // a dead owner's half-made event is overwritten
    const u64 tail = log.tail.load(std::memory_order_relaxed);
    store_event(log.ring[tail % EventLog::kEvents],
                {tail + 1, monotonic_ns(), kind, self.id, arguments});
    failpoint("event_log.written");
    log.tail.store(tail + 1, std::memory_order_release);
  }
  ring(log.written);
}

u64 read_events(const EventLog& log, u64 after, const std::function<void(const Event&)>& each) {
  const u64 tail = log.tail.load(std::memory_order_acquire);
  const u64 oldest = tail > EventLog::kEvents ? tail - EventLog::kEvents : 0;
  for (u64 next = after > oldest ? after : oldest; next < tail; ++next) {
    const Event event = load_event(log.ring[next % EventLog::kEvents]);
    if (event.sequence == next + 1) each(event);  // else overwritten while we read
  }
  return tail;
}

}  // namespace dvm::fabric
