#include "tools/fault_command_line.h"

namespace dvm::tools {

std::string fault_help() {
  return R"(NAME
  dvm-fault - make something go wrong with a running guest, on purpose

SYNOPSIS
  dvm-fault [--name NAME] [--json] COMMAND [TRIGGER]

COMMANDS
  kill N                  SIGKILL for the process of node N.
  kill-host N             The same for all processes of node N's host: the node's and its keeper's
                          (dvm-run --protect), and with it the fabric manager's role if that node
                          holds it.
  hang N [--for MS]       All threads of node N stop; after MS they go on, if the manager has not
                          powered the node off by then (its heartbeat has a deadline).
  slow N [--for MS] [--share PERCENT] [--period MS]
                          Node N runs PERCENT (default 10) of each period (default 100 ms).
  power-fail N            SIGPWR for node N: with dvm-run --protect flush it leaves its vCPUs to the
                          others and goes; else it and what it had in private memory are gone.
  partition N [--for MS]  No doorbell or kick goes to or from node N; after MS they all arrive.
  lost-lines N            Node N dies with content that it has written and not written back: at its
                          next such write, or after half a second.
  telemetry N KIND VALUE  A health reading of node N: temperature, corrected-errors,
                          uncorrected-errors, wear.
  panic-guest             A vCPU gets a double fault: the guest's OS panics.
  corrupt header          Bits of the pool's header flip; dvm-ctl check reports where.
  corrupt record NAME     The same in a record: machine, events, instances, membership, directory.
  corrupt page ADDRESS    The page at this guest physical address goes bad, as a memory device's
                          scrubber finds it: the guest's OS is told and takes it out of use, until
                          the guest's next reset.
  plan FILE               All faults of a JSON plan (below).
  points                  List the named points.
  kill, hang and slow take `fabric` for N: the fabric manager's process.

TRIGGERS
  (none)                  At once.
  --at MS                 After MS milliseconds.
  --at-point NAME[:K]     The K-th time (default 1) that node N passes this point; exactly there
                          for kill, kill-host, power-fail and hang.
  --random SEED[,MEAN]    At a time drawn from an exponential distribution with a mean of MEAN
                          milliseconds (default 1000); the same for the same seed.

OPTIONS
  --name NAME             Which guest. Default: the only one that is running.
  --json                  Print the answer as JSON, on one line.
  --version, --help       Print that.

PLAN
  {"faults":[{"fault":"hang","node":1,"for_ms":200,"at_point":"group.armed","occurrence":3},
             {"fault":"slow","node":0,"share":5,"period_ms":50,"for_ms":1000,"at_ms":500},
             {"fault":"telemetry","node":1,"reading":"temperature","value":95},
             {"fault":"corrupt","record":"page","address":305418240},
             {"fault":"corrupt","record":"header","seed":7,"mean_ms":2000}]}
  All of it is checked before any of it begins.

EXIT CODES
  0   carried out, or armed
  1   no such guest, or it could not be carried out
  64  bad command line or plan

Every fault that happens is an event: dvm-ctl events.
)";
}

}  // namespace dvm::tools
