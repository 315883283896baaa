// dvm-node: one node of a guest. Started by dvm-run, which hands it the pool and the files by
// descriptor; not for use by hand.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "fabric/ghost.h"
#include "migration/locality_service.h"
#include "tools/child_options.h"
#include "tools/disk_launch.h"
#include "tools/exit_code.h"
#include "vmm/kvm/kvm.h"
#include "vmm/net/tap_server.h"
#include "vmm/net/user_net_node.h"
#include "vmm/node.h"

namespace dvm {
namespace {

using tools::ChildOptions;

const tools::ChildOptionNames kNames = {
    .needed_numbers = {"--node", "--pool-fd", "--lifeline-fd"},
    .numbers = {"--kernel-fd", "--initrd-fd", "--firmware-fd"},
    .texts = {"--pool-name", "--kernel-name", "--initrd-name", "--firmware-name", "--append",
              "--tap-fds"},     // a tap's queues, then its eventfd
    .repeatable = {"--disk"}};  // as tools/disk_launch.h says it

// What serves the machine's network in this process.
struct Network {
  std::unique_ptr<vmm::UserNetNode> user;
  std::unique_ptr<vmm::TapServer> tap;
};

Result<Network> start_network(vmm::Machine& machine, const ChildOptions& o) {
  Network network;
  const auto function = vmm::find_net_function(machine.config());
  if (!function) return network;
  if ((machine.config().functions[*function].flags & vmm::kNetTap) == 0) {
    network.user = std::make_unique<vmm::UserNetNode>(machine, *function);
    machine.set_server(*function, network.user.get());
    return network;
  }
  DVM_ASSIGN(const auto tap_fds, tools::parse_numbers(o.text("--tap-fds")));
  if (tap_fds.size() < 2) return usage_error("--tap-fds: the machine's network needs them");
  std::vector<Fd> taps(tap_fds.size() - 1);
  for (std::size_t i = 0; i < taps.size(); ++i) taps[i] = Fd(tap_fds[i]);
  network.tap =
      std::make_unique<vmm::TapServer>(machine, *function, std::move(taps), Fd(tap_fds.back()));
  machine.set_server(*function, network.tap.get());
  return network;
}

Result<vmm::BootSource> boot_source(const ChildOptions& o) {
  const int kernel = o.number("--kernel-fd"), firmware = o.number("--firmware-fd");
  if ((kernel >= 0) == (firmware >= 0)) return usage_error("either --kernel-fd or --firmware-fd");
  vmm::BootSource boot;
  if (kernel >= 0) boot.kernel = Fd(kernel);
  if (firmware >= 0) boot.firmware = Fd(firmware);
  if (o.number("--initrd-fd") >= 0) boot.initrd = Fd(o.number("--initrd-fd"));
  boot.kernel_name = o.text("--kernel-name", "kernel");
  boot.initrd_name = o.text("--initrd-name", "initrd");
  boot.firmware_name = o.text("--firmware-name", "firmware");
  boot.command_line = o.text("--append");
  return boot;
}

Status run_node(const ChildOptions& o) {
  DVM_TRY(vmm::install_kick_handler());
  const u32 index = static_cast<u32>(o.number("--node"));
  if (index >= vmm::layout::kMaxNodes)
    return usage_error("--node {}: at most {}", index, vmm::layout::kMaxNodes - 1);
  DVM_ASSIGN(auto pool,
             fabric::Pool::attach(Fd(o.number("--pool-fd")), o.text("--pool-name", "pool")));
  DVM_ASSIGN(auto machine, vmm::Machine::attach(std::move(pool), vmm::kFirstNodeInstance + index));
  DVM_ASSIGN(auto boot, boot_source(o));
  std::vector<vmm::DiskSource> disks;
  for (const std::string& word : o.list("--disk")) {
    DVM_ASSIGN(auto disk, tools::disk_source_of(word));
    disks.push_back(std::move(disk));
  }
  vmm::Machine& shared = *machine;
  DVM_ASSIGN(auto network, start_network(shared, o));
  if (shared.config().protection != vmm::Protection::none)
    ::signal(SIGPWR, [](int) { vmm::Node::power_fails(); });
  vmm::Node node(std::move(machine), index, std::move(boot), std::move(disks));
  node.on_join(
      [&network](fabric::Peer& peer) { return network.tap ? network.tap->start(peer) : Status{}; });
  node.on_leave([&network] { network.tap.reset(); });
  // The launcher holds the other end and never writes: any return is its death.
  std::thread([fd = o.number("--lifeline-fd"), &node] {
    pollfd lifeline{fd, POLLIN, 0};
    while (::poll(&lifeline, 1, -1) < 0 && errno == EINTR) {
    }
    node.launcher_gone();
  }).detach();
  node.on_release([&network] {
    if (network.tap) network.tap->released();
  });
  node.on_look([&network] {
    if (network.tap) network.tap->look();
  });
  auto locality = std::make_unique<migration::LocalityService>(shared, index);
  const Status status = node.run();
  // One that was to be added and cannot is no harm to the others.
  const bool needed = shared.state().nodes[index].stage.load() != vmm::NodeStage::starting ||
                      shared.state().control.boots.load() == 0;
  if (!status.ok() && needed) shared.request_stop(vmm::StopReason::error);
  network.tap.reset();
  if (status.ok()) locality.reset();
  if (!status.ok()) fmt::print(stderr, "dvm-node {}: {}\n", index, status.error().message);
  std::fflush(nullptr);
  ::_exit(status.ok() ? tools::kExitOk : tools::kExitError);
}

}  // namespace
}  // namespace dvm

int main(int argc, char** argv) {
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the launcher's
  ::signal(SIGPIPE, SIG_IGN);
  const auto words = dvm::program_words(argc, argv);
  if (words.ok() && !*words) return dvm::tools::kExitOk;
  const auto options = words.ok() ? dvm::tools::ChildOptions::parse(**words, dvm::kNames)
                                  : dvm::Result<dvm::tools::ChildOptions>(words.error());
  if (!options) {
    fmt::print(stderr, "dvm-node: {}\n", options.error().message);
    return dvm::tools::kExitUsage;
  }
  const int node = options->number("--node");
  ::prctl(PR_SET_NAME, fmt::format("dvm-node-{}", node).c_str());
  const dvm::Status status = dvm::run_node(*options);
  fmt::print(stderr, "dvm-node {}: {}\n", node, status.error().message);
  return dvm::tools::kExitError;
}
