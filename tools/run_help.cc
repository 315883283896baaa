#include "tools/disk_launch.h"
#include "tools/run_command_line.h"
#include "tools/size_text.h"
#include "vmm/layout.h"

namespace dvm::tools {

std::string run_help() {
  using namespace vmm::layout;
  return fmt::format(R"(NAME
  dvm-run - run one virtual machine over several nodes

SYNOPSIS
  dvm-run --kernel FILE [--initrd FILE] [--append TEXT] [--nodes N] [--cpus M] [--memory SIZE] ...
  dvm-run --config FILE.json [OPTION...]

DESCRIPTION
  Starts a guest whose vCPUs run in N node processes and whose state lives in a memory pool that all
  of them share. The guest's serial port is on standard input and output; all that dvm-run itself
  has to say goes to standard error. Needs a working /dev/kvm (tools/lab runs commands where KVM is
  emulated).

OPTIONS
  --kernel FILE       Linux kernel image, bzImage. Needed, here or in the configuration.
  --initrd FILE       Initial RAM disk. Default: none.
  --append TEXT       Kernel command line. Default: empty. For text that starts with '-' write
                      --append=TEXT.
  --disk IMG[,readonly=on][,format=FORMAT][,cache=direct|buffered][,discard=on|off][,serial=TEXT]
                      A disk of the guest's: a file or block device. format: raw (default), or any
                      that qemu-nbd knows. May be given up to {disks} times. A comma in a path is
                      written twice.
  --nodes N           Node processes, 1 to {nodes}. Default: 1. More nodes than vCPUs is allowed: those
                      left over hold memory only.
  --cpus M            vCPUs, 1 to {cpus}. Default: 1.
  --memory SIZE       RAM, {min_memory} to {max_memory}, a multiple of 2 MiB. Bytes, or with K, M, G or T
                      (powers of 1024). Default: 512M.
  --placement LIST    The node of each vCPU, separated by commas: 0,0,1,1. Default: contiguous
                      blocks of equal size.
  --name NAME         Name of the guest, for dvm-ctl: 1 to 48 of A-Z a-z 0-9 . _ -. No two running
                      guests have the same. Default: dvm-PID.
  --pool PATH         Keep the pool in this file (tmpfs, hugetlbfs) or DAX device. A file that
                      dvm-run makes, it removes at the end. Default: anonymous memory.
  --on-panic WHAT     When the guest kernel panics: reboot, or exit with code 3. Default: reboot.
  --events FILE       Append what happens to the guest, one JSON object a line. Default: not kept.
  --net user[,hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT]...
                      A network of the guest's own behind this machine's sockets: 10.0.2.0/24, the
                      guest .15 by DHCP, this machine .2, DNS .3. A hostfwd leads a port of this
                      machine into the guest. Needs no rights. Default: no network.
  --net tap=IFNAME[,queues=N]
                      A tap interface that exists (ip tuntap add IFNAME mode tap user USER), with
                      N queues, 1 to 8. Default: 1; more need a multi_queue interface.
  --mac ADDRESS       The network card's address, 52:54:00:12:34:56. Default: made from the name.
  --config FILE.json  Read options from a JSON object with the keys kernel, initrd, append, nodes,
                      cpus, memory ("512M" or bytes), placement ([0,0,1,1]), name, pool, on_panic,
                      events, net, mac, disks (an array of objects with path, readonly, format, cache,
                      discard, serial). The command line wins over the file. Paths are relative to the
                      current folder.
  --version           Print the version.
  --help              Print this.

KEYS
  When standard input is a terminal it is in raw mode, so that every key reaches the guest, but for:
  Ctrl-A x            Stop the guest at once.
  Ctrl-A h            Help on the keys.
  Ctrl-A a            Type Ctrl-A itself (so does Ctrl-A Ctrl-A).

SIGNALS
  SIGTERM, SIGINT, SIGHUP ask the guest to shut down (power button); the second one stops it.

EXIT CODES
  0   the guest shut itself down, or was stopped by you (Ctrl-A x, second signal, dvm-ctl stop)
  1   run-time error: KVM, memory, or a node that died
  3   the guest panicked under --on-panic exit
  64  bad command line or configuration

FILES
  $DVM_RUNTIME_DIR/NAME/, else $XDG_RUNTIME_DIR/dvm/NAME/, else /run/dvm/NAME/ (or /tmp/dvm-UID/NAME/
  when that cannot be written): control socket and lock of a running guest, gone when it ends.

EXAMPLES
  dvm-run --kernel vmlinuz --initrd initrd.img --append console=ttyS0 --nodes 2 --cpus 4
  dvm-run --config demo.json --name demo --on-panic exit
  dvm-ctl --name demo status
)",
                     fmt::arg("nodes", kMaxNodes), fmt::arg("disks", GuestDisks::kMax),
                     fmt::arg("cpus", kMaxVcpus), fmt::arg("min_memory", format_size(kMinMemory)),
                     fmt::arg("max_memory", format_size(kMaxMemory)));
}

}  // namespace dvm::tools
