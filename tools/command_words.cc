#include "tools/command_words.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace dvm::tools {
namespace {

Status check_extras(const std::vector<std::string>& extras) {
  for (const std::string& word : extras) {
    if (word.size() > 1 && word.front() == '-') {
      return usage_error("unknown option {} (--help lists those there are)",
                         word.substr(0, word.find('=')));
    }
  }
  return {};
}

Result<CommandWords> collect(const CLI::App& app, const OptionNames& names) {
  CommandWords found;
  found.rest = app.remaining();
  DVM_TRY(check_extras(found.rest));
  for (const auto& name : names.with_value) {
    const CLI::Option* option = app.get_option(name);
    if (option->count() == 0) continue;
    if (option->count() > 1)
      return usage_error("{}: found {} times; allowed: once", name, option->count());
    found.values[name] = option->results().front();
  }
  for (const auto& name : names.repeatable) {
    const CLI::Option* option = app.get_option(name);
    if (option->count() != 0) found.lists[name] = option->results();
  }
  for (const auto& name : names.flags) {
    if (app.get_option(name)->count() > 0) found.flags.insert(name);
  }
  return found;
}

// CLI11 would take the following word for the value of "--option=".
Status check_empty_value(const std::vector<std::string>& words) {
  for (const auto& word : words) {
    if (word == "--") break;
    if (word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1) {
      return usage_error("{}: found no value after '='; allowed: a value",
                         word.substr(0, word.size() - 1));
    }
  }
  return {};
}

}  // namespace

std::optional<std::string> CommandWords::value(const std::string& option) const {
  const auto it = values.find(option);
  if (it == values.end()) return std::nullopt;
  return it->second;
}

std::vector<std::string> CommandWords::list(const std::string& option) const {
  const auto it = lists.find(option);
  return it == lists.end() ? std::vector<std::string>{} : it->second;
}

Result<CommandWords> split_command_line(const std::vector<std::string>& words,
                                        const OptionNames& names) {
  DVM_TRY(check_empty_value(words));
  try {
    CLI::App app;
    app.set_help_flag();
    app.allow_extras();
    for (const auto& name : names.with_value) {
      app.add_option(name)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
    for (const auto& name : names.repeatable) {
      app.add_option(name)->allow_extra_args(false)->multi_option_policy(
          CLI::MultiOptionPolicy::TakeAll);
    }
    for (const auto& name : names.flags) app.add_flag(name);
    app.parse(
        std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them from the end
    return collect(app, names);
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string what = e.what();  // "--kernel: 1 required TEXT missing"
    return usage_error("{}: found no value; allowed: one value", what.substr(0, what.find(':')));
  } catch (const std::exception& e) {
    return usage_error("{} (--help tells more)", e.what());
  }
}

}  // namespace dvm::tools
