#include "tools/disk_launch.h"
#include "tools/memory_option.h"
#include "tools/run_command_line.h"
#include "tools/size_text.h"
#include "vmm/layout.h"

namespace dvm::tools {

std::string cpu_help() {
  std::string text;
  for (u32 i = 0; i < vmm::kCpuLevels; ++i) {
    const auto level = static_cast<vmm::CpuLevel>(i);
    text +=
        fmt::format("{:<10} {}\n", vmm::cpu_level_name(level), vmm::cpu_level_description(level));
  }
  return text;
}

std::string run_help() {
  using namespace vmm::layout;
  return fmt::format(
      R"(NAME
  dvm-run - run one virtual machine over several nodes

SYNOPSIS
  dvm-run --kernel FILE [--initrd FILE] [--append TEXT] [--nodes N] [--cpus M] [--memory SIZE] ...
  dvm-run --firmware FILE [--firmware-log FILE] [--nodes N] [--cpus M] [--memory SIZE] ...
  dvm-run --config FILE.json [OPTION...]
  dvm-run --resume POOL|CHECKPOINT [--name NAME] [--detach] ...
  dvm-run --ghosts N [--nodes N] [--net user]

DESCRIPTION
  Starts a guest whose vCPUs run in N node processes and whose state lives in a memory pool that all
  of them share. The guest's serial port is on standard input and output; all that dvm-run itself
  has to say goes to standard error. Needs a working /dev/kvm (tools/lab runs commands where KVM is
  emulated).

OPTIONS
  --kernel FILE       Linux kernel image, bzImage, booted directly. This or firmware is needed, here
                      or in the configuration.
  --firmware FILE     A PC BIOS that finds what to boot, in place of a kernel: a multiple of 64 KiB,
                      up to 1 MiB. Debian's SeaBIOS is {firmware}.
                      Its screen is the serial port.
  --firmware-log FILE Write what SeaBIOS logs to this file. Default: SeaBIOS logs nothing, which is
                      faster.
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
  --coherence shared|software
                      shared: all nodes map the pool's pages, which must be coherent between them.
                      software: a page is in the memory of the node that writes it, or copied to
                      those that read it, and changes hands when another wants it; only metadata
                      and the coherent region are touched by two nodes at once. Needs Linux 6.4.
                      Default: shared.
  --local-memory SIZE With software coherence: what each node keeps of the guest's RAM, at least
                      {min_local}; the rest is in the pool. Default: as much as there is RAM.
  --coherent-memory SIZE
                      With software coherence: the region of pages that many nodes write all the
                      time, {min_coherent} to {max_coherent}, a multiple of 2 MiB. Default: {coherent}.
  --srt on|off        Whether blocks of disks that are in memory already are read from there, also
                      after the guest has panicked or been reset: it is back without reading the
                      disk again. dvm-ctl srt tells what it gives. Default: on.
  --srt-memory SIZE   What that may take beside RAM, for the table, copies, and memory of the boot
                      before. Default: half of RAM, at least 64M.
  --srt-warm FILE     Write to FILE, now and then and at the end, which blocks of its disks the guest
                      wants; where FILE is there at the start, read these ahead of the guest. For
                      machines whose memory was lost since: what was read in its last boot is in
                      memory when it asks. It can be made by dvm-ctl srt --blocks, too.
  --policy static|affinity|learned
                      Whether vCPUs change their node by themselves, with software coherence.
                      static: no. affinity: a vCPU goes to the node that most of the pages it
                      fetches come from. learned: when what it pays for being elsewhere exceeds
                      what moving costs here. dvm-ctl why tells the reasons. Default: static.
  --protect none|flush|epoch[:MS]
                      What the guest does when a node's process is killed or hangs, or its power
                      fails (SIGPWR). none: it ends. flush: it goes on; the node's vCPUs are read
                      out by a second process that shares its memory, and run on elsewhere, from
                      the very instruction. epoch: the same; and where that process is lost too,
                      the guest goes back to the instant at which all of it was last saved, at most
                      MS ms ago (5 to 10000; default: 100), or 8 MS where saving is dear. Nothing
                      leaves the guest before it is saved what it came from: output waits that
                      long. Default: none.
  --placement LIST    The node of each vCPU, separated by commas: 0,0,1,1. Default: contiguous
                      blocks of equal size.
  --name NAME         Name of the guest, for dvm-ctl: 1 to 48 of A-Z a-z 0-9 . _ -. No two running
                      guests have the same. Default: dvm-PID.
  --pool PATH         Keep the pool in this file (tmpfs, hugetlbfs) or DAX device. A file that
                      dvm-run makes, it removes at the end. Default: anonymous memory.
  --resume POOL       Go on with the guest in this pool, all of whose processes are gone: from where
                      its power failed (SIGPWR to dvm-run, with --protect flush or epoch), else
                      from the beginning of its last epoch (--protect epoch). It says why if that
                      cannot be, and leaves the pool as it was. The guest is what it was; with it
                      may be said only --name, --detach, --serial, --events, --gdb, --policy,
                      --firmware-log, --low-latency and --hang-after.
  --resume CHECKPOINT Go on from a file of dvm-ctl checkpoint, which stays as it is: any number of
                      guests may. Pages come from it when they are touched (all of them before the
                      guest runs with --pool or --protect epoch). Also --nodes, --placement,
                      --pool, --protect, --net, --mac, --console, --on-panic, --srt, --srt-memory
                      and --overlays may be said; pool, --events, --serial, --gdb and --detach are
                      not as it was launched, nor, under another name, its MAC address.
  --overlays DIR      With --resume of a checkpoint that was taken with copies of its disks: what
                      the guest writes to them goes to DIR/NAME-disk0.qcow2 and so on, which stay.
                      Default: files without a name beside the disks, which are gone with it.
  --ghosts N          No guest, but N launchers that wait with their programs (for --nodes nodes, and
                      with --net user a user network), up to {max_ghosts}. dvm-ctl fork and dvm-run --resume
                      --detach of this user take those, which saves the start of programs, and
                      others come in their place. They have the environment and limits of this
                      command. It ends with a signal; guests that came of it do not.
  --on-panic WHAT     When the guest kernel panics: reboot, or exit with code 3. Default: reboot.
  --watchdog on|off   A watchdog timer, which the guest's kernel finds by ACPI (Linux: wdat_wdt,
                      /dev/watchdog). When it runs out, that is a panic. Default: off.
  --events FILE       Append what happens to the guest, one JSON object a line. Default: not kept.
  --serial WHERE      Where the guest's serial port leads. Default: stdio; with --detach: a log of
                      256 KiB in memory. dvm-ctl console shows it in any case.
                      stdio        standard input and output; a slow reader holds the guest back
                      file:PATH    output only; an existing file is truncated, as QEMU does
                      unix:PATH    a listening socket (at most 107 bytes of path), one client at a
                                   time. A client begins where the one before it ended; one that
                                   reads slowly, or comes late, loses what is older than the last
                                   256 KiB, and is told how much. The guest never waits for it.
  --console WHERE     A virtio console, hvc0 for the guest (console=hvc0 on its command line): off, or
                      virtio[:stdio|:file:PATH|:unix:PATH], which mean what they do for --serial.
                      virtio alone keeps a log of 256 KiB for dvm-ctl console. It knows the size of
                      the terminal. With virtio:stdio the serial port is kept as a log. Default: off.
  --balloon           A memory balloon: dvm-ctl balloon takes memory from the guest and gives it
                      back; pages that the guest reports as free go back to the host at once. When
                      the guest runs out of memory it takes what it needs out of the balloon.
  --gdb WHERE         A stub for gdb on a listening socket, unix:PATH or tcp:HOST:PORT (that is
                      target remote PATH, or HOST:PORT, in gdb). Each vCPU is a thread; the guest
                      stops when gdb comes and goes on when it leaves. Whoever reaches the socket
                      can do anything to the guest. Default: none.
  --detach            Return with code 0 once the guest runs; it goes on in the background, in a
                      session of its own. What keeps it from starting is reported as ever. Not
                      with --serial stdio.
  --cpu MODEL         The CPU that the guest sees: host (all that KVM offers), x86-64-v1, x86-64-v2
                      or x86-64-v3 (no feature above that level; security features that need the
                      host's microcode are hidden too). Refused if this host lacks some of it.
                      help lists them. Default: host.
  --net user[,hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT]...
                      A network of the guest's own behind this machine's sockets: 10.0.2.0/24, the
                      guest .15 by DHCP, this machine .2, DNS .3. A hostfwd leads a port of this
                      machine into the guest. Needs no rights. Default: no network.
  --net tap=IFNAME[,queues=N]
                      A tap interface that exists (ip tuntap add IFNAME mode tap user USER), with
                      N queues, 1 to 8. Default: 1; more need a multi_queue interface.
  --mac ADDRESS       The network card's address, 52:54:00:12:34:56. Default: made from the name.
  --hang-after MS     A node that is silent for so many milliseconds, 100 to 600000, is powered off and
                      is dead. (Processes that die are noticed at once.) Default: 2000.
  --low-latency       Keep this machine's processors from sleeping while the guest runs: a node's death
                      is known in half the time, interrupts between nodes are quicker, idle
                      processors use power. Needs write access to /dev/cpu_dma_latency.
  --config FILE.json  Read options from a JSON object with the keys kernel, initrd, append, nodes,
                      cpus, memory ("512M" or bytes), placement ([0,0,1,1]), name, pool, on_panic,
                      events, disks (an array of objects with path, readonly, format, cache,
                      discard, serial), firmware, firmware_log, serial, console, gdb, cpu, balloon,
                      detach and low_latency (true or false), hang_after, net, mac, coherence,
                      local_memory, coherent_memory, policy, protect, srt, srt_memory, srt_warm,
                      watchdog. The command line wins over the file. Paths are relative to the
                      current folder.
  --version           Print the version.
  --help              Print this.

KEYS
  When standard input is a terminal it is in raw mode, so that every key reaches the guest, but for:
  Ctrl-A x            Stop the guest at once.
  Ctrl-A w            Type this window's size, as a stty command for the guest's shell.
  Ctrl-A h            Help on the keys.
  Ctrl-A a            Type Ctrl-A itself (so does Ctrl-A Ctrl-A).

SIGNALS
  SIGTERM, SIGINT, SIGHUP ask the guest to shut down (power button); the second one stops it.
  SIGPWR: the power fails. With --pool and --protect the guest is saved, and --resume goes on.

EXIT CODES
  0   the guest shut itself down, was stopped by you (Ctrl-A x, second signal, dvm-ctl stop), or was
      saved as its power failed
  1   run-time error: KVM, memory, or a node that died
  3   the guest panicked under --on-panic exit
  64  bad command line or configuration

FILES
  $DVM_RUNTIME_DIR/NAME/, else $XDG_RUNTIME_DIR/dvm/NAME/, else /run/dvm/NAME/ (or /tmp/dvm-UID/NAME/
  when that cannot be written): control socket and lock of a running guest, gone when it ends. With --detach
  also NAME/log: what dvm-run and its nodes said (the last 128 to 256 KiB); after an error it is kept
  as NAME:log until the next guest of that name is started detached or not.

EXAMPLES
  dvm-run --kernel vmlinuz --initrd initrd.img --append console=ttyS0 --nodes 2 --cpus 4
  dvm-run --config demo.json --name demo --on-panic exit
  dvm-run --config demo.json --name demo --detach && dvm-ctl --name demo console
  dvm-ctl --name demo status
)",
      fmt::arg("nodes", kMaxNodes), fmt::arg("disks", GuestDisks::kMax),
      fmt::arg("cpus", kMaxVcpus), fmt::arg("min_local", format_size(kMinLocalMemory)),
      fmt::arg("min_coherent", format_size(kMinCoherentMemory)),
      fmt::arg("max_coherent", format_size(kMaxCoherentMemory)),
      fmt::arg("coherent", format_size(kDefaultCoherentMemory)),
      fmt::arg("firmware", kDefaultFirmware), fmt::arg("min_memory", format_size(kMinMemory)),
      fmt::arg("max_memory", format_size(kMaxMemory)), fmt::arg("max_ghosts", GhostRequest::kMax));
}

}  // namespace dvm::tools
