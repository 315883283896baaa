#include "tools/user_network.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "fabric/doorbell.h"

namespace dvm::tools {
namespace {

constexpr i64 kNsPerMs = 1'000'000;
constexpr u32 kNever = ~0u;

i64 now_ns() { return static_cast<i64>(fabric::monotonic_ns()); }

u32 epoll_events(int slirp) {
  u32 events = 0;
  if ((slirp & SLIRP_POLL_IN) != 0) events |= EPOLLIN;
  if ((slirp & SLIRP_POLL_OUT) != 0) events |= EPOLLOUT;
  if ((slirp & SLIRP_POLL_PRI) != 0) events |= EPOLLPRI;
  return events;
}

int slirp_events(u32 epoll) {
  int events = 0;
  if ((epoll & EPOLLIN) != 0) events |= SLIRP_POLL_IN;
  if ((epoll & EPOLLOUT) != 0) events |= SLIRP_POLL_OUT;
  if ((epoll & EPOLLPRI) != 0) events |= SLIRP_POLL_PRI;
  if ((epoll & EPOLLERR) != 0) events |= SLIRP_POLL_ERR;
  if ((epoll & EPOLLHUP) != 0) events |= SLIRP_POLL_HUP;
  return events;
}

in_addr v4(u8 last) { return {htonl(0x0a00'0200u | last)}; }

in6_addr v6(u8 last) {
  in6_addr address{};
  address.s6_addr[0] = 0xfe;
  address.s6_addr[1] = 0xc0;
  address.s6_addr[15] = last;
  return address;
}

sockaddr_in socket_address(u32 address, u16 port) {
  sockaddr_in s{};
  s.sin_family = AF_INET;
  s.sin_addr.s_addr = htonl(address);
  s.sin_port = htons(port);
  return s;
}

}  // namespace

// What slirp calls; `opaque` is the network.
struct UserNetwork::Callbacks {
  static UserNetwork& self(void* opaque) { return *static_cast<UserNetwork*>(opaque); }

  static ssize_t send_packet(const void* frame, std::size_t bytes, void* opaque) {
    self(opaque).to_guest_({static_cast<const std::byte*>(frame), bytes});
    return static_cast<ssize_t>(bytes);
  }
  static void guest_error(const char*, void*) {}  // the guest may send what it likes
  static i64 clock_get_ns(void*) { return now_ns(); }
  static void* timer_new(SlirpTimerCb due, void* cb_opaque, void* opaque) {
    auto& timers = self(opaque).timers_;
    timers.push_back(std::make_unique<Timer>(Timer{due, cb_opaque}));
    return timers.back().get();
  }
  static void timer_free(void* timer, void* opaque) {
    std::erase_if(self(opaque).timers_, [&](const auto& t) { return t.get() == timer; });
  }
  static void timer_mod(void* timer, i64 deadline_ms, void*) {
    static_cast<Timer*>(timer)->deadline_ms = deadline_ms;
  }
  static void register_fd(int fd, void* opaque) { self(opaque).armed_.erase(fd); }
  static void unregister_fd(int fd, void* opaque) { self(opaque).forget(fd); }
  static void notify(void*) {}  // arm() follows whatever may have changed
  static int add_poll(int fd, int events, void* opaque) {
    UserNetwork& n = self(opaque);
    n.index_of_fd_[fd] = n.polled_.size();
    n.polled_.push_back({fd, events});
    return static_cast<int>(n.polled_.size()) - 1;
  }
  static int get_events(int index, void* opaque) {
    const auto& polled = self(opaque).polled_;
    return index >= 0 && static_cast<std::size_t>(index) < polled.size()
               ? polled[static_cast<std::size_t>(index)].found
               : 0;
  }
  // slirp keeps the address.
  static const SlirpCb* table() {
    static const SlirpCb callbacks = [] {
      SlirpCb c{};
      c.send_packet = send_packet;
      c.guest_error = guest_error;
      c.clock_get_ns = clock_get_ns;
      c.timer_new = timer_new;
      c.timer_free = timer_free;
      c.timer_mod = timer_mod;
      c.register_poll_fd = register_fd;
      c.unregister_poll_fd = unregister_fd;
      c.notify = notify;
      return c;
    }();
    return &callbacks;
  }
};

Result<std::unique_ptr<UserNetwork>> UserNetwork::create(const std::vector<HostForward>& forwards,
                                                         ToGuest to_guest) {
  std::unique_ptr<UserNetwork> network(new UserNetwork(std::move(to_guest)));
  DVM_TRY(network->open());
  for (const HostForward& f : forwards) DVM_TRY(network->forward(f));
  network->arm();
  return network;
}

UserNetwork::~UserNetwork() {
  if (slirp_ != nullptr) slirp_cleanup(slirp_);
}

Status UserNetwork::open() {
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return sys_error("epoll_create1");
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.valid()) return sys_error("timerfd_create");
  DVM_TRY(watch(timer_.get()));
  SlirpConfig config{};
  config.version = 1;  // no field of a later one is used
  config.in_enabled = true;
  config.vnetwork = v4(0);
  config.vnetmask.s_addr = htonl(0xffff'ff00u);
  config.vhost = v4(2);
  config.vnameserver = v4(3);
  config.vdhcp_start = v4(15);
  config.in6_enabled = true;
  config.vprefix_addr6 = v6(0);
  config.vprefix_len = 64;
  config.vhost6 = v6(2);
  config.vnameserver6 = v6(3);
  slirp_ = slirp_new(&config, Callbacks::table(), this);
  if (slirp_ == nullptr) return error("libslirp: slirp_new failed");
  return {};
}

Status UserNetwork::forward(const HostForward& f) {
  const sockaddr_in host = socket_address(f.host_address, f.host_port);
  const sockaddr_in guest = socket_address(f.guest_address, f.guest_port);
  const auto plain = [](const sockaddr_in& s) { return reinterpret_cast<const sockaddr*>(&s); };
  errno = 0;
  if (slirp_add_hostxfwd(slirp_, plain(host), sizeof(host), plain(guest), sizeof(guest),
                         f.udp ? SLIRP_HOSTFWD_UDP : 0) == 0)
    return {};
  return error("hostfwd {}: {}", host_end(f), errno != 0 ? std::strerror(errno) : "refused");
}

void UserNetwork::input(std::span<const std::byte> frame) {
  slirp_input(slirp_, reinterpret_cast<const u8*>(frame.data()), static_cast<int>(frame.size()));
}

void UserNetwork::wait() const {
  epoll_event event{};
  ::epoll_wait(epoll_.get(), &event, 1, -1);
}

void UserNetwork::serve() {
  collect();
  slirp_pollfds_poll(slirp_, 0, Callbacks::get_events, this);
  run_timers();
  arm();
}

void UserNetwork::collect() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == timer_.get()) {
      u64 expirations = 0;
      if (::read(fd, &expirations, sizeof(expirations)) > 0) armed_ns_ = -1;
    }
    const auto at = index_of_fd_.find(fd);
    if (at != index_of_fd_.end())
      polled_[at->second].found = slirp_events(events[static_cast<std::size_t>(i)].events);
  }
}

void UserNetwork::run_timers() {
  const i64 now_ms = now_ns() / kNsPerMs;
  for (const auto& timer : timers_) {
    if (timer->deadline_ms < 0 || timer->deadline_ms > now_ms) continue;
    timer->deadline_ms = -1;
    timer->due(timer->opaque);  // arms itself again, adds none
  }
}

void UserNetwork::arm() {
  polled_.clear();
  index_of_fd_.clear();
  u32 timeout_ms = kNever;
  slirp_pollfds_fill(slirp_, &timeout_ms, Callbacks::add_poll, this);
  for (const Polled& p : polled_) poll_for(p.fd, epoll_events(p.events));
  // One that slirp does not ask for now must not wake us, not even by having been hung up.
  std::vector<int> left;
  for (const auto& [fd, events] : armed_) {
    if (!index_of_fd_.contains(fd)) left.push_back(fd);
  }
  for (const int fd : left) forget(fd);
  arm_timer(timeout_ms);
}

void UserNetwork::poll_for(int fd, u32 events) {
  const auto known = armed_.find(fd);
  if (known != armed_.end() && known->second == events) return;
  epoll_event wanted{};
  wanted.events = events;
  wanted.data.fd = fd;
  // Which of the two it takes, the kernel knows best: numbers of closed descriptors come back.
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &wanted) < 0 &&
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted) < 0)
    return;
  armed_[fd] = events;
}

void UserNetwork::forget(int fd) {
  if (armed_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void UserNetwork::arm_timer(u32 timeout_ms) {
  const i64 now = now_ns();
  i64 due = timeout_ms == kNever ? -1 : now + static_cast<i64>(timeout_ms) * kNsPerMs;
  for (const auto& timer : timers_) {
    if (timer->deadline_ms < 0) continue;
    const i64 at = std::max(timer->deadline_ms * kNsPerMs, now);
    due = due < 0 ? at : std::min(due, at);
  }
  // One that rings a little early does no harm, setting it anew each time costs a system call.
  const bool near = armed_ns_ >= 0 && due >= 0 && due >= armed_ns_ && armed_ns_ > now &&
                    due - armed_ns_ < 100 * kNsPerMs;
  if (near || due == armed_ns_) return;
  itimerspec spec{};
  if (due >= 0) {
    const i64 at = std::max<i64>(due, 1);
    spec.it_value = {at / 1'000'000'000, at % 1'000'000'000};
  }
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0) armed_ns_ = due;
}

Status UserNetwork::watch(int fd) {
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted) < 0) return sys_error("epoll_ctl");
  return {};
}

}  // namespace dvm::tools
