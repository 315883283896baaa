#include "tools/bench/device_contender.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <memory>

#include "tools/bench/bench_words.h"

namespace dvm::tools {
namespace {

constexpr double kOneNodeGoal = 1.0, kMoreNodesGoal = 0.9, kSrtGoal = 0.97;
constexpr const char* kMac = "52:54:00:12:34:56";

using Words = std::vector<std::string>;

std::string append_of(const DeviceOptions& o, const char* command, const std::string& more) {
  std::string jobs;
  for (const auto& job : o.jobs) jobs += (jobs.empty() ? "" : ",") + job.name;
  return fmt::format("console=ttyS0 quiet dvm.cmd={} dvm.seconds={} dvm.jobs={}{}", command,
                     o.seconds, jobs, more);
}

Words qemu(const DeviceOptions& o, const std::string& append, const Words& device) {
  Words words =
      qemu_words({kLeanQ35, "virtio-rng-pci", o.cpus, o.memory, o.kernel, o.initrd, append});
  words.insert(words.end(), device.begin(), device.end());
  return words;
}

Words dvm(const DeviceOptions& o, const std::string& dvm_run, u32 nodes, const std::string& append,
          const Words& device) {
  Words words = {dvm_run,
                 "--nodes",
                 fmt::to_string(nodes),
                 "--cpus",
                 fmt::to_string(o.cpus),
                 "--memory",
                 fmt::to_string(o.memory),
                 "--kernel",
                 o.kernel,
                 "--initrd",
                 o.initrd,
                 "--append=" + append};
  words.insert(words.end(), device.begin(), device.end());
  return words;
}

std::string nodes_text(u32 nodes) { return fmt::format("{}-node{}", nodes, nodes == 1 ? "" : "s"); }
double goal_of(u32 nodes) { return nodes == 1 ? kOneNodeGoal : kMoreNodesGoal; }

// A comma within a path is written twice, for both.
std::string with_commas(const std::string& path) {
  std::string text;
  for (const char c : path) text += c == ',' ? ",," : std::string(1, c);
  return text;
}

// How the guest reaches us.
struct Addresses {
  std::string guest;  // with its prefix
  std::string host;
};

std::string address_text(u32 address) {
  in_addr in{htonl(address)};
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &in, text.data(), text.size());
  return text.data();
}

Result<Addresses> tap_addresses(const std::string& interface) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) < 0) return sys_error("getifaddrs");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (interface != at->ifa_name || at->ifa_addr == nullptr ||
        at->ifa_addr->sa_family != AF_INET || at->ifa_netmask == nullptr)
      continue;
    const auto number = [](const sockaddr* s) {
      return ntohl(reinterpret_cast<const sockaddr_in*>(s)->sin_addr.s_addr);
    };
    const u32 host = number(at->ifa_addr), mask = number(at->ifa_netmask);
    return Addresses{fmt::format("{}/{}", address_text(host + 1), std::popcount(mask)),
                     address_text(host)};
  }
  return error("tap {}: no interface with an IPv4 address (ip addr add 192.0.2.1/24 dev {})",
               interface, interface);
}

std::string net_append(const DeviceOptions& o, const Addresses& a) {
  return append_of(o, "bench-net",
                   fmt::format(" dvm.address={} dvm.host={} dvm.port={}", a.guest, a.host, o.port));
}

void add_dvm(const DeviceOptions& o, const std::string& dvm_run, const std::string& kind,
             const std::string& append, const Words& device,
             std::vector<DeviceContender>& contenders) {
  for (const u32 nodes : o.nodes) {
    contenders.push_back(
        {fmt::format("dvm-{}{}", kind.empty() ? "" : kind + "-", nodes_text(nodes)),
         kind.empty() ? "qemu" : "qemu-" + kind, goal_of(nodes),
         dvm(o, dvm_run, nodes, append, device)});
  }
}

void add_user(const DeviceOptions& o, const std::string& dvm_run,
              std::vector<DeviceContender>& contenders) {
  const std::string append = net_append(o, {"10.0.2.15/24", "10.0.2.2"});
  if (o.peer_qemu) {
    contenders.push_back({"qemu-user",
                          "",
                          {},
                          qemu(o, append,
                               {"-netdev", "user,id=n0", "-device",
                                fmt::format("virtio-net-pci,netdev=n0,mac={}", kMac)})});
  }
  add_dvm(o, dvm_run, "user", append, {"--net", "user", "--mac", kMac}, contenders);
}

Status add_tap(const DeviceOptions& o, const std::string& dvm_run, const std::string& interface,
               std::vector<DeviceContender>& contenders) {
  DVM_ASSIGN(const Addresses addresses, tap_addresses(interface));
  const std::string append = net_append(o, addresses);
  const auto device = [&](bool vhost) -> Words {
    return {"-netdev",
            fmt::format("tap,id=n0,ifname={},script=no,downscript=no,vhost={},queues={}", interface,
                        vhost ? "on" : "off", o.cpus),
            "-device",
            fmt::format("virtio-net-pci,netdev=n0,mq=on,vectors={},mac={}", 2 * o.cpus + 2, kMac)};
  };
  if (o.peer_qemu) {
    contenders.push_back({"qemu-tap", "", {}, qemu(o, append, device(false))});
    if (::access("/dev/vhost-net", R_OK | W_OK) == 0)
      contenders.push_back({"qemu-tap-vhost", "qemu-tap", {}, qemu(o, append, device(true))});
  }
  add_dvm(o, dvm_run, "tap", append,
          {"--net", fmt::format("tap={},queues={}", interface, o.cpus), "--mac", kMac}, contenders);
  return {};
}

}  // namespace

std::vector<DeviceContender> disk_contenders(const DeviceOptions& o, const std::string& dvm_run) {
  std::vector<DeviceContender> contenders;
  const std::string append = append_of(o, "bench-disk", ""), path = with_commas(o.disk);
  if (o.peer_qemu) {
    contenders.push_back(
        {"qemu",
         "",
         {},
         qemu(o, append,
              {"-object", "iothread,id=io0", "-drive",
               fmt::format("file={},format=raw,if=none,id=d0,cache.direct=on,aio=io_uring", path),
               "-device",
               fmt::format("virtio-blk-pci,drive=d0,num-queues={},iothread=io0", o.cpus)})});
  }
  if (!o.peer_srt_off) {
    add_dvm(o, dvm_run, "", append, {"--disk", path}, contenders);
    return contenders;
  }
  for (const u32 nodes : o.nodes) {
    const std::string name = "dvm-" + nodes_text(nodes), off = name + "-srt-off";
    contenders.push_back(
        {off, "", {}, dvm(o, dvm_run, nodes, append, {"--disk", path, "--srt", "off"})});
    contenders.push_back(
        {name, off, kSrtGoal, dvm(o, dvm_run, nodes, append, {"--disk", path, "--srt", "on"})});
  }
  return contenders;
}

Result<std::vector<DeviceContender>> net_contenders(const DeviceOptions& o,
                                                    const std::string& dvm_run) {
  std::vector<DeviceContender> contenders;
  for (const std::string& net : o.net) {
    if (net == "user") {
      add_user(o, dvm_run, contenders);
    } else {
      DVM_TRY(add_tap(o, dvm_run, net.substr(4), contenders));
    }
  }
  return contenders;
}

}  // namespace dvm::tools
