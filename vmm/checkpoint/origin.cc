#include "vmm/checkpoint/origin.h"

#include <fcntl.h>
#include <unistd.h>

namespace dvm::vmm::checkpoint {

Result<File> open_files(const hyperkernel::OriginRecord& record) {
  std::vector<Fd> files;
  for (u32 i = 0; i < record.files; ++i) {
    DVM_ASSIGN(Fd fd, Fd::open(fmt::format("/proc/{}/fd/{}", record.pid, record.fds[i]), O_RDONLY));
    files.push_back(std::move(fd));
  }
  return File::adopt(std::move(files), "the checkpoint");
}

Status name_files(hyperkernel::OriginRecord& record, const File& file) {
  if (file.layers() > record.fds.size())
    return error("{}: stands on more than {} others", file.name(), record.fds.size() - 1);
  record.pid = ::getpid();
  record.files = static_cast<u32>(file.layers());
  for (u32 i = 0; i < record.files; ++i) record.fds[i] = file.fd(i).get();
  return {};
}

Result<std::unique_ptr<hyperkernel::PageOrigin>> watch_origin(
    const hyperkernel::OriginPages& pages, const hyperkernel::GuestMemory& view,
    std::function<void(const Error&)> failed) {
  DVM_ASSIGN(File opened, open_files(pages.record()));
  const auto file = std::make_shared<File>(std::move(opened));
  if (pages.record().pages > file->pages())
    return error("{}: {} pages of RAM, and {} are there", file->name(), pages.record().pages,
                 file->pages());
  hyperkernel::PageOrigin::Source source;
  source.is_zero = [file](u64 page) -> Result<bool> {
    DVM_ASSIGN(const u64 sum, file->sum(page));
    return sum == 0;
  };
  source.read = [file](u64 first, std::span<std::byte> to) { return file->read(first, to); };
  return hyperkernel::PageOrigin::watch(pages, view, std::move(source), std::move(failed));
}

}  // namespace dvm::vmm::checkpoint
