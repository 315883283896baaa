#include "tools/device_figures.h"

#include <map>

#include "tools/event_text.h"
#include "tools/net_option.h"

namespace dvm::tools {
namespace {

using vmm::FunctionKind;

std::string_view kind_name(FunctionKind kind) {
  switch (kind) {
    case FunctionKind::rng: return "rng";
    case FunctionKind::block: return "disk";
    case FunctionKind::net: return "net";
    case FunctionKind::console: return "console";
    case FunctionKind::balloon: return "balloon";
    case FunctionKind::none: break;
  }
  return "none";
}

std::string detail_of(const vmm::FunctionConfig& config) {
  if (config.kind == FunctionKind::net) return mac_text(config.mac);
  if (config.kind != FunctionKind::block) return {};
  const std::string_view serial(config.serial.data(), config.serial.size());
  return std::string(serial.substr(0, serial.find('\0')));
}

// Chains in hand, by the process that has them.
std::vector<std::pair<std::string, u64>> holders(const vmm::VirtioFunction& function) {
  std::map<u32, u64> held;
  for (const auto& queue : function.queues) {
    const vmm::QueueState& state = queue.published();
    if (state.in_flight == 0) continue;
    for (const u8 holder : state.holder) {
      if (holder != 0) ++held[holder - 1u];
    }
  }
  std::vector<std::pair<std::string, u64>> named;
  for (const auto& [instance, count] : held) named.emplace_back(instance_name(instance), count);
  return named;
}

// Who carries the network's packets: whoever reads the tap, or dvm-net.
std::vector<std::pair<std::string, u64>> net_owner(const vmm::Machine& machine,
                                                   const vmm::FunctionConfig& config) {
  if ((config.flags & vmm::kNetTap) == 0)
    return {{instance_name(vmm::kNetInstance), config.queues}};
  const auto reader = fabric::InstanceId::unpack(machine.state().net.receiver.load());
  if (!reader.valid()) return {};
  return {{instance_name(reader.id), config.queues}};
}

DeviceFigures virtio_figures(const vmm::Machine& machine, u32 function, u32 number) {
  const vmm::FunctionConfig& config = machine.config().functions[function];
  const vmm::VirtioFunction& f = machine.state().functions[function];
  const vmm::FunctionCounters& c = f.counters;
  DeviceFigures d;
  d.kind = kind_name(config.kind);
  d.name = fmt::format("{}{}", d.kind, number);
  d.function = function;
  d.detail = detail_of(config);
  d.in_requests = c.in_ops.load();
  d.in_bytes = c.in_bytes.load();
  d.out_requests = c.out_ops.load();
  d.out_bytes = c.out_bytes.load();
  d.other_requests = c.other_ops.load();
  d.errors = c.errors.load();
  d.dropped = c.dropped.load();
  d.kicks = c.notifications.load();
  d.interrupts = c.interrupts.load();
  d.owners = config.kind == FunctionKind::net ? net_owner(machine, config) : holders(f);
  return d;
}

}  // namespace

std::vector<DeviceFigures> device_figures(const vmm::Machine& machine) {
  std::vector<DeviceFigures> devices;
  std::map<FunctionKind, u32> numbers;
  for (u32 i = 0; i < vmm::kMaxFunctions; ++i) {
    const FunctionKind kind = machine.config().functions[i].kind;
    if (kind != FunctionKind::none) devices.push_back(virtio_figures(machine, i, numbers[kind]++));
  }
  DeviceFigures serial;
  serial.name = "serial0";
  serial.kind = "serial";
  serial.out_bytes = machine.state().serial.published().tx_count;
  devices.push_back(std::move(serial));
  return devices;
}

}  // namespace dvm::tools
