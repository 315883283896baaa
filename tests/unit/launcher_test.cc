// The launcher's parts that touch the system: guests' folders, node processes, the control socket.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/test_machine.h"
#include "tools/control_server.h"
#include "tools/event_file.h"
#include "tools/guest_connection.h"
#include "tools/json_text.h"
#include "tools/node_supervisor.h"

namespace dvm::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Launcher : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/dvm-test-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    root_ = path;
    ::setenv("DVM_RUNTIME_DIR", (root_ + "/run").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("DVM_RUNTIME_DIR");
    fs::remove_all(root_);
  }
  std::string script(const std::string& name, const std::string& text) {
    const std::string path = root_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    ::chmod(path.c_str(), 0700);
    return path;
  }
  std::string root_;
};

TEST_F(Launcher, AFolderIsClaimedOnceAndRemoved) {
  {
    const auto guest = GuestFolder::claim("demo");
    ASSERT_TRUE(guest.ok()) << guest.error().message;
    const auto again = GuestFolder::claim("demo");
    ASSERT_FALSE(again.ok());
    EXPECT_NE(
        again.error().message.find(fmt::format("demo is running already (pid {})", ::getpid())),
        std::string::npos)
        << again.error().message;
    ASSERT_EQ(running_guests().size(), 1u);
    EXPECT_EQ(running_guests()[0].name, "demo");
    EXPECT_EQ(running_guests()[0].pid, ::getpid());
  }
  EXPECT_TRUE(fs::is_empty(root_ + "/run"));
  EXPECT_TRUE(running_guests().empty());
}

TEST_F(Launcher, WhatTheDeadLeftIsRemoved) {
  for (const char* name : {"demo", "other"}) {
    fs::create_directories(root_ + "/run/" + name);
    for (const char* file : {"lock", "pid", "control.sock"})
      std::ofstream(root_ + "/run/" + name + "/" + file);
  }
  std::ofstream(root_ + "/run/not-ours") << "x";
  EXPECT_TRUE(running_guests().empty());
  const auto guest = GuestFolder::claim("demo");
  ASSERT_TRUE(guest.ok()) << guest.error().message;
  EXPECT_FALSE(fs::exists(root_ + "/run/demo/control.sock"));
  EXPECT_FALSE(fs::exists(root_ + "/run/other"));
  EXPECT_TRUE(fs::exists(root_ + "/run/not-ours"));
}

TEST_F(Launcher, AFolderThatOthersCanWriteToIsRefused) {
  fs::create_directories(root_ + "/run");
  ::chmod((root_ + "/run").c_str(), 0777);
  EXPECT_FALSE(GuestFolder::claim("demo").ok());
}

TEST_F(Launcher, GuestsAreFoundByNameOrAlone) {
  EXPECT_FALSE(find_guest(std::nullopt).ok());
  const auto a = GuestFolder::claim("a");
  EXPECT_EQ(find_guest(std::nullopt)->name, "a");
  const auto b = GuestFolder::claim("b");
  EXPECT_NE(find_guest(std::nullopt).error().message.find("a, b"), std::string::npos);
  EXPECT_EQ(find_guest("b")->name, "b");
  EXPECT_FALSE(find_guest("c").ok());
}

TEST_F(Launcher, EventFileAppendsLines) {
  const std::string path = root_ + "/events";
  for (u64 i = 1; i <= 2; ++i) {
    auto file = EventFile::open(path);
    ASSERT_TRUE(file.ok());
    file->append({i, 5, fabric::EventKind::guest_reset, 1, {i}});
  }
  std::ifstream lines(path);
  std::string line;
  for (u64 i = 1; i <= 2; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    const json event = parse_json(line);
    EXPECT_EQ(event["seq"], i);
    EXPECT_EQ(event["event"], "guest_reset");
    EXPECT_EQ(event["source"], "node 0");
  }
  const auto bad = EventFile::open(root_ + "/no/such/folder");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().kind, ErrorKind::usage);
}

TEST_F(Launcher, EventFileOfAGuestThatNeverStartedGoes) {
  auto file = EventFile::open(root_ + "/events");
  file->discard();
  EXPECT_FALSE(fs::exists(root_ + "/events"));
  std::ofstream(root_ + "/events") << "older\n";
  auto again = EventFile::open(root_ + "/events");
  again->discard();
  EXPECT_TRUE(fs::exists(root_ + "/events"));
}

class Supervisor : public Launcher {
 protected:
  // Runs a guest of two "nodes" to its end; returns how long that took.
  std::chrono::milliseconds run(const std::string& program, bool stop_at_once) {
    const Fd fd(::dup(STDERR_FILENO));
    const vmm::BootSource boot{
        .kernel = Fd(::dup(STDERR_FILENO)), .kernel_name = "k", .command_line = "c"};
    Ghosts ghosts;
    const NodeLaunch launch{program, machine_->pool().fd(), "pool", boot, ghosts, fd};
    NodeSupervisor nodes(io_, *machine_, launch, [this] { io_.stop(); });
    status_ = nodes.start(2);
    if (!status_.ok()) return {};
    if (stop_at_once) machine_->request_stop(vmm::StopReason::user);
    asio::steady_timer poll(io_);
    std::function<void()> watch = [&] {
      if (machine_->state().control.phase.load() == vmm::Phase::stopped)
        return nodes.machine_stopped();
      poll.expires_after(std::chrono::milliseconds(5));
      poll.async_wait([&](const asio::error_code&) { watch(); });
    };
    watch();
    const auto begin = std::chrono::steady_clock::now();
    io_.run_for(std::chrono::seconds(20));
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 begin);
  }
  vmm::StopReason reason() { return machine_->state().control.stop_reason.load(); }

  asio::io_context io_;
  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(2, 2);
  Status status_;
};

TEST_F(Supervisor, ANodeThatFailsAtItsStartEndsTheGuest) {
  const auto took = run(script("node", "exit 1"), false);
  EXPECT_EQ(reason(), vmm::StopReason::node_died);
  EXPECT_LT(took.count(), 3000);
}

TEST_F(Supervisor, ANodeThatDiesTakesTheOthersAlong) {
  const auto took = run(script("node", "[ $2 = 1 ] && kill -9 $$; exec sleep 60"), false);
  EXPECT_EQ(reason(), vmm::StopReason::node_died);
  EXPECT_LT(took.count(), 3000);
  EXPECT_GE(machine_->events().tail.load(), 1u);
}

TEST_F(Supervisor, ANodeThatDoesNotLeaveIsKilled) {
  const auto took = run(script("node", "exec sleep 60"), true);
  EXPECT_EQ(reason(), vmm::StopReason::user);
  EXPECT_GE(took.count(), 1900);
  EXPECT_LT(took.count(), 5000);
}

TEST_F(Supervisor, AProgramThatIsNotThereIsAnError) {
  run(root_ + "/nothing", false);
  ASSERT_FALSE(status_.ok());
  EXPECT_NE(status_.error().message.find("/nothing"), std::string::npos);
}

TEST_F(Supervisor, ANodeHasTheDescriptorsItIsToldOfAndNoOthers) {
  const int leak =
      ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 777);  // a number that no shell uses itself
  run(script("node", "ls /proc/self/fd > " + root_ + "/fds.$2; readlink /proc/self/fd/0 >> " +
                         root_ + "/fds.$2; echo \"$@\" >> " + root_ + "/fds.$2; exit 1"),
      false);
  ::close(leak);
  std::ifstream file(root_ + "/fds.0");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text.find(fmt::format("\n{}\n", leak)), std::string::npos) << text;
  EXPECT_NE(text.find("/dev/null"), std::string::npos) << text;
  EXPECT_NE(text.find("--node 0 --pool-fd"), std::string::npos) << text;
}

class ControlSocket : public Launcher {
 protected:
  void SetUp() override {
    Launcher::SetUp();
    auto folder = GuestFolder::claim("test");
    ASSERT_TRUE(folder.ok());
    folder_.emplace(folder.take());
    auto server = ControlServer::start(*machine_, {{feed_, typed_}}, folder_->socket_path());
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = server.take();
  }
  void TearDown() override {
    server_.reset();
    folder_.reset();
    Launcher::TearDown();
  }
  Result<GuestConnection> connect() { return GuestConnection::open(running_guests().at(0)); }
  // As a client that is not ours would.
  std::string exchange_raw(const std::string& bytes) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    folder_->socket_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_GE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    ::shutdown(fd, SHUT_WR);
    std::string answer;
    char part[4096];
    for (ssize_t n; (n = ::recv(fd, part, sizeof(part), 0)) > 0;)
      answer.append(part, static_cast<std::size_t>(n));
    ::close(fd);
    return answer;
  }

  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(2, 2);
  std::optional<GuestFolder> folder_;
  ConsoleFeed feed_;
  TypedInput typed_{*machine_};
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlSocket, AnswersOneRequestAfterTheOther) {
  auto connection = connect();
  ASSERT_TRUE(connection.ok()) << connection.error().message;
  EXPECT_EQ((*connection->ask({{"command", "status"}}))["name"], "test");
  EXPECT_FALSE(connection->ask({{"command", "fly"}}).ok());
  EXPECT_EQ((*connection->ask({{"command", "stop"}}))["state"], "stopped");
  struct stat st {};
  ASSERT_EQ(::stat((folder_->path() + "/control.sock").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(ControlSocket, RefusesALineWithoutEnd) {
  EXPECT_NE(exchange_raw(std::string(70'000, 'x')).find("64 KiB"), std::string::npos);
}

TEST_F(ControlSocket, AnswersRubbishAndGoesOn) {
  const std::string answer = exchange_raw("rubbish\n{\"command\":\"status\"}\n");
  EXPECT_NE(answer.find("not valid JSON"), std::string::npos);
  EXPECT_NE(answer.find("\"name\":\"test\""), std::string::npos);
  EXPECT_EQ(exchange_raw("{\"command\":"), "");  // hung up in the middle
  EXPECT_TRUE(connect()->ask({{"command", "status"}}).ok());
}

TEST_F(ControlSocket, HasRoomForSixteen) {
  std::vector<GuestConnection> connections;
  for (int i = 0; i < 16; ++i) {
    auto connection = connect();
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE(connection->ask({{"command", "status"}}).ok());
    connections.push_back(connection.take());
  }
  auto refused = connect();
  ASSERT_TRUE(refused.ok());
  EXPECT_NE(refused->ask({{"command", "status"}}).error().message.find("16 clients"),
            std::string::npos);
  connections.pop_back();
  for (int i = 0; i < 100; ++i) {  // the server learns of the hang-up in a moment
    if (connect()->ask({{"command", "status"}}).ok()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL() << "no room after a client left";
}

TEST_F(ControlSocket, FollowersGetWhatWasWhatComesAndTheLast) {
  machine_->log_event(fabric::EventKind::node_joined, {0, 1});
  auto connection = connect();
  ASSERT_TRUE(connection->ask({{"command", "events"}, {"follow", true}}).ok());
  const auto next = [&] {
    const auto line = connection->next_line();
    return line.ok() && *line ? parse_json(**line)["event"].get<std::string>() : "end";
  };
  EXPECT_EQ(next(), "node_joined");
  machine_->log_event(fabric::EventKind::guest_reset, {2});
  server_->events_written();
  EXPECT_EQ(next(), "guest_reset");
  machine_->log_event(fabric::EventKind::node_left, {0});
  server_.reset();
  EXPECT_EQ(next(), "node_left");
  EXPECT_EQ(next(), "end");
}

// One that follows and does not read holds neither the others nor the end up.
TEST_F(ControlSocket, AFollowerThatDoesNotReadHoldsNobody) {
  auto lazy = connect();
  ASSERT_TRUE(lazy->ask({{"command", "events"}, {"follow", true}}).ok());
  for (u64 i = 0; i < 20'000; ++i) machine_->log_event(fabric::EventKind::guest_reset, {i});
  server_->events_written();
  EXPECT_TRUE(connect()->ask({{"command", "status"}}).ok());
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

}  // namespace
}  // namespace dvm::tools
