#include "fabric/ghost.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace dvm {
namespace {

// The ghost's side in a child of ours, which has its socket where a program has it.
pid_t ghost_of(const Fd& socket, int (*be)(const std::vector<std::string>&)) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::dup2(socket.get(), 3);
  ::close_range(4, ~0u, 0);
  const auto words = await_words();
  ::_exit(!words.ok() ? 100 : !*words ? 101 : be(**words));
}

struct Pair {
  Fd ours, its;
  Pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0)
      ours = Fd(ends[0]), its = Fd(ends[1]);
  }
};

int exit_code(pid_t pid) {
  int status = -1;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string text_of(const Fd& file) {
  std::string text(4096, '\0');
  const ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return text;
}

TEST(GhostTest, HasWordsDescriptorsOutputAndFolder) {
  Pair pair;
  const Fd said(::memfd_create("said", MFD_CLOEXEC)), file(::memfd_create("file", MFD_CLOEXEC));
  // Each at the number of another: they must not overwrite one another on their way.
  const pid_t pid = ghost_of(pair.its, [](const std::vector<std::string>& words) {
    std::string all;
    for (const std::string& word : words) all += "[" + word + "]";
    char folder[256] = {}, name[256] = {};
    if (::getcwd(folder, sizeof(folder)) == nullptr) return 1;
    if (::readlink("/proc/self/fd/5", name, sizeof(name) - 1) < 0) return 2;
    all += std::string(folder) + name;
    return ::write(1, all.data(), all.size()) < 0 || ::write(2, "!", 1) < 0 ? 3 : 0;
  });
  Program program{.words = {"program", "", "two words"}, .output = said.get()};
  program.descriptors = {{file.get(), 5}, {said.get(), 4}, {file.get(), 3}};
  const Ghost ghost(pid, std::move(pair.ours));
  ASSERT_TRUE(ghost.become(program).ok());
  EXPECT_EQ(exit_code(pid), 0);
  char folder[256] = {};
  ASSERT_NE(::getcwd(folder, sizeof(folder)), nullptr);
  EXPECT_EQ(text_of(said),
            "[program][][two words]" + std::string(folder) + "/memfd:file (deleted)!");
}

TEST(GhostTest, EndsWhenNobodyIsLeftToTellIt) {
  Pair pair;
  const pid_t pid = ghost_of(pair.its, [](const auto&) { return 0; });
  pair.ours.reset();
  pair.its.reset();
  EXPECT_EQ(exit_code(pid), 101);
}

TEST(GhostTest, TakesNoMessageThatIsNoneOfOurs) {
  const std::string messages[] = {"x", std::string(16, '\0'), std::string(64, 'g')};
  for (const std::string& message : messages) {
    Pair pair;
    const pid_t pid = ghost_of(pair.its, [](const auto&) { return 0; });
    ASSERT_EQ(::send(pair.ours.get(), message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
    EXPECT_EQ(exit_code(pid), 100);
  }
}

TEST(GhostTest, RefusesMoreWordsThanItTakes) {
  Pair pair;
  const Ghost ghost(0, std::move(pair.ours));
  const Status told = ghost.become({.words = {std::string(kMaxGhostWords, 'w')}});
  ASSERT_FALSE(told.ok());
  EXPECT_NE(told.error().message.find("more than a ghost takes"), std::string::npos);
}

// A program that is no ghost at all has its end of the socket open like one.
TEST(GhostsTest, OneThatWaitsIsTakenAndTheNextIsStarted) {
  Ghosts ghosts;
  ASSERT_TRUE(ghosts.start("/bin/sleep").ok());  // "--ghost" is no number: it ends at once
  const auto started = ghosts.spawn({.words = {"/bin/true"}});
  ASSERT_TRUE(started.ok());
  EXPECT_EQ(exit_code(*started), 0);
  ghosts.end();
  const auto again = ghosts.spawn({.words = {"/bin/sleep", "0"}});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(exit_code(*again), 0);
}

TEST(GhostsTest, OneThatHasEndedIsReplaced) {
  Ghosts ghosts;
  ASSERT_TRUE(ghosts.start("/bin/true").ok());
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);  // so that it is gone for sure
  const auto started = ghosts.spawn({.words = {"/bin/true"}});
  ASSERT_TRUE(started.ok());
  EXPECT_NE(*started, ended.si_pid);
  EXPECT_EQ(exit_code(*started), 0);
}

}  // namespace
}  // namespace dvm
