#include "vmm/operation_log.h"

namespace dvm::vmm {
namespace {

thread_local OperationScope* current = nullptr;

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

void OperationLog::begin() {
  const u64 next = exit.load(kRelaxed) + 1;
  exit.store(next, kRelaxed);
  progress.store(position({0, static_cast<u32>(next), 0, 0}), std::memory_order_release);
}

void OperationLog::element_done() {
  const auto now = OperationId::unpack(progress.load(kRelaxed));
  progress.store(position({0, now.exit, static_cast<u16>(now.element + 1), 0}),
                 std::memory_order_release);
}

u16 OperationLog::elements_done() const {
  return OperationId::unpack(progress.load(std::memory_order_acquire)).element;
}

std::optional<u64> OperationLog::done(OperationId id) const {
  const auto now = OperationId::unpack(progress.load(std::memory_order_acquire));
  if (now.exit != id.exit || now.element != id.element || id.operation >= now.operation)
    return std::nullopt;
  return answers[id.operation % kAnswers].load(std::memory_order_acquire);
}

void OperationLog::count(OperationId id, u64 answer) {
  u64 before = position(id);
  if (progress.load(std::memory_order_acquire) != before) return;
  answers[id.operation % kAnswers].store(answer, kRelaxed);
  ++id.operation;
  progress.compare_exchange_strong(before, position(id), std::memory_order_acq_rel);
}

OperationScope::OperationScope(OperationLog& log, u32 vcpu)
    : log_(log), vcpu_(static_cast<u8>(vcpu)), element_(log.elements_done()) {
  current = this;
}

OperationScope::~OperationScope() { current = nullptr; }

void OperationScope::element_done() {
  log_.element_done();
  ++element_;
  operation_ = 0;
}

void next_operation() {
  if (current != nullptr) current->armed_ = true;
}

Operation::Operation() {
  if (current == nullptr || !current->armed_) return;
  current->armed_ = false;
  if (current->operation_ == OperationId::kMostOperations) return;
  log_ = &current->log_;
  id_ = {current->vcpu_, static_cast<u32>(log_->exit.load(kRelaxed)), current->element_,
         current->operation_++};
}

}  // namespace dvm::vmm
