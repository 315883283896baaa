#include "tools/child_options.h"

#include <gtest/gtest.h>

namespace dvm::tools {
namespace {

Result<ChildOptions> parse(std::vector<std::string> words) {
  words.insert(words.begin(), "child");
  return ChildOptions::parse(words, {.needed_numbers = {"--pool-fd"},
                                     .numbers = {"--kernel-fd"},
                                     .texts = {"--append"},
                                     .repeatable = {"--disk"}});
}

TEST(ChildOptions, SaysWhatWasGiven) {
  const auto o = parse(
      {"--pool-fd", "7", "--append", "console=ttyS0 quiet", "--disk", "{\"a\":1}", "--disk", "b"});
  ASSERT_TRUE(o.ok()) << o.error().message;
  EXPECT_EQ(o->number("--pool-fd"), 7);
  EXPECT_EQ(o->number("--kernel-fd"), -1);
  EXPECT_EQ(o->text("--append"), "console=ttyS0 quiet");
  EXPECT_EQ(o->text("--name", "pool"), "pool");
  EXPECT_EQ(o->list("--disk"), (std::vector<std::string>{"{\"a\":1}", "b"}));
}

TEST(ChildOptions, RefusesWhatIsWrong) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"--pool-fd", "x"},
                                             {"--pool-fd", "-1"},
                                             {"--pool-fd", "1,2"},
                                             {"--pool-fd", "4294967296"},
                                             {"--pool-fd", "1", "word"},
                                             {"--pool-fd", "1", "--more", "2"}}) {
    const auto o = parse(words);
    ASSERT_FALSE(o.ok()) << (words.empty() ? "nothing" : words.back());
    EXPECT_EQ(o.error().kind, ErrorKind::usage);
  }
}

TEST(ChildOptions, Numbers) {
  EXPECT_EQ(*parse_numbers("3,40,5"), (std::vector<int>{3, 40, 5}));
  EXPECT_TRUE(parse_numbers("")->empty());
  for (const char* text : {"3,", ",3", "3 4", "3,x", "-3"})
    EXPECT_FALSE(parse_numbers(text).ok()) << text;
}

}  // namespace
}  // namespace dvm::tools
