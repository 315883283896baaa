// Builds AML, the byte code of ACPI tables (ACPI 6.5 §20.2). Each function returns the encoding of
// one term; terms are put together by nesting. Arguments are our own constants: what cannot be
// encoded is a bug and asserted, not an error.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "fabric/types.h"

namespace dvm::vmm::aml {

using Code = std::vector<u8>;

// Terms one after the other.
Code join(std::span<const Code> terms);
Code join(std::initializer_list<Code> terms);

// A name path: "PCI0", "\\_SB.PCI0", "^^X". Segments shorter than four characters are filled up.
Code path(std::string_view text);

// Data. An integer takes the shortest of its encodings.
Code integer(u64 value);
Code string(std::string_view text);  // 7-bit ASCII
Code buffer(std::span<const u8> bytes);
Code package(std::span<const Code> elements);  // at most 255
Code package(std::initializer_list<Code> elements);
Code eisa_id(std::string_view id);  // "PNP0A03": a compressed EISA id (ACPI 6.5 §19.3.4)

// Named objects.
Code name(std::string_view object, const Code& value);
Code scope(std::string_view location, const Code& terms);
Code device(std::string_view object, const Code& terms);
// Not serialized. `arguments` is 0..7.
Code method(std::string_view object, u8 arguments, const Code& terms);
Code return_value(const Code& value);
Code notify(std::string_view object, u64 value);

// The length in front of a term list, which counts itself (§20.2.4). Exposed for its test.
Code package_length(std::size_t bytes_after);

}  // namespace dvm::vmm::aml
