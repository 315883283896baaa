#include "fabric/spawn.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "fabric/fd.h"

namespace dvm {
namespace {

struct Ended {
  int status = 0;
  std::string said;
};

Ended run(const std::string& script, std::vector<Program::Passed> descriptors = {},
          bool own_group = true) {
  const Fd said(::memfd_create("said", MFD_CLOEXEC));
  const auto pid = spawn({.words = {"sh", "-c", script},
                          .descriptors = std::move(descriptors),
                          .output = said.get(),
                          .own_group = own_group});
  if (!pid) return {-1, pid.error().message};
  Ended ended;
  ::waitpid(*pid, &ended.status, 0);
  ended.said.resize(4096);
  const ssize_t got = ::pread(said.get(), ended.said.data(), ended.said.size(), 0);
  ended.said.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return ended;
}

TEST(Spawn, HasNothingOfOursButWhatItWasGiven) {
  const Fd ours(::memfd_create("ours", MFD_CLOEXEC));
  const Fd other(::memfd_create("other", MFD_CLOEXEC));
  const Ended ended =
      run("for fd in /proc/self/fd/*; do readlink $fd; done", {{ours.get(), 9}, {ours.get(), 8}});
  EXPECT_NE(ended.said.find("/dev/null"), std::string::npos) << ended.said;
  EXPECT_NE(ended.said.find("memfd:ours"), std::string::npos) << ended.said;
  EXPECT_EQ(ended.said.find("memfd:other"), std::string::npos) << ended.said;
}

TEST(Spawn, KeepsADescriptorsNumber) {
  const Fd ours(::memfd_create("ours", MFD_CLOEXEC));
  Program program{.words = {"sh", "-c", "test -e /dev/fd/" + std::to_string(ours.get())}};
  program.keep(ours.get());
  const auto pid = spawn(std::move(program));
  ASSERT_TRUE(pid.ok());
  int status = -1;
  ::waitpid(*pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Spawn, SaysBothOutputsInOnePlace) {
  EXPECT_EQ(run("echo out; echo err >&2").said, "out\nerr\n");
}

// Whatever the thread that starts it has blocked or ignores.
TEST(Spawn, HasItsSignalsAsUsual) {
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto ignored = std::signal(SIGPIPE, SIG_IGN);
  const Ended terminated = run("kill -TERM $$");
  const Ended piped = run("kill -PIPE $$");
  std::signal(SIGPIPE, ignored);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_TRUE(WIFSIGNALED(terminated.status) && WTERMSIG(terminated.status) == SIGTERM);
  EXPECT_TRUE(WIFSIGNALED(piped.status) && WTERMSIG(piped.status) == SIGPIPE);
}

TEST(Spawn, HasAGroupOfItsOwnUnlessAsked) {
  const std::string ours = std::to_string(::getpgrp()) + "\n";
  const std::string group = "cut -d' ' -f5 /proc/self/stat";
  EXPECT_NE(run(group).said, ours);
  EXPECT_EQ(run(group, {}, false).said, ours);
}

TEST(Spawn, SaysWhatDoesNotStart) {
  const auto pid = spawn({.words = {"/no/such/program"}});
  ASSERT_FALSE(pid.ok());
  EXPECT_EQ(pid.error().message, "start /no/such/program: No such file or directory");
  EXPECT_EQ(pid.error().sys_errno, ENOENT);
}

}  // namespace
}  // namespace dvm
