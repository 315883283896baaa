// dvm-net: the user network of a guest. Started by dvm-run, which hands it the pool by descriptor;
// not for use by hand. One process for all nodes, so that connections outlive any of them.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "fabric/fabric_service.h"
#include "fabric/ghost.h"
#include "tools/child_options.h"
#include "tools/exit_code.h"
#include "tools/net_server.h"
#include "vmm/coherent_memory.h"
#include "vmm/epoch_member.h"

namespace dvm::tools {
namespace {

// A node that stands still stops vCPUs; a network that does is only slow, and to power it off would
// cost the guest its connections. Its death is told at once in any case.
constexpr u32 kSlowestBeatMs = 10'000;

const ChildOptionNames kNames = {.needed_numbers = {"--pool-fd", "--lifeline-fd", "--ready-fd"},
                                 .numbers = {},
                                 .texts = {"--pool-name", "--net"},  // as dvm-run's --net
                                 .repeatable = {}};

Result<std::unique_ptr<fabric::FabricService>> join_fabric(
    vmm::Machine& machine, std::unique_ptr<vmm::CoherentMemory>& memory) {
  using fabric::RegionKind;
  DVM_ASSIGN(auto* state, machine.pool().record<fabric::FabricState>(RegionKind::membership,
                                                                     fabric::kMembershipVersion));
  fabric::ServiceOptions options;
  options.faults = machine.fault_place();
  options.heard = [&memory](const fabric::Notification& n) {
    if (n.kind == fabric::MemberState::died && memory) memory->recover(n.who);
  };
  return fabric::FabricService::start(*state, machine.instances(), machine.self(),
                                      std::move(options));
}

Status serve(const ChildOptions& o, const Fd& ready) {
  DVM_ASSIGN(const NetOption net, parse_net(o.text("--net", "user")));
  DVM_ASSIGN(auto pool,
             fabric::Pool::attach(Fd(o.number("--pool-fd")), o.text("--pool-name", "pool")));
  DVM_ASSIGN(auto machine, vmm::Machine::attach(std::move(pool), vmm::kNetInstance));
  const auto function = vmm::find_net_function(machine->config());
  if (!function) return error("the machine has no network device");
  DVM_ASSIGN(const auto server, NetServer::create(*machine, *function, net.forwards));
  std::unique_ptr<fabric::FabricService> part;  // outlives the memory's threads
  std::unique_ptr<vmm::CoherentMemory> memory;
  DVM_ASSIGN(part, join_fabric(*machine, memory));
  part->allow_ms(kSlowestBeatMs);
  if (machine->has_software_coherence()) {
    DVM_ASSIGN(memory, vmm::CoherentMemory::join(*machine, vmm::net_member(), part->peer()));
  }
  std::unique_ptr<vmm::EpochMember> epochs;
  if (machine->epoch() != nullptr) {
    vmm::EpochMemberOptions options;
    options.peer = &part->peer();
    DVM_ASSIGN(epochs, vmm::EpochMember::join(*machine, std::move(options)));
  }
  DVM_TRY(ready.write_all(std::as_bytes(std::span("ready", 5)), "the launcher's pipe"));
  server->start();
  for (;;) {
    part->beat();
    server->serve_guest(fabric::monotonic_ns() + part->tick_ns());
  }
}

}  // namespace
}  // namespace dvm::tools

int main(int argc, char** argv) {
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the launcher's
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_NAME, "dvm-net");
  const auto words = dvm::program_words(argc, argv);
  if (words.ok() && !*words) return dvm::tools::kExitOk;
  const auto options = words.ok() ? dvm::tools::ChildOptions::parse(**words, dvm::tools::kNames)
                                  : dvm::Result<dvm::tools::ChildOptions>(words.error());
  if (!options) {
    fmt::print(stderr, "dvm-net: {}\n", options.error().message);
    return dvm::tools::kExitUsage;
  }
  // The launcher holds the other end and never writes: any return is its end, and ours. What a
  // queue's step has in hand is finished by nobody, the guest ends too.
  std::thread([fd = options->number("--lifeline-fd")] {
    pollfd lifeline{fd, POLLIN, 0};
    while (::poll(&lifeline, 1, -1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }).detach();
  const dvm::Fd ready(options->number("--ready-fd"));
  const dvm::Status status = dvm::tools::serve(*options, ready);
  (void)ready.write_all(std::as_bytes(std::span(status.error().message)), "the launcher's pipe");
  return dvm::tools::kExitError;
}
