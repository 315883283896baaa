#include "tools/fault_command_line.h"

#include <array>
#include <charconv>

#include "tools/command_words.h"
#include "tools/corrupt_target.h"
#include "tools/fault_plan.h"
#include "tools/run_settings.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

struct OptionKey {
  const char* option;
  const char* key;
};
constexpr std::array<OptionKey, 4> kNumbers = {
    {{"--for", "for_ms"}, {"--share", "share"}, {"--period", "period_ms"}, {"--at", "at_ms"}}};
// What a plan calls by another name than the command line.
constexpr std::array<OptionKey, 9> kOtherNames = {{{"--for", "for_ms"},
                                                   {"--share", "share"},
                                                   {"--period", "period_ms"},
                                                   {"--at", "at_ms"},
                                                   {"--at-point", "at_point"},
                                                   {"K of --at-point NAME:K", "occurrence"},
                                                   {"SEED of --random", "seed"},
                                                   {"MEAN_MS of --random", "mean_ms"},
                                                   {"KIND", "reading"}}};

std::optional<u64> number_in(std::string_view text) {
  u64 value = 0;
  const bool hexadecimal = text.starts_with("0x");
  if (hexadecimal) text.remove_prefix(2);
  const auto end =
      std::from_chars(text.data(), text.data() + text.size(), value, hexadecimal ? 16 : 10);
  if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

// A number, or the word itself, which the plan's parser then refuses by name.
json value_of(std::string_view word) {
  const auto number = number_in(word);
  return number ? json(*number) : json(std::string(word));
}

void put_options(const CommandWords& words, json& fault) {
  for (const OptionKey& number : kNumbers) {
    if (const auto text = words.value(number.option)) fault[number.key] = value_of(*text);
  }
  if (const auto text = words.value("--at-point")) {
    const auto colon = text->find(':');
    fault["at_point"] = text->substr(0, colon);
    if (colon != std::string::npos) fault["occurrence"] = value_of(text->substr(colon + 1));
  }
  if (const auto text = words.value("--random")) {
    const auto comma = text->find(',');
    fault["seed"] = value_of(text->substr(0, comma));
    if (comma != std::string::npos) fault["mean_ms"] = value_of(text->substr(comma + 1));
  }
}

// The words after the command, by what it takes.
Status put_arguments(const std::vector<std::string>& words, json& fault) {
  const std::string& command = words.front();
  std::vector<const char*> keys = {"node"};
  if (command == "telemetry") keys = {"node", "reading", "value"};
  if (command == "panic-guest") keys = {};
  if (command == "corrupt") keys = {"record"};
  std::vector<std::string> given(words.begin() + 1, words.end());
  if (command == "corrupt" && !given.empty() && given[0] == kPageRecord)
    keys = {"record", "address"};
  if (command == "corrupt" && given.size() == 2 && given[0] == "record") given = {given[1]};
  if (given.size() > keys.size())
    return usage_error("{}: found '{}' too many; allowed: {}", command, given[keys.size()],
                       keys.empty() ? "nothing" : fmt::format("{}", fmt::join(keys, " ")));
  for (std::size_t i = 0; i < given.size(); ++i)
    fault[keys[i]] = keys[i] == std::string_view("record") ? json(given[i]) : value_of(given[i]);
  return {};
}

// The plan's message in the words of the command line.
Error in_our_words(const Error& why) {
  std::string text = why.message;
  for (const OptionKey& other : kOtherNames) {
    const std::string key = std::string(other.key) + ":";
    if (const auto at = text.find(" " + key); at != std::string::npos)
      text.replace(at + 1, key.size(), std::string(other.option) + ":");
  }
  return usage_error("{}", text);
}

Result<json> plan_of(const CommandWords& words) {
  const std::string& command = words.rest.front();
  json fault = json::object();
  put_options(words, fault);
  if (command == "plan") {
    if (!fault.empty()) return usage_error("plan: allowed: no option but --name and --json");
    if (words.rest.size() != 2)
      return usage_error("plan: found {} words; allowed: one file", words.rest.size() - 1);
    return read_fault_plan(words.rest[1]);
  }
  DVM_TRY(put_arguments(words.rest, fault));
  fault["fault"] = command;
  if (const auto parsed = parse_fault(fault); !parsed) return in_our_words(parsed.error());
  return json{{"faults", json::array({fault})}};
}

}  // namespace

Result<FaultCommandLine> parse_fault_command_line(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found,
             split_command_line(words, {.with_value = {"--name", "--for", "--share", "--period",
                                                       "--at", "--at-point", "--random"},
                                        .flags = {"--json", "--help", "--version"}}));
  FaultCommandLine line;
  line.help = found.has("--help");
  line.version = found.has("--version");
  if (line.help || line.version) return line;
  line.json = found.has("--json");
  if (const auto name = found.value("--name")) {
    const auto checked = check_name(*name);
    if (!checked) return usage_error("--name: {}", checked.error().message);
    line.name = *name;
  }
  if (found.rest.empty()) return usage_error("no command (--help lists those there are)");
  if (found.rest.front() == "points") {
    if (found.rest.size() > 1 || !found.values.empty())
      return usage_error("points: allowed: no other word, no option but --json");
    line.points = true;
    return line;
  }
  DVM_ASSIGN(line.plan, plan_of(found));
  return line;
}

}  // namespace dvm::tools
