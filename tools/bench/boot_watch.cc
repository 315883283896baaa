#include "tools/bench/boot_watch.h"

#include "tools/message.h"

namespace dvm::tools {
namespace {

constexpr int kLookMs = 100;

Result<DiskReads> reads_of(const std::string& disk) {
  return disk.empty() ? Result<DiskReads>(DiskReads{}) : read_disk_stat(disk);
}

}  // namespace

Result<BootWatch> BootWatch::begin(GuestConsole& console, const BootPlace& place) {
  DVM_ASSIGN(const DiskReads before, reads_of(place.disk));
  return BootWatch(console, place, before);
}

Result<BootTrace> BootWatch::follow() {
  ServiceProbe probe(place_.port);
  while (!done()) {
    const Status status = go_on(probe);
    if (!status.ok())
      return error("{}; the end of its console: {}", status.error().message,
                   one_line(phases_.tail()));
  }
  DVM_ASSIGN(trace_.memory, read_meminfo());
  return trace_;
}

Status BootWatch::go_on(ServiceProbe& probe) {
  DVM_ASSIGN(const std::string part, console_.read(kLookMs));
  for (const BootPhase phase : phases_.feed(part)) DVM_TRY(reached(phase, probe));
  DVM_TRY(note_service(probe));
  return check();
}

Status BootWatch::reached(BootPhase phase, ServiceProbe& probe) {
  DVM_ASSIGN(trace_.phases[index_of(phase)], point(Clock::now()));
  switch (phase) {
    case BootPhase::systemd:
      if (place_.port != 0) probe.start();
      return {};
    case BootPhase::login: return console_.type("root");
    case BootPhase::shell: return console_.type(kAskSystemState);
    default: return {};
  }
}

Status BootWatch::note_service(const ServiceProbe& probe) {
  const auto answered = probe.answered();
  if (!answered || trace_.service) return {};
  DVM_ASSIGN(trace_.service, point(*answered));
  return {};
}

Result<BootPoint> BootWatch::point(Clock::time_point at) const {
  DVM_ASSIGN(const DiskReads now, reads_of(place_.disk));
  return BootPoint{std::chrono::duration<double>(at - start_).count(), now - before_};
}

Status BootWatch::check() const {
  const std::string& state = phases_.system_state();
  if (!state.empty() && state != "running") return error("systemd says {}", state);
  if (phases_.panicked()) return error("its kernel panicked");
  const double s = std::chrono::duration<double>(Clock::now() - start_).count();
  if (s > place_.limit_s) return error("not up within {} s", place_.limit_s);
  return {};
}

bool BootWatch::done() const {
  const bool answered = place_.port == 0 || trace_.service;
  return answered && trace_.phases[index_of(BootPhase::running)].has_value();
}

}  // namespace dvm::tools
