#include "tools/child_options.h"

#include <charconv>

namespace dvm::tools {

Result<std::vector<int>> parse_numbers(const std::string& text) {
  std::vector<int> numbers;
  for (const char *at = text.data(), *end = at + text.size(); at != end;) {
    int number = 0;
    const auto [rest, failure] = std::from_chars(at, end, number);
    const bool last = rest == end;
    if (failure != std::errc() || number < 0 || (!last && (*rest != ',' || rest + 1 == end)))
      return usage_error("found '{}'; allowed: whole numbers", text);
    numbers.push_back(number);
    at = last ? end : rest + 1;
  }
  return numbers;
}

Result<ChildOptions> ChildOptions::parse(const std::vector<std::string>& words,
                                         const ChildOptionNames& names) {
  std::vector<std::string> numbers = names.needed_numbers;
  numbers.insert(numbers.end(), names.numbers.begin(), names.numbers.end());
  OptionNames known{.with_value = numbers, .flags = {}, .repeatable = names.repeatable};
  known.with_value.insert(known.with_value.end(), names.texts.begin(), names.texts.end());
  ChildOptions options;
  DVM_ASSIGN(options.words_, split_command_line({words.begin() + 1, words.end()}, known));
  if (!options.words_.rest.empty())
    return usage_error("found '{}'; allowed: options", options.words_.rest.front());
  for (const std::string& option : numbers) {
    const auto text = options.words_.value(option);
    if (!text) continue;
    const auto value = parse_numbers(*text);
    if (!value || value->size() != 1) return usage_error("{}: found '{}'", option, *text);
    options.numbers_[option] = value->front();
  }
  for (const std::string& option : names.needed_numbers) {
    if (!options.numbers_.contains(option)) return usage_error("no {}", option);
  }
  return options;
}

int ChildOptions::number(const std::string& option) const {
  const auto it = numbers_.find(option);
  return it == numbers_.end() ? -1 : it->second;
}

std::string ChildOptions::text(const std::string& option, const std::string& otherwise) const {
  return words_.value(option).value_or(otherwise);
}

}  // namespace dvm::tools
