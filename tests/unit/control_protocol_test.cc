// The control socket's requests, without a socket.
#include "tools/control_protocol.h"

#include <nlohmann/json.hpp>
#include <random>

#include "tests/unit/test_machine.h"
#include "tools/event_text.h"
#include "tools/json_text.h"
#include "tools/metrics.h"
#include "tools/recovery_figures.h"
#include "tools/reply_text.h"

namespace dvm::tools {
namespace {

using nlohmann::json;
using vmm::Phase;
using vmm::VcpuRunState;

class ControlProtocol : public ::testing::Test {
 protected:
  json ask(const char* command) { return handle_request({{"command", command}}, *machine_); }
  void set_phase(Phase phase) { machine_->state().control.phase.store(phase); }
  void set_run_states(VcpuRunState state) {
    for (u32 v = 0; v < machine_->config().vcpus; ++v)
      machine_->state().vcpus[v].run_state.store(state);
  }
  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(3, 2);
};

TEST_F(ControlProtocol, StatusHasWhatTheContractNames) {
  machine_->state().vcpus[1].counters.exits[2] = 10;
  machine_->state().vcpus[1].counters.signal_exits = 5;
  const json s = ask("status");
  ASSERT_EQ(s["ok"], true) << s;
  EXPECT_EQ(s["name"], "test");
  EXPECT_EQ(s["state"], "starting");
  EXPECT_EQ(s["protect"], "none");
  ASSERT_EQ(s["nodes"].size(), 2u);
  EXPECT_EQ(s["nodes"][1]["id"], 1);
  EXPECT_EQ(s["nodes"][1]["instance"]["id"], 2);
  EXPECT_EQ(s["nodes"][0]["vcpus"], json({0, 1}));
  EXPECT_EQ(s["nodes"][0]["pages"]["shared"], vmm::layout::kMinMemory / kPageBytes);
  ASSERT_EQ(s["vcpus"].size(), 3u);
  EXPECT_EQ(s["vcpus"][1]["exits"]["io"], 10);
  EXPECT_EQ(s["vcpus"][1]["exits"]["total"], 15);
  EXPECT_EQ(s["pool"]["path"], "memfd");
  EXPECT_GT(s["pool"]["size"].get<u64>(), vmm::layout::kMinMemory);
}

TEST_F(ControlProtocol, StatusReadsWellToo) {
  const std::string text = status_text(ask("status"));
  EXPECT_NE(text.find("test: starting, boot 0, 3 vCPUs on 2 nodes, 64 MiB, pool memfd"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("VCPU  NODE"), std::string::npos) << text;
}

TEST_F(ControlProtocol, CommandsNeedTheRightState) {
  for (const char* command : {"pause", "resume", "reset", "shutdown"}) {
    const json reply = ask(command);
    EXPECT_EQ(reply["ok"], false) << command;
    EXPECT_NE(reply["error"].get<std::string>().find("starting"), std::string::npos) << reply;
  }
}

TEST_F(ControlProtocol, WhyTellsThePolicyAndThatNothingWasDecided) {
  const json why = ask("why");
  ASSERT_EQ(why["ok"], true) << why;
  EXPECT_EQ(why["policy"], "static");
  EXPECT_TRUE(why["decider"].is_null());
  EXPECT_EQ(why["costs"]["measured"], false);
  EXPECT_TRUE(why["decisions"].empty());
  EXPECT_EQ(handle_request({{"command", "why"}, {"last", 3}}, *machine_)["ok"], false);
}

TEST_F(ControlProtocol, ThePolicyIsToldAndChanged) {
  EXPECT_EQ(ask("policy")["policy"], "static");
  const json changed = handle_request({{"command", "policy"}, {"policy", "learned"}}, *machine_);
  EXPECT_EQ(changed["policy"], "learned") << changed;
  EXPECT_EQ(ask("status")["locality"]["policy"], "learned");
  for (const json& bad : {json("best"), json(1), json()}) {
    const json reply = handle_request({{"command", "policy"}, {"policy", bad}}, *machine_);
    EXPECT_EQ(reply["ok"], false) << bad;
    EXPECT_NE(reply["error"].get<std::string>().find("static, affinity or learned"),
              std::string::npos)
        << reply;
  }
  EXPECT_EQ(ask("policy")["policy"], "learned");
}

TEST_F(ControlProtocol, StatusAndMetricsTellTheFiguresOfLocality) {
  auto& record = machine_->locality();
  const locality::Decision decision{.vcpu = 1, .from = 0, .to = 1};
  const u64 first = record.decisions.append(decision, locality::Outcome::asked);
  record.decisions.append(decision, locality::Outcome::refused);
  record.decisions.append(decision, locality::Outcome::asked);
  record.decisions.settle(first, locality::Outcome::done, 500);
  record.nodes[1].seen.push({.page = 7, .vcpu = 1, .node = 1, .from = 0});
  record.lost.store(4);
  const json figures = ask("status")["locality"];
  EXPECT_EQ(figures["policy"], "static");
  EXPECT_TRUE(figures["decider"].is_null());
  EXPECT_EQ(figures["decisions"], 3);
  EXPECT_EQ(figures["done"], 1);
  EXPECT_EQ(figures["refused"], 1);
  EXPECT_EQ(figures["seen"], 1);
  EXPECT_EQ(figures["lost"], 4);
  const std::string metrics = metrics_text(*machine_);
  for (const char* line : {R"(dvm_locality_policy{guest="test",policy="static"} 1)",
                           R"(dvm_locality_observations_total{guest="test",node="1"} 1)",
                           R"(dvm_locality_lost_observations_total{guest="test"} 4)",
                           R"(dvm_locality_decisions_total{guest="test"} 3)",
                           R"(dvm_locality_decisions_done_total{guest="test"} 1)",
                           R"(dvm_locality_decisions_refused_total{guest="test"} 1)"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
}

TEST_F(ControlProtocol, StatusAndMetricsTellOfNodesThatEnded) {
  EXPECT_TRUE(ask("status")["recoveries"]["last"].is_null());
  EXPECT_EQ(metrics_text(*machine_).find("dvm_recoveries_total"), std::string::npos);
  vmm::MachineState& state = machine_->state();
  state.config.protection = vmm::Protection::flush;
  state.keepers[1].recoveries[static_cast<u32>(vmm::RecoveryKind::killed)].store(2);
  state.keepers[2].recoveries[static_cast<u32>(vmm::RecoveryKind::killed)].store(1);
  state.keepers[2].recoveries[static_cast<u32>(vmm::RecoveryKind::power_failed)].store(4);
  state.keepers[1].woken_ns.store(1000);
  state.keepers[1].done_ns.store(1500);
  state.keepers[2].woken_ns.store(100);
  state.keepers[2].done_ns.store(900);
  state.vcpus[1].move.begun.store(10);
  state.vcpus[1].move.entered.store(52);
  const json status = ask("status");
  EXPECT_EQ(status["recoveries"]["killed"], 3);
  EXPECT_EQ(status["recoveries"]["hung"], 0);
  EXPECT_EQ(status["recoveries"]["last"], (json{{"node", 1}, {"took_ns", 500}}));
  EXPECT_EQ(status["vcpus"][1]["last_moved_ns"], 42);
  EXPECT_EQ(recoveries_text(status["recoveries"]), "3 killed, 4 lost their power");
  const std::string metrics = metrics_text(*machine_);
  for (const char* line : {R"(dvm_recoveries_total{guest="test",kind="killed"} 3)",
                           R"(dvm_recoveries_total{guest="test",kind="power_failed"} 4)",
                           R"(dvm_last_recovery_ns{guest="test",node="1"} 500)",
                           R"(dvm_vcpu_last_move_pause_ns{guest="test",vcpu="0"} 0)",
                           R"(dvm_vcpu_last_move_pause_ns{guest="test",vcpu="1"} 42)"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
}

TEST_F(ControlProtocol, TraceRefusesWhatCannotBe) {
  for (const json& request :
       {json{{"command", "trace"}}, json{{"command", "trace"}, {"file", "relative"}},
        json{{"command", "trace"}, {"file", "/f"}, {"seconds", 0}},
        json{{"command", "trace"}, {"file", "/f"}, {"seconds", 3601}},
        json{{"command", "trace"}, {"file", "/f"}, {"seconds", "9"}},
        json{{"command", "trace"}, {"file", "/f"}}}) {
    const json reply = handle_request(request, *machine_);
    EXPECT_EQ(reply["ok"], false) << request;
    EXPECT_NE(reply["error"].get<std::string>().find("trace: "), std::string::npos) << reply;
  }
}

TEST_F(ControlProtocol, PauseAnswersWhenAllStandStill) {
  set_phase(Phase::running);
  set_run_states(VcpuRunState::parked);
  EXPECT_EQ(ask("pause"), (json{{"ok", true}, {"state", "paused"}}));
  EXPECT_EQ(ask("status")["state"], "paused");
  EXPECT_EQ(ask("pause")["ok"], false);
  EXPECT_EQ(ask("shutdown")["ok"], false);
  EXPECT_EQ(ask("resume")["ok"], true);
  EXPECT_EQ(ask("status")["state"], "running");
}

TEST_F(ControlProtocol, PauseDoesNotWaitForEver) {
  set_phase(Phase::running);
  set_run_states(VcpuRunState::in_guest);
  EXPECT_NE(ask("pause")["error"].get<std::string>().find("still runs"), std::string::npos);
}

TEST_F(ControlProtocol, ResetShutdownAndStop) {
  set_phase(Phase::running);
  EXPECT_EQ(ask("shutdown")["ok"], true);
  EXPECT_EQ(ask("reset")["ok"], true);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::resetting);
  EXPECT_EQ(ask("stop")["ok"], true);
  EXPECT_EQ(machine_->state().control.stop_reason.load(), vmm::StopReason::user);
  EXPECT_EQ(ask("reset")["ok"], false);
}

TEST_F(ControlProtocol, EventsComeInOrderAndFromAnywhere) {
  machine_->log_event(fabric::EventKind::node_joined, {0, 123});
  machine_->log_event(fabric::EventKind::guest_reset, {2});
  json reply = ask("events");
  ASSERT_EQ(reply["events"].size(), 2u);
  EXPECT_EQ(reply["events"][0]["event"], "node_joined");
  EXPECT_EQ(reply["events"][0]["pid"], 123);
  EXPECT_EQ(reply["events"][0]["source"], "launcher");
  EXPECT_NE(event_text(reply["events"][1]).find("boot=2"), std::string::npos);
  reply = handle_request({{"command", "events"}, {"after", 1}}, *machine_);
  ASSERT_EQ(reply["events"].size(), 1u);
  EXPECT_EQ(reply["events"][0]["seq"], 2);
  reply = handle_request({{"command", "events"}, {"follow", true}}, *machine_);
  EXPECT_EQ(reply, (json{{"ok", true}, {"follow", true}, {"after", 0}}));
}

TEST_F(ControlProtocol, WhatPeopleAreToldOfEvents) {
  const auto said = [&](fabric::EventKind kind, std::array<u64, 3> arguments) {
    return event_message({1, 0, kind, 0, arguments}, machine_->config()).value_or("");
  };
  EXPECT_NE(said(fabric::EventKind::guest_error, {1, 17, 4}).find("vCPU 1"), std::string::npos);
  EXPECT_NE(said(fabric::EventKind::guest_error, {1, 17, 4}).find("internal_error"),
            std::string::npos);
  EXPECT_NE(said(fabric::EventKind::guest_panicked, {0}).find("panicked"), std::string::npos);
  EXPECT_EQ(said(fabric::EventKind::node_joined, {0, 1}), "");
}

TEST_F(ControlProtocol, BadRequestsGetAnAnswer) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "JSON"},
      {"{", "JSON"},
      {"\xff\xfe", "JSON"},
      {"[]", "object"},
      {"3", "object"},
      {"{}", "no command"},
      {R"({"command":3})", "no command"},
      {R"({"command":"fly"})", "unknown command 'fly'"},
      {R"({"command":"fly"})", "status, console, events, pause"},
      {R"({"command":"status","x":1})", "unknown member 'x'"},
      {R"({"command":"pause","follow":true})", "unknown member 'follow'"},
      {R"({"command":"events","follow":1})", "follow"},
      {R"({"command":"events","after":-1})", "after"},
      {R"({"command":"events","after":"x"})", "after"}};
  for (const auto& [line, says] : bad) {
    const json reply = handle_request_line(line, *machine_);
    EXPECT_EQ(reply["ok"], false) << line;
    EXPECT_NE(reply["error"].get<std::string>().find(says), std::string::npos)
        << line << " -> " << reply;
  }
  EXPECT_EQ(handle_request_line(std::string(kMaxRequestBytes + 1, ' '), *machine_)["ok"], false);
}

// Names with bytes that are no UTF-8 come back in the error: it must still be one line of JSON.
TEST_F(ControlProtocol, SurvivesMutatedRequests) {
  const std::string seed = R"({"command":"events","follow":false,"after":12})";
  std::mt19937 random(1);
  for (int round = 0; round < 5'000; ++round) {
    std::string line = seed;
    for (int edit = 0; edit < 3; ++edit) line[random() % line.size()] = static_cast<char>(random());
    const std::string answer = to_line(handle_request_line(line, *machine_));
    EXPECT_FALSE(json::parse(answer, nullptr, false).is_discarded());
    EXPECT_EQ(answer.find('\n'), std::string::npos);
  }
  EXPECT_EQ(handle_request_line(std::string(kMaxRequestBytes, '['), *machine_)["ok"], false);
}

// Every line is a comment or "name{label="value",...} number", and every sample has its TYPE.
TEST_F(ControlProtocol, MetricsAreInPrometheusFormat) {
  machine_->state().vcpus[2].counters.exits[31] = 7;
  std::istringstream lines(metrics_text(*machine_));
  std::string typed;
  int samples = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) continue;
    if (line.starts_with("# TYPE ")) {
      typed = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(line.ends_with(" gauge") || line.ends_with(" counter")) << line;
      EXPECT_EQ(typed.ends_with("_total"), line.ends_with(" counter")) << line;
      continue;
    }
    ++samples;
    EXPECT_TRUE(line.starts_with(typed + "{guest=\"test\"")) << line;
    const auto close = line.find("} ");
    ASSERT_NE(close, std::string::npos) << line;
    EXPECT_EQ(line.find_first_not_of("0123456789", close + 2), std::string::npos) << line;
  }
  EXPECT_GT(samples, 40);
  EXPECT_NE(metrics_text(*machine_).find(
                R"(dvm_vcpu_exits_total{guest="test",vcpu="2",reason="dirty_ring_full"} 7)"),
            std::string::npos);
}

}  // namespace
}  // namespace dvm::tools
