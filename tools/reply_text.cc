#include "tools/reply_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/json_text.h"
#include "tools/recovery_figures.h"
#include "tools/size_text.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

std::string number(const json& object, const char* key) {
  return fmt::to_string(object.at(key).get<u64>());
}

std::string word(const json& object, const char* key) { return object.at(key).get<std::string>(); }

std::string counted(std::size_t n, const char* noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string numbers(const json& list) {
  std::string text;
  for (const auto& n : list) text += fmt::format("{}{}", text.empty() ? "" : ",", n.get<u64>());
  return text.empty() ? "-" : text;
}

// "wrmsr 61%, io 20%, irq_window 9%"
std::string top_reasons(const json& exits) {
  constexpr std::size_t kShown = 4;
  const u64 total = exits.at("total").get<u64>();
  std::vector<std::pair<u64, std::string>> reasons;
  for (const auto& [name, count] : exits.items()) {
    if (name != "total" && count.get<u64>() != 0) reasons.emplace_back(count.get<u64>(), name);
  }
  std::sort(reasons.rbegin(), reasons.rend());
  if (reasons.size() > kShown) reasons.resize(kShown);
  std::string text;
  for (const auto& [count, name] : reasons) {
    text +=
        fmt::format("{}{} {}%", text.empty() ? "" : ", ", name, (count * 100 + total / 2) / total);
  }
  return text.empty() ? "-" : text;
}

// "temperature 95, wear 3"
std::string health(const json& readings) {
  std::string text;
  for (const auto& [name, value] : readings.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value.get<u64>());
  return text.empty() ? "-" : text;
}

// "42s", "3m 05s", "7h 12m", "3d 04h"
std::string duration(u64 s) {
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d {:02}h", s / 86400, s / 3600 % 24);
}

std::string node_table(const json& nodes) {
  TextTable table(
      {"NODE", "PID", "STATE", "INSTANCE", "VCPUS", "OWNED", "REPLICATED", "SHARED", "HEALTH"});
  for (const auto& n : nodes) {
    const auto& instance = n.at("instance");
    const auto& pages = n.at("pages");
    table.add({number(n, "id"), number(n, "pid"), word(n, "state"),
               number(instance, "id") + "/" + number(instance, "gen"), numbers(n.at("vcpus")),
               number(pages, "owned"), number(pages, "replicated"), number(pages, "shared"),
               health(n.at("health"))});
  }
  return table.text();
}

std::string vcpu_table(const json& vcpus) {
  TextTable table({"VCPU", "NODE", "MOVES", "STATE", "EXITS", "INJECTED", "KICKS", "HALTS",
                   "TOP EXIT REASONS"});
  for (const auto& v : vcpus) {
    table.add({number(v, "id"), number(v, "node"), number(v, "moves"), word(v, "state"),
               number(v.at("exits"), "total"), number(v, "injected"), number(v, "kicks_sent"),
               number(v, "halts"), top_reasons(v.at("exits"))});
  }
  return table.text();
}

// What each node's pager has done.
std::string moves_table(const json& nodes) {
  TextTable table({"NODE", "FAULTS", "HAND-OVERS", "COPIES", "EVICTED", "SHARED", "RECOVERED"});
  for (const auto& n : nodes) {
    const auto& moves = n.at("moves");
    table.add({number(n, "id"), number(moves, "faults"), number(moves, "taken"),
               number(moves, "copied"), number(moves, "evicted"), number(moves, "shared"),
               number(moves, "recovered")});
  }
  return table.text();
}

// "node 0: 3, node 1: 1"
std::string owners(const json& held) {
  std::string text;
  for (const auto& [name, count] : held.items())
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", name, count.get<u64>());
  return text.empty() ? "-" : text;
}

std::string device_table(const json& devices) {
  TextTable table({"DEVICE", "IN", "BYTES", "OUT", "BYTES", "OTHER", "ERRORS", "DROPPED", "KICKS",
                   "INTERRUPTS", "OWNERS", "DETAIL"});
  for (const auto& d : devices) {
    const std::string detail = word(d, "detail");
    table.add({word(d, "name"), number(d, "in_requests"), amount(d.at("in_bytes").get<u64>()),
               number(d, "out_requests"), amount(d.at("out_bytes").get<u64>()),
               number(d, "other_requests"), number(d, "errors"), number(d, "dropped"),
               number(d, "kicks"), number(d, "interrupts"), owners(d.at("owners")),
               detail.empty() ? "-" : detail});
  }
  return table.text();
}

std::string coherence_text(const json& s) {
  const auto& c = s.at("coherence");
  if (word(c, "mode") != "software") return "";
  return fmt::format("\ncoherence software: {} hand-overs; coherent memory {} KiB of {}\n",
                     number(c, "hand_overs"), c.at("coherent_memory_used").get<u64>() / kKiB,
                     format_size(c.at("coherent_memory").get<u64>())) +
         moves_table(s.at("nodes"));
}

}  // namespace

std::string balloon_text(const json& balloon) {
  std::string text = fmt::format(
      "{} of {} given up; given back to the host so far: {} by the balloon, {} as free pages\n",
      format_size(balloon.at("actual").get<u64>()), format_size(balloon.at("target").get<u64>()),
      amount(balloon.at("given_back").get<u64>()), amount(balloon.at("reported").get<u64>()));
  for (const auto& [name, value] : balloon.at("stats").items())
    text += fmt::format("  {:<20} {}\n", name, value.get<u64>());
  return text;
}

std::string pages_text(const json& pages) {
  const auto& c = pages.at("coherence");
  if (word(c, "mode") != "software") {
    return fmt::format("coherence shared: {} pages are mapped from the pool by all nodes\n",
                       number(pages, "shared"));
  }
  std::string text = fmt::format(
      "{} pages shared (coherent memory: {} of {} in use), {} at home, {} hand-overs\n\n",
      number(pages, "shared"), amount(c.at("coherent_memory_used").get<u64>()),
      format_size(c.at("coherent_memory").get<u64>()), number(c, "pages_at_home"),
      number(c, "hand_overs"));
  TextTable table({"MEMBER", "OWNED", "REPLICATED", "LOCAL MEMORY", "LIMIT", "FAULTS", "HAND-OVERS",
                   "COPIES", "EVICTED", "SHARED", "RECOVERED"});
  for (const auto& m : pages.at("members")) {
    const auto &held = m.at("pages"), &moves = m.at("moves"), &used = m.at("local_memory_used");
    table.add({word(m, "name"), number(held, "owned"), number(held, "replicated"),
               used.is_null() ? "-" : amount(used.get<u64>()),
               amount(c.at("local_memory").get<u64>()), number(moves, "faults"),
               number(moves, "taken"), number(moves, "copied"), number(moves, "evicted"),
               number(moves, "shared"), number(moves, "recovered")});
  }
  return text + table.text();
}

std::string status_text(const json& s) {
  const auto& pool = s.at("pool");
  std::string text = fmt::format(
      "{}: {}, boot {}, {} on {}, {}, pool {} ({} MiB, {} MiB backed), protect {}\n",
      word(s, "name"), word(s, "state"), number(s, "boots"), counted(s.at("vcpus").size(), "vCPU"),
      counted(s.at("nodes").size(), "node"), format_size(s.at("memory").get<u64>()),
      word(pool, "path"), pool.at("size").get<u64>() / kMiB, pool.at("backed").get<u64>() / kMiB,
      word(s, "protect"));
  text += "\n" + node_table(s.at("nodes")) + coherence_text(s) + "\n" + vcpu_table(s.at("vcpus")) +
          "\n" + device_table(s.at("devices"));
  if (const std::string ended = recoveries_text(s.at("recoveries")); !ended.empty())
    text += fmt::format("\nnodes that ended while the guest went on: {}\n", ended);
  const auto& bad = s.at("bad_pages");
  if (bad.at("reported") != 0)
    text += fmt::format("\n{} of RAM gone bad, {} of them not yet taken out of use by the guest\n",
                        counted(bad.at("reported").get<u64>(), "page"), number(bad, "not_taken"));
  if (const auto& origin = s.at("origin"); !origin.is_null()) {
    text += fmt::format(
        "\npages as they were saved: {} of {} still shared; {} fetched at {} touches that waited\n",
        number(origin, "shared"), number(origin, "pages"), number(origin, "fetched"),
        number(origin, "faults"));
  }
  if (!s.at("balloon").is_null()) text += "\nballoon: " + balloon_text(s.at("balloon"));
  return text;
}

std::string event_text(const json& event) {
  std::string text = fmt::format(
      "[{:12.6f}] {:>5}  {:<16} {:<9}", static_cast<double>(event.at("time_ns").get<u64>()) / 1e9,
      event.at("seq").get<u64>(), word(event, "event"), word(event, "source"));
  for (const auto& [name, value] : event.items()) {
    if (name == "time_ns" || name == "seq" || name == "event" || name == "source") continue;
    text += fmt::format(" {}={}", name, to_line(value));
  }
  return text + "\n";
}

std::string list_text(const json& guests) {
  TextTable table({"NAME", "PID", "STATE", "NODES", "VCPUS", "MEMORY", "BOOTS", "UPTIME"});
  for (const auto& g : guests) {
    table.add({word(g, "name"), number(g, "pid"), word(g, "state"),
               fmt::to_string(g.at("nodes").size()), fmt::to_string(g.at("vcpus").size()),
               format_size(g.at("memory").get<u64>()), number(g, "boots"),
               duration(g.at("uptime_s").get<u64>())});
  }
  return table.text();
}

}  // namespace dvm::tools
