// Those who look on at a console: the feed they read, the sockets they come by.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/unit/test_machine.h"
#include "tools/console_feed.h"
#include "tools/serial_socket.h"

namespace dvm::tools {
namespace {

using vmm::layout::kSerialPort;

void print(ConsoleFeed& feed, std::string_view text) { feed.append({text.data(), text.size()}); }

TEST(ConsoleFeed, GivesEachReaderAllInOrder) {
  ConsoleFeed feed;
  print(feed, "one ");
  u64 a = 0, b = 0;
  EXPECT_EQ(feed.read(a, 100).text, "one ");
  print(feed, "two");
  EXPECT_EQ(feed.read(a, 100).text, "two");
  EXPECT_EQ(feed.read(a, 100).text, "");
  EXPECT_EQ(feed.read(b, 5).text, "one t");
  EXPECT_EQ(feed.read(b, 5).text, "wo");
}

TEST(ConsoleFeed, TellsWhatASlowReaderLost) {
  ConsoleFeed feed;
  u64 cursor = 0;
  for (std::size_t i = 0; i < 3; ++i)
    print(feed, std::string(ConsoleFeed::kBytes / 2, char('a' + i)));
  const auto part = feed.read(cursor, ConsoleFeed::kBytes);
  EXPECT_EQ(part.lost, ConsoleFeed::kBytes / 2);
  EXPECT_EQ(part.text,
            std::string(ConsoleFeed::kBytes / 2, 'b') + std::string(ConsoleFeed::kBytes / 2, 'c'));
  EXPECT_EQ(feed.read(cursor, 10).lost, 0u);
}

TEST(ConsoleFeed, HistoryBeginsWithALine) {
  ConsoleFeed feed;
  print(feed, "first\nsecond\nthird");
  u64 cursor = feed.back(10);  // in the middle of "second"
  EXPECT_EQ(feed.read(cursor, 100).text, "third");
  cursor = feed.back(1000);
  EXPECT_EQ(feed.read(cursor, 100).text, "first\nsecond\nthird");
  cursor = feed.back(3);  // no line begins there
  EXPECT_EQ(feed.read(cursor, 100).text, "ird");
  cursor = feed.back(0);
  EXPECT_EQ(feed.read(cursor, 100).text, "");
}

class SerialSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvm-serial-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void start() {
    auto socket = SerialSocket::start(path_, {feed_, typed_});
    ASSERT_TRUE(socket.ok()) << socket.error().message;
    socket_ = socket.take();
  }
  Fd connect() const {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  void prints(std::string_view text) {
    print(feed_, text);
    socket_->fed();
  }
  // What comes until `last` does, or nothing more for a while.
  static std::string read_until(const Fd& fd, std::string_view last, int quiet_ms = 5000) {
    std::string got;
    char part[4096];
    pollfd readable{fd.get(), POLLIN, 0};
    while (!got.ends_with(last) && ::poll(&readable, 1, quiet_ms) > 0) {
      const ssize_t n = ::recv(fd.get(), part, sizeof(part), 0);
      if (n <= 0) break;
      got.append(part, static_cast<std::size_t>(n));
    }
    return got;
  }

  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(1, 1);
  ConsoleFeed feed_;
  TypedInput typed_{*machine_};
  std::string folder_, path_;
  std::unique_ptr<SerialSocket> socket_;
};

TEST_F(SerialSocketTest, ServesOneAfterTheOtherWithoutAGap) {
  start();
  struct stat st {};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  prints("before anyone came\n");
  Fd first = connect();
  EXPECT_EQ(read_until(first, "\n"), "before anyone came\n");
  const Fd second = connect();
  prints("for the first\n");
  EXPECT_EQ(read_until(first, "\n"), "for the first\n");
  EXPECT_EQ(read_until(second, "\n", 50), "");
  first.reset();
  // The server learns of it in a moment, while the guest says nothing.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  prints("for the second\n");
  EXPECT_EQ(read_until(second, "\n"), "for the second\n");
  socket_.reset();
  EXPECT_NE(::stat(path_.c_str(), &st), 0);
}

TEST_F(SerialSocketTest, WhatIsTypedReachesTheGuest) {
  start();
  machine_->port_write(kSerialPort + 2, 1, 1);  // FIFOs on
  const Fd client = connect();
  ASSERT_EQ(::send(client.get(), "hi", 2, 0), 2);
  ::shutdown(client.get(), SHUT_WR);
  std::string got;
  for (int i = 0; i < 500 && got.size() < 2; ++i) {
    if ((machine_->port_read(kSerialPort + 5, 1) & 1) != 0) {
      got += static_cast<char>(machine_->port_read(kSerialPort, 1));
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  EXPECT_EQ(got, "hi");
  prints("still heard\n");  // it only ended its own sending
  EXPECT_EQ(read_until(client, "\n"), "still heard\n");
}

TEST_F(SerialSocketTest, AClientThatDoesNotReadLosesTheOldestAndIsTold) {
  start();
  const Fd client = connect();
  std::string sent;
  for (int i = 0; i < 40; ++i) prints(std::string(64 * 1024, static_cast<char>('a' + i % 26)));
  prints("THE END");
  const std::string got = read_until(client, "THE END");
  EXPECT_TRUE(got.ends_with("THE END"));
  EXPECT_NE(got.find("bytes of output are lost here"), std::string::npos);
  EXPECT_LT(got.size(), 40u * 64 * 1024);
}

TEST_F(SerialSocketTest, PathsInUseAreRefusedAndLeftOnesReplaced) {
  start();
  const auto again = SerialSocket::start(path_, {feed_, typed_});
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().message.find("in use"), std::string::npos) << again.error().message;
  socket_.reset();
  Fd left(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  left.reset();  // as one that was killed leaves it
  start();
  socket_.reset();
  std::ofstream(path_) << "precious";
  EXPECT_FALSE(SerialSocket::start(path_, {feed_, typed_}).ok());
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

}  // namespace
}  // namespace dvm::tools
