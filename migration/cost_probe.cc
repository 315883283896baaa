#include "migration/cost_probe.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "hyperkernel/node_memory.h"
#include "vmm/kvm/vcpu_transfer.h"

namespace dvm::migration {

using hyperkernel::LocalMemory;
using hyperkernel::Userfault;

namespace {

constexpr u64 kLineBytes = 64;
constexpr u32 kTouches = 64, kRounds = 63;
constexpr u64 kPages = 16;
constexpr u32 kVcpuRounds = 3;
constexpr u64 kMeasured = 8 * kMiB;  // more than a core's caches

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A memfd whose pages fault in its view.
struct Watched {
  LocalMemory memory;
  Mapping view;
  static Result<Watched> make() {
    DVM_ASSIGN(Userfault faults, Userfault::make());
    Fd file(::memfd_create("dvm-costs", MFD_CLOEXEC));
    if (!file.valid() || ::ftruncate(file.get(), kPages * kPageBytes) != 0)
      return sys_error("memfd_create");
    DVM_ASSIGN(Mapping view, Mapping::shared(file, 0, kPages * kPageBytes, "costs"));
    const u64 at = reinterpret_cast<u64>(view.data());
    DVM_TRY(faults.watch(at, kPages * kPageBytes));
    return Watched{LocalMemory(std::move(file), std::move(faults), at), std::move(view)};
  }
};

// What a pager does for a page that another node has (hyperkernel/page_mover.h).
Status hand_over(const Watched& from, const Watched& to, u64 page) {
  alignas(kPageBytes) static thread_local std::array<std::byte, kPageBytes> content;
  DVM_TRY(from.memory.protect({page, 1}));
  DVM_ASSIGN([[maybe_unused]] const u64 there, from.memory.read({page, 1}, content.data()));
  DVM_TRY(from.memory.discard({page, 1}));
  errno = to.memory.faults().copy(to.memory.address(page), content.data(), kPageBytes, false);
  return errno == 0 ? Status() : sys_error("UFFDIO_COPY");
}

Status serve_all(const Watched& from, const Watched& to) {
  for (u64 page = 0; page < kPages;) {
    uffd_msg message;
    const ssize_t got = ::read(to.memory.faults().fd().get(), &message, sizeof message);
    if (got < 0 && errno == EAGAIN) {
      std::this_thread::yield();
      continue;
    }
    if (got != sizeof message) return sys_error("read a fault");
    DVM_TRY(hand_over(from, to, page++));
  }
  return {};
}

}  // namespace

// Each touch waits for the one before it: its place hangs on what that read. In short rounds, so
// that one in which the thread was put off does not count; all of it has been touched before.
double line_ns(std::span<const std::byte> memory) {
  const u64 lines = memory.size() / kLineBytes;
  volatile u64 nothing = 0;
  const auto read = [&](u64 at) {
    return static_cast<u64>(*static_cast<const volatile std::byte*>(memory.data() + at)) & nothing;
  };
  u64 place = 1;
  for (u64 at = 0; at < memory.size(); at += kPageBytes) place += read(at);
  std::vector<double> took;
  for (u32 round = 0; round < kRounds; ++round) {
    const u64 begun = fabric::monotonic_ns();
    for (u32 i = 0; i < kTouches; ++i) {
      place = place * 6364136223846793005u + 1442695040888963407u;
      place += read((place >> 20) % lines * kLineBytes);
    }
    took.push_back(static_cast<double>(fabric::monotonic_ns() - begun) / kTouches);
  }
  return median(took);
}

std::optional<double> page_move_ns() {
  auto from = Watched::make();
  auto to = Watched::make();
  if (!from.ok() || !to.ok()) return std::nullopt;
  for (u64 page = 0; page < kPages; ++page) {
    const std::byte zero{};
    std::array<std::byte, kPageBytes> content;
    content.fill(zero);
    if (from->memory.faults().copy(from->memory.address(page), content.data(), kPageBytes, false))
      return std::nullopt;
  }
  Status served;
  std::thread pager([&] { served = serve_all(*from, *to); });
  std::vector<double> took;
  for (u64 page = 0; page < kPages; ++page) {
    const u64 begun = fabric::monotonic_ns();
    const_cast<volatile std::byte&>(to->view.data()[page * kPageBytes]) = std::byte{1};
    took.push_back(static_cast<double>(fabric::monotonic_ns() - begun));
  }
  pager.join();
  return served.ok() ? std::optional(median(took)) : std::nullopt;
}

// A vCPU of no guest's goes out and in, twice: its state on one node, what is there before on the
// other. The wake-ups between the two are about as much again.
std::optional<double> vcpu_move_ns(vmm::Machine& machine) {
  auto vm = vmm::Vm::create();
  if (!vm.ok()) return std::nullopt;
  auto vcpu = vm->create_vcpu(0);
  if (!vcpu.ok()) return std::nullopt;
  const vmm::CpuBaseline& cpu = machine.state().cpu;
  const u32 count = cpu.count.load(std::memory_order_acquire);
  if (count == 0 || !machine.check_cpu_model().ok()) return std::nullopt;
  if (!vcpu->set_cpuid({cpu.entries.begin(), cpu.entries.begin() + count}).ok())
    return std::nullopt;
  auto transfer = vmm::VcpuTransfer::of(*vm, *vcpu);
  if (!transfer.ok()) return std::nullopt;
  const auto state = std::make_unique<vmm::VcpuState>();
  std::vector<double> took;
  for (u32 i = 0; i < kVcpuRounds; ++i) {
    const u64 begun = fabric::monotonic_ns();
    if (!transfer->save(*state).ok() || !transfer->prepare().ok() || !transfer->load(*state).ok())
      return std::nullopt;
    took.push_back(static_cast<double>(fabric::monotonic_ns() - begun));
  }
  return 2 * median(took);
}

locality::CostModel measure_costs(vmm::Machine& machine) {
  locality::CostModel costs;
  std::vector<std::byte> own(kMeasured, std::byte{1});
  costs.dram_ns = std::max(1.0, line_ns(own));
  // No more of it: an undo log is as large as RAM, and takes no memory until it is touched.
  const auto pool = machine.pool().metadata();
  costs.region_ns =
      std::max(costs.dram_ns, line_ns(pool.first(std::min<u64>(pool.size(), kMeasured))));
  if (machine.has_software_coherence()) {
    if (const auto ns = page_move_ns()) {
      costs.page_move_ns = std::max(1.0, *ns);
      costs.page_share_ns = 2 * costs.page_move_ns;
    }
  }
  if (const auto ns = vcpu_move_ns(machine)) costs.vcpu_move_ns = std::max(1.0, *ns);
  return locality::check_costs(costs).ok() ? costs : locality::CostModel{};
}

}  // namespace dvm::migration
