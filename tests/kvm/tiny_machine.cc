#include "tests/kvm/tiny_machine.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "vmm/boot/e820.h"
#include "vmm/cpuid.h"
#include "vmm/kvm_probe.h"

namespace dvm::vmm::testing {
namespace {

constexpr u64 kCanaryBytes = 16 * kPageBytes;
constexpr std::byte kCanary{0xa5};
// mov %rsi, %rdi; mov $kGuestEntry, %eax; jmp *%rax: entry states have no RDI.
constexpr u64 kStub = 0x8'0000;
constexpr std::array<u8, 10> kStubCode = {0x48, 0x89, 0xf7, 0xb8, 0x00,
                                          0x00, 0x10, 0x00, 0xff, 0xe0};

Result<std::vector<std::byte>> read_guest(const std::string& name) {
  const std::string path = std::string(DVM_TINY_GUESTS) + "/" + name + ".bin";
  DVM_ASSIGN(const Fd fd, Fd::open(path, O_RDONLY));
  DVM_ASSIGN(const u64 bytes, fd.size());
  std::vector<std::byte> image(bytes);
  DVM_TRY(fd.pread_all(image, 0, path));
  return image;
}

Result<u64> host_tsc_khz() {
  DVM_ASSIGN(Vm vm, Vm::create());
  DVM_ASSIGN(const Vcpu vcpu, vm.create_vcpu(0));
  return vcpu.tsc_khz();
}

Result<std::unique_ptr<Machine>> attach_again(Machine& machine, u32 instance) {
  DVM_ASSIGN(Fd fd, machine.pool().fd().duplicate());
  DVM_ASSIGN(fabric::Pool pool, fabric::Pool::attach(std::move(fd), "node"));
  return Machine::attach(std::move(pool), instance);
}

}  // namespace

const std::string& why_no_kvm() {
  static const std::string why = probe_kvm();
  return why;
}

Canaries::Canaries(std::span<std::byte> around) {
  for (std::byte* at : {around.data() - kCanaryBytes, around.data() + around.size()}) {
    void* p = ::mmap(at, kCanaryBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == MAP_FAILED) continue;  // something of the process's is there already
    pages_.emplace_back(at, kCanaryBytes);
    std::fill(pages_.back().begin(), pages_.back().end(), kCanary);
  }
}

Canaries::~Canaries() {
  for (const auto& pages : pages_) ::munmap(pages.data(), pages.size());
}

bool Canaries::alive() const {
  return !pages_.empty() && std::all_of(pages_.begin(), pages_.end(), [](const auto& pages) {
    return std::all_of(pages.begin(), pages.end(), [](std::byte b) { return b == kCanary; });
  });
}

Result<std::unique_ptr<NodePeer>> NodePeer::join(Machine& machine) {
  DVM_ASSIGN(fabric::FabricState * state,
             machine.pool().record<fabric::FabricState>(fabric::RegionKind::membership,
                                                        fabric::kMembershipVersion));
  auto node = std::make_unique<NodePeer>();
  std::promise<Status> joined;
  node->thread_ = std::thread([&joined, state, self = machine.self(), node = node.get(),
                               leave = node->leave_.get_future()] {
    auto peer = fabric::Peer::join(*state, self, 0);
    if (!peer) return joined.set_value(peer.error());
    node->peer_ = peer.take();
    joined.set_value({});
    leave.wait();
    node->peer_.reset();
  });
  DVM_TRY(joined.get_future().get());
  return node;
}

NodePeer::~NodePeer() {
  leave_.set_value();
  thread_.join();
}

Result<std::unique_ptr<TinyMachine>> TinyMachine::create(const std::string& guest,
                                                         TinyOptions options) {
  DVM_TRY(install_kick_handler());
  auto tiny = std::make_unique<TinyMachine>();
  DVM_ASSIGN(tiny->image_, read_guest(guest));
  tiny->injection_ = options.injection;
  MachineSpec spec;
  std::strcpy(spec.config.name.data(), "tiny");
  DVM_ASSIGN(const u64 khz, host_tsc_khz());
  spec.config.tsc_khz = khz * options.tsc_percent / 100;
  spec.tsc_offset = 0;
  spec.config.memory_bytes = layout::kMinMemory;
  spec.config.vcpus = options.vcpus;
  spec.config.nodes = options.nodes;
  spec.config.exit_on_panic = options.exit_on_panic ? 1 : 0;
  for (u32 i = 0; i < options.vcpus; ++i) spec.placement[i] = static_cast<u16>(i % options.nodes);
  DVM_ASSIGN(tiny->machine_, Machine::create(spec));
  for (u32 i = 0; i < options.nodes; ++i) {
    DVM_ASSIGN(auto machine, attach_again(*tiny->machine_, kFirstNodeInstance + i));
    const auto& ram = machine->memory().ranges().front();
    auto canaries = std::make_unique<Canaries>(std::span(ram.host, ram.bytes));
    DVM_ASSIGN(auto peer, NodePeer::join(*machine));
    tiny->machine_->state().nodes[i].stage.store(NodeStage::active);
    tiny->nodes_.emplace_back();
    NodeSide& node = tiny->nodes_.back();
    node.machine = std::move(machine);
    node.canaries = std::move(canaries);
    node.peer = std::move(peer);
  }
  return tiny;
}

TinyMachine::~TinyMachine() {
  if (machine_) stop();
}

void TinyMachine::set_words(const std::vector<u32>& words) {
  for (std::size_t i = 0; i < words.size(); ++i)
    EXPECT_TRUE(machine_->memory().store<u32>(kGuestWords + 4 * i, words[i]).ok());
}

u32 TinyMachine::word(u32 index) {
  return machine_->memory().load_acquire<u32>(kGuestWords + 4 * index).value();
}

void TinyMachine::set_parameters(const std::vector<u64>& block) {
  for (std::size_t i = 0; i < block.size(); ++i)
    EXPECT_TRUE(machine_->memory().store<u64>(kParameters + 8 * i, block[i]).ok());
}

Status TinyMachine::load() {
  MachineState& s = machine_->state();
  const auto& memory = machine_->memory();
  DVM_TRY(memory.write(kGuestEntry, image_));
  DVM_TRY(memory.write(kStub, std::as_bytes(std::span(kStubCode))));
  DVM_TRY(write_boot_structures(memory, EntryMode::long64));
  s.entry = {EntryMode::long64, kStub, kParameters};
  if (s.cpu.count.load() != 0) return {};
  DVM_ASSIGN(const auto supported, vmm::supported_cpuid());
  const auto model =
      make_cpu_model(supported, machine_->config().vcpus, machine_->config().tsc_khz);
  std::copy(model.begin(), model.end(), s.cpu.entries.begin());
  s.cpu.count.store(static_cast<u32>(model.size()));
  return {};
}

Status TinyMachine::boot() {
  MachineState& s = machine_->state();
  machine_->reset_devices();
  DVM_TRY(load());
  if (fixed_.empty()) fixed_ = fixed_metadata();
  s.control.boots.fetch_add(1);
  s.control.phase.store(Phase::running);
  for (auto& node : nodes_) DVM_TRY(start(node));
  for (auto& node : nodes_) {
    node.vcpus->start();
    node.stop->store(false);
    node.service = std::thread([&] { serve(*node.machine, *node.vcpus, *node.stop); });
  }
  return {};
}

void TinyMachine::serve(Machine& machine, NodeVcpus& vcpus, const std::atomic<bool>& stop) {
  auto& bell = machine.state().nodes[machine.self().id - kFirstNodeInstance].bell;
  while (!stop.load()) {
    const u32 seen = fabric::listen(bell);
    vcpus.look_at_moves();
    vcpus.publish_stats();
    fabric::wait(bell, seen, fabric::monotonic_ns() + 10'000'000);
  }
}

Status TinyMachine::start(NodeSide& node) {
  DVM_ASSIGN(Vm vm, Vm::create(injection_));
  DVM_TRY(vm.map_memory(node.machine->memory()));
  node.vm = std::make_unique<Vm>(std::move(vm));
  node.vcpus = std::make_unique<NodeVcpus>(*node.machine, *node.vm, node.peer->peer());
  return node.vcpus->make();
}

bool TinyMachine::wait_while_running(u32 milliseconds) {
  const u64 limit = fabric::monotonic_ns() + milliseconds * 1'000'000ull;
  while (fabric::monotonic_ns() < limit) {
    const u32 seen = fabric::listen(machine_->state().control.changed);
    console();  // a full ring would hold the guest back
    if (phase() != Phase::running) return true;
    fabric::wait(machine_->state().control.changed, seen, fabric::monotonic_ns() + 5'000'000);
  }
  return phase() != Phase::running;
}

void TinyMachine::join() {
  for (auto& node : nodes_) {
    node.stop->store(true);
    if (node.service.joinable()) node.service.join();
    node.vcpus.reset();
    node.vm.reset();
  }
}

bool TinyMachine::halted(u32 vcpu) {
  const timespec moment{0, 25'000'000};  // as often as the nodes' threads look
  ::nanosleep(&moment, nullptr);
  return seen_run_state(machine_->state().vcpus[vcpu]) == VcpuRunState::halted;
}

u64 TinyMachine::stop() {
  const u64 start = fabric::monotonic_ns();
  machine_->request_stop(StopReason::user);
  join();
  return fabric::monotonic_ns() - start;
}

const std::string& TinyMachine::console() {
  std::array<char, 4096> some{};
  while (const std::size_t n = machine_->console_output(some)) console_.append(some.data(), n);
  return console_;
}

// The pool's header, the machine's record, its CPU model and the page directory, end to end.
std::vector<std::byte> TinyMachine::fixed_metadata() {
  std::vector<std::byte> all;
  const auto add = [&all](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  fabric::PoolHeader header{};
  EXPECT_TRUE(machine_->pool()
                  .fd()
                  .pread_all(std::as_writable_bytes(std::span(&header, 1)), 0, "pool")
                  .ok());
  add(std::as_bytes(std::span(&header, 1)));
  add(std::as_bytes(std::span(&machine_->config(), 1)));
  const CpuBaseline& cpu = machine_->state().cpu;
  add(std::as_bytes(std::span(cpu.entries)));
  add(std::as_bytes(std::span(&machine_->state().entry, 1)));
  add(machine_->pool()
          .region(fabric::RegionKind::page_directory, hyperkernel::kPageDirectoryVersion)
          .value());
  return all;
}

void TinyMachine::expect_untouched() {
  EXPECT_TRUE(fixed_metadata() == fixed_);
  for (const auto& node : nodes_) EXPECT_TRUE(node.canaries->alive());
  const MachineState& s = machine_->state();
  for (u32 i = 0; i < layout::kMaxVcpus; ++i) {
    const VcpuRecord& v = s.vcpus[i];
    EXPECT_LE(v.run_state.load(), VcpuRunState::parked);
    EXPECT_EQ(v.lapic.id, i < s.config.vcpus ? i : 0u);
    EXPECT_EQ(v.tid.load() != 0, i < s.config.vcpus) << "those the machine does not have";
  }
  for (const fabric::PoolLock* lock :
       {&s.ioapic.lock, &s.serial.lock, &s.rtc.lock, &s.pit.lock, &s.pm.lock,
        &s.functions[0].device.lock, &s.host_bridge.lock})
    EXPECT_EQ(lock->owner.load(), 0u) << "nobody is in a step";
}

}  // namespace dvm::vmm::testing
