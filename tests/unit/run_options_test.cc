// What dvm-run makes of its command line: sizes, placement, options, and every way to get them
// wrong.
#include <gtest/gtest.h>

#include "tools/ctl_command_line.h"
#include "tools/guest_fork.h"
#include "tools/placement.h"
#include "tools/run_command_line.h"
#include "tools/size_text.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

Result<RunSettings> settings_of(const Words& words) {
  DVM_ASSIGN(auto line, parse_run_command_line(words));
  return settings_from(std::move(line), "dvm-7");
}

TEST(SizeText, TakesBytesAndUnits) {
  EXPECT_EQ(parse_size("0").value(), 0u);
  EXPECT_EQ(parse_size("536870912").value(), 512 * kMiB);
  EXPECT_EQ(parse_size("512M").value(), 512 * kMiB);
  EXPECT_EQ(parse_size("2g").value(), 2 * kGiB);
  EXPECT_EQ(parse_size("16777215T").value(), 16777215ull << 40);
}

TEST(SizeText, RefusesEverythingElse) {
  for (const char* bad : {"", "M", "1.5G", "-1", "+1", " 1", "1 ", "1MB", "1MiB", "0x10", "1e3",
                          "1P", "18446744073709551616", "16777216T", "99999999999999999999999G"}) {
    const auto size = parse_size(bad);
    ASSERT_FALSE(size.ok()) << bad;
    EXPECT_EQ(size.error().kind, ErrorKind::usage);
  }
}

TEST(SizeText, IsWrittenInTheLargestWholeUnit) {
  EXPECT_EQ(format_size(512 * kMiB), "512 MiB");
  EXPECT_EQ(format_size(2 * kGiB), "2 GiB");
  EXPECT_EQ(format_size(1537 * kMiB), "1537 MiB");
  EXPECT_EQ(format_size(1000), "1000 bytes");
}

TEST(Placement, DefaultIsContiguousAndEven) {
  EXPECT_EQ(format_placement(balanced_placement(4, 2)), "0,0,1,1");
  EXPECT_EQ(format_placement(balanced_placement(5, 2)), "0,0,0,1,1");
  EXPECT_EQ(format_placement(balanced_placement(3, 3)), "0,1,2");
  EXPECT_EQ(format_placement(balanced_placement(2, 5)), "0,1");  // the rest hold memory only
}

TEST(Placement, DefaultUsesEveryNodeForAllSizes) {
  for (u32 vcpus = 1; vcpus <= vmm::layout::kMaxVcpus; ++vcpus) {
    for (u32 nodes = 1; nodes <= vmm::layout::kMaxNodes; ++nodes) {
      const auto placement = balanced_placement(vcpus, nodes);
      ASSERT_TRUE(check_placement(placement, vcpus, nodes).ok());
      std::vector<u32> load(nodes, 0);
      for (const u16 node : placement) ++load[node];
      for (u32 n = 0; n < std::min(vcpus, nodes); ++n) {
        EXPECT_GE(load[n], vcpus / std::min(vcpus, nodes));
        EXPECT_LE(load[n], vcpus / std::min(vcpus, nodes) + 1);
      }
    }
  }
}

TEST(Placement, RefusesBadLists) {
  for (const char* bad : {"", ",", "0,", ",0", "0,,1", "a", "0;1", "-1", "0, 1", "70000", "0.5"}) {
    EXPECT_FALSE(parse_placement(bad).ok()) << bad;
  }
  std::string many = "0";
  for (u32 i = 0; i < 100'000; ++i) many += ",0";
  EXPECT_FALSE(parse_placement(many).ok());
}

TEST(RunOptions, Defaults) {
  const auto s = settings_of({"--kernel", "k"});
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(s->kernel, "k");
  EXPECT_FALSE(s->initrd.has_value());
  EXPECT_EQ(s->append, "");
  EXPECT_EQ(s->nodes, 1u);
  EXPECT_EQ(s->cpus, 1u);
  EXPECT_EQ(s->memory, 512 * kMiB);
  EXPECT_EQ(s->name, "dvm-7");
  EXPECT_EQ(s->pool, "");
  EXPECT_EQ(s->on_panic, PanicPolicy::reboot);
}

TEST(RunOptions, AllOfThem) {
  const auto s =
      settings_of({"--kernel", "k",           "--initrd=i", "--append", "console=ttyS0 -- -x",
                   "--nodes",  "3",           "--cpus",     "4",        "--memory",
                   "1G",       "--placement", "2,0,0,1",    "--name",   "a.b_c-D",
                   "--pool",   "p",           "--on-panic", "exit",     "--events",
                   "e"});
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(*s->initrd, "i");
  EXPECT_EQ(s->append, "console=ttyS0 -- -x");
  EXPECT_EQ(format_placement(s->placement), "2,0,0,1");
  EXPECT_EQ(s->name, "a.b_c-D");
  EXPECT_EQ(s->on_panic, PanicPolicy::exit);
  EXPECT_EQ(*s->events, "e");
}

TEST(RunOptions, CoherenceOfSoftware) {
  EXPECT_FALSE(settings_of({"--kernel", "k", "--coherence", "shared"})->software_coherence);
  const auto plain = settings_of({"--kernel", "k", "--coherence", "software"});
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_EQ(plain->software_coherence->local_bytes, 0u);
  EXPECT_EQ(plain->software_coherence->coherent_bytes, kDefaultCoherentMemory);
  const auto sized = settings_of({"--kernel", "k", "--coherence", "software", "--local-memory",
                                  "64M", "--coherent-memory", "4M"});
  EXPECT_EQ(sized->software_coherence->local_bytes, 64 * kMiB);
  EXPECT_EQ(sized->software_coherence->coherent_bytes, 4 * kMiB);
  const auto ample =
      settings_of({"--kernel", "k", "--coherence", "software", "--local-memory", "512M"});
  EXPECT_EQ(ample->software_coherence->local_bytes, 0u);  // no limit
  EXPECT_TRUE(settings_of({"--kernel", "k", "--coherence", "software", "--nodes", "16"}).ok());
}

TEST(RunOptions, Policy) {
  EXPECT_EQ(settings_of({"--kernel", "k"})->policy, locality::PolicyKind::fixed);
  const auto learned = settings_of({"--kernel", "k", "--policy", "learned"});
  ASSERT_TRUE(learned.ok()) << learned.error().message;
  EXPECT_EQ(learned->policy, locality::PolicyKind::learned);
}

TEST(RunOptions, Flags) {
  EXPECT_FALSE(settings_of({"--kernel", "k"})->low_latency);
  const auto s = settings_of({"--kernel", "k", "--low-latency", "--detach"});
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_TRUE(s->low_latency);
  EXPECT_TRUE(s->detach);
  EXPECT_EQ(s->hang_after_ms, 2000u);
  EXPECT_EQ(settings_of({"--kernel", "k", "--hang-after", "250"})->hang_after_ms, 250u);
}

TEST(RunOptions, AnEmptyCommandLineForTheKernelIsAllowed) {
  EXPECT_TRUE(settings_of({"--kernel", "k", "--append", ""}).ok());
}

TEST(RunOptions, MoreNodesThanVcpusIsAllowed) {
  EXPECT_TRUE(settings_of({"--kernel", "k", "--nodes", "16", "--cpus", "1"}).ok());
}

struct BadInput {
  Words words;
  std::vector<std::string> says;
};

class RunOptionsRefused : public ::testing::TestWithParam<BadInput> {};

TEST_P(RunOptionsRefused, WithOneClearLine) {
  const auto s = settings_of(GetParam().words);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().kind, ErrorKind::usage);  // exit code 64
  EXPECT_EQ(s.error().message.find('\n'), std::string::npos);
  for (const auto& text : GetParam().says) {
    EXPECT_NE(s.error().message.find(text), std::string::npos)
        << s.error().message << "\nlacks " << text;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RunOptionsRefused,
    ::testing::Values(
        BadInput{{}, {"--kernel"}}, BadInput{{"--nodes", "2"}, {"nothing to boot"}},
        BadInput{{"--kernel", "k", "--firmware", "f"}, {"--firmware", "one of them"}},
        BadInput{{"--firmware", "f", "--initrd", "i"}, {"--initrd", "without --kernel"}},
        BadInput{{"--firmware", "f", "--append", "a"}, {"--append", "without --kernel"}},
        BadInput{{"--kernel", "k", "--firmware-log", "l"}, {"--firmware-log", "with firmware"}},
        BadInput{{"--firmware", ""}, {"--firmware", "empty path"}},
        BadInput{{"--kernel"}, {"--kernel", "no value"}},
        BadInput{{"--kernel="}, {"--kernel", "no value"}},
        BadInput{{"--kernel", ""}, {"--kernel", "empty"}},
        BadInput{{"--kernel", "a", "--kernel", "b"}, {"--kernel", "2 times", "once"}},
        BadInput{{"--kernel", "k", "extra"}, {"extra", "no option"}},
        BadInput{{"--kernel", "k", "--nodes", "0"}, {"--nodes", "'0'", "1 to 16"}},
        BadInput{{"--kernel", "k", "--nodes", "17"}, {"--nodes", "'17'", "1 to 16"}},
        BadInput{{"--kernel", "k", "--nodes", "two"}, {"--nodes", "'two'", "1 to 16"}},
        BadInput{{"--kernel", "k", "--nodes", "1.0"}, {"--nodes", "'1.0'"}},
        BadInput{{"--kernel", "k", "--cpus", "65"}, {"--cpus", "'65'", "1 to 64"}},
        BadInput{{"--kernel", "k", "--cpus", "-1"}, {"--cpus", "'-1'"}},
        BadInput{{"--kernel", "k", "--cpus", "99999999999999999999"}, {"--cpus"}},
        BadInput{{"--kernel", "k", "--hang-after", "99"}, {"--hang-after", "99", "100 to 600000"}},
        BadInput{{"--kernel", "k", "--hang-after", "1s"}, {"--hang-after", "'1s'"}},
        BadInput{{"--kernel", "k", "--memory", "63M"}, {"--memory", "63 MiB", "64 MiB"}},
        BadInput{{"--kernel", "k", "--memory", "65M"}, {"--memory", "65 MiB", "multiple of 2 MiB"}},
        BadInput{{"--kernel", "k", "--memory", "1.5G"}, {"--memory", "'1.5G'", "whole number"}},
        BadInput{{"--kernel", "k", "--memory", "2T"}, {"--memory", "2 TiB", "1 TiB"}},
        BadInput{{"--kernel", "k", "--memory", "99999999999T"}, {"--memory", "2^64"}},
        BadInput{{"--kernel", "k", "--cpus", "2", "--placement", "0"},
                 {"placement", "'0'", "2 in all"}},
        BadInput{{"--kernel", "k", "--cpus", "2", "--placement", "0,1"},
                 {"placement", "node 1", "0 to 0"}},
        BadInput{{"--kernel", "k", "--placement", "a"}, {"--placement", "'a'"}},
        BadInput{{"--kernel", "k", "--name", "a/b"}, {"--name", "'a/b'"}},
        BadInput{{"--kernel", "k", "--name", ".."}, {"--name", "'..'"}},
        BadInput{{"--kernel", "k", "--name", std::string(49, 'a')}, {"--name", "1 to 48"}},
        BadInput{{"--kernel", "k", "--on-panic", "halt"},
                 {"--on-panic", "'halt'", "reboot or exit"}},
        BadInput{{"--kernel", "k", "--config", "/nonexistent/x.json"},
                 {"--config", "/nonexistent/x.json"}},
        BadInput{{"--kernel", "k", "--coherence", "none"},
                 {"--coherence", "'none'", "shared or software"}},
        BadInput{{"--kernel", "k", "--policy", "best"},
                 {"--policy", "'best'", "static, affinity or learned"}},
        BadInput{{"--kernel", "k", "--local-memory", "64M"},
                 {"--local-memory", "--coherence software"}},
        BadInput{{"--kernel", "k", "--coherence", "shared", "--coherent-memory", "4M"},
                 {"--coherent-memory", "--coherence software"}},
        BadInput{{"--kernel", "k", "--coherence", "software", "--local-memory", "15M"},
                 {"--local-memory", "15 MiB", "16 MiB or more"}},
        BadInput{{"--kernel", "k", "--coherence", "software", "--coherent-memory", "3M"},
                 {"--coherent-memory", "3 MiB", "multiple of 2 MiB"}},
        BadInput{{"--kernel", "k", "--coherence", "software", "--coherent-memory", "1G"},
                 {"--coherent-memory", "1 GiB", "2 MiB to 64 MiB"}},
        BadInput{{"--kernel", "k", "--coherence", "software", "--nodes", "16", "--net", "user"},
                 {"nodes", "16", "--net user", "at most 15"}},
        // Parts that are not built are unknown, not accepted and ignored.
        BadInput{{"--kernel", "k", "--net=bridge"}, {"--net", "bridge"}},
        BadInput{{"--kernel", "k", "--mac=52:54:00:00:00:01"}, {"mac", "network"}},
        BadInput{{"--kernel", "k", "--share", "d"}, {"unknown option --share"}},
        BadInput{{"--kernel", "k", "--protect", "epoch:4"},
                 {"--protect: found 'epoch:4'", "none, flush, epoch, or epoch:MS of 5 to 10000"}},
        BadInput{{"--kernel", "k", "--detach", "--serial", "stdio"},
                 {"serial", "stdio", "--detach"}},
        BadInput{{"--kernel", "k", "--serial", "pty"}, {"--serial", "'pty'", "stdio", "unix:PATH"}},
        BadInput{{"--kernel", "k", "--serial", "file:"}, {"--serial", "'file:'"}},
        BadInput{{"--kernel", "k", "--serial", "unix:/" + std::string(107, 'a')},
                 {"--serial", "108 bytes", "1 to 107"}},
        BadInput{{"--kernel", "k", "-n"}, {"unknown option -n"}},
        BadInput{{"--kern", "k"}, {"unknown option --kern"}}));

TEST(RunOptions, HelpAndVersionNeedNothingElse) {
  EXPECT_TRUE(parse_run_command_line({"--help"})->help);
  EXPECT_TRUE(parse_run_command_line({"--version"})->version);
  EXPECT_FALSE(parse_run_command_line({"--help", "--disk"}).ok());
}

TEST(RunOptions, HelpNamesEveryOptionAndExitCode) {
  const std::string help = run_help();
  for (const char* text :
       {"--kernel", "--initrd",    "--append",      "--nodes",      "--cpus",
        "--memory", "--placement", "--name",        "--pool",       "--on-panic",
        "--events", "--config",    "--low-latency", "--hang-after", "--version",
        "--help",   "Ctrl-A x",    "SIGTERM",       "64",           "EXAMPLES"}) {
    EXPECT_NE(help.find(text), std::string::npos) << text;
  }
}

TEST(CtlOptions, TakesOneCommand) {
  const auto line = parse_ctl_command_line({"--name", "demo", "--json", "events", "--follow"});
  ASSERT_TRUE(line.ok()) << line.error().message;
  EXPECT_EQ(line->command, "events");
  EXPECT_EQ(*line->name, "demo");
  EXPECT_TRUE(line->json);
  EXPECT_TRUE(line->follow);
}

TEST(CtlOptions, TakesVcpusAndNodesByTheirNumbers) {
  const auto move = parse_ctl_command_line({"migrate-vcpu", "3", "--to", "1"});
  ASSERT_TRUE(move.ok()) << move.error().message;
  EXPECT_EQ(*move->number, 3u);
  EXPECT_EQ(*move->to, 1u);
  const auto node = parse_ctl_command_line({"remove-node", "15"});
  ASSERT_TRUE(node.ok()) << node.error().message;
  EXPECT_EQ(*node->number, 15u);
  EXPECT_TRUE(parse_ctl_command_line({"add-node"}).ok());
}

TEST(CtlOptions, TakesATracesLength) {
  const auto line = parse_ctl_command_line({"trace", "f", "--for", "30"});
  ASSERT_TRUE(line.ok()) << line.error().message;
  EXPECT_EQ(line->file, "f");
  EXPECT_EQ(*line->seconds, 30u);
  EXPECT_FALSE(parse_ctl_command_line({"trace", "f"})->seconds);
  EXPECT_TRUE(parse_ctl_command_line({"--json", "why"}).ok());
}

TEST(CtlOptions, TakesAForksClones) {
  const auto one = parse_ctl_command_line({"fork", "web"});
  ASSERT_TRUE(one.ok()) << one.error().message;
  EXPECT_EQ(clone_names(*one), Words{"web"});
  EXPECT_TRUE(clone_options(*one, 1).empty());
  const auto three =
      parse_ctl_command_line({"fork", "web", "--count", "3", "--", "--nodes", "1", "--mac={n}{n}"});
  ASSERT_TRUE(three.ok()) << three.error().message;
  EXPECT_EQ(clone_names(*three), (Words{"web-1", "web-2", "web-3"}));
  EXPECT_EQ(clone_options(*three, 12), (Words{"--nodes", "1", "--mac=1212"}));
  for (const Words& bad :
       {Words{"fork"}, Words{"fork", "a/b"}, Words{"fork", "web", "more"}, Words{"status", "--"},
        Words{"fork", "web", "--count", "0"}, Words{"fork", "web", "--count", "257"},
        Words{"status", "--count", "2"}, Words{"fork", "web", "--nodes", "1"}}) {
    const auto line = parse_ctl_command_line(bad);
    ASSERT_FALSE(line.ok()) << bad.back();
    EXPECT_EQ(line.error().kind, ErrorKind::usage);
  }
}

TEST(CtlOptions, RefusesTheRest) {
  for (const Words& bad : {Words{},
                           Words{"fly"},
                           Words{"status", "events"},
                           Words{"--follow", "status"},
                           Words{"--name", "a", "list"},
                           Words{"--name", "/", "status"},
                           Words{"--name"},
                           Words{"migrate-vcpu", "0"},
                           Words{"migrate-vcpu", "--to", "1"},
                           Words{"migrate-vcpu", "x", "--to", "1"},
                           Words{"migrate-vcpu", "0", "--to", "-1"},
                           Words{"evacuate"},
                           Words{"remove-node", "65536"},
                           Words{"evacuate", "1", "--to", "2"},
                           Words{"add-node", "3"},
                           Words{"trace"},
                           Words{"trace", "f", "--for", "0"},
                           Words{"trace", "f", "--for", "3601"},
                           Words{"trace", "f", "g"},
                           Words{"why", "--for", "3"},
                           Words{"why", "7"},
                           Words{"srt", "7"},
                           Words{"status", "--blocks"}}) {
    const auto line = parse_ctl_command_line(bad);
    ASSERT_FALSE(line.ok());
    EXPECT_EQ(line.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace dvm::tools
