#include "tools/bench/reboot_figures.h"

#include <fmt/format.h>

#include <string_view>

#include "tools/bench/rebooter.h"

namespace dvm::tools {
namespace {

template <typename Read>
Series read_rounds(const RebootSeries& series, Read&& read) {
  Series values;
  for (const auto& round : series.rounds)
    values.push_back(round ? read(*round) : std::optional<double>());
  return values;
}

std::optional<double> value_of(const std::optional<BootPoint>& point, PointValue value) {
  return point ? std::optional(value(*point)) : std::nullopt;
}

}  // namespace

double seconds_of(const BootPoint& point) { return point.s; }
double requests_of(const BootPoint& point) { return static_cast<double>(point.reads.requests); }
double mebibytes_of(const BootPoint& point) {
  return static_cast<double>(point.reads.bytes) / static_cast<double>(kMiB);
}

double wait_of(const BootPoint& point) {
  const auto requests = static_cast<double>(point.reads.requests);
  return requests > 0 ? static_cast<double>(point.reads.waited_ms) / requests : 0;
}

std::array<std::optional<BootPoint>, kBootPhases> steps_of(const BootTrace& boot) {
  std::array<std::optional<BootPoint>, kBootPhases> steps;
  BootPoint before;
  for (std::size_t i = 0; i < kBootPhases; ++i) {
    const auto& at = boot.phases[i];
    if (!at) continue;
    steps[i] = BootPoint{at->s - before.s, at->reads - before.reads};
    before = *at;
  }
  return steps;
}

Series phase_series(const RebootSeries& series, const WhichBoot& boot, BootPhase phase,
                    PointValue value) {
  return read_rounds(series, [&](const RebootTrace& round) {
    return value_of(steps_of(round.*boot.trace)[index_of(phase)], value);
  });
}

Series whole_series(const RebootSeries& series, const WhichBoot& boot, PointValue value) {
  return read_rounds(series, [&](const RebootTrace& round) {
    return value_of((round.*boot.trace).phases[index_of(BootPhase::running)], value);
  });
}

Series service_series(const RebootSeries& series, const WhichBoot& boot) {
  return read_rounds(series, [&](const RebootTrace& round) {
    return value_of((round.*boot.trace).service, seconds_of);
  });
}

Series memory_series(const RebootSeries& series, const WhichBoot& boot, u64 HostMemory::*what) {
  return read_rounds(series, [&](const RebootTrace& round) -> std::optional<double> {
    const auto bytes = [&](const HostMemory& memory) { return static_cast<double>(memory.*what); };
    return (bytes((round.*boot.trace).memory) - bytes(round.before)) / static_cast<double>(kMiB);
  });
}

std::string label_of(const RebootSeries& series) {
  return fmt::format("{}.{}.{}M", series.rebooter, series.device.name, series.memory / kMiB);
}

const RebootSeries* peer_of(const RebootSeries& series, const std::vector<RebootSeries>& all) {
  for (const auto& other : all) {
    if (other.rebooter == kRebootPeer && &other != &series && other.memory == series.memory &&
        std::string_view(other.device.name) == series.device.name)
      return &other;
  }
  return nullptr;
}

}  // namespace dvm::tools
