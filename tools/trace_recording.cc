#include "tools/trace_recording.h"

#include <chrono>

#include "fabric/part_file.h"
#include "hyperkernel/locality/trace_format.h"

namespace dvm::tools {

using locality::Trace;

namespace {

// Several times as often as a ring can fill up when pages move as fast as they can.
constexpr std::chrono::milliseconds kLook{20};
constexpr u64 kSayEveryNs = 500'000'000;

Trace trace_of(vmm::Machine& machine) {
  Trace trace{.nodes = 1, .pages = machine.config().memory_bytes / kPageBytes};
  for (u32 n = 0; n < vmm::layout::kMaxNodes; ++n) {
    if (machine.state().nodes[n].stage.load() != vmm::NodeStage::none) trace.nodes = n + 1;
  }
  for (u32 v = 0; v < machine.config().vcpus; ++v) {
    trace.placement.push_back(static_cast<u8>(machine.state().vcpus[v].node()));
    trace.nodes = std::max(trace.nodes, trace.placement.back() + 1u);
  }
  return trace;
}

}  // namespace

Status check_traceable(const vmm::Machine& machine) {
  if (machine.has_software_coherence()) return {};
  return error(
      "trace: with --coherence shared no page moves, so there is nothing to record; allowed: with "
      "--coherence software");
}

TraceRecording::TraceRecording(vmm::Machine& machine, std::string path, u32 seconds,
                               RequestListener listener)
    : machine_(machine),
      path_(std::move(path)),
      seconds_(seconds),
      listener_(std::move(listener)),
      thread_([this] {
        const Status status = record();
        if (!cancelled_) listener_.done(status);
      }) {}

TraceRecording::~TraceRecording() {
  cancelled_ = true;
  thread_.join();
}

Status TraceRecording::record() {
  DVM_TRY(check_traceable(machine_));
  DVM_ASSIGN(auto file, fabric::PartFile::open(path_));
  Trace trace = trace_of(machine_);
  auto& nodes = machine_.locality().nodes;
  std::array<u64, locality::kMaxNodes> places{};
  for (u32 n = 0; n < nodes.size(); ++n) places[n] = nodes[n].seen.tail.load();
  const u64 begun = fabric::monotonic_ns(), length = seconds_ * u64{1'000'000'000};
  u64 now = begun, said = begun;
  while (now < begun + length && trace.seen.size() < locality::kMaxTraceRecords &&
         machine_.state().control.phase.load() != vmm::Phase::stopped) {
    if (cancelled_) return error("trace: given up");
    std::this_thread::sleep_for(kLook);
    for (u32 n = 0; n < nodes.size(); ++n) {
      trace.lost += nodes[n].seen.read(
          places[n], [&trace](const locality::Observation& seen) { trace.seen.push_back(seen); });
    }
    now = fabric::monotonic_ns();
    if (now < said + kSayEveryNs) continue;
    said = now;
    listener_.progress({(now - begun) / 1'000'000, length / 1'000'000});
  }
  normalise(trace);
  const auto bytes = encode_trace(trace);
  DVM_TRY(file.write(bytes, 0));
  return file.finish(bytes.size());
}

}  // namespace dvm::tools
