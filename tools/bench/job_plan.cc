#include "tools/bench/job_plan.h"

#include <fmt/format.h>

#include <charconv>

namespace dvm::tools {
namespace {

constexpr std::string_view kProgram = "job_work: ";

template <typename T>
bool read_number(std::string_view text, T& to) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), to);
  return failed == std::errc() && end == text.data() + text.size();
}

// The number behind "NAME=".
bool read_field(std::string_view text, std::string_view name, u64& to) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return false;
  text.remove_prefix(at + name.size());
  return read_number(text.substr(0, text.find(' ')), to);
}

}  // namespace

std::string job_names() {
  std::string names;
  for (const JobKind& job : kJobs)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", job.name);
  return names;
}

u32 repeats_before(u32 death, u32 deaths, u32 repeats) {
  return static_cast<u32>(u64{repeats} * (2 * death + 1) / (2 * u64{deaths}));
}

double part_before(u32 death) { return (death * 3 + 2) % 8 / 8.0; }

std::optional<JobLine> read_job_line(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (!line.starts_with(kProgram)) return std::nullopt;
  line.remove_prefix(kProgram.size());
  JobLine said;
  if (line.starts_with("ok ")) {
    said.ended = said.ok = true;
    if (read_field(line, " units=", said.units) &&
        read_field(line, " elapsed_ns=", said.elapsed_ns))
      return said;
    return std::nullopt;
  }
  if (line.starts_with("FAIL ")) {
    said.ended = true;
    said.text = line.substr(5);
    return said;
  }
  const auto of = line.find(" of ");
  if (of == std::string_view::npos || !read_number(line.substr(0, of), said.done) ||
      !read_number(line.substr(of + 4), said.of) || said.done > said.of)
    return std::nullopt;
  return said;
}

std::string job_script(const JobKind& job) {
  return fmt::format(
      "job_work --job {} --repeats {} --threads {} || echo \"job_work: FAIL exit code $?\"\n"
      "while :; do sleep 60; done\n",
      job.name, job.repeats, kJobVcpus);
}

}  // namespace dvm::tools
