#include "vmm/keeper.h"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "fabric/claim.h"
#include "vmm/heir.h"
#include "vmm/pv_eoi.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {
namespace {

constexpr std::size_t kStackBytes = 256 * kKiB;

std::atomic<KeeperRecord*> own_record{nullptr};

// The process is about to break down: what its memory says of the guest may be wrong.
void on_breakdown(int number) {
  if (KeeperRecord* record = own_record.load()) record->corrupted.store(1);
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

Keeper::Keeper(Machine& machine, u32 node)
    : machine_(machine), node_(node), record_(machine.state().keepers[node]) {}

Result<std::unique_ptr<Keeper>> Keeper::start(Machine& machine, u32 node) {
  std::unique_ptr<Keeper> keeper(new Keeper(machine, node));
  keeper->node_process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!keeper->node_process_.valid()) return sys_error("pidfd_open");
  KeeperRecord& record = keeper->record_;
  record.corrupted.store(0);
  record.given_up.store(0);
  record.helper.store(0);
  record.trouble.store(KeeperTrouble::none);
  record.life.value.store(0);
  keeper->storage_ = std::thread([&k = *keeper] { k.make_process(); });
  fabric::Doorbell& made = record.bell;
  for (u32 seen = fabric::listen(made); keeper->pid_.load() == 0; seen = fabric::listen(made))
    fabric::wait(made, seen, fabric::monotonic_ns() + 1'000'000);
  const int pid = keeper->pid_.load();
  if (pid < 0) {
    keeper->storage_.join();
    return Error{ErrorKind::runtime, -pid, fmt::format("clone: {}", std::strerror(-pid))};
  }
  record.pid.store(pid);
  record.state.store(KeeperState::stands_by);
  own_record.store(&record);
  for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGILL}) ::signal(number, on_breakdown);
  return keeper;
}

Keeper::~Keeper() {
  own_record.store(nullptr);
  if (!storage_.joinable()) return;
  storage_.detach();  // it lies still until the process ends
}

// The new process runs on a stack of its own and with this thread's thread-local storage; so this
// thread does nothing more.
void Keeper::make_process() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  void* const stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    pid_.store(-errno);
    return;
  }
  const int pid = ::clone(&Keeper::process, static_cast<std::byte*>(stack) + kStackBytes,
                          CLONE_VM | CLONE_FILES | CLONE_PARENT | SIGCHLD, this);
  pid_.store(pid < 0 ? -errno : pid);
  if (pid < 0) return;
  for (;;) ::syscall(SYS_pause);
}

// By its own calls: LifeRegistration allocates.
void Keeper::register_life() {
  entry_.next = &head_.list;
  head_.list.next = &entry_;
  head_.futex_offset =
      reinterpret_cast<const char*>(&record_.life.value) - reinterpret_cast<const char*>(&entry_);
  if (::syscall(SYS_set_robust_list, &head_, sizeof(head_)) < 0) return;  // its pidfd tells, later
  record_.life.value.store(static_cast<u32>(::syscall(SYS_gettid)) | FUTEX_WAITERS);
}

int Keeper::process(void* keeper) {
  auto& k = *static_cast<Keeper*>(keeper);
  k.register_life();
  char name[16] = {};
  std::snprintf(name, sizeof(name), "dvm-keeper-%u", k.node_);
  ::prctl(PR_SET_NAME, name);
  pollfd ended{k.node_process_.get(), POLLIN, 0};
  while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
  if (k.wanted()) k.run();
  ::syscall(SYS_exit_group, 0);
  return 0;
}

// The node died while it had a part in the guest.
bool Keeper::wanted() const {
  const NodeStage stage = machine_.state().nodes[node_].stage.load();
  return machine_.state().control.phase.load() != Phase::stopped &&
         (stage == NodeStage::active || stage == NodeStage::emptying);
}

void Keeper::run() {
  record_.woken_ns.store(fabric::monotonic_ns());
  record_.state.store(KeeperState::reads);
  bool all = record_.corrupted.load() == 0;
  if (!all) record_.trouble.store(KeeperTrouble::broke_down);
  for (u32 i = 0; all && i < machine_.config().vcpus; ++i) {
    VcpuThread* const thread = threads_[i].load();
    if (thread == nullptr || machine_.state().vcpus[i].node() != node_) continue;
    all = thread->salvage(record_);
  }
  record_.done_ns.store(fabric::monotonic_ns());
  record_.state.store(all ? KeeperState::done : KeeperState::failed);
  machine_.ring_nodes();
  fabric::ring(machine_.state().control.changed);
}

namespace {

// Under the claim.
void answer(Machine& machine, KeeperRecord& record) {
  const u32 vcpu = record.vcpu.load();
  if (vcpu >= machine.config().vcpus) return;
  kvm_run& run = *reinterpret_cast<kvm_run*>(record.run.data());
  ExitResult result;
  switch (machine.state().vcpus[vcpu].journal.phase.load()) {
    case VcpuPhase::entering:
      pv_eoi_after_exit(machine, vcpu);
      result = handle_exit(machine, vcpu, run, record.run.size());
      break;
    case VcpuPhase::handling:
      result = finish_handling(machine, vcpu, run, record.run.size());
      break;
    default: break;  // who helped before died after it
  }
  if (result.outcome == ExitOutcome::halted) machine.settle_transmits();
  if (result.outcome == ExitOutcome::failed) {
    fmt::print(stderr, "dvm-node {}: vCPU {} of a dead node: {}\n",
               machine.self().id - kFirstNodeInstance, vcpu, result.why);
    machine.request_stop(StopReason::error);
  }
  KeeperState asks = KeeperState::asks;
  record.state.compare_exchange_strong(asks, KeeperState::answered);
}

}  // namespace

void help_keepers(Machine& machine) {
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    KeeperRecord& record = machine.state().keepers[n];
    if (record.state.load() != KeeperState::asks || machine.is_alive(n)) continue;
    if (!fabric::claim(record.helper, machine.self(), machine.instances())) continue;
    if (record.state.load() == KeeperState::asks) answer(machine, record);
    fabric::disclaim(record.helper);
    fabric::ring(record.bell);
  }
}

void pass_on_vcpus(Machine& machine, u32 dead) {
  for (u32 i = 0; i < machine.config().vcpus; ++i) {
    VcpuRecord& v = machine.state().vcpus[i];
    const VcpuPlace place = v.where();
    if (place.node != dead) continue;
    const bool unused = v.run_state.load() == VcpuRunState::absent;
    const auto heir = heir_of(machine, i, dead);
    if (!heir || (place.stage != PlaceStage::arriving && !unused)) continue;
    const auto kind =
        place.stage == PlaceStage::arriving ? PlaceStep::Kind::pass_on : PlaceStep::Kind::reassign;
    if (!take_step(v.place, {.kind = kind, .node = static_cast<u8>(dead), .heir = *heir})) continue;
    fabric::ring(v.arrival);
    fabric::ring(machine.state().nodes[*heir].bell);
  }
}

}  // namespace dvm::vmm
