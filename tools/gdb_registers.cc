#include "tools/gdb_registers.h"

#include <fmt/format.h>

#include <cstring>
#include <functional>
#include <vector>

namespace dvm::tools {
namespace {

// Where a register's bytes lie: `bytes` of them for gdb, of which the first `stored` are there and
// the others zero; none of it if `at` gives null.
struct Register {
  std::string name, type;
  u32 bytes;
  u32 stored;
  std::function<void*(const GdbRegisterFile&)> at;
};

struct Feature {
  std::string name;
  std::vector<Register> registers;
};

using File = const GdbRegisterFile&;

template <typename Member>
Register general(std::string name, std::string type, u32 bytes, Member member) {
  return {std::move(name), std::move(type), bytes, std::min<u32>(bytes, 8),
          [member](File f) -> void* { return &(f.image.regs.*member); }};
}

Register segment(std::string name, kvm_segment kvm_sregs::*member) {
  return {std::move(name), "int32", 4, 2,
          [member](File f) -> void* { return &(f.image.sregs.*member).selector; }};
}

Register segment_base(std::string name, kvm_segment kvm_sregs::*member) {
  return {std::move(name), "int", 8, 8,
          [member](File f) -> void* { return &(f.image.sregs.*member).base; }};
}

template <typename Member>
Register control(std::string name, Member member) {
  return {std::move(name), "int", 8, 8,
          [member](File f) -> void* { return &(f.image.sregs.*member); }};
}

template <typename Get>
Register floating(std::string name, std::string type, u32 bytes, u32 stored, Get get) {
  return {std::move(name), std::move(type), bytes, stored,
          [get](File f) -> void* { return get(f.fpu); }};
}

Feature core() {
  Feature f{"org.gnu.gdb.i386.core", {}};
  auto& r = f.registers;
  using G = kvm_regs;
  for (const auto& [name, member] :
       std::vector<std::pair<const char*, __u64 G::*>>{{"rax", &G::rax},
                                                       {"rbx", &G::rbx},
                                                       {"rcx", &G::rcx},
                                                       {"rdx", &G::rdx},
                                                       {"rsi", &G::rsi},
                                                       {"rdi", &G::rdi},
                                                       {"rbp", &G::rbp},
                                                       {"rsp", &G::rsp},
                                                       {"r8", &G::r8},
                                                       {"r9", &G::r9},
                                                       {"r10", &G::r10},
                                                       {"r11", &G::r11},
                                                       {"r12", &G::r12},
                                                       {"r13", &G::r13},
                                                       {"r14", &G::r14},
                                                       {"r15", &G::r15}}) {
    const bool pointer = std::string_view(name) == "rbp" || std::string_view(name) == "rsp";
    r.push_back(general(name, pointer ? "data_ptr" : "int64", 8, member));
  }
  r.push_back(general("rip", "code_ptr", 8, &G::rip));
  r.push_back(general("eflags", "int32", 4, &G::rflags));
  using S = kvm_sregs;
  for (const auto& [name, member] :
       std::vector<std::pair<const char*, kvm_segment S::*>>{{"cs", &S::cs},
                                                             {"ss", &S::ss},
                                                             {"ds", &S::ds},
                                                             {"es", &S::es},
                                                             {"fs", &S::fs},
                                                             {"gs", &S::gs}})
    r.push_back(segment(name, member));
  for (u32 i = 0; i < 8; ++i)
    r.push_back(floating(fmt::format("st{}", i), "i387_ext", 10, 10,
                         [i](kvm_fpu& fpu) -> void* { return fpu.fpr[i]; }));
  r.push_back(floating("fctrl", "int", 4, 2, [](kvm_fpu& fpu) -> void* { return &fpu.fcw; }));
  r.push_back(floating("fstat", "int", 4, 2, [](kvm_fpu& fpu) -> void* { return &fpu.fsw; }));
  // Abridged, a bit for each register that is not empty, as FXSAVE keeps it.
  r.push_back(floating("ftag", "int", 4, 1, [](kvm_fpu& fpu) -> void* { return &fpu.ftwx; }));
  const auto nothing = [](kvm_fpu&) -> void* { return nullptr; };
  r.push_back(floating("fiseg", "int", 4, 0, nothing));
  r.push_back(floating("fioff", "int", 4, 4, [](kvm_fpu& fpu) -> void* { return &fpu.last_ip; }));
  r.push_back(floating("foseg", "int", 4, 0, nothing));
  r.push_back(floating("fooff", "int", 4, 4, [](kvm_fpu& fpu) -> void* { return &fpu.last_dp; }));
  r.push_back(floating("fop", "int", 4, 2, [](kvm_fpu& fpu) -> void* { return &fpu.last_opcode; }));
  return f;
}

Feature sse() {
  Feature f{"org.gnu.gdb.i386.sse", {}};
  for (u32 i = 0; i < 16; ++i)
    f.registers.push_back(floating(fmt::format("xmm{}", i), "vec128", 16, 16,
                                   [i](kvm_fpu& fpu) -> void* { return fpu.xmm[i]; }));
  f.registers.push_back(
      floating("mxcsr", "int", 4, 4, [](kvm_fpu& fpu) -> void* { return &fpu.mxcsr; }));
  return f;
}

Feature segments() {
  return {"org.gnu.gdb.i386.segments",
          {segment_base("fs_base", &kvm_sregs::fs), segment_base("gs_base", &kvm_sregs::gs)}};
}

Feature system_registers() {
  using S = kvm_sregs;
  return {"org.dvm.system",
          {control("cr0", &S::cr0), control("cr2", &S::cr2), control("cr3", &S::cr3),
           control("cr4", &S::cr4), control("efer", &S::efer)}};
}

const std::vector<Feature>& features() {
  static const std::vector<Feature> all = {core(), sse(), segments(), system_registers()};
  return all;
}

const std::vector<Register>& registers() {
  static const std::vector<Register> all = [] {
    std::vector<Register> list;
    for (const Feature& f : features())
      list.insert(list.end(), f.registers.begin(), f.registers.end());
    return list;
  }();
  return all;
}

std::string describe() {
  std::string xml =
      "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
      "<architecture>i386:x86-64</architecture>";
  for (const Feature& f : features()) {
    xml += fmt::format("<feature name=\"{}\">", f.name);
    if (f.name.ends_with("sse")) {
      xml +=
          "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
          "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
          "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
          "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
          "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
          "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
          "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
          "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
          "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
          "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/>"
          "</union>";
    }
    for (const Register& r : f.registers)
      xml +=
          fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>", r.name, r.bytes * 8, r.type);
    xml += "</feature>";
  }
  return xml + "</target>";
}

}  // namespace

u32 gdb_register_count() { return static_cast<u32>(registers().size()); }

u32 gdb_register_bytes(u32 number) { return registers()[number].bytes; }

std::string read_gdb_register(const GdbRegisterFile& file, u32 number) {
  const Register& r = registers()[number];
  std::string bytes(r.bytes, '\0');
  if (const void* at = r.at(file)) std::memcpy(bytes.data(), at, r.stored);
  return bytes;
}

bool write_gdb_register(const GdbRegisterFile& file, u32 number, std::string_view bytes) {
  const Register& r = registers()[number];
  void* at = r.at(file);
  if (bytes.size() != r.bytes) return false;
  if (at != nullptr) std::memcpy(at, bytes.data(), r.stored);
  return true;
}

const std::string& gdb_target_description() {
  static const std::string description = describe();
  return description;
}

}  // namespace dvm::tools
