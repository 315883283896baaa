#include "fabric/ghost.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

namespace dvm {
namespace {

constexpr int kSocket = 3;  // in the ghost, until it is told
constexpr u32 kTold = 0x74736867;
constexpr i32 kWorkingDirectory = -1;  // instead of a descriptor's number

// A message is this, the numbers that the descriptors with it are to have, and the words, each with
// a zero behind it.
struct Head {
  u32 magic = kTold;
  u32 descriptors = 0;
  u32 words_bytes = 0;
  u32 unused = 0;
};
static_assert(sizeof(Head) == 16);
constexpr std::size_t kMaxMessage =
    sizeof(Head) + kMaxGhostDescriptors * sizeof(i32) + kMaxGhostWords;
using Control = std::array<std::byte, CMSG_SPACE(kMaxGhostDescriptors * sizeof(int))>;

struct Told {
  std::vector<i32> numbers;  // as many as descriptors
  std::vector<Fd> descriptors;
  std::vector<std::string> words;
};

std::string message_of(const Program& program, const std::vector<i32>& numbers) {
  std::string words;
  for (const std::string& word : program.words) words.append(word).push_back('\0');
  const Head head{.descriptors = static_cast<u32>(numbers.size()),
                  .words_bytes = static_cast<u32>(words.size())};
  std::string message(reinterpret_cast<const char*>(&head), sizeof(head));
  message.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(i32));
  return message + words;
}

Result<Told> parse(std::string_view message, std::vector<Fd> descriptors) {
  Head head;
  if (message.size() < sizeof(head)) return error("a message of {} bytes", message.size());
  std::memcpy(&head, message.data(), sizeof(head));
  message.remove_prefix(sizeof(head));
  const std::size_t numbers_bytes = std::size_t{head.descriptors} * sizeof(i32);
  if (head.magic != kTold || head.descriptors == 0 || head.descriptors != descriptors.size() ||
      message.size() != numbers_bytes + head.words_bytes || head.words_bytes == 0 ||
      message.back() != '\0')
    return error("a message that is none of ours");
  Told told{std::vector<i32>(head.descriptors), std::move(descriptors), {}};
  std::memcpy(told.numbers.data(), message.data(), numbers_bytes);
  if (std::ranges::any_of(told.numbers, [](i32 n) { return n < kWorkingDirectory; }))
    return error("a message with a descriptor's number that is none");
  message.remove_prefix(numbers_bytes);
  while (!message.empty()) {
    const std::size_t end = message.find('\0');
    told.words.emplace_back(message.substr(0, end));
    message.remove_prefix(end + 1);
  }
  return told;
}

std::vector<Fd> descriptors_in(msghdr& header) {
  std::vector<Fd> descriptors;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

using Words = std::optional<std::vector<std::string>>;

// None once the other end is closed.
Result<std::optional<Told>> receive(const Fd& socket) {
  std::string message(kMaxMessage, '\0');
  Control control;
  iovec part{message.data(), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t n = 0;
  while ((n = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (n < 0) return sys_error("recvmsg");
  std::vector<Fd> descriptors = descriptors_in(header);
  if (n == 0) return std::optional<Told>();
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return error("a message that is cut off");
  message.resize(static_cast<std::size_t>(n));
  DVM_ASSIGN(Told told, parse(message, std::move(descriptors)));
  return std::optional<Told>(std::move(told));
}

// First out of each other's way, then to their numbers.
Status place(Told& told) {
  const int above = std::max(2, *std::ranges::max_element(told.numbers)) + 1;
  for (Fd& fd : told.descriptors) {
    Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, above));
    if (!moved.valid()) return sys_error("fcntl F_DUPFD_CLOEXEC");
    fd = std::move(moved);
  }
  for (std::size_t i = 0; i < told.numbers.size(); ++i) {
    const int from = told.descriptors[i].get(), to = told.numbers[i];
    if (to == kWorkingDirectory ? ::fchdir(from) < 0 : ::dup2(from, to) < 0)
      return sys_error(to == kWorkingDirectory ? "fchdir" : "dup2");
  }
  return {};
}

}  // namespace

Result<Ghost> Ghost::start(const std::string& program, const std::vector<std::string>& more,
                           bool own_group) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return sys_error("socketpair");
  Fd ours(ends[0]);
  const Fd its(ends[1]);
  Program waiting{.words = {program, std::string(kGhostWord)}, .own_group = own_group};
  waiting.words.insert(waiting.words.end(), more.begin(), more.end());
  waiting.descriptors = {{its.get(), kSocket}};
  DVM_ASSIGN(const pid_t pid, dvm::spawn(std::move(waiting)));
  return Ghost(pid, std::move(ours));
}

Status Ghost::become(const Program& program) const {
  DVM_ASSIGN(const Fd here, Fd::open(".", O_PATH | O_DIRECTORY));
  std::vector<int> ours = {here.get(), program.output, program.output};
  std::vector<i32> numbers = {kWorkingDirectory, STDOUT_FILENO, STDERR_FILENO};
  for (const auto& [from, to] : program.descriptors) {
    ours.push_back(from);
    numbers.push_back(to);
  }
  std::string message = message_of(program, numbers);
  if (ours.size() > kMaxGhostDescriptors || message.size() > kMaxGhostWords)
    return error("{} bytes of words and {} descriptors are more than a ghost takes", message.size(),
                 ours.size());
  alignas(cmsghdr) Control control{};
  iovec part{message.data(), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = CMSG_SPACE(ours.size() * sizeof(int));
  cmsghdr* const c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(ours.size() * sizeof(int));
  std::memcpy(CMSG_DATA(c), ours.data(), ours.size() * sizeof(int));
  if (::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) < 0) return sys_error("sendmsg to a ghost");
  return {};
}

Result<Words> await_words() {
  Fd socket(kSocket);
  ::prctl(PR_SET_NAME, "dvm-ghost");
  DVM_ASSIGN(auto told, receive(socket));
  if (!told) return Words();
  socket.reset();
  DVM_TRY(place(*told));
  const std::string& program = told->words.front();
  ::prctl(PR_SET_NAME, program.substr(program.rfind('/') + 1).c_str());
  return Words(std::move(told->words));
}

Result<Words> program_words(int argc, char** argv) {
  if (argc == 2 && argv[1] == kGhostWord) return await_words();
  return Words(std::vector<std::string>(argv, argv + argc));
}

void Ghosts::end() {
  for (const auto& [program, ghost] : waiting_) {
    ::kill(ghost.pid(), SIGKILL);  // ours and not reaped: the id is its own
    ::waitpid(ghost.pid(), nullptr, 0);
  }
  waiting_.clear();
}

Status Ghosts::start(const std::string& program) {
  DVM_ASSIGN(Ghost ghost, Ghost::start(program));
  waiting_.emplace(program, std::move(ghost));
  return {};
}

Result<pid_t> Ghosts::spawn(Program program) {
  const auto found = waiting_.find(program.words.front());
  if (found == waiting_.end()) return dvm::spawn(std::move(program));
  const Ghost ghost = std::move(found->second);
  waiting_.erase(found);
  if (ghost.become(program).ok()) return ghost.pid();
  ::kill(ghost.pid(), SIGKILL);
  ::waitpid(ghost.pid(), nullptr, 0);
  return dvm::spawn(std::move(program));
}

}  // namespace dvm
