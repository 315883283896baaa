#include "tools/metrics.h"

#include "tools/device_figures.h"
#include "tools/exit_reason.h"
#include "tools/exposition.h"
#include "tools/locality_figures.h"
#include "tools/page_counters.h"
#include "tools/recovery_figures.h"
#include "tools/recovery_metrics.h"
#include "tools/srt_figures.h"
#include "tools/status.h"
#include "vmm/coherent_memory.h"
#include "vmm/net/net_device.h"

namespace dvm::tools {
namespace {

using vmm::VcpuCounters;

std::vector<u32> nodes_of(const vmm::Machine& machine) {
  std::vector<u32> nodes;
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    if (machine.state().nodes[n].stage.load() != vmm::NodeStage::none) nodes.push_back(n);
  }
  return nodes;
}

void origin_metrics(Exposition& out, vmm::Machine& machine) {
  if (!machine.pool().has_region(fabric::RegionKind::origin)) return;
  const auto origin = hyperkernel::OriginPages::of(machine.pool());
  if (!origin.ok()) return;
  out.metric("dvm_origin_own_pages", "gauge",
             "Pages of RAM that are no longer those of where the guest was saved.");
  out.sample(origin->count_settled());
  out.metric("dvm_origin_faults_total", "counter", "Touches of such pages that waited.");
  out.sample(origin->record().faults.load());
}

void guest_metrics(Exposition& out, vmm::Machine& machine) {
  const auto& control = machine.state().control;
  out.metric("dvm_guest_state", "gauge", "1 for the state the guest is in.");
  for (const auto phase :
       {vmm::Phase::resetting, vmm::Phase::running, vmm::Phase::paused, vmm::Phase::stopped}) {
    out.sample(control.phase.load() == phase ? 1 : 0,
               fmt::format("state=\"{}\"", phase_name(phase)));
  }
  out.metric("dvm_boots_total", "counter", "Boots of the guest, the first one included.");
  out.sample(control.boots.load());
  out.metric("dvm_memory_bytes", "gauge", "RAM of the guest.");
  out.sample(machine.config().memory_bytes);
  out.metric("dvm_bad_pages", "gauge", "Pages of RAM that went bad since the last reset.");
  out.sample(machine.bad_pages().reported);
  out.metric("dvm_pool_bytes", "gauge", "Size of the memory pool.");
  out.sample(machine.pool().header().total_bytes);
  out.metric("dvm_pool_metadata_bytes", "gauge",
             "Part of the pool that must be hardware-coherent.");
  out.sample(machine.pool().header().metadata_bytes);
  out.metric("dvm_events_total", "counter", "Events logged.");
  out.sample(machine.events().tail.load());
}

void node_metrics(Exposition& out, vmm::Machine& machine) {
  out.metric("dvm_node_up", "gauge", "1 while the node is part of the guest.");
  for (const u32 n : nodes_of(machine)) {
    const auto& slot = machine.instances().slots[vmm::kFirstNodeInstance + n];
    out.sample(slot.state.load() == fabric::InstanceState::active ? 1 : 0,
               fmt::format("node=\"{}\"", n));
  }
}

void health_metrics(Exposition& out, vmm::Machine& machine) {
  out.metric("dvm_node_health", "gauge", "Health readings of the node's host, as last reported.");
  for (const u32 n : nodes_of(machine)) {
    for (u32 r = 0; r < fabric::kHealthReadings; ++r) {
      const auto reading = static_cast<fabric::HealthReading>(r);
      const auto value = fabric::health_of(machine.health(), vmm::kFirstNodeInstance + n, reading);
      if (value)
        out.sample(*value,
                   fmt::format("node=\"{}\",reading=\"{}\"", n, fabric::reading_name(reading)));
    }
  }
}

void net_metrics(Exposition& out, const vmm::MachineState& state) {
  const auto function = vmm::find_net_function(state.config);
  if (!function) return;
  const vmm::FunctionCounters& c = state.functions[*function].counters;
  const auto counter = [&](std::string_view name, std::string_view help, u64 value) {
    out.metric(name, "counter", help);
    out.sample(value);
  };
  counter("dvm_net_receive_packets_total", "Packets that the guest received.", c.in_ops.load());
  counter("dvm_net_receive_bytes_total", "Their bytes.", c.in_bytes.load());
  counter("dvm_net_transmit_packets_total", "Packets that the guest sent.", c.out_ops.load());
  counter("dvm_net_transmit_bytes_total", "Their bytes.", c.out_bytes.load());
  counter("dvm_net_dropped_packets_total", "Packets lost between guest and network.",
          c.dropped.load());
  counter("dvm_net_waits_for_room_total", "Times that packets waited for the guest's buffers.",
          state.net.waits_for_room.load());
}

void page_metrics(Exposition& out, vmm::Machine& machine) {
  if (!machine.has_software_coherence()) return;
  const auto coherence = hyperkernel::Coherence::of(machine.pool());
  if (!coherence.ok()) return;
  for (const auto& counter : kPageCounters) {
    out.metric(fmt::format("dvm_pages_{}_total", counter.name), "counter", counter.help);
    for (const u32 n : nodes_of(machine))
      out.sample(page_counter(*coherence, n, counter), fmt::format("node=\"{}\"", n));
    if (vmm::find_net_function(machine.config()))
      out.sample(page_counter(*coherence, vmm::net_member(), counter), "node=\"net\"");
  }
  out.metric("dvm_coherent_region_bytes", "gauge", "Size of the region for pages nodes share.");
  out.sample(coherence->shared_frames() * kPageBytes);
  out.metric("dvm_coherent_region_used_bytes", "gauge", "Of it, what pages are in.");
  out.sample(coherence->frames_in_use() * kPageBytes);
}

void locality_metrics(Exposition& out, vmm::Machine& machine) {
  const LocalityFigures f = locality_figures(machine);
  out.metric("dvm_locality_policy", "gauge", "1 for the policy that places vCPUs.");
  for (u32 p = 0; p < locality::kPolicies; ++p) {
    const auto policy = static_cast<locality::PolicyKind>(p);
    out.sample(policy == f.policy ? 1 : 0,
               fmt::format("policy=\"{}\"", locality::policy_name(policy)));
  }
  out.metric("dvm_locality_decides", "gauge", "1 for the node that has the role to decide.");
  for (const u32 n : nodes_of(machine))
    out.sample(f.decider == n ? 1 : 0, fmt::format("node=\"{}\"", n));
  out.metric("dvm_locality_observations_total", "counter", "Faults, and looks, that a node told.");
  for (const u32 n : nodes_of(machine)) out.sample(f.seen[n], fmt::format("node=\"{}\"", n));
  const auto counter = [&](std::string_view name, std::string_view help, u64 value) {
    out.metric(name, "counter", help);
    out.sample(value);
  };
  counter("dvm_locality_lost_observations_total", "Of these, what the policy did not get.", f.lost);
  counter("dvm_locality_steps_total", "Times that the policy was asked.", f.steps);
  counter("dvm_locality_decisions_total", "What it wanted done.", f.decisions);
  counter("dvm_locality_decisions_done_total", "Of these, what was done.", f.done);
  counter("dvm_locality_decisions_refused_total", "Of these, what came to nothing.", f.refused);
}

struct DeviceMetric {
  std::string_view name, help;
  u64 DeviceFigures::*member;
};
constexpr std::array<DeviceMetric, 9> kDeviceMetrics = {{
    {"dvm_device_in_requests_total", "Reads, and packets or buffers that the guest received.",
     &DeviceFigures::in_requests},
    {"dvm_device_in_bytes_total", "Bytes that reached the guest.", &DeviceFigures::in_bytes},
    {"dvm_device_out_requests_total", "Writes, and packets or buffers that the guest sent.",
     &DeviceFigures::out_requests},
    {"dvm_device_out_bytes_total", "Bytes that left the guest.", &DeviceFigures::out_bytes},
    {"dvm_device_other_requests_total", "Flushes, discards and the like.",
     &DeviceFigures::other_requests},
    {"dvm_device_errors_total", "Requests that failed, and breaches of protocol.",
     &DeviceFigures::errors},
    {"dvm_device_dropped_total", "Packets dropped.", &DeviceFigures::dropped},
    {"dvm_device_kicks_total", "Notifications by the driver.", &DeviceFigures::kicks},
    {"dvm_device_interrupts_total", "Interrupts raised.", &DeviceFigures::interrupts},
}};

void device_metrics(Exposition& out, const vmm::Machine& machine) {
  const auto devices = device_figures(machine);
  for (const DeviceMetric& metric : kDeviceMetrics) {
    out.metric(metric.name, "counter", metric.help);
    for (const DeviceFigures& d : devices)
      out.sample(d.*metric.member, fmt::format("device=\"{}\"", d.name));
  }
  out.metric("dvm_device_requests_in_hand", "gauge", "Requests in hand, by the process.");
  for (const DeviceFigures& d : devices) {
    if (d.kind == "net") continue;  // its owner carries packets, and holds none
    for (const auto& [owner, count] : d.owners)
      out.sample(count, fmt::format("device=\"{}\",owner=\"{}\"", d.name, owner));
  }
}

void balloon_metrics(Exposition& out, vmm::Machine& machine) {
  const auto function = vmm::find_function(machine.config().functions, vmm::FunctionKind::balloon);
  if (!function) return;
  const vmm::BalloonRecord& record = machine.state().balloon;
  const auto one = [&](std::string_view name, std::string_view type, std::string_view help,
                       u64 value) {
    out.metric(name, type, help);
    out.sample(value);
  };
  one("dvm_balloon_target_bytes", "gauge", "Memory that the guest is asked to give up.",
      machine.state().functions[*function].capacity.load());
  one("dvm_balloon_actual_bytes", "gauge", "Memory that the guest has given up.",
      machine.balloon_actual());
  one("dvm_balloon_given_back_bytes_total", "counter",
      "Memory given back to the host as the balloon grew.", record.ballooned.load());
  one("dvm_balloon_reported_bytes_total", "counter",
      "Memory given back to the host as free pages were reported.", record.reported.load());
  one("dvm_balloon_kept_bytes_total", "counter", "Memory that the pool's file would not give back.",
      record.kept.load());
  if (record.stats_told.load() != 0) {
    out.metric("dvm_guest_memory_stat", "gauge", "What the guest last told of its memory.");
    for (u32 tag = 0; tag < vmm::kBalloonStats; ++tag) {
      const u64 value = record.stats[tag].load();
      if (value != vmm::kBalloonNotTold)
        out.sample(value, fmt::format("stat=\"{}\"", vmm::balloon_stat_name(tag)));
    }
  }
  machine.request_balloon_stats();  // for who asks next
}

void vcpu_placement_metrics(Exposition& out, const vmm::MachineState& state) {
  out.metric("dvm_vcpu_node", "gauge", "Node that the vCPU is placed on.");
  for (u32 v = 0; v < state.config.vcpus; ++v) {
    out.sample(state.vcpus[v].node(), fmt::format("vcpu=\"{}\"", v));
  }
  using enum vmm::VcpuRunState;
  out.metric("dvm_vcpu_state", "gauge", "1 for the state the vCPU is in.");
  for (u32 v = 0; v < state.config.vcpus; ++v) {
    const auto now = seen_run_state(state.vcpus[v]);
    for (const auto s : {absent, outside, in_guest, halted, wait_sipi, parked}) {
      out.sample(s == now ? 1 : 0, fmt::format("vcpu=\"{}\",state=\"{}\"", v, run_state_name(s)));
    }
  }
}

void vcpu_move_metrics(Exposition& out, const vmm::MachineState& state) {
  out.metric("dvm_vcpu_moves_total", "counter", "Times that the vCPU went to another node.");
  for (u32 v = 0; v < state.config.vcpus; ++v)
    out.sample(state.vcpus[v].where().moves, fmt::format("vcpu=\"{}\"", v));
  out.metric("dvm_vcpu_move_pause_ns_total", "counter", "Time that it stood still for that.");
  for (u32 v = 0; v < state.config.vcpus; ++v)
    out.sample(state.vcpus[v].move.pause_sum.load(), fmt::format("vcpu=\"{}\"", v));
  out.metric("dvm_vcpu_last_move_pause_ns", "gauge",
             "The same, of the last time; 0: it never did.");
  for (u32 v = 0; v < state.config.vcpus; ++v)
    out.sample(last_pause_ns(state.vcpus[v]), fmt::format("vcpu=\"{}\"", v));
}

void vcpu_exit_metrics(Exposition& out, const vmm::MachineState& state) {
  out.metric("dvm_vcpu_exits_total", "counter",
             "Exits from the guest to the node, by KVM's reason.");
  for (u32 v = 0; v < state.config.vcpus; ++v) {
    const VcpuCounters& counters = state.vcpus[v].counters;
    for (std::size_t reason = 0; reason < counters.exits.size(); ++reason) {
      if (counters.exits[reason] == 0) continue;
      out.sample(counters.exits[reason],
                 fmt::format("vcpu=\"{}\",reason=\"{}\"", v, exit_reason_name(reason)));
    }
    out.sample(counters.signal_exits, fmt::format("vcpu=\"{}\",reason=\"signal\"", v));
  }
}

struct CounterMetric {
  std::string_view name, help;
  u64 VcpuCounters::*member;
};
constexpr std::array<CounterMetric, 7> kCounters = {{
    {"dvm_vcpu_interrupts_injected_total", "Interrupts given to the vCPU.",
     &VcpuCounters::injected},
    {"dvm_vcpu_kicks_total", "Kicks the vCPU sent to others.", &VcpuCounters::kicks_sent},
    {"dvm_vcpu_halts_total", "HLT instructions.", &VcpuCounters::halts},
    {"dvm_vcpu_eoi_writes_total", "Writes of the local APIC's EOI register.",
     &VcpuCounters::eoi_writes},
    {"dvm_vcpu_icr_writes_total", "Writes of the interrupt command register.",
     &VcpuCounters::icr_writes},
    {"dvm_vcpu_timer_writes_total", "Settings of the local APIC's timer.",
     &VcpuCounters::timer_writes},
    {"dvm_vcpu_other_msrs_total", "Accesses to other MSRs.", &VcpuCounters::other_msrs},
}};

void vcpu_counter_metrics(Exposition& out, const vmm::MachineState& state) {
  for (const CounterMetric& counter : kCounters) {
    out.metric(counter.name, "counter", counter.help);
    for (u32 v = 0; v < state.config.vcpus; ++v) {
      out.sample(state.vcpus[v].counters.*counter.member, fmt::format("vcpu=\"{}\"", v));
    }
  }
}

}  // namespace

std::string metrics_text(vmm::Machine& machine) {
  Exposition out(machine.config().name.data());
  guest_metrics(out, machine);
  origin_metrics(out, machine);
  node_metrics(out, machine);
  health_metrics(out, machine);
  recovery_metrics(out, machine.state());
  net_metrics(out, machine.state());
  page_metrics(out, machine);
  epoch_metrics(out, machine);
  locality_metrics(out, machine);
  device_metrics(out, machine);
  balloon_metrics(out, machine);
  srt_metrics(out, machine);
  vcpu_placement_metrics(out, machine.state());
  vcpu_move_metrics(out, machine.state());
  vcpu_exit_metrics(out, machine.state());
  vcpu_counter_metrics(out, machine.state());
  return out.take();
}

}  // namespace dvm::tools
