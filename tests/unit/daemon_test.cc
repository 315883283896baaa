#include "tools/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "tools/runtime_dir.h"

namespace dvm::tools {
namespace {

struct Folder {
  std::string root, path;
  Folder() {
    char name[] = "/tmp/dvm-daemon-XXXXXX";
    if (::mkdtemp(name) != nullptr) root = name;
    path = root + "/guest";
    std::filesystem::create_directory(path);
  }
  ~Folder() { std::filesystem::remove_all(root); }
};

// A pipe in which there is no room for the one byte, so that its writer stands where it tells.
struct FullPipe {
  Fd read, write;
  FullPipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return;
    read = Fd(ends[0]), write = Fd(ends[1]);
    const std::string page(4096, '\0');
    while (::write(write.get(), page.data(), page.size()) > 0) {
    }
    ::fcntl(write.get(), F_SETFL, 0);
  }
};

// Whoever waits for the byte may look for the log the moment it comes.
TEST(DaemonTest, KeepsItsLogBeforeItTellsHowItEnded) {
  const Folder folder;
  FullPipe status;
  ASSERT_TRUE(status.write.valid());
  const pid_t pid = ::fork();
  if (pid == 0) {
    status.read.reset();
    ::setsid();
    auto daemon = Daemon::become(std::move(status.write));
    if (!daemon.ok() || !(*daemon)->keep_log(folder.path).ok()) ::_exit(1);
    (*daemon)->end(2);
    daemon->reset();
    ::_exit(0);
  }
  status.write.reset();
  const auto kept = kept_log_path(folder.path);
  for (int i = 0; i < 1000 && !std::filesystem::exists(kept); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(std::filesystem::exists(kept));
  status.read.reset();  // who stands at the write goes on: SIGPIPE is ignored
  int ended = -1;
  ASSERT_EQ(::waitpid(pid, &ended, 0), pid);
  EXPECT_EQ(ended, 0);
}

}  // namespace
}  // namespace dvm::tools
