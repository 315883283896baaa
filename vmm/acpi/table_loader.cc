#include "vmm/acpi/table_loader.h"

#include <algorithm>
#include <cstring>

#include "vmm/acpi/fadt.h"
#include "vmm/acpi/table.h"

namespace dvm::vmm {
namespace {

LoaderEntry::Name name_of(std::string_view text) {
  LoaderEntry::Name name{};
  std::ranges::copy(text, name.begin());
  return name;
}

LoaderEntry command(LoaderCommand what, std::string_view file) {
  LoaderEntry entry;
  std::memset(&entry, 0, sizeof(entry));
  entry.command = what;
  entry.file = name_of(file);
  return entry;
}

class Script {
 public:
  void allocate(std::string_view file, u32 alignment, LoaderZone zone) {
    LoaderEntry& entry = add(LoaderCommand::allocate, file);
    entry.allocate.alignment = alignment;
    entry.allocate.zone = zone;
  }
  // Every pointer is to one of the tables.
  void pointer(std::string_view file, u32 offset, u8 bytes) {
    LoaderEntry& entry = add(LoaderCommand::add_pointer, file);
    entry.pointer.target = name_of(kAcpiTablesFile);
    entry.pointer.offset = offset;
    entry.pointer.bytes = bytes;
  }
  void checksum(std::string_view file, u32 offset, u32 start, u32 bytes) {
    LoaderEntry& entry = add(LoaderCommand::add_checksum, file);
    entry.checksum.offset = offset;
    entry.checksum.start = start;
    entry.checksum.bytes = bytes;
  }
  std::vector<LoaderEntry> take() { return std::move(entries_); }

 private:
  LoaderEntry& add(LoaderCommand what, std::string_view file) {
    return entries_.emplace_back(command(what, file));
  }
  std::vector<LoaderEntry> entries_;
};

void fix_array(Script& script, const AcpiTable& table, u8 bytes) {
  for (std::size_t at = kTableHeaderBytes; at < table.bytes.size(); at += bytes)
    script.pointer(kAcpiTablesFile, static_cast<u32>(table.gpa + at), bytes);
}

void fix_pointers(Script& script, const AcpiTable& table) {
  const u32 start = static_cast<u32>(table.gpa);
  if (table.signature == "RSDT") return fix_array(script, table, 4);
  if (table.signature == "XSDT") return fix_array(script, table, 8);
  if (table.signature != "FACP") return;
  script.pointer(kAcpiTablesFile, start + kFadtFirmwareCtrl, 4);
  script.pointer(kAcpiTablesFile, start + kFadtDsdt, 4);
  script.pointer(kAcpiTablesFile, start + kFadtXDsdt, 8);
}

}  // namespace

// A loader may add to a checksum's byte or set it: both are right when it is zero before.
Result<LoaderFiles> make_loader_files(AcpiConfig config) {
  config.base = 0;
  DVM_ASSIGN(auto tables, build_acpi_tables(config));
  LoaderFiles files;
  Script script;
  script.allocate(kAcpiRsdpFile, 16, LoaderZone::fseg);
  script.allocate(kAcpiTablesFile, kAcpiAlignment, LoaderZone::high);
  for (AcpiTable& table : std::span(tables).subspan(1)) {
    fix_pointers(script, table);
    if (table.signature != "FACS") {
      const u32 start = static_cast<u32>(table.gpa), bytes = static_cast<u32>(table.bytes.size());
      table.bytes[kTableChecksum] = 0;
      script.checksum(kAcpiTablesFile, start + kTableChecksum, start, bytes);
    }
    files.tables.resize(table.gpa);
    files.tables.insert(files.tables.end(), table.bytes.begin(), table.bytes.end());
  }
  files.rsdp = std::move(tables.front().bytes);
  files.rsdp[kRsdpChecksum] = files.rsdp[kRsdpExtendedChecksum] = 0;
  script.pointer(kAcpiRsdpFile, kRsdpRsdt, 4);
  script.pointer(kAcpiRsdpFile, kRsdpXsdt, 8);
  script.checksum(kAcpiRsdpFile, kRsdpChecksum, 0, kRsdpAcpi1Bytes);
  script.checksum(kAcpiRsdpFile, kRsdpExtendedChecksum, 0, kRsdpBytes);
  files.script = script.take();
  return files;
}

}  // namespace dvm::vmm
