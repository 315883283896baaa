#include "vmm/epoch_member.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "fabric/urgent_thread.h"
#include "hyperkernel/fault_loop.h"

namespace dvm::vmm {

EpochMember::EpochMember(Machine& machine, EpochMemberOptions options)
    : machine_(machine), record_(*machine.epoch()), options_(std::move(options)) {}

Result<std::unique_ptr<EpochMember>> EpochMember::join(Machine& machine,
                                                       EpochMemberOptions options) {
  std::unique_ptr<EpochMember> member(new EpochMember(machine, std::move(options)));
  member->stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!member->stop_.valid()) return sys_error("eventfd");
  DVM_ASSIGN(member->pages_, hyperkernel::WrittenPages::watch(machine.pool(), machine.memory()));
  if (member->options_.coordinates) {
    DVM_ASSIGN(member->coordinator_, EpochCoordinator::make(machine, member->options_.released,
                                                            member->options_.io_over));
  }
  DVM_TRY(member->take_place());  // from here on it is waited for
  EpochMember* const m = member.get();
  m->writes_ = std::thread([m] { m->serve_writes(); });
  m->follower_ = std::thread([m] { m->follow(); });
  return member;
}

EpochMember::~EpochMember() {
  stopping_.store(true);
  const u64 one = 1;
  if (stop_.valid()) (void)!::write(stop_.get(), &one, sizeof one);
  fabric::ring(record_.bell);
  if (follower_.joinable()) follower_.join();
  if (writes_.joinable()) writes_.join();
  pages_.reset();
  if (place_ != nullptr) place_->instance.store(0);
  fabric::ring(record_.bell);
}

// All is protected by now: nothing is written here that an epoch's end does not hear of.
Status EpochMember::take_place() {
  for (EpochMemberRecord& place : record_.members) {
    u64 owner = place.instance.load();
    if (owner != 0 && !machine_.instances().is_stale(fabric::InstanceId::unpack(owner))) continue;
    if (!place.instance.compare_exchange_strong(owner, machine_.self().packed())) continue;
    place_ = &place;
    return {};
  }
  return error("more than {} processes share the guest's memory", record_.members.size());
}

void EpochMember::fail(const Error& why) {
  fmt::print(stderr, "dvm: epochs cannot go on: {}\n", why.message);
  machine_.request_stop(StopReason::error);
}

void EpochMember::serve_writes() {
  const auto life = options_.peer ? options_.peer->register_thread()
                                  : Result<std::unique_ptr<fabric::LifeRegistration>>(nullptr);
  fabric::make_urgent();  // a vCPU stands still meanwhile
  hyperkernel::serve_faults(pages_->faults(), stop_, stopping_,
                            [this](const uffd_msg& m) { return admit(m.arg.pagefault.address); });
}

bool EpochMember::admit(u64 address) {
  for (;;) {
    const u32 seen = fabric::listen(record_.bell);
    {
      const std::lock_guard guard(pages_->lock());
      const EpochWord now = EpochWord::unpack(record_.word.load());
      if (!holds_writers(now.stage)) {
        const u64 begin = fabric::monotonic_ns();
        record_.figures.writes_waited.fetch_add(1, std::memory_order_relaxed);
        const Status done = pages_->admit(record_.log[now.epoch % 2].load(), address);
        record_.figures.served_ns.fetch_add(fabric::monotonic_ns() - begin);
        if (!done.ok()) fail(done.error());
        return done.ok();
      }
    }
    if (stopping_.load()) return false;
    fabric::wait(record_.bell, seen, std::nullopt);
  }
}

void EpochMember::follow() {
  const auto life = options_.peer ? options_.peer->register_thread()
                                  : Result<std::unique_ptr<fabric::LifeRegistration>>(nullptr);
  fabric::make_urgent();
  u32 epoch = 0;
  while (!stopping_.load()) {
    const u32 seen = fabric::listen(record_.bell);
    const EpochWord word = EpochWord::unpack(record_.word.load());
    if (word.epoch != epoch && word.stage == EpochStage::open) {
      epoch = word.epoch;
      if (options_.committed) options_.committed();
    }
    answer(word);
    if (word.stage == EpochStage::open)
      pages_->review([&] { return record_.word.load() == word.packed() && !stopping_.load(); });
    std::optional<u64> until;
    if (coordinator_) until = coordinator_->look([this](EpochWord w) { answer(w); });
    fabric::wait(record_.bell, seen, until);
  }
}

void EpochMember::answer(EpochWord word) {
  if (place_->answered.load() == word.packed()) return;
  if (word.stage == EpochStage::closing) {
    const std::lock_guard guard(pages_->lock());
    const u32 number = record_.log[word.epoch % 2].load();
    const u32 next = record_.log[(word.epoch + 1) % 2].load();
    // Given up, and with `next` another end is being tried: the guest may be running.
    if (record_.word.load() != word.packed()) return;
    const Status done = pages_->protect(number, next);
    if (!done.ok()) return fail(done.error());
    record_.figures.pages_hot.fetch_add(pages_->writable(), std::memory_order_relaxed);
  } else if (word.stage == EpochStage::rolling) {
    if (options_.rest) options_.rest();
  } else {
    return;
  }
  place_->answered.store(word.packed());
  fabric::ring(record_.bell);
}

}  // namespace dvm::vmm
