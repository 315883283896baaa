// The words, the phases, the meters, the figures and the projections of `dvm-bench reboot`.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/bench/boot_phase.h"
#include "tools/bench/guest_console.h"
#include "tools/bench/host_meters.h"
#include "tools/bench/line_fit.h"
#include "tools/bench/reboot_figures.h"
#include "tools/bench/reboot_projection.h"
#include "tools/bench/reboot_report.h"
#include "tools/bench/rebooter.h"
#include "tools/bench/service_probe.h"

namespace dvm::tools {
namespace {

using Phases = std::vector<BootPhase>;

Result<RebootOptions> parsed(const std::vector<std::string>& words) {
  return parse_reboot_options(words);
}

std::string refusal(const std::vector<std::string>& words) {
  const auto options = parsed(words);
  return options.ok() ? "" : options.error().message;
}

TEST(RebootOptions, DefaultsAndValues) {
  const auto plain = parsed({});
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->only, default_rebooters());
  EXPECT_EQ(plain->memory, std::vector<u64>{kGiB});
  EXPECT_STREQ(plain->devices.at(0).name, "nvme");
  const auto said = parsed({"--only", "dvm,qemu-none", "--device", "nvme,disk", "--memory",
                            "256M,1G,4G", "--settled", "--runs=7", "--image", "a.img"});
  ASSERT_TRUE(said.ok()) << said.error().message;
  EXPECT_EQ(said->only, (std::vector<std::string>{"dvm", "qemu-none"}));
  EXPECT_EQ(said->memory, (std::vector<u64>{256 * kMiB, kGiB, 4 * kGiB}));
  EXPECT_EQ(said->devices.at(1).latency_ns, 8'000'000u);
  EXPECT_TRUE(said->settled);
}

TEST(RebootOptions, RefusesWhatItCannotMean) {
  EXPECT_NE(refusal({"--only", "xen"}).find("allowed: dvm-srt"), std::string::npos);
  EXPECT_NE(refusal({"--only", "dvm,dvm"}).find("twice"), std::string::npos);
  EXPECT_NE(refusal({"--device", "tape"}).find("network-volume"), std::string::npos);
  EXPECT_NE(refusal({"--device", "nvme,nvme"}), "");
  EXPECT_NE(refusal({"--memory", "1G,1024M"}), "");
  EXPECT_NE(refusal({"--memory", ""}), "");
  EXPECT_NE(refusal({"--runs", "0"}), "");
  EXPECT_NE(refusal({"word"}), "");
}

TEST(RebootWords, SrtIsSaidOnlyWhereItIsMeant) {
  const RebooterSettings s{.dvm_run = "dvm-run",
                           .guest = "g",
                           .disk = "/dev/a,b",
                           .cpus = 4,
                           .nodes = 2,
                           .memory = kGiB,
                           .port = 2222};
  const auto line = [&](const char* name) {
    return fmt::format("{} ", fmt::join(rebooter_words(name, s), " "));
  };
  EXPECT_NE(line("dvm-srt").find("--srt on "), std::string::npos);
  EXPECT_NE(line("dvm-no-srt").find("--srt off "), std::string::npos);
  EXPECT_EQ(line("dvm").find("--srt"), std::string::npos);
  EXPECT_NE(line("dvm").find("--disk /dev/a,,b "), std::string::npos);
  EXPECT_NE(line("qemu-none").find("cache=none"), std::string::npos);
  EXPECT_NE(line("qemu-writeback").find("cache=writeback"), std::string::npos);
  EXPECT_NE(line("qemu-none").find("hostfwd=tcp:127.0.0.1:2222-:22,id=n0 "), std::string::npos);
}

TEST(PhaseWatch, SeesThePhasesOfAColdBootInAnyParts) {
  PhaseWatch watch;
  EXPECT_EQ(watch.feed("SeaBIOS (ver"), Phases{});
  EXPECT_EQ(watch.feed("sion 1.16.2)\r\nBooting from Hard Disk...\r\n"),
            (Phases{BootPhase::firmware, BootPhase::loader}));
  EXPECT_EQ(watch.feed("[    0.000000] Linux version 6.1.0\r\n"), Phases{BootPhase::kernel});
  EXPECT_EQ(watch.feed("[    2.0] Run /init as init process\r\nLoading, please wait...\r\n"),
            Phases{BootPhase::init});
  EXPECT_EQ(watch.feed("[    5.0] systemd[1]: systemd 252\r\n"), Phases{BootPhase::systemd});
  EXPECT_EQ(watch.feed("debian login: "), Phases{BootPhase::login});
  EXPECT_EQ(watch.feed("root\r\nLinux debian 6.1\r\nroot@debian:~# "), Phases{BootPhase::shell});
  EXPECT_EQ(watch.feed(std::string(kAskSystemState) + "\r\n"), Phases{}) << "only the echo";
  EXPECT_EQ(watch.feed("DVM-SYSTEM-run"), Phases{}) << "not a whole line";
  EXPECT_EQ(watch.feed("ning\r\n"), Phases{BootPhase::running});
  EXPECT_EQ(watch.system_state(), "running");
  EXPECT_FALSE(watch.panicked());
}

TEST(PhaseWatch, APanicBeginsABootAndIsTheEndOfOne) {
  PhaseWatch back;
  EXPECT_EQ(back.feed("# echo c > /proc/sysrq-trigger\r\nKernel panic - not syncing: sysrq\r\n"),
            Phases{BootPhase::panic});
  EXPECT_EQ(back.feed("SeaBIOS (version"), Phases{BootPhase::firmware});
  EXPECT_FALSE(back.panicked());
  back.feed("Booting from Hard Disk\nLinux version 6\nKernel panic - not syncing: no init\n");
  EXPECT_TRUE(back.panicked());
}

TEST(PhaseWatch, WhatShowsNothingIsLeftOut) {
  PhaseWatch watch;  // a kernel that is quiet
  EXPECT_EQ(watch.feed("SeaBIOS (version 1)\nBooting from Hard Disk...\ndebian login: "),
            (Phases{BootPhase::firmware, BootPhase::loader, BootPhase::login}));
  EXPECT_EQ(watch.feed("Linux version 6"), Phases{}) << "too late";
}

TEST(HostMeters, ReadWhatTheKernelWrites) {
  const auto reads = parse_disk_stat("    1000   20  16384   500   7  8  9  10  0  11  12\n");
  ASSERT_TRUE(reads.ok());
  EXPECT_EQ(reads->requests, 1000u);
  EXPECT_EQ(reads->bytes, 8 * kMiB);
  EXPECT_EQ(reads->waited_ms, 500u);
  EXPECT_FALSE(parse_disk_stat("12 x").ok());
  const auto memory = parse_meminfo(
      "MemTotal: 1000 kB\nMemFree: 400 kB\nBuffers: 10 kB\nCached: 200 kB\nShmem: 150 kB\n");
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->used, 600 * kKiB);
  EXPECT_EQ(memory->page_cache, 60 * kKiB);
  EXPECT_NE(parse_meminfo("MemTotal: 1 kB\n").error().message.find("MemFree"), std::string::npos);
  EXPECT_TRUE(read_meminfo().ok());
}

TEST(DeviceClass, TheTimeOfReadsOneAfterTheOther) {
  const auto kinds = parse_device_classes("none,network-volume");
  ASSERT_TRUE(kinds.ok());
  EXPECT_DOUBLE_EQ(seconds_of_reads(kinds->at(0), 100, 1000), 0);
  EXPECT_DOUBLE_EQ(seconds_of_reads(kinds->at(1), 1000, 125), 2);
}

TEST(LineFit, GoesThroughWhatLiesOnALine) {
  EXPECT_FALSE(fit_line({}).has_value());
  EXPECT_FALSE(fit_line({{1, 2}, {1, 3}}).has_value()) << "one size of memory";
  const auto two = fit_line({{1, 3}, {2, 5}});
  ASSERT_TRUE(two.has_value());
  EXPECT_DOUBLE_EQ(two->slope, 2);
  EXPECT_DOUBLE_EQ(two->at_zero, 1);
  EXPECT_FALSE(two->deviation.has_value());
  EXPECT_DOUBLE_EQ(two->at(1024).value, 2049);
}

TEST(LineFit, IsAsUncertainAsItsMeasurementsAndFarther) {
  const auto fit = fit_line({{0, 1.1}, {0, 0.9}, {2, 3.1}, {2, 2.9}});
  ASSERT_TRUE(fit.has_value());
  EXPECT_NEAR(fit->slope, 1, 1e-9);
  const Projection close = fit->at(1), far = fit->at(1024);
  EXPECT_LT(close.low, close.value);
  EXPECT_GT(far.high - far.low, 100 * (close.high - close.low));
  EXPECT_GE(fit_line({{0, 1}, {1, 2}, {2, 0}})->at(50).low, 0);
}

BootTrace boot_of(double seconds, u64 requests) {
  BootTrace boot;
  boot.phases[index_of(BootPhase::firmware)] = BootPoint{1, {}};
  boot.phases[index_of(BootPhase::kernel)] = BootPoint{2, {requests / 2, kMiB, 0}};
  boot.phases[index_of(BootPhase::running)] = BootPoint{seconds, {requests, 4 * kMiB, 0}};
  boot.service = BootPoint{seconds - 1, {}};
  boot.memory = {600 * kMiB, 100 * kMiB};
  return boot;
}

RebootSeries series_of(const std::string& name, u64 memory, double cold, double again, u64 reads) {
  RebootSeries series{name, device_classes()[1], memory, {}, {}};
  series.rounds = {RebootTrace{boot_of(cold, 1000), boot_of(again, reads), {100 * kMiB, 0}, {}},
                   std::nullopt};
  series.failures = {"too late"};
  return series;
}

std::vector<RebootSeries> all_series() {
  return {series_of("dvm-srt", kGiB, 20, 10, 20), series_of("dvm-no-srt", kGiB, 20, 19, 1000),
          series_of("qemu-none", kGiB, 24, 20, 1000)};
}

const BenchResult* named(const std::vector<BenchResult>& results, const std::string& name) {
  const auto it = std::ranges::find(results, name, &BenchResult::name);
  return it == results.end() ? nullptr : &*it;
}

TEST(RebootFigures, StepsAreWhatLiesBetween) {
  const auto steps = steps_of(boot_of(20, 1000));
  EXPECT_DOUBLE_EQ(steps[index_of(BootPhase::kernel)]->s, 1);
  EXPECT_EQ(steps[index_of(BootPhase::running)]->reads.requests, 500u);
  EXPECT_DOUBLE_EQ(steps[index_of(BootPhase::running)]->s, 18);
  EXPECT_FALSE(steps[index_of(BootPhase::login)].has_value());
  EXPECT_DOUBLE_EQ(wait_of({1, {4, 0, 10}}), 2.5);
  EXPECT_DOUBLE_EQ(wait_of({1, {}}), 0);
}

TEST(RebootReport, HoldsSrtAgainstItsColdBootAndQemu) {
  const auto results = reboot_results(all_series());
  const BenchResult* const reads = named(results, "reboot.again.reads.dvm-srt.nvme.1024M");
  ASSERT_NE(reads, nullptr);
  EXPECT_DOUBLE_EQ(*reads->ratio, 0.02);
  EXPECT_EQ(reads->peer, "cold boot");
  EXPECT_EQ(reads->holds(), true);
  const BenchResult* const whole = named(results, "reboot.again.whole.dvm-srt.nvme.1024M");
  ASSERT_NE(whole, nullptr);
  EXPECT_DOUBLE_EQ(*whole->ratio, 0.5);
  EXPECT_EQ(whole->holds(), true);
  EXPECT_FALSE(named(results, "reboot.again.whole.dvm-no-srt.nvme.1024M")->holds().has_value());
  EXPECT_DOUBLE_EQ(named(results, "reboot.again.memory.qemu-none.nvme.1024M")->summary->median,
                   500);
  EXPECT_DOUBLE_EQ(named(results, "reboot.failed.dvm-srt.nvme.1024M")->summary->median, 1);
  const std::string tables = reboot_tables(all_series());
  EXPECT_NE(tables.find("2.00 % (5.00 %: held)"), std::string::npos) << tables;
  EXPECT_NE(reboot_chart(all_series(), {}, "m").find("dvm-srt.nvme.1024M again"),
            std::string::npos);
}

TEST(RebootProjection, NeedsTwoSizesOfMemory) {
  EXPECT_TRUE(reboot_projections(all_series()).empty());
  const auto all = reboot_projections(
      {series_of("dvm-srt", kGiB, 20, 10, 20), series_of("dvm-srt", 4 * kGiB, 20, 13, 20)});
  const auto whole = std::ranges::find(all, "whole", &PhaseProjection::phase);
  ASSERT_NE(whole, all.end());
  EXPECT_DOUBLE_EQ(whole->line.slope, 1);
  EXPECT_DOUBLE_EQ(whole->line.at(kProjectedGib).value, 1033);
  EXPECT_NE(projection_table(all).find("PROJECTED"), std::string::npos);
  EXPECT_NE(named(projection_results(all), "reboot.projected-1T.whole.dvm-srt.nvme"), nullptr);
}

TEST(RebootRun, CountersAreNumbersByTheirPath) {
  const auto numbers = numbers_of(R"({"srt":{"hits":5,"name":"x"},"misses":2.5})");
  EXPECT_EQ(numbers, (std::map<std::string, double>{{"srt.hits", 5}, {"misses", 2.5}}));
  EXPECT_TRUE(numbers_of("no JSON").empty());
}

TEST(GuestConsole, IsTypedAtReadAndStopped) {
  auto console = GuestConsole::start({"sh", "-c", "read word; echo got $word; exec sleep 30"});
  ASSERT_TRUE(console.ok());
  ASSERT_TRUE(console->type("this").ok());
  std::string text;
  for (int i = 0; i < 100 && text.find("got this\n") == std::string::npos; ++i)
    text += *console->read(100);
  EXPECT_EQ(text, "got this\n");
  console->stop();
  console->stop();  // nobody is there to be told any more
}

TEST(GuestConsole, SaysHowItsMachineEnded) {
  auto console = GuestConsole::start({"sh", "-c", "exit 3"});
  ASSERT_TRUE(console.ok());
  auto part = console->read(1000);
  for (int i = 0; i < 100 && part.ok(); ++i) part = console->read(100);
  ASSERT_FALSE(part.ok());
  EXPECT_NE(part.error().message.find("exit code 3"), std::string::npos);
}

TEST(ServiceProbe, WaitsForAGreetingAndConnectsAgain) {
  const auto port = free_port();
  ASSERT_TRUE(port.ok());
  ServiceProbe probe(*port);
  probe.start();  // nobody listens yet
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(*port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  const Fd first(::accept(listener.get(), nullptr, nullptr));
  const Fd second(::accept(listener.get(), nullptr, nullptr));  // the first says nothing
  EXPECT_FALSE(probe.answered().has_value());
  ASSERT_EQ(::send(first.get(), "SSH-2.0", 7, MSG_NOSIGNAL), 7) << "nor is it given up";
  for (int i = 0; i < 200 && !probe.answered(); ++i) ::usleep(10'000);
  EXPECT_TRUE(probe.answered().has_value());
}

}  // namespace
}  // namespace dvm::tools
