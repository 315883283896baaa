// The words that name a disk.
#include "tools/disk_option.h"
#include "tools/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dvm::tools {
namespace {

using nlohmann::json;
using srt::DiskCache;

TEST(DiskOption, HasDefaults) {
  const auto d = parse_disk_option("disk.qcow2");
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(d->spec.path, "disk.qcow2");
  EXPECT_EQ(d->spec.format, "raw") << "the name says nothing";
  EXPECT_FALSE(d->spec.read_only);
  EXPECT_FALSE(d->spec.cache.has_value());
  EXPECT_TRUE(d->spec.discard);
  EXPECT_EQ(d->serial, "");
}

TEST(DiskOption, TakesAll) {
  const auto d = parse_disk_option(
      "/a=b/x,,y.img,readonly=on,format=qcow2,cache=buffered,discard=off,serial=A,,1=2");
  ASSERT_TRUE(d.ok()) << d.error().message;
  EXPECT_EQ(d->spec.path, "/a=b/x,y.img");
  EXPECT_EQ(d->spec.format, "qcow2");
  EXPECT_TRUE(d->spec.read_only);
  EXPECT_EQ(d->spec.cache, DiskCache::buffered);
  EXPECT_FALSE(d->spec.discard);
  EXPECT_EQ(d->serial, "A,1=2");
  EXPECT_EQ(parse_disk_option("a,cache=direct,readonly=off")->spec.cache, DiskCache::direct);
}

void expect_usage(const Error& e, const std::string& says) {
  EXPECT_EQ(e.kind, ErrorKind::usage);
  EXPECT_EQ(e.message.find('\n'), std::string::npos);
  EXPECT_NE(e.message.find(says), std::string::npos) << e.message << "\nlacks " << says;
}

TEST(DiskOption, RefusesTheRest) {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {"", "empty"},
      {",readonly=on", "empty"},
      {"a,", "found ''; allowed: NAME=VALUE"},
      {"a,readonly", "found 'readonly'; allowed: NAME=VALUE, NAME one of readonly, format"},
      {"a,readonly=", "readonly: found ''; allowed: on, off"},
      {"a,readonly=yes", "readonly: found 'yes'; allowed: on, off"},
      {"a,readonly=on,readonly=on", "readonly: found twice"},
      {"a,format=auto", "format: found 'auto'; allowed: raw, qcow2"},
      {"a,cache=none", "cache: found 'none'; allowed: direct, buffered"},
      {"a,discard=unmap", "discard: found 'unmap'"},
      {"a,serial=", "serial: found ''; allowed: 1 to 20"},
      {"a,serial=123456789012345678901", "serial"},
      {"a,serial=a b", "serial"},
      {"a,if=virtio", "found unknown 'if'; allowed: readonly, format, cache, discard, serial"},
      {"a,=on", "found unknown ''"},
  };
  for (const auto& c : cases) {
    const auto d = parse_disk_option(c.text);
    ASSERT_FALSE(d.ok()) << c.text;
    expect_usage(d.error(), c.says);
  }
}

TEST(DiskOption, InTheConfigurationFile) {
  const auto disks = disk_options_of(parse_json(
      R"([{"path": "a,b"}, {"path": "c", "readonly": true, "format": "vdi", "cache": "direct",
           "discard": false, "serial": "s"}])"));
  ASSERT_TRUE(disks.ok()) << disks.error().message;
  ASSERT_EQ(disks->size(), 2u);
  EXPECT_EQ((*disks)[0].spec.path, "a,b");
  EXPECT_EQ((*disks)[1].spec.format, "vdi");
  EXPECT_TRUE((*disks)[1].spec.read_only);
  EXPECT_EQ((*disks)[1].serial, "s");
  EXPECT_TRUE(disk_options_of(json::array())->empty());
}

TEST(DiskOption, RefusesTheRestInTheConfigurationFile) {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {R"("a.img")", "found \"a.img\"; allowed: an array"},
      {R"(["a.img"])", "disk 0: found \"a.img\"; allowed: an object"},
      {R"([{}])", "disk 0: found no path"},
      {R"([{"path": "a"}, {"path": 3}])", "disk 1: path: found 3; allowed: a string"},
      {R"([{"path": ""}])", "disk 0: path: "},
      {R"([{"path": "a", "readonly": "on"}])", "readonly: found \"on\"; allowed: true, false"},
      {R"([{"path": "a", "format": []}])", "format: found an array; allowed: a string"},
      {R"([{"path": "a", "format": "x"}])", "format: found 'x'; allowed: raw"},
      {R"([{"path": "a", "size": 3}])",
       "found unknown 'size'; allowed: readonly, format, cache, "
       "discard, serial, path"},
  };
  for (const auto& c : cases) {
    const auto d = disk_options_of(parse_json(c.text));
    ASSERT_FALSE(d.ok()) << c.text;
    expect_usage(d.error(), c.says);
  }
}

}  // namespace
}  // namespace dvm::tools
