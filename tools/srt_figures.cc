#include "tools/srt_figures.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/size_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using srt::ReplicaPlace;

constexpr std::array<const char*, srt::kDroppedReasons> kReasons = {
    "changed", "written", "discarded", "displaced", "unknown"};
constexpr std::array<const char*, srt::kDroppedReasons> kReasonTexts = {
    "the copy in memory was changed", "the block was written", "the block was discarded",
    "for another block", "what a node that died wrote is not known"};

struct Places {
  u64 now = 0, before = 0, kept = 0, gone = 0;
};

Places places_of(vmm::Machine& machine, const srt::ReplicaTable& table) {
  const auto boot = static_cast<u16>(machine.state().control.boots.load());
  Places places;
  table.each([&](const srt::ReplicaTable::Listed& listed) {
    const ReplicaPlace& place = listed.replica.place;
    if (place.kind == ReplicaPlace::Kind::kept)
      ++places.kept;
    else if (place.boot == boot || !machine.has_ram_for_each_boot())
      ++places.now;
    else if (place.boot == static_cast<u16>(boot - 1))
      ++places.before;
    else
      ++places.gone;
  });
  return places;
}

double percent(u64 part, u64 all) {
  return all == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(all);
}

json warm_json(const srt::ReplicaTable& table) {
  const srt::ReplicaFigures& f = table.figures();
  const u64 runs = table.wanted().size(), seen_to = std::min<u64>(table.warmed().load(), runs);
  return {{"state", runs == 0        ? "off"
                    : seen_to < runs ? "running"
                                     : "done"},
          {"runs", runs},
          {"runs_seen_to", seen_to},
          {"blocks", f.ahead.load()},
          {"blocks_used", f.ahead_used.load()},
          {"reads", f.ahead_reads.load()},
          {"bytes", f.ahead_bytes.load()}};
}

std::string warm_line(const json& warm) {
  const auto n = [&](const char* key) { return warm.at(key).get<u64>(); };
  const auto state = warm.at("state").get<std::string>();
  if (state == "off") return "read ahead: off (dvm-run --srt-warm)\n";
  return fmt::format(
      "read ahead: {}, {} of {} runs; {} blocks, of which {} ({:.1f} %) were asked for; {} "
      "in {} reads\n",
      state, n("runs_seen_to"), n("runs"), n("blocks"), n("blocks_used"),
      percent(n("blocks_used"), n("blocks")), amount(n("bytes")), n("reads"));
}

}  // namespace

json srt_json(vmm::Machine& machine) {
  const srt::ReplicaTable* const table = machine.replicas();
  if (table == nullptr) return {{"on", false}};
  const srt::ReplicaFigures& f = table->figures();
  const Places places = places_of(machine, *table);
  json dropped = json::object();
  for (u32 i = 0; i < srt::kDroppedReasons; ++i) dropped[kReasons[i]] = f.dropped[i].load();
  return {{"on", true},
          {"boot", machine.state().control.boots.load()},
          {"entries", places.now + places.before + places.kept + places.gone},
          {"in_ram", places.now},
          {"in_ram_of_boot_before", places.before},
          {"in_kept_frames", places.kept},
          {"table_bytes", table->table_bytes()},
          {"kept_bytes", table->kept_in_use() * kPageBytes},
          {"boot_before_bytes", places.before * kPageBytes},
          {"budget_bytes", table->budget()},
          {"reads", f.reads.load()},
          {"reads_served", f.reads_served.load()},
          {"blocks_served", f.blocks_served.load()},
          {"blocks_missed", f.blocks_missed.load()},
          {"bytes_saved", f.bytes_served.load()},
          {"put", f.put.load()},
          {"freed_kept", f.freed_kept.load()},
          {"warm", warm_json(*table)},
          {"dropped", std::move(dropped)}};
}

std::string srt_text(const json& s) {
  if (!s.at("on").get<bool>()) return "the machine has no storage replica table (dvm-run --srt)\n";
  const auto n = [&](const char* key) { return s.at(key).get<u64>(); };
  std::string text = fmt::format(
      "{} blocks of disks are known to be in memory: {} in RAM, {} in RAM of the boot before, {} "
      "in "
      "frames kept for them\n"
      "reads: {}, of which {} ({:.1f} %) needed no disk; blocks: {} served, {} missed; {} not read "
      "from disks\n"
      "memory: table {}, kept frames {}, RAM of the boot before {}; allowed in all {}\n"
      "copied from pages that the guest reported as free: {} blocks\n"
      "{}"
      "entries that went:\n",
      n("entries"), n("in_ram"), n("in_ram_of_boot_before"), n("in_kept_frames"), n("reads"),
      n("reads_served"), percent(n("reads_served"), n("reads")), n("blocks_served"),
      n("blocks_missed"), amount(n("bytes_saved")), amount(n("table_bytes")),
      amount(n("kept_bytes")), amount(n("boot_before_bytes")), amount(n("budget_bytes")),
      n("freed_kept"), warm_line(s.at("warm")));
  for (u32 i = 0; i < srt::kDroppedReasons; ++i)
    text +=
        fmt::format("  {:10} {}\n", s.at("dropped").at(kReasons[i]).get<u64>(), kReasonTexts[i]);
  return text;
}

void srt_metrics(Exposition& out, vmm::Machine& machine) {
  const srt::ReplicaTable* const table = machine.replicas();
  if (table == nullptr) return;
  const srt::ReplicaFigures& f = table->figures();
  const auto one = [&](const char* name, const char* kind, const char* help, u64 value) {
    out.metric(name, kind, help);
    out.sample(value);
  };
  one("dvm_srt_entries", "gauge", "Blocks of disks with an entry in the replica table.",
      f.entries.load());
  one("dvm_srt_table_bytes", "gauge", "Memory of the table itself, at most.", table->table_bytes());
  one("dvm_srt_kept_bytes", "gauge", "Memory of copies that are the table's own.",
      table->kept_in_use() * kPageBytes);
  one("dvm_srt_reads_total", "counter", "Reads of disks that the table was asked about.",
      f.reads.load());
  one("dvm_srt_reads_served_total", "counter", "Of these, that needed no disk.",
      f.reads_served.load());
  one("dvm_srt_blocks_served_total", "counter", "Blocks that were copied from memory.",
      f.blocks_served.load());
  one("dvm_srt_blocks_missed_total", "counter", "Blocks that were not in memory.",
      f.blocks_missed.load());
  one("dvm_srt_bytes_saved_total", "counter", "Bytes that were not read from disks.",
      f.bytes_served.load());
  one("dvm_srt_freed_kept_total", "counter",
      "Blocks copied from pages that the guest reported as free.", f.freed_kept.load());
  one("dvm_srt_ahead_blocks_total", "counter", "Blocks that were read ahead of the guest.",
      f.ahead.load());
  one("dvm_srt_ahead_used_total", "counter", "Of these, that the guest then asked for.",
      f.ahead_used.load());
  one("dvm_srt_ahead_reads_total", "counter", "Requests to disks for them.", f.ahead_reads.load());
  one("dvm_srt_ahead_bytes_total", "counter", "Bytes that these read.", f.ahead_bytes.load());
  one("dvm_srt_ahead_runs_left", "gauge", "Runs of blocks that are still to be read ahead.",
      table->wanted().size() - std::min<u64>(table->warmed().load(), table->wanted().size()));
  out.metric("dvm_srt_dropped_total", "counter", "Entries that went, by the reason.");
  for (u32 i = 0; i < srt::kDroppedReasons; ++i)
    out.sample(f.dropped[i].load(), fmt::format("reason=\"{}\"", kReasons[i]));
}

}  // namespace dvm::tools
