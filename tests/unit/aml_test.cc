#include "vmm/acpi/aml.h"

#include <gtest/gtest.h>

#include "vmm/acpi/resource.h"

namespace dvm::vmm::aml {
namespace {

// Decodes as an OS does (ACPI 6.5 §20.2.4); returns the length and how many bytes it took.
std::pair<std::size_t, std::size_t> decode_length(const Code& code) {
  const unsigned others = code.at(0) >> 6;
  std::size_t length = others == 0 ? code[0] & 0x3fu : code[0] & 0xfu;
  if (others != 0) {
    EXPECT_EQ(code[0] & 0x30, 0) << "reserved bits";
  }
  for (unsigned i = 0; i < others; ++i) length |= std::size_t{code.at(1 + i)} << (4 + 8 * i);
  return {length, 1 + others};
}

TEST(AmlTest, PackageLengthCountsItselfAtEveryBoundary) {
  for (std::size_t edge : {0x3fu, 0xfffu, 0xfffffu}) {
    for (std::size_t n = edge - 6; n <= edge + 6; ++n) {
      const Code code = package_length(n);
      const auto [length, bytes] = decode_length(code);
      EXPECT_EQ(bytes, code.size());
      EXPECT_EQ(length, n + bytes);
    }
  }
  EXPECT_EQ(package_length(0), (Code{1}));
  EXPECT_EQ(package_length(62), (Code{63}));
  EXPECT_EQ(package_length(63), (Code{0x41, 0x04}));
}

TEST(AmlTest, IntegersTakeTheirShortestForm) {
  EXPECT_EQ(integer(0), (Code{0x00}));
  EXPECT_EQ(integer(1), (Code{0x01}));
  EXPECT_EQ(integer(0xff), (Code{0x0a, 0xff}));
  EXPECT_EQ(integer(0x100), (Code{0x0b, 0x00, 0x01}));
  EXPECT_EQ(integer(0x1'0000), (Code{0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(integer(0x1'0000'0000), (Code{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(AmlTest, Paths) {
  EXPECT_EQ(path("_HID"), (Code{'_', 'H', 'I', 'D'}));
  EXPECT_EQ(path("\\_SB"), (Code{'\\', '_', 'S', 'B', '_'}));
  EXPECT_EQ(path("\\_SB.PCI0"), (Code{'\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0'}));
  EXPECT_EQ(path("^A.B.C"),
            (Code{'^', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
  EXPECT_EQ(path("\\"), (Code{'\\', 0}));
}

TEST(AmlTest, TermsNest) {
  EXPECT_EQ(eisa_id("PNP0A03"), (Code{0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(string("ab"), (Code{0x0d, 'a', 'b', 0}));
  EXPECT_EQ(buffer(Code{7, 8, 9}), (Code{0x11, 6, 0x0a, 3, 7, 8, 9}));
  EXPECT_EQ(package({integer(5), integer(0)}), (Code{0x12, 5, 2, 0x0a, 5, 0}));
  EXPECT_EQ(device("D", name("_UID", integer(1))),
            (Code{0x5b, 0x82, 11, 'D', '_', '_', '_', 0x08, '_', 'U', 'I', 'D', 0x01}));
  EXPECT_EQ(method("_STA", 0, return_value(integer(0xf))),
            (Code{0x14, 9, '_', 'S', 'T', 'A', 0, 0xa4, 0x0a, 0x0f}));
  EXPECT_EQ(scope("\\", {}), (Code{0x10, 3, '\\', 0}));
}

TEST(AmlTest, ResourceDescriptors) {
  EXPECT_EQ(io_ports(0x3f8, 8), (Code{0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8}));
  EXPECT_EQ(interrupt(4, Trigger::edge, Polarity::active_high),
            (Code{0x89, 6, 0, 3, 1, 4, 0, 0, 0}));
  EXPECT_EQ(memory32(0xb000'0000, 0x10'0000, true),
            (Code{0x86, 9, 0, 1, 0, 0, 0, 0xb0, 0, 0, 0x10, 0}));
  EXPECT_EQ(bus_window(0, 0), (Code{0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(memory_window32(0xc000'0000, 0xfebf'ffff),
            (Code{0x87, 23,   0,    0,    0x0c, 1, 0, 0, 0, 0, 0, 0,    0,
                  0xc0, 0xff, 0xff, 0xbf, 0xfe, 0, 0, 0, 0, 0, 0, 0xc0, 0x3e}));
  EXPECT_EQ(memory_window64(0, 0xff).size(), 46u);
  const Code crs = resource_template({io_ports(0x70, 2)});
  EXPECT_EQ(crs, (Code{0x11, 13, 0x0a, 10, 0x47, 1, 0x70, 0, 0x70, 0, 1, 2, 0x79, 0}));
}

}  // namespace
}  // namespace dvm::vmm::aml
