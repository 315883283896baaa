// Where a guest's pages are, as `dvm-ctl pages` tells it.
#include "tools/page_status.h"

#include <nlohmann/json.hpp>

#include "fabric/fabric_state.h"
#include "tests/unit/machine_fixture.h"
#include "tests/unit/pager_fixture.h"
#include "tools/control_protocol.h"
#include "tools/reply_text.h"
#include "vmm/coherent_memory.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using namespace vmm::testing;  // NOLINT: a machine to test with

json ask(vmm::Machine& machine) { return handle_request({{"command", "pages"}}, machine); }

TEST(PageStatus, WithHardwareCoherenceAllPagesAreShared) {
  const auto machine = make_machine(machine_spec(2, {0, 1}));
  const json reply = ask(*machine);
  ASSERT_EQ(reply["ok"], true) << reply;
  EXPECT_EQ(reply["coherence"]["mode"], "shared");
  EXPECT_EQ(reply["shared"], kTestMemory / kPageBytes);
  EXPECT_NE(pages_text(reply).find("coherence shared: "), std::string::npos);
}

TEST(PageStatus, TellsWhatEachMemberHasAndWhatItTakes) {
  DVM_NEEDS_USERFAULTFD();
  vmm::MachineSpec spec = machine_spec(2, {0, 1});
  spec.coherence = {.coherent_bytes = 2 * kMiB, .local_bytes = 16 * kMiB};
  const auto launcher = make_machine(spec);
  const u64 ram = kTestMemory / kPageBytes;
  EXPECT_EQ(ask(*launcher)["coherence"]["pages_at_home"], ram);

  const auto node = attach_again(*launcher, vmm::kFirstNodeInstance);
  auto* fabric =
      node->pool()
          .record<fabric::FabricState>(fabric::RegionKind::membership, fabric::kMembershipVersion)
          .take();
  auto peer = fabric::Peer::join(*fabric, node->self(), 0);
  ASSERT_TRUE(peer.ok()) << peer.error().message;
  auto memory = vmm::CoherentMemory::join(*node, 0, **peer);
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  ASSERT_TRUE(node->memory().store<u64>(3 * kMiB, 4711).ok());

  const json reply = ask(*launcher);
  const json& first = reply["members"][0];
  const u64 owned = first["pages"]["owned"];
  EXPECT_GE(owned, 1u);
  EXPECT_EQ(reply["coherence"]["pages_at_home"], ram - owned);
  EXPECT_GE(first["local_memory_used"], kPageBytes);
  EXPECT_LE(first["local_memory_used"], owned * kPageBytes);
  EXPECT_GE(first["moves"]["faults"], 1);
  const json& second = reply["members"][1];
  EXPECT_EQ(second["pages"]["owned"], 0);
  EXPECT_TRUE(second["local_memory_used"].is_null());
  const std::string text = pages_text(reply);
  EXPECT_NE(text.find("LOCAL MEMORY"), std::string::npos) << text;
  EXPECT_NE(text.find("16.0 MiB"), std::string::npos) << text;
  memory->reset();
  node->instances().retire(node->self(), fabric::InstanceState::gone);
}

}  // namespace
}  // namespace dvm::tools
