// dvm-node: one node of a guest. Started by dvm-run, which hands it the pool and the files by
// descriptor; not for use by hand.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <thread>

#include "tools/disk_launch.h"
#include "vmm/kvm/kvm.h"
#include "vmm/net/tap_server.h"
#include "vmm/net/user_net_node.h"
#include "vmm/node.h"

namespace dvm {
namespace {

struct NodeOptions {
  u32 node = 0;
  std::vector<int> tap_fds;
  std::vector<std::string> disks;
  int pool_fd = -1, kernel_fd = -1, initrd_fd = -1, firmware_fd = -1, lifeline_fd = -1;
  std::string pool_name = "pool", kernel_name = "kernel", initrd_name = "initrd", append;
  std::string firmware_name = "firmware";
};

void add_options(CLI::App& app, NodeOptions& o) {
  app.add_option("--node", o.node, "index of this node")->required();
  app.add_option("--pool-fd", o.pool_fd, "descriptor of the pool")->required();
  app.add_option("--pool-name", o.pool_name, "its name, for messages");
  app.add_option("--kernel-fd", o.kernel_fd, "descriptor of the kernel");
  app.add_option("--kernel-name", o.kernel_name, "its name, for messages");
  app.add_option("--initrd-fd", o.initrd_fd, "descriptor of the initrd");
  app.add_option("--initrd-name", o.initrd_name, "its name, for messages");
  app.add_option("--firmware-fd", o.firmware_fd, "descriptor of the firmware");
  app.add_option("--firmware-name", o.firmware_name, "its name, for messages");
  app.add_option("--append", o.append, "the kernel's command line");
  app.add_option("--tap-fds", o.tap_fds, "descriptors of a tap interface, and its eventfd")
      ->delimiter(',');
  app.add_option("--disk", o.disks, "a disk, as dvm-run describes it")->allow_extra_args(false);
  app.add_option("--lifeline-fd", o.lifeline_fd, "a pipe that ends when the launcher does")
      ->required();
}

// What serves the machine's network in this process.
struct Network {
  std::unique_ptr<vmm::UserNetNode> user;
  std::unique_ptr<vmm::TapServer> tap;
};

Result<Network> start_network(vmm::Machine& machine, const NodeOptions& o) {
  Network network;
  const auto function = vmm::find_net_function(machine.config());
  if (!function) return network;
  if ((machine.config().functions[*function].flags & vmm::kNetTap) == 0) {
    network.user = std::make_unique<vmm::UserNetNode>(machine, *function);
    machine.set_server(*function, network.user.get());
    return network;
  }
  if (o.tap_fds.size() < 2) return usage_error("--tap-fds: the machine's network needs them");
  std::vector<Fd> taps(o.tap_fds.size() - 1);
  for (std::size_t i = 0; i < taps.size(); ++i) taps[i] = Fd(o.tap_fds[i]);
  network.tap =
      std::make_unique<vmm::TapServer>(machine, *function, std::move(taps), Fd(o.tap_fds.back()));
  DVM_TRY(network.tap->start());
  machine.set_server(*function, network.tap.get());
  return network;
}

Status run_node(NodeOptions& o) {
  DVM_TRY(vmm::install_kick_handler());
  DVM_ASSIGN(auto pool, fabric::Pool::attach(Fd(o.pool_fd), o.pool_name));
  if (o.node >= vmm::layout::kMaxNodes)
    return usage_error("--node {}: at most {}", o.node, vmm::layout::kMaxNodes - 1);
  DVM_ASSIGN(auto machine, vmm::Machine::attach(std::move(pool), vmm::kFirstNodeInstance + o.node));
  vmm::BootSource boot;
  if ((o.kernel_fd >= 0) == (o.firmware_fd >= 0))
    return usage_error("either --kernel-fd or --firmware-fd");
  if (o.kernel_fd >= 0) boot.kernel = Fd(o.kernel_fd);
  if (o.firmware_fd >= 0) boot.firmware = Fd(o.firmware_fd);
  boot.firmware_name = o.firmware_name;
  boot.kernel_name = o.kernel_name;
  if (o.initrd_fd >= 0) boot.initrd = Fd(o.initrd_fd);
  boot.initrd_name = o.initrd_name;
  boot.command_line = o.append;
  std::vector<vmm::DiskSource> disks;
  for (const std::string& word : o.disks) {
    DVM_ASSIGN(auto disk, tools::disk_source_of(word));
    disks.push_back(std::move(disk));
  }
  vmm::Machine& shared = *machine;
  DVM_ASSIGN(auto network, start_network(shared, o));
  vmm::Node node(std::move(machine), o.node, std::move(boot), std::move(disks));
  node.on_leave([&network] { network.tap.reset(); });
  // The launcher holds the other end and never writes: any return is its death.
  std::thread([fd = o.lifeline_fd, &node] {
    pollfd lifeline{fd, POLLIN, 0};
    while (::poll(&lifeline, 1, -1) < 0 && errno == EINTR) {
    }
    node.launcher_gone();
  }).detach();
  const Status status = node.run();
  if (!status.ok()) shared.request_stop(vmm::StopReason::error);
  network.tap.reset();
  std::fflush(nullptr);
  ::_exit(status.ok()
              ? 0
              : (fmt::print(stderr, "dvm-node {}: {}\n", o.node, status.error().message), 1));
}

}  // namespace
}  // namespace dvm

int main(int argc, char** argv) {
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the launcher's
  ::signal(SIGPIPE, SIG_IGN);
  dvm::NodeOptions options;
  CLI::App app("One node of a guest; started by dvm-run.", "dvm-node");
  dvm::add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 64;
  }
  const std::string name = fmt::format("dvm-node-{}", options.node);
  ::prctl(PR_SET_NAME, name.c_str());
  const dvm::Status status = dvm::run_node(options);
  fmt::print(stderr, "dvm-node {}: {}\n", options.node, status.error().message);
  return 1;
}
