// Every option of dvm-run is in the command line's parser, the configuration's, the schema and the
// help, or in none of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/json_text.h"
#include "tools/run_command_line.h"
#include "tools/run_config.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using Names = std::set<std::string>;

std::string docs_file(const std::string& name) {
  std::ifstream file(DVM_DOCS "/" + name);
  EXPECT_TRUE(file.good()) << name;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

json schema() { return parse_json(docs_file("dvm-run.schema.json")); }

Names names_in_schema() {
  Names names;
  const json properties = schema()["properties"];
  for (const auto& [name, value] : properties.items()) names.insert(name);
  return names;
}

TEST(RunSchema, HasWhatTheParserOfTheConfigurationHas) {
  const auto keys = config_keys();
  EXPECT_EQ(names_in_schema(), Names(keys.begin(), keys.end()));
}

TEST(RunSchema, HasWhatTheCommandLineHas) {
  Names options;
  for (std::string name : run_option_names()) {
    if (name == "--config" || name == "--resume" || name == "--overlays" || name == "--ghosts" ||
        name == "--help" || name == "--version")
      continue;
    name.erase(0, 2);
    std::replace(name.begin(), name.end(), '-', '_');
    options.insert(name == "disk" ? "disks" : name);  // there it is a list
  }
  EXPECT_EQ(names_in_schema(), options);
}

TEST(RunSchema, HelpNamesEveryOption) {
  const std::string help = run_help();
  for (const auto& name : run_option_names())
    EXPECT_NE(help.find("\n  " + name + " "), std::string::npos) << name;
  const auto keys = help.find("JSON object with the keys");
  for (const auto key : config_keys()) EXPECT_NE(help.find(key, keys), std::string::npos) << key;
}

TEST(RunSchema, HasTheLimitsOfTheMachine) {
  const json properties = schema()["properties"];
  EXPECT_EQ(properties["nodes"]["maximum"], vmm::layout::kMaxNodes);
  EXPECT_EQ(properties["cpus"]["maximum"], vmm::layout::kMaxVcpus);
  EXPECT_EQ(properties["placement"]["maxItems"], vmm::layout::kMaxVcpus);
  EXPECT_EQ(properties["placement"]["items"]["maximum"], vmm::layout::kMaxNodes - 1);
  EXPECT_EQ(properties["memory"]["oneOf"][1]["minimum"], vmm::layout::kMinMemory);
  EXPECT_EQ(properties["memory"]["oneOf"][1]["maximum"], vmm::layout::kMaxMemory);
  EXPECT_EQ(properties["local_memory"]["oneOf"][1]["minimum"], kMinLocalMemory);
  EXPECT_EQ(properties["coherent_memory"]["oneOf"][1]["minimum"], kMinCoherentMemory);
  EXPECT_EQ(properties["coherent_memory"]["oneOf"][1]["maximum"], kMaxCoherentMemory);
  EXPECT_EQ(properties["coherent_memory"]["default"],
            fmt::format("{}M", kDefaultCoherentMemory / kMiB));
  for (const auto& word : properties["coherence"]["enum"])
    EXPECT_TRUE(parse_coherence(word.get<std::string>()).ok());
  EXPECT_EQ(properties["policy"]["enum"].size(), locality::kPolicies);
  for (const auto& word : properties["policy"]["enum"])
    EXPECT_TRUE(locality::parse_policy(word.get<std::string>()).ok());
  for (const auto& name : properties["cpu"]["enum"])
    EXPECT_TRUE(parse_cpu(name.get<std::string>()).ok());
  EXPECT_EQ(properties["cpu"]["enum"].size(), vmm::kCpuLevels);
  for (const auto& word : properties["on_panic"]["enum"])
    EXPECT_TRUE(parse_panic_policy(word.get<std::string>()).ok());
}

TEST(RunSchema, TheExamplesHoldAndSayEverything) {
  Names said;
  for (const std::string file : {"example.json", "example-disk.json"}) {
    const std::string text = docs_file(file);
    auto request = parse_config(text, file);
    ASSERT_TRUE(request.ok()) << request.error().message;
    EXPECT_TRUE(settle(request.take(), "n").ok());
    const json example = parse_json(text);
    for (const auto& [name, value] : example.items()) said.insert(name);
  }
  EXPECT_EQ(said, names_in_schema());
}

}  // namespace
}  // namespace dvm::tools
