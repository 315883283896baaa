// A machine whose pages change hands: who is a member sees guest memory, who is not reads it aside.
#include "vmm/coherent_memory.h"

#include "fabric/fabric_state.h"
#include "hyperkernel/page_reader.h"
#include "tests/unit/machine_fixture.h"
#include "tests/unit/pager_fixture.h"
#include "vmm/pool_check.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: a machine to test with
using hyperkernel::PageMode;

MachineSpec software_spec() {
  MachineSpec spec = machine_spec(2, {0, 1});
  spec.coherence = {.coherent_bytes = 2 * kMiB, .local_bytes = 16 * kMiB};
  return spec;
}

TEST(CoherentMemory, RamIsAtHomeAndTheFirmwareShared) {
  MachineSpec spec = software_spec();
  spec.config.firmware_bytes = 256 * kKiB;
  const auto machine = make_machine(spec);
  ASSERT_TRUE(machine->has_software_coherence());
  const auto directory = hyperkernel::PageDirectory::of(machine->pool());
  const u64 ram = kTestMemory / kPageBytes;
  EXPECT_EQ(directory->lookup(0)->mode, PageMode::replicated);
  EXPECT_EQ(directory->lookup(ram - 1)->nodes, 0u);
  EXPECT_EQ(directory->lookup(ram)->mode, PageMode::shared);
  const auto coherence = hyperkernel::Coherence::of(machine->pool());
  EXPECT_EQ(coherence->pages(), ram);
  // Behind RAM and firmware, where no page begins.
  EXPECT_EQ(coherence->first_frame(), ram + layout::kFirmwareWindowBytes / kPageBytes);
  EXPECT_TRUE(check_pool(*machine).empty());
}

TEST(CoherentMemory, IsSharedUnlessAskedFor) {
  const auto machine = make_machine(machine_spec(1));
  EXPECT_FALSE(machine->has_software_coherence());
  EXPECT_EQ(machine->memory().total_bytes(), kTestMemory);
}

TEST(CoherentMemory, ADamagedRegionIsFound) {
  const auto machine = make_machine(software_spec());
  const auto record = machine->pool().record<hyperkernel::CoherenceRecord>(
      fabric::RegionKind::coherence, hyperkernel::kCoherenceVersion);
  (*record)->first_frame = 0;
  EXPECT_EQ(check_pool(*machine).size(), 1u);
}

TEST(CoherentMemory, OnlyMembersSeeGuestMemory) {
  DVM_NEEDS_USERFAULTFD();
  const auto launcher = make_machine(software_spec());
  const auto node = attach_again(*launcher, kFirstNodeInstance);
  auto* fabric =
      node->pool()
          .record<fabric::FabricState>(fabric::RegionKind::membership, fabric::kMembershipVersion)
          .take();
  auto peer = fabric::Peer::join(*fabric, node->self(), 0);
  ASSERT_TRUE(peer.ok()) << peer.error().message;
  auto memory = CoherentMemory::join(*node, 0, **peer);
  ASSERT_TRUE(memory.ok()) << memory.error().message;

  const u64 gpa = 3 * kMiB + 8;
  ASSERT_TRUE(node->memory().store<u64>(gpa, 4711).ok());
  EXPECT_FALSE(launcher->memory().load<u64>(gpa).ok());
  // And the frame at home has not heard of it.
  const auto entry = *hyperkernel::PageDirectory::of(node->pool())->lookup(gpa / kPageBytes);
  EXPECT_TRUE(entry.owned_by(0));

  auto reader = hyperkernel::PageReader::open(launcher->pool(), launcher->instances());
  ASSERT_TRUE(reader.ok());
  std::array<std::byte, 2 * kPageBytes> read{};
  ASSERT_TRUE((*reader)->read({gpa / kPageBytes, 2}, read).ok());
  u64 value = 0;
  std::memcpy(&value, read.data() + 8, sizeof(value));
  EXPECT_EQ(value, 4711u);
  EXPECT_FALSE((*reader)->read({kTestMemory / kPageBytes - 1, 2}, read).ok());

  memory->reset();
  EXPECT_EQ(node->memory().total_bytes(), 0u);
  node->instances().retire(node->self(), fabric::InstanceState::gone);
}

}  // namespace
}  // namespace dvm::vmm
