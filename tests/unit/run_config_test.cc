// The configuration file of dvm-run.
#include "tools/run_config.h"

#include <gtest/gtest.h>

#include <random>

#include "tools/placement.h"

namespace dvm::tools {
namespace {

TEST(RunConfig, SaysAllThatTheCommandLineCan) {
  const auto r =
      parse_config(R"({"kernel": "k", "initrd": "i", "append": "a b", "nodes": 2, "cpus": 4,
    "memory": "1G", "placement": [0, 1, 1, 0], "name": "demo", "pool": "p", "on_panic": "exit",
    "events": "e"})",
                   "demo.json");
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->kernel, "k");
  EXPECT_EQ(r->initrd, "i");
  EXPECT_EQ(r->append, "a b");
  EXPECT_EQ(r->nodes, 2u);
  EXPECT_EQ(r->cpus, 4u);
  EXPECT_EQ(r->memory, kGiB);
  EXPECT_EQ(format_placement(*r->placement), "0,1,1,0");
  EXPECT_EQ(r->name, "demo");
  EXPECT_EQ(r->pool, "p");
  EXPECT_EQ(r->on_panic, PanicPolicy::exit);
  EXPECT_EQ(r->events, "e");
}

TEST(RunConfig, TakesMemoryInBytes) {
  EXPECT_EQ(parse_config(R"({"memory": 134217728})", "f")->memory, 128 * kMiB);
}

TEST(RunConfig, IsOverriddenByTheCommandLine) {
  auto file = parse_config(R"({"kernel": "k", "cpus": 4, "placement": [0, 0, 0, 0]})", "f");
  RunRequest line;
  line.cpus = 2;
  line.placement = std::vector<u16>{0, 0};
  const auto s = settle(override_with(file.take(), line), "n");
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(s->kernel, "k");
  EXPECT_EQ(s->cpus, 2u);
}

struct BadConfig {
  std::string text;
  std::vector<std::string> says;
};

class RunConfigRefused : public ::testing::TestWithParam<BadConfig> {};

TEST_P(RunConfigRefused, WithOneClearLine) {
  const auto r = parse_config(GetParam().text, "demo.json");
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().kind, ErrorKind::usage);
  EXPECT_EQ(r.error().message.find('\n'), std::string::npos);
  EXPECT_TRUE(r.error().message.starts_with("demo.json: ")) << r.error().message;
  for (const auto& text : GetParam().says) {
    EXPECT_NE(r.error().message.find(text), std::string::npos)
        << r.error().message << "\nlacks " << text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RunConfigRefused,
    ::testing::Values(
        BadConfig{"", {"JSON"}}, BadConfig{"{\"kernel\": }", {"JSON", "line 1"}},
        BadConfig{"[]", {"an array", "an object"}}, BadConfig{"3", {"found 3"}},
        BadConfig{R"({"kernel": "a", "kernel": "b"})", {"kernel", "twice"}},
        BadConfig{R"({"disk": "d"})", {"unknown key 'disk'", "allowed: kernel, initrd"}},
        BadConfig{R"({"on-panic": "exit"})", {"unknown key 'on-panic'", "on_panic"}},
        BadConfig{R"({"kernel": 5})", {"kernel", "found 5", "string"}},
        BadConfig{R"({"kernel": null})", {"kernel", "found null"}},
        BadConfig{R"({"kernel": ""})", {"kernel", "empty"}},
        BadConfig{R"({"kernel": "a\u0000b"})", {"kernel", "NUL"}},
        BadConfig{R"({"append": ["a"]})", {"append", "an array", "string"}},
        BadConfig{R"({"nodes": "2"})", {"nodes", "\"2\"", "1 to 16"}},
        BadConfig{R"({"nodes": 0})", {"nodes", "'0'", "1 to 16"}},
        BadConfig{R"({"nodes": 4294967297})", {"nodes", "4294967297"}},
        BadConfig{R"({"cpus": -1})", {"cpus", "found -1", "1 to 64"}},
        BadConfig{R"({"cpus": 1.5})", {"cpus", "found 1.5"}},
        BadConfig{R"({"cpus": 65})", {"cpus", "'65'", "1 to 64"}},
        BadConfig{R"({"memory": "1.5G"})", {"memory", "'1.5G'"}},
        BadConfig{R"({"memory": 1})", {"memory", "1 bytes", "64 MiB"}},
        BadConfig{R"({"memory": 1e9})", {"memory", "string"}},
        BadConfig{R"({"memory": true})", {"memory", "found true"}},
        BadConfig{R"({"placement": "0,1"})", {"placement", "array"}},
        BadConfig{R"({"placement": [0, -1]})", {"placement", "found -1"}},
        BadConfig{R"({"placement": [0, 65536]})", {"placement", "found 65536"}},
        BadConfig{R"({"name": "a b"})", {"name", "'a b'"}},
        BadConfig{R"({"on_panic": "halt"})", {"on_panic", "'halt'", "reboot or exit"}},
        BadConfig{R"({"events": {}})", {"events", "an object"}},
        BadConfig{R"({"pool": false})", {"pool", "found false"}}));

TEST(RunConfig, LimitsPlacementBeforeReadingIt) {
  std::string text = R"({"placement": [0)";
  for (int i = 0; i < 100; ++i) text += ",0";
  EXPECT_FALSE(parse_config(text + "]}", "f").ok());
}

// Whatever the text: an answer, never a crash.
TEST(RunConfig, SurvivesMutatedText) {
  const std::string seed =
      R"({"kernel":"k","nodes":2,"memory":"1G","placement":[0,1],"on_panic":"exit"})";
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = seed;
    for (int edit = 0; edit < 3; ++edit) {
      const auto at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 4); break;
        default: text.insert(at, 1, "{}[]\",:0\\\xff"[random() % 10]); break;
      }
      if (text.empty()) text = "{";
    }
    const auto r = parse_config(text, "f");
    EXPECT_TRUE(r.ok() || r.error().kind == ErrorKind::usage);
  }
}

TEST(RunConfig, SurvivesDeepNesting) {
  EXPECT_FALSE(parse_config(std::string(500'000, '['), "f").ok());
  EXPECT_FALSE(
      parse_config(R"({"kernel":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
                   "f")
          .ok());
}

}  // namespace
}  // namespace dvm::tools
