// Frames for tests, as a guest or a network would send them.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "vmm/net/frame.h"

namespace dvm::testing {

using Frame = std::vector<std::byte>;

inline void put(Frame& f, std::initializer_list<u32> bytes) {
  for (const u32 b : bytes) f.push_back(static_cast<std::byte>(b));
}
inline void put16(Frame& f, u32 v) { put(f, {v >> 8 & 255, v & 255}); }
inline void put32(Frame& f, u32 v) {
  put16(f, v >> 16);
  put16(f, v & 0xffff);
}
inline void put_text(Frame& f, std::string_view text) {
  for (const char c : text) f.push_back(static_cast<std::byte>(c));
}
inline u32 get32(const Frame& f, u32 at) {
  return u32{vmm::net::load_be16(f, at)} << 16 | vmm::net::load_be16(f, at + 2);
}
inline u8 get8(const Frame& f, u32 at) { return static_cast<u8>(f.at(at)); }

inline constexpr vmm::net::MacAddress kGuestMac = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
inline constexpr u32 kGuestIp = 0x0a00'020f;
inline constexpr u32 kHostIp = 0x0a00'0202;

inline Frame ethernet(const vmm::net::MacAddress& to, const vmm::net::MacAddress& from, u16 type) {
  Frame f;
  for (const u8 b : to) put(f, {b});
  for (const u8 b : from) put(f, {b});
  put16(f, type);
  return f;
}

// Header and its checksum; `l4_bytes` follow.
inline void put_ipv4(Frame& f, u8 protocol, u32 from, u32 to, u32 l4_bytes, u16 id = 0) {
  const u32 at = static_cast<u32>(f.size());
  put(f, {0x45, 0});
  put16(f, 20 + l4_bytes);
  put16(f, id);
  put16(f, 0x4000);
  put(f, {64, protocol});
  put16(f, 0);
  put32(f, from);
  put32(f, to);
  const u16 sum = vmm::net::ones_sum(std::span(f).subspan(at, 20));
  vmm::net::store_be16(f, at + 10, static_cast<u16>(~sum));
}

struct TcpSpec {
  u32 from = kHostIp, to = kGuestIp;
  u16 from_port = 80, to_port = 40000;
  u32 sequence = 1000, acknowledgement = 2000;
  u8 flags = vmm::net::kTcpAck;
  std::string_view payload;
  u16 id = 0;
};

inline void finish_tcp(Frame& f) {
  const auto tcp = vmm::net::tcp_frame(f);
  vmm::net::store_be16(f, tcp->l4 + 16, vmm::net::tcp_pseudo_sum(f, *tcp, tcp->end - tcp->l4));
  vmm::net::finish_checksum(f, {.flags = vmm::net::kHeaderNeedsCsum,
                                .gso_type = 0,
                                .hdr_len = 0,
                                .gso_size = 0,
                                .csum_start = tcp->l4,
                                .csum_offset = 16,
                                .num_buffers = 0});
}

inline void put_tcp(Frame& f, const TcpSpec& s) {
  put16(f, s.from_port);
  put16(f, s.to_port);
  put32(f, s.sequence);
  put32(f, s.acknowledgement);
  put(f, {0x50, s.flags, 0xff, 0xff, 0, 0, 0, 0});
  put_text(f, s.payload);
}

inline Frame tcp4(const TcpSpec& s) {
  Frame f = ethernet(kGuestMac, {0x52, 0x55, 10, 0, 2, 2}, 0x0800);
  put_ipv4(f, 6, s.from, s.to, static_cast<u32>(20 + s.payload.size()), s.id);
  put_tcp(f, s);
  finish_tcp(f);
  return f;
}

inline Frame tcp6(const TcpSpec& s) {
  Frame f = ethernet(kGuestMac, {0x52, 0x56, 0, 0, 0, 2}, 0x86dd);
  put(f, {0x60, 0, 0, 0});
  put16(f, static_cast<u32>(20 + s.payload.size()));
  put(f, {6, 64});
  for (const u32 last : {2u, 15u}) {
    put(f, {0xfe, 0xc0});
    f.resize(f.size() + 13);
    put(f, {last});
  }
  put_tcp(f, s);
  finish_tcp(f);
  return f;
}

// The checksums of a TCP frame hold.
inline bool checksums_hold(const Frame& f) {
  const auto tcp = vmm::net::tcp_frame(f);
  if (!tcp) return false;
  const auto whole = std::span(f);
  if (!tcp->v6 && vmm::net::ones_sum(whole.subspan(14, 20)) != 0xffff) return false;
  const u32 bytes = tcp->end - tcp->l4;
  return vmm::net::ones_sum(whole.subspan(tcp->l4, bytes),
                            vmm::net::tcp_pseudo_sum(f, *tcp, bytes)) == 0xffff;
}

}  // namespace dvm::testing
