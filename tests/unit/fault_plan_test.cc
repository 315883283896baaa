#include "tools/fault_plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fabric/fabric_state.h"
#include "fabric/health.h"
#include "fabric/point_names.h"
#include "tools/fault_command_line.h"
#include "tools/json_text.h"
#include "vmm/machine_state.h"

namespace dvm::tools {
namespace {

using fabric::FaultKind;
using fabric::TriggerKind;
using nlohmann::json;

fabric::FaultRequest parsed(const std::string& text) {
  const auto fault = parse_fault(parse_json(text));
  EXPECT_TRUE(fault.ok()) << text << ": " << (fault.ok() ? "" : fault.error().message);
  return fault.ok() ? fault->request : fabric::FaultRequest{};
}

TEST(FaultPlan, EveryKeyReachesItsField) {
  const auto hang =
      parsed(R"({"fault":"hang","node":3,"for_ms":200,"at_point":"group.armed","occurrence":4})");
  EXPECT_EQ(hang.kind, FaultKind::hang);
  EXPECT_EQ(hang.target, vmm::kFirstNodeInstance + 3);
  EXPECT_EQ(hang.duration_ms, 200u);
  EXPECT_EQ(hang.trigger, TriggerKind::point);
  EXPECT_EQ(hang.point_name(), "group.armed");
  EXPECT_EQ(hang.occurrence, 4u);
  const auto slow =
      parsed(R"({"fault":"slow","node":0,"share":5,"period_ms":50,"seed":9,"mean_ms":70})");
  EXPECT_EQ(slow.share, 5u);
  EXPECT_EQ(slow.period_ms, 50u);
  EXPECT_EQ(slow.trigger, TriggerKind::random);
  EXPECT_EQ(slow.seed, 9u);
  EXPECT_EQ(slow.delay_ms, 70u);
  const auto reading =
      parsed(R"({"fault":"telemetry","node":1,"reading":"wear","value":7,"at_ms":5})");
  EXPECT_EQ(reading.reading, static_cast<u32>(fabric::HealthReading::wear));
  EXPECT_EQ(reading.value, 7u);
  EXPECT_EQ(reading.trigger, TriggerKind::at);
  EXPECT_EQ(reading.delay_ms, 5u);
}

TEST(FaultPlan, DefaultsAreThoseOfTheHelp) {
  const auto slow = parsed(R"({"fault":"slow","node":0})");
  EXPECT_EQ(slow.share, 10u);
  EXPECT_EQ(slow.period_ms, 100u);
  EXPECT_EQ(slow.duration_ms, 0u);
  EXPECT_EQ(slow.trigger, TriggerKind::now);
  EXPECT_EQ(parsed(R"({"fault":"kill","node":0,"seed":1})").delay_ms, 1000u);
  EXPECT_EQ(parsed(R"({"fault":"kill","node":0,"at_point":"group.armed"})").occurrence, 1u);
  EXPECT_EQ(parsed(R"({"fault":"kill","node":"fabric"})").target, fabric::kManagerInstance);
}

TEST(FaultPlan, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> table[] = {
      {R"([])", "an object"},
      {R"({})", "no fault"},
      {R"({"fault":"boom"})", "fault: found \"boom\""},
      {R"({"fault":5})", "fault: found 5"},
      {R"({"fault":"none"})", "fault: found"},
      {R"({"fault":"kill"})", "no node"},
      {R"({"fault":"kill","node":-1})", "node: found -1"},
      {R"({"fault":"kill","node":16})", "node: found 16"},
      {R"({"fault":"kill","node":1.5})", "node: found 1.5"},
      {R"({"fault":"kill","node":"1"})", "node: found \"1\""},
      {R"({"fault":"partition","node":"fabric"})", "node: found \"fabric\""},
      {R"({"fault":"kill","node":0,"for_ms":5})", "unknown key 'for_ms'"},
      {R"({"fault":"hang","node":0,"for_ms":0})", "for_ms: found 0"},
      {R"({"fault":"hang","node":0,"for_ms":3600001})", "for_ms: found 3600001"},
      {R"({"fault":"slow","node":0,"share":0})", "share: found 0"},
      {R"({"fault":"slow","node":0,"share":100})", "share: found 100"},
      {R"({"fault":"slow","node":0,"period_ms":9})", "period_ms: found 9"},
      {R"({"fault":"kill","node":0,"at_ms":1,"seed":2})", "more than one trigger"},
      {R"({"fault":"kill","node":0,"occurrence":2})", "occurrence: allowed with at_point"},
      {R"({"fault":"kill","node":0,"mean_ms":2})", "mean_ms: allowed with seed"},
      {R"({"fault":"kill","node":0,"at_point":"group.armed","occurrence":0})", "occurrence: found"},
      {R"({"fault":"kill","node":0,"at_point":"nowhere"})", "at_point: found \"nowhere\""},
      {R"({"fault":"kill","node":0,"at_point":[]})", "at_point: found an array"},
      {R"({"fault":"telemetry","node":0,"reading":"mood","value":1})", "reading: found \"mood\""},
      {R"({"fault":"telemetry","node":0,"reading":"wear"})", "no value"},
      {R"({"fault":"telemetry","node":0,"reading":"wear","value":null})", "value: found null"},
      {R"({"fault":"panic-guest","node":0})", "unknown key 'node'"},
      {R"({"fault":"corrupt"})", "no record"},
      {R"({"fault":"corrupt","record":7})", "record: found 7"},
      {R"({"fault":"corrupt","record":"page"})", "needs an address"},
      {R"({"fault":"corrupt","record":"header","address":1})", "needs an address"},
      {R"({"fault":"corrupt","record":"page","address":-1})", "address: found -1"},
  };
  for (const auto& [text, message] : table) {
    const auto fault = parse_fault(parse_json(text));
    ASSERT_FALSE(fault.ok()) << text;
    EXPECT_NE(fault.error().message.find(message), std::string::npos)
        << text << ": " << fault.error().message;
    EXPECT_EQ(fault.error().kind, ErrorKind::usage);
    EXPECT_EQ(fault.error().message.find('\n'), std::string::npos);
  }
}

TEST(FaultPlan, AListIsCheckedAsAWhole) {
  const auto message = [](const std::string& text) {
    const auto plan = parse_fault_text(text, "p.json");
    return plan.ok() ? std::string() : plan.error().message;
  };
  EXPECT_EQ(message(R"({"faults":[{"fault":"panic-guest"}]})"), "");
  EXPECT_NE(message("{").find("p.json: not valid JSON"), std::string::npos);
  EXPECT_NE(message(R"({"faults":[]})").find("0 of them"), std::string::npos);
  EXPECT_NE(message(R"({"faults":{}})").find("an object"), std::string::npos);
  EXPECT_NE(message(R"({"faults":[],"more":1})").find("one key"), std::string::npos);
  EXPECT_NE(message(R"({"faults":[{"fault":"panic-guest"},{"fault":"x"}]})").find("faults[1]"),
            std::string::npos);
  json many = {{"faults", json::array()}};
  for (int i = 0; i < 65; ++i) many["faults"].push_back({{"fault", "panic-guest"}});
  EXPECT_NE(message(to_line(many)).find("65 of them"), std::string::npos);
}

TEST(FaultCommandLine, WordsMakeAPlan) {
  const auto line = parse_fault_command_line(
      {"--name", "demo", "hang", "1", "--for", "200", "--at-point", "group.armed:3"});
  ASSERT_TRUE(line.ok()) << line.error().message;
  EXPECT_EQ(*line->name, "demo");
  EXPECT_EQ(line->plan["faults"][0], parse_json(R"({"fault":"hang","node":1,"for_ms":200,
                                      "at_point":"group.armed","occurrence":3})"));
  const auto random = parse_fault_command_line({"telemetry", "0", "wear", "4", "--random", "5,60"});
  ASSERT_TRUE(random.ok()) << random.error().message;
  EXPECT_EQ(random->plan["faults"][0]["mean_ms"], 60);
  const auto corrupt = parse_fault_command_line({"corrupt", "record", "events"});
  ASSERT_TRUE(corrupt.ok()) << corrupt.error().message;
  EXPECT_EQ(corrupt->plan["faults"][0]["record"], "events");
}

TEST(FaultCommandLine, WhatIsWrongIsNamedAsItWasWritten) {
  const std::pair<std::vector<std::string>, const char*> table[] = {
      {{}, "no command"},
      {{"explode"}, "explode"},
      {{"kill", "0", "1"}, "too many"},
      {{"hang", "0", "--for", "x"}, "--for: found \"x\""},
      {{"kill", "0", "--at", "-1"}, "--at"},
      {{"kill", "0", "--at-point", "group.armed:x"}, "K of --at-point"},
      {{"kill", "0", "--random", ",5"}, "SEED of --random"},
      {{"points", "0"}, "points: allowed"},
      {{"plan"}, "plan: found 0 words"},
      {{"plan", "/dev/null", "--at", "5"}, "plan: allowed"},
      {{"--name", "a/b", "kill", "0"}, "--name"},
      {{"kill", "0", "--hard"}, "unknown option"},
  };
  for (const auto& [words, message] : table) {
    const auto line = parse_fault_command_line(words);
    ASSERT_FALSE(line.ok()) << message;
    EXPECT_NE(line.error().message.find(message), std::string::npos) << line.error().message;
    EXPECT_EQ(line.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace dvm::tools
