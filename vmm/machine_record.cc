// What makes the machine's record one that may be followed (fabric/pool_record.h).
#include <algorithm>
#include <cstddef>
#include <span>

#include "fabric/crc32c.h"
#include "vmm/boot/firmware.h"
#include "vmm/machine_state.h"
#include "vmm/ram_place.h"
#include "vmm/virtio/registers.h"

namespace dvm::vmm {
namespace {

using fabric::RecordPlace;

Status check_pci(const ConfigSpace& pci, const char* name, const RecordPlace& place) {
  if (pci.writable_count > ConfigSpace::kMaxWritable)
    return place.wrong(&pci.writable_count, "{}: {} writable words", name, pci.writable_count);
  if (pci.last_capability > kConfigBytes - virtio::kCapabilityWithWordBytes)
    return place.wrong(&pci.last_capability, "{}: capability at {}", name, pci.last_capability);
  return {};
}

Status check_virtio(const VirtioPciState& s, const char* name, const RecordPlace& place) {
  DVM_TRY(check_pci(s.pci, name, place));
  constexpr u32 kLastCapability = kConfigBytes - virtio::kCapabilityWithWordBytes;
  if (s.queue_count > kMaxVirtioQueues)
    return place.wrong(&s.queue_count, "{}: {} queues", name, s.queue_count);
  if (s.msix.vectors > kMsixMaxVectors)
    return place.wrong(&s.msix.vectors, "{}: {} MSI-X vectors", name, s.msix.vectors);
  if (s.device_config_bytes > kMaxDeviceConfig || s.config_writable_end > kMaxDeviceConfig)
    return place.wrong(&s.device_config_bytes, "{}: {} bytes of device configuration", name,
                       s.device_config_bytes);
  if (s.msix_capability > kLastCapability || s.access_capability > kLastCapability)
    return place.wrong(&s.msix_capability, "{}: capabilities at {} and {}", name, s.msix_capability,
                       s.access_capability);
  for (const QueueSetup& q : s.queues) {
    if (q.max_size > kMaxQueueSize || q.size > q.max_size)
      return place.wrong(&q.size, "{}: a queue of {}, at most {}", name, q.size, q.max_size);
  }
  return {};
}

// Its fields belong together, and a node may be at work on them.
Status check_queue(const DeviceCell<QueueState>& cell, const char* name, const RecordPlace& place) {
  const QueueState q = cell.glance();
  const QueueState& there = cell.published();
  u32 held = 0;
  for (const u8 holder : q.holder) {
    if (holder > fabric::kMaxInstances)
      return place.wrong(&there.holder, "{}: a chain held by instance {}", name, holder - 1);
    held += holder != 0 ? 1u : 0u;
  }
  if (q.part > u64{1} << 32)
    return place.wrong(&there.part, "{}: {} bytes of a chain", name, q.part);
  if (q.size > kMaxQueueSize || held != q.in_flight)
    return place.wrong(&there.size, "{}: a queue of {}, {} in flight", name, q.size, q.in_flight);
  return {};
}

Status check_devices(const MachineState& m, const RecordPlace& place) {
  const SerialState& serial = m.serial.published();
  if (serial.rx_head >= serial::kFifoBytes || serial.rx_count > serial::kFifoBytes) {
    return place.wrong(&serial.rx_head, "serial: {} bytes received, the oldest at {}",
                       serial.rx_count, serial.rx_head);
  }
  if (m.rtc.published().phase_ns >= 1'000'000'000)
    return place.wrong(&m.rtc.published().phase_ns, "rtc: phase {}", m.rtc.published().phase_ns);
  DVM_TRY(check_pci(m.host_bridge.published(), "host bridge", place));
  const NetControl& control = m.net.control.published();
  if (control.pairs > kMaxNetPairs || control.address_count > NetControl::kMaxAddresses)
    return place.wrong(&control, "network: {} pairs, {} addresses", control.pairs,
                       control.address_count);
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (m.config.functions[i].kind == FunctionKind::none) continue;
    const FunctionConfig& config = m.config.functions[i];
    if (config.kind == FunctionKind::net && (config.queues == 0 || config.queues > kMaxNetPairs))
      return place.wrong(&config.queues, "network: {} queue pairs", config.queues);
    const std::string name = fmt::format("virtio function {}", i);
    DVM_TRY(check_virtio(m.functions[i].device.published(), name.c_str(), place));
    for (const auto& queue : m.functions[i].queues)
      DVM_TRY(check_queue(queue, name.c_str(), place));
  }
  return {};
}

Status check_control(const MachineState& m, const RecordPlace& place) {
  const MachineControl& c = m.control;
  if (std::ranges::find(kPhases, c.phase.load()) == kPhases.end())
    return place.wrong(&c.phase, "phase {}", static_cast<u32>(c.phase.load()));
  if (std::ranges::find(kStopReasons, c.stop_reason.load()) == kStopReasons.end())
    return place.wrong(&c.stop_reason, "stop reason {}", static_cast<u32>(c.stop_reason.load()));
  for (const NodeRecord& node : m.nodes) {
    if (node.stage.load() > NodeStage::leaving)
      return place.wrong(&node.stage, "node stage {}", static_cast<u32>(node.stage.load()));
  }
  for (const KeeperRecord& keeper : m.keepers) {
    if (keeper.state.load() > KeeperState::failed)
      return place.wrong(&keeper.state, "keeper state {}", static_cast<u32>(keeper.state.load()));
    if (keeper.trouble.load() > KeeperTrouble::place)
      return place.wrong(&keeper.trouble, "keeper's trouble {}",
                         static_cast<u32>(keeper.trouble.load()));
  }
  for (u32 i = 0; i < m.config.vcpus; ++i) {
    const VcpuRecord& v = m.vcpus[i];
    if (v.journal.phase.load() > VcpuPhase::injecting)
      return place.wrong(&v.journal, "vCPU {} in phase {}", i,
                         static_cast<u32>(v.journal.phase.load()));
    const VcpuPlace at = v.where();
    if (at.node >= layout::kMaxNodes || at.target >= layout::kMaxNodes ||
        at.stage > PlaceStage::arriving || at.refusal > kLastMoveRefusal) {
      return place.wrong(&v.place, "vCPU {} is on node {}, stage {} of its way to {}", i, at.node,
                         static_cast<u32>(at.stage), at.target);
    }
    if (v.run_state.load() > VcpuRunState::parked) {
      return place.wrong(&v.run_state, "vCPU {}: run state {}", i,
                         static_cast<u32>(v.run_state.load()));
    }
    if (v.pid.load() < 0 || v.tid.load() < 0)  // kicks go there
      return place.wrong(&v.pid, "vCPU {}: thread {} of {}", i, v.tid.load(), v.pid.load());
  }
  return {};
}

}  // namespace

u32 config_checksum(const MachineConfig& config) {
  return fabric::crc32c(
      std::as_bytes(std::span(&config, 1)).first(offsetof(MachineConfig, checksum)));
}

u32 cpu_checksum(const CpuBaseline& cpu, u32 count) {
  return fabric::crc32c(std::as_bytes(std::span(cpu.entries).first(count)));
}

Status check_config(const MachineConfig& c, std::string_view name) {
  if (c.vcpus == 0 || c.vcpus > layout::kMaxVcpus || c.nodes == 0 || c.nodes > layout::kMaxNodes ||
      c.tsc_khz == 0 || c.memory_bytes < layout::kMinMemory ||
      c.memory_bytes > layout::kMaxMemory || !is_aligned(c.memory_bytes, kPageBytes) ||
      c.firmware_bytes > layout::kMaxFirmware || !is_aligned(c.firmware_bytes, kFirmwareUnit) ||
      c.name.back() != '\0') {
    return error("pool {}: machine record out of range: {} vCPUs, {} nodes, {} bytes", name,
                 c.vcpus, c.nodes, c.memory_bytes);
  }
  if (static_cast<u32>(c.cpu_level) >= kCpuLevels)
    return error("pool {}: CPU model {}", name, static_cast<u32>(c.cpu_level));
  if (c.protection > kLastProtection)
    return error("pool {}: protection {}", name, static_cast<u32>(c.protection));
  if (c.ram_places != 1 && c.ram_places != kRamPlaces)
    return error("pool {}: {} places of RAM", name, c.ram_places);
  return {};
}

Status check_cpu(const CpuBaseline& cpu, const RecordPlace& place) {
  const u32 count = cpu.count.load(std::memory_order_acquire);
  if (count > CpuBaseline::kMaxEntries)
    return place.wrong(&cpu.count, "CPU model of {} entries", count);
  if (count != 0 && cpu.checksum != cpu_checksum(cpu, count)) {
    return place.wrong(&cpu.checksum, "CPU model: checksum {:#010x}, computed {:#010x}",
                       cpu.checksum, cpu_checksum(cpu, count));
  }
  return {};
}

Status check_record(const MachineState& m, const RecordPlace& place) {
  const u32 sum = config_checksum(m.config);
  if (m.config.checksum != sum) {
    return place.wrong(&m.config, "configuration: checksum {:#010x}, computed {:#010x}",
                       m.config.checksum, sum);
  }
  DVM_TRY(check_config(m.config, place.pool));
  DVM_TRY(check_cpu(m.cpu, place));
  DVM_TRY(check_control(m, place));
  return check_devices(m, place);
}

}  // namespace dvm::vmm
