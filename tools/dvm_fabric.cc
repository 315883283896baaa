// dvm-fabric: the fabric manager of a guest. Started by dvm-run, which hands it the pool by
// descriptor; not for use by hand. Small on purpose: it starts beside the nodes.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <map>
#include <string>

#include "fabric/fabric_service.h"
#include "fabric/ghost.h"
#include "fabric/pool.h"

namespace dvm {
namespace {

constexpr int kBadCommandLine = 64;

Result<int> number(const std::map<std::string, std::string>& options, const std::string& name) {
  const auto it = options.find(name);
  int value = -1;
  if (it != options.end())
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
  if (value < 0) return usage_error("{}: a descriptor is needed", name);
  return value;
}

Result<std::map<std::string, std::string>> parse(const std::vector<std::string>& words) {
  std::map<std::string, std::string> options;
  for (std::size_t i = 1; i < words.size(); i += 2) {
    const std::string& name = words[i];
    if ((name != "--pool-fd" && name != "--pool-name" && name != "--lifeline-fd") ||
        i + 1 == words.size())
      return usage_error("{}: usage: dvm-fabric --pool-fd FD --pool-name NAME --lifeline-fd FD",
                         name);
    options[name] = words[i + 1];
  }
  return options;
}

void say(const std::string& what) { fmt::print(stderr, "dvm-fabric: {}\n", what); }

std::string_view cause_text(fabric::FailureCause cause) {
  return cause == fabric::FailureCause::died ? "it died" : "it did not beat";
}

Status manage(int argc, char** argv) {
  DVM_ASSIGN(const auto words, program_words(argc, argv));
  if (!words) return {};
  DVM_ASSIGN(const auto options, parse(*words));
  DVM_ASSIGN(const int pool_fd, number(options, "--pool-fd"));
  DVM_ASSIGN(const int lifeline_fd, number(options, "--lifeline-fd"));
  const auto name = options.find("--pool-name");
  DVM_ASSIGN(auto pool,
             fabric::Pool::attach(Fd(pool_fd), name == options.end() ? "pool" : name->second));
  using fabric::RegionKind;
  DVM_ASSIGN(auto* state,
             pool.record<fabric::FabricState>(RegionKind::membership, fabric::kMembershipVersion));
  DVM_ASSIGN(auto* instances,
             pool.record<fabric::InstanceTable>(RegionKind::instances, fabric::kInstancesVersion));
  fabric::ServiceOptions service;
  service.eagerness = fabric::Manager::Eagerness::first;
  service.hooks.overdue = [](fabric::InstanceId who, fabric::FailureCause cause) {
    say(fmt::format("instance {} ({}) does not stop; it is waited for", who.id, cause_text(cause)));
  };
  DVM_ASSIGN(service.faults.board,
             pool.record<fabric::FaultBoard>(RegionKind::faults, fabric::kFaultsVersion));
  DVM_ASSIGN(service.faults.health,
             pool.record<fabric::HealthTable>(RegionKind::health, fabric::kHealthVersion));
  DVM_ASSIGN(service.faults.events,
             pool.record<fabric::EventLog>(RegionKind::events, fabric::kEventsVersion));
  service.faults.metadata = pool.metadata();
  const auto self = instances->join(fabric::kManagerInstance, ::getpid());
  DVM_ASSIGN(const auto part,
             fabric::FabricService::start(*state, *instances, self, std::move(service)));
  // The launcher holds the other end and never writes: any event is its end.
  pollfd lifeline{lifeline_fd, POLLIN, 0};
  for (;;) {
    part->beat();
    const int tick_ms = static_cast<int>(part->tick_ns() / 1'000'000);
    if (::poll(&lifeline, 1, tick_ms) > 0) return {};
  }
}

}  // namespace
}  // namespace dvm

int main(int argc, char** argv) {
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the launcher's
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_NAME, "dvm-fabric");
  const dvm::Status status = dvm::manage(argc, argv);
  if (status.ok()) return 0;
  dvm::say(status.error().message);
  return status.error().kind == dvm::ErrorKind::usage ? dvm::kBadCommandLine : 1;
}
