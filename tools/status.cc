#include "tools/status.h"

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tools/balloon_request.h"
#include "tools/device_figures.h"
#include "tools/exit_reason.h"
#include "tools/locality_figures.h"
#include "tools/net_option.h"
#include "tools/page_status.h"
#include "tools/recovery_figures.h"
#include "tools/srt_figures.h"
#include "vmm/epoch_record.h"
#include "vmm/net/net_device.h"

namespace dvm::tools {

using nlohmann::json;
using vmm::Machine;

namespace {

// Of its process, unless that is well: then of its part in the machine.
std::string_view node_state_name(Machine& machine, u32 node) {
  const auto instance = machine.instances().slots[vmm::kFirstNodeInstance + node].state.load();
  if (instance != fabric::InstanceState::active) return instance_state_name(instance);
  switch (machine.state().nodes[node].stage.load()) {
    case vmm::NodeStage::starting: return "starting";
    case vmm::NodeStage::emptying: return "evacuating";
    case vmm::NodeStage::empty: return "evacuated";
    case vmm::NodeStage::leaving: return "leaving";
    case vmm::NodeStage::none:
    case vmm::NodeStage::active: break;
  }
  return "active";
}

json node_json(Machine& machine, u32 node, const PageCounts& pages) {
  const u32 id = vmm::kFirstNodeInstance + node;
  const auto& slot = machine.instances().slots[id];
  json vcpus = json::array();
  for (u32 v = 0; v < machine.config().vcpus; ++v) {
    if (machine.state().vcpus[v].node() == node) vcpus.push_back(v);
  }
  json health = json::object();
  for (u32 r = 0; r < fabric::kHealthReadings; ++r) {
    const auto reading = static_cast<fabric::HealthReading>(r);
    if (const auto value = fabric::health_of(machine.health(), id, reading))
      health[std::string(fabric::reading_name(reading))] = *value;
  }
  return {{"id", node},
          {"health", std::move(health)},
          {"instance", {{"id", id}, {"gen", slot.generation.load()}}},
          {"pid", slot.pid.load()},
          {"state", node_state_name(machine, node)},
          {"vcpus", std::move(vcpus)},
          {"pages", page_counts_json(pages, node)},
          {"moves", moves_json(machine, node)}};
}

template <typename Words>
json vectors_json(const Words& words) {
  json vectors = json::array();
  for (u32 v = 0; v < 256; ++v) {
    if ((words[v / 32] >> (v % 32) & 1) != 0) vectors.push_back(v);
  }
  return vectors;
}

// Read while it runs: for people who look for what a guest waits for.
json apic_json(const vmm::VcpuRecord& vcpu, const Machine& machine) {
  const vmm::LapicState& apic = vcpu.lapic;
  json deadline;
  if (const u64 at = apic.deadline_tsc; at != 0) {
    const auto ticks = static_cast<i64>(at - machine.guest_tsc());
    deadline = ticks * 1000 / static_cast<i64>(machine.config().tsc_khz);
  }
  return {{"requested", vectors_json(vcpu.inbox.irr)},
          {"in_service", vectors_json(apic.isr)},
          {"task_priority", apic.tpr},
          {"eoi_by_memory", apic.pv_eoi_armed},
          {"timer_in_us", std::move(deadline)}};
}

json vcpu_json(const vmm::VcpuRecord& vcpu, u32 index, const Machine& machine) {
  const vmm::VcpuCounters& counters = vcpu.counters;
  json exits = json::object();
  u64 total = 0;
  for (std::size_t reason = 0; reason < counters.exits.size(); ++reason) {
    const u64 count = counters.exits[reason];
    total += count;
    if (count != 0) exits[exit_reason_name(reason)] = count;
  }
  exits["signal"] = counters.signal_exits;
  exits["total"] = total + counters.signal_exits;
  return {{"id", index},
          {"node", vcpu.node()},
          {"state", run_state_name(seen_run_state(vcpu))},
          {"exits", std::move(exits)},
          {"injected", counters.injected},
          {"kicks_sent", counters.kicks_sent},
          {"halts", counters.halts},
          {"eoi_writes", counters.eoi_writes},
          {"icr_writes", counters.icr_writes},
          {"timer_writes", counters.timer_writes},
          {"apic", apic_json(vcpu, machine)},
          {"other_msrs", counters.other_msrs},
          {"moves", vcpu.where().moves},
          {"moved_ns", vcpu.move.pause_sum.load()},
          {"last_moved_ns", last_pause_ns(vcpu)}};
}

// Bytes of the pool's file that have memory behind them. Of a DAX device: none are counted.
u64 backed_bytes(const fabric::Pool& pool) {
  struct stat st {};
  return ::fstat(pool.fd().get(), &st) == 0 ? static_cast<u64>(st.st_blocks) * 512 : 0;
}

json net_json(Machine& machine) {
  const auto function = vmm::find_net_function(machine.config());
  if (!function) return nullptr;
  const vmm::FunctionConfig& config = machine.config().functions[*function];
  const vmm::FunctionCounters& c = machine.state().functions[*function].counters;
  const vmm::NetRecord& r = machine.state().net;
  return {{"kind", (config.flags & vmm::kNetTap) != 0 ? "tap" : "user"},
          {"mac", mac_text(config.mac)},
          {"queue_pairs", config.queues},
          {"rx_packets", c.in_ops.load()},
          {"rx_bytes", c.in_bytes.load()},
          {"tx_packets", c.out_ops.load()},
          {"tx_bytes", c.out_bytes.load()},
          {"dropped", c.dropped.load()},
          {"refused", r.refused.load()},
          {"waits_for_room", r.waits_for_room.load()},
          {"notifications", c.notifications.load()},
          {"interrupts", c.interrupts.load()},
          {"wakeups", r.wakeups.load()},
          {"socket_wakeups", r.socket_wakeups.load()},
          {"put_off", r.put_off.load()},
          {"restarts", r.restarts.load()}};
}

json devices_json(const Machine& machine) {
  json devices = json::array();
  for (const DeviceFigures& d : device_figures(machine)) {
    json owners = json::object();
    for (const auto& [name, count] : d.owners) owners[name] = count;
    devices.push_back({{"name", d.name},
                       {"kind", d.kind},
                       {"function", d.function ? json(*d.function) : json(nullptr)},
                       {"detail", d.detail},
                       {"in_requests", d.in_requests},
                       {"in_bytes", d.in_bytes},
                       {"out_requests", d.out_requests},
                       {"out_bytes", d.out_bytes},
                       {"other_requests", d.other_requests},
                       {"errors", d.errors},
                       {"dropped", d.dropped},
                       {"kicks", d.kicks},
                       {"interrupts", d.interrupts},
                       {"owners", std::move(owners)}});
  }
  return devices;
}

// null without epochs.
json epochs_json(const vmm::Machine& machine) {
  const vmm::EpochRecord* record = machine.epoch();
  if (record == nullptr) return nullptr;
  const vmm::EpochFigures& f = record->figures;
  const auto who = fabric::InstanceId::unpack(record->coordinator.load());
  json coordinator;  // null: nobody yet
  if (who.valid()) coordinator = who.id - vmm::kFirstNodeInstance;
  return {{"epoch", vmm::running_epoch(record)},
          {"coordinator", std::move(coordinator)},
          {"period_ms", record->period_ms.load()},
          {"commits", f.commits.load()},
          {"called_off", f.called_off.load()},
          {"roll_backs", f.roll_backs.load()},
          {"pause_sum_ns", f.pause_sum_ns.load()},
          {"last_pause_ns", f.last_pause_ns.load()},
          {"longest_pause_ns", f.longest_pause_ns.load()},
          {"last_stop_ns", f.last_stop_ns.load()},
          {"last_protect_ns", f.last_protect_ns.load()},
          {"last_close_ns", f.last_close_ns.load()},
          {"writes_waited", f.writes_waited.load()},
          {"pages_saved", f.pages_saved.load()},
          {"pages_hot", f.pages_hot.load()},
          {"last_roll_back_ns", f.last_roll_ns.load()},
          {"last_roll_back_pages", f.last_roll_pages.load()}};
}

}  // namespace

std::string_view phase_name(vmm::Phase phase) {
  switch (phase) {
    case vmm::Phase::resetting: return "starting";
    case vmm::Phase::running: return "running";
    case vmm::Phase::paused: return "paused";
    case vmm::Phase::stopped: return "stopped";
  }
  return "unknown";
}

std::string_view run_state_name(vmm::VcpuRunState state) {
  switch (state) {
    case vmm::VcpuRunState::absent: return "absent";
    case vmm::VcpuRunState::outside: return "outside";
    case vmm::VcpuRunState::in_guest: return "in_guest";
    case vmm::VcpuRunState::halted: return "halted";
    case vmm::VcpuRunState::wait_sipi: return "wait_sipi";
    case vmm::VcpuRunState::parked: return "parked";
  }
  return "unknown";
}

std::string_view stop_reason_name(vmm::StopReason reason) {
  switch (reason) {
    case vmm::StopReason::none: return "none";
    case vmm::StopReason::shutdown: return "shutdown";
    case vmm::StopReason::panic: return "panic";
    case vmm::StopReason::error: return "error";
    case vmm::StopReason::node_died: return "node_died";
    case vmm::StopReason::user: return "user";
    case vmm::StopReason::launcher_died: return "launcher_died";
    case vmm::StopReason::power_failed: return "power_failed";
  }
  return "unknown";
}

std::string_view instance_state_name(fabric::InstanceState state) {
  switch (state) {
    case fabric::InstanceState::none: return "starting";
    case fabric::InstanceState::active: return "active";
    case fabric::InstanceState::suspect: return "suspect";
    case fabric::InstanceState::fenced: return "fenced";
    case fabric::InstanceState::salvaged: return "salvaged";
    case fabric::InstanceState::dead: return "dead";
    case fabric::InstanceState::gone: return "gone";
  }
  return "unknown";
}

// Of RAM that the guest has from where it was saved: what it has of its own by now.
json origin_json(Machine& machine) {
  if (!machine.pool().has_region(fabric::RegionKind::origin)) return nullptr;
  const auto origin = hyperkernel::OriginPages::of(machine.pool());
  if (!origin.ok()) return nullptr;
  const auto& record = origin->record();
  const u64 own = std::min(origin->count_settled(), record.pages);
  return {{"pages", record.pages},
          {"own", own},
          {"shared", record.pages - own},
          {"faults", record.faults.load()},
          {"fetched", record.fetched.load()},
          {"zeroes", record.zeroes.load()}};
}

json status_json(Machine& machine) {
  const vmm::MachineState& state = machine.state();
  const vmm::MachineConfig& config = machine.config();
  const PageCounts pages = count_pages(machine.pool());
  json nodes = json::array(), vcpus = json::array();
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    if (state.nodes[n].stage.load() != vmm::NodeStage::none)
      nodes.push_back(node_json(machine, n, pages));
  }
  for (u32 v = 0; v < config.vcpus; ++v) vcpus.push_back(vcpu_json(state.vcpus[v], v, machine));
  const std::string& path = machine.pool().path();
  const vmm::ErrorSourceState bad = machine.bad_pages();
  return {{"name", config.name.data()},
          {"state", phase_name(state.control.phase.load())},
          {"stop_reason", stop_reason_name(state.control.stop_reason.load())},
          {"protect", vmm::protection_name(config.protection)},
          {"recoveries", recoveries_json(state)},
          {"boots", state.control.boots.load()},
          {"memory", config.memory_bytes},
          {"nodes", std::move(nodes)},
          {"vcpus", std::move(vcpus)},
          {"net", net_json(machine)},
          {"coherence", coherence_json(machine, pages)},
          {"locality", locality_json(machine)},
          {"epochs", epochs_json(machine)},
          {"devices", devices_json(machine)},
          {"balloon", balloon_json(machine)},
          {"srt", srt_json(machine)},
          {"origin", origin_json(machine)},
          {"bad_pages", {{"reported", bad.reported}, {"not_taken", bad.waiting_count}}},
          {"pool",
           {{"path", path.empty() ? "memfd" : path},
            {"size", machine.pool().header().total_bytes},
            {"backed", backed_bytes(machine.pool())}}}};
}

}  // namespace dvm::tools
