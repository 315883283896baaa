#include "vmm/acpi/aml.h"

#include <algorithm>
#include <cassert>

namespace dvm::vmm::aml {
namespace {

// ACPI 6.5 table 20.2 "AML Byte Stream Byte Values".
constexpr u8 kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08;
constexpr u8 kBytePrefix = 0x0a, kWordPrefix = 0x0b, kDWordPrefix = 0x0c, kStringPrefix = 0x0d;
constexpr u8 kQWordPrefix = 0x0e;
constexpr u8 kScopeOp = 0x10, kBufferOp = 0x11, kPackageOp = 0x12, kMethodOp = 0x14;
constexpr u8 kDualNamePrefix = 0x2e, kMultiNamePrefix = 0x2f;
constexpr u8 kExtOpPrefix = 0x5b, kDeviceOp = 0x82;  // the second only after the first
constexpr u8 kReturnOp = 0xa4;
constexpr u8 kNotifyOp = 0x86;
constexpr std::size_t kSegmentBytes = 4;

void append(Code& to, const Code& from) { to.insert(to.end(), from.begin(), from.end()); }

void append_le(Code& to, u64 value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

// opcode, length, body
Code with_length(std::initializer_list<u8> opcode, const Code& body) {
  Code code(opcode);
  append(code, package_length(body.size()));
  append(code, body);
  return code;
}

void append_segment(Code& to, std::string_view segment) {
  assert(!segment.empty() && segment.size() <= kSegmentBytes);
  to.insert(to.end(), segment.begin(), segment.end());
  to.insert(to.end(), kSegmentBytes - segment.size(), '_');
}

unsigned hex_digit(char c) {
  assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
  return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'A' + 10);
}

}  // namespace

Code join(std::span<const Code> terms) {
  Code code;
  for (const Code& term : terms) append(code, term);
  return code;
}

Code join(std::initializer_list<Code> terms) {
  return join(std::span(terms.begin(), terms.size()));
}

Code package_length(std::size_t bytes_after) {
  if (bytes_after + 1 < 0x40) return {static_cast<u8>(bytes_after + 1)};
  // Two to four bytes: the first has the number of the others in bits 7:6 and bits 3:0 of the
  // length, the others have the rest.
  for (unsigned others = 1; others <= 3; ++others) {
    const std::size_t length = bytes_after + 1 + others;
    if (length >= std::size_t{1} << (4 + 8 * others)) continue;
    Code code{static_cast<u8>(others << 6 | (length & 0xf))};
    append_le(code, length >> 4, others);
    return code;
  }
  assert(false && "an AML term of 256 MiB");
  return {};
}

Code path(std::string_view text) {
  Code code;
  while (!text.empty() && (text.front() == '\\' || text.front() == '^')) {
    code.push_back(static_cast<u8>(text.front()));
    text.remove_prefix(1);
  }
  Code segments;
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('.'), text.size());
    append_segment(segments, text.substr(0, length));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  const std::size_t count = segments.size() / kSegmentBytes;
  assert(count <= 255);
  if (count == 0) code.push_back(0);  // NullName: the root, or the parent, itself
  if (count == 2) code.push_back(kDualNamePrefix);
  if (count > 2) {
    code.push_back(kMultiNamePrefix);
    code.push_back(static_cast<u8>(count));
  }
  append(code, segments);
  return code;
}

Code integer(u64 value) {
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  const bool byte = value <= 0xff, word = value <= 0xffff, dword = value <= 0xffff'ffff;
  Code code{byte ? kBytePrefix : word ? kWordPrefix : dword ? kDWordPrefix : kQWordPrefix};
  append_le(code, value, byte ? 1 : word ? 2 : dword ? 4 : 8);
  return code;
}

Code string(std::string_view text) {
  Code code{kStringPrefix};
  for (const char c : text) {
    assert(c > 0);
    code.push_back(static_cast<u8>(c));
  }
  code.push_back(0);
  return code;
}

Code buffer(std::span<const u8> bytes) {
  Code body = integer(bytes.size());
  body.insert(body.end(), bytes.begin(), bytes.end());
  return with_length({kBufferOp}, body);
}

Code package(std::span<const Code> elements) {
  assert(elements.size() <= 255);
  Code body{static_cast<u8>(elements.size())};
  append(body, join(elements));
  return with_length({kPackageOp}, body);
}

Code package(std::initializer_list<Code> elements) {
  return package(std::span(elements.begin(), elements.size()));
}

Code eisa_id(std::string_view id) {
  assert(id.size() == 7);
  unsigned value = 0;
  for (const char c : id.substr(0, 3)) value = value << 5 | (static_cast<unsigned>(c - '@') & 0x1f);
  for (const char c : id.substr(3)) value = value << 4 | hex_digit(c);
  return integer(__builtin_bswap32(value));
}

Code name(std::string_view object, const Code& value) {
  return join({{kNameOp}, path(object), value});
}

Code scope(std::string_view location, const Code& terms) {
  return with_length({kScopeOp}, join({path(location), terms}));
}

Code device(std::string_view object, const Code& terms) {
  return with_length({kExtOpPrefix, kDeviceOp}, join({path(object), terms}));
}

Code method(std::string_view object, u8 arguments, const Code& terms) {
  assert(arguments <= 7);
  return with_length({kMethodOp}, join({path(object), {arguments}, terms}));
}

Code return_value(const Code& value) { return join({{kReturnOp}, value}); }

Code notify(std::string_view object, u64 value) {
  return join({{kNotifyOp}, path(object), integer(value)});
}

}  // namespace dvm::vmm::aml
