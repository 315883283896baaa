/* Announcing a failure and recovering from it, with the fabric manager and the runner of the recovery
 * dying at any step: fabric/failure_watch.cc, manager.cc, membership.cc, recovery.cc.
 *
 * N processes can hold the manager's role and run recoveries (two threads each); member V only dies.
 * Any of them may die between any two steps, as long as one of the N lives. That a manager has stopped
 * what it announces (suspect to fenced) is the detector's and the kernel's part: here a crash is a
 * stop. A hung process is powered off, so it is a crash too.
 *
 * Shown: every failure is announced once, only of one that stopped, and recovered once; never two
 * living runners in one recovery; a finished step is not run again; and (ltl buried) every failure
 * ends in `dead`, whoever dies. -DMISTAKE=1..4 puts a mistake in, which has to be found.
 */
#ifndef N
#define N 2
#endif
#define V N
#define M (N + 1)
#define STEPS 2

mtype = { none, suspect, fenced, announced, salvaged, dead };
mtype = { joined, died, recovered };

bit stopped[M], stale[M];
mtype stage[M] = none;          /* FailureWord::stage */
byte step[M];                   /* FailureWord::step */
byte runner[M];                 /* FailureRecord::runner: process + 1 */
byte holder = 1;                /* RoleWord::holder: process + 1 */

/* The group of all: its lock, its journal (armed: 1 before, 2 after the notification is out). */
byte lock;
byte armed;
mtype change_kind;
byte change_who;
mtype member[M] = joined;
byte told_died[M], told_recovered[M];

byte inside[M];                 /* living runners in the recovery of this one */
byte ran[M];                    /* steps recorded as done */
byte living = N;

inline publish() {              /* LogEntry, then `tail`: the change has happened */
  atomic {
    armed = 2;
    if
    :: change_kind == died -> told_died[change_who]++; assert(stopped[change_who])
    :: else -> told_recovered[change_who]++
    fi;
    assert(told_died[change_who] <= 1 && told_recovered[change_who] <= told_died[change_who])
  }
}

/* Membership::announce; `ok` tells whether the lock was to be had. */
inline announce(d, from, to, ok) {
  atomic {
    if
    :: lock == 0 || stale[lock - 1] -> lock = p + 1; ok = 1
    :: else -> ok = 0
    fi
  };
  if
  :: ok ->
     if
#if MISTAKE == 1                /* a change of a dead one is dropped */
     :: armed == 1 -> armed = 0
#else
     :: armed == 1 -> member[change_who] = change_kind; publish(); armed = 0
#endif
#if MISTAKE == 2                /* redone although it is out */
     :: armed == 2 -> publish(); armed = 0
#else
     :: armed == 2 -> armed = 0
#endif
     :: else
     fi;
     if
     :: member[d] == from ->
        atomic { change_kind = to; change_who = d };
        armed = 1;
        member[d] = to;
        publish();
        armed = 0
     :: else
     fi;
     lock = 0
  :: else
  fi
}

inline advance(d, from, to) {
  atomic {
    if
    :: stage[d] == from -> stage[d] = to
    :: else
    fi
  }
}

#define unburied(x) (x != p && stopped[x] && (stage[x] == none || stage[x] == suspect || stage[x] == fenced))

proctype Manager(byte p) provided (!stopped[p]) {
  byte d, seen;
  bit ok;
end:
  do
  :: holder == p + 1 ->
     if                         /* blocks until there is something to do */
     :: atomic { unburied(0) -> d = 0 }
     :: atomic { unburied(1) -> d = 1 }
     :: atomic { unburied(2) -> d = 2 }
#if N > 2
     :: atomic { unburied(3) -> d = 3 }
#endif
     fi;
     advance(d, none, suspect);
     advance(d, suspect, fenced);
     stale[d] = 1;
     announce(d, joined, died, ok);
     if
#if MISTAKE == 4                /* a new manager trusts that the old one had told */
     :: true -> advance(d, fenced, announced)
#else
     :: ok -> runner[d] = 0; advance(d, fenced, announced)
#endif
     :: else
     fi
  :: atomic { holder != p + 1 && stopped[holder - 1] -> seen = holder };
     advance(seen - 1, none, suspect);
     atomic {
       if
       :: holder == seen -> holder = p + 1
       :: else
       fi
     };
     seen = 0; d = 0
  od
}

#define due(x) (stage[x] == announced || stage[x] == salvaged)
#if MISTAKE == 3                /* a living runner is not left alone */
#define claimable(x) (due(x) && x != p && runner[x] != p + 1)
#else
#define claimable(x) (due(x) && x != p && runner[x] != p + 1 && (runner[x] == 0 || stale[runner[x] - 1]))
#endif

proctype Runner(byte p) provided (!stopped[p]) {
  byte d, seen;
  bit ok;
end:
  do
  :: if
     :: atomic { claimable(0) -> d = 0; seen = runner[d] }
     :: atomic { claimable(1) -> d = 1; seen = runner[d] }
     :: atomic { claimable(2) -> d = 2; seen = runner[d] }
#if N > 2
     :: atomic { claimable(3) -> d = 3; seen = runner[d] }
#endif
     fi;
     atomic {
       if
       :: runner[d] == seen ->
          runner[d] = p + 1; inside[d]++; assert(inside[d] == 1)
       :: else -> goto lost
       fi
     };
     do
     :: stage[d] == announced && step[d] < STEPS ->
        assert(ran[d] == step[d]); /* the routine runs; then it is recorded */
        atomic { step[d]++; ran[d]++ }
     :: stage[d] == announced && step[d] == STEPS -> stage[d] = salvaged
     :: stage[d] == salvaged ->
        ok = 0;
        do
        :: !ok -> announce(d, died, recovered, ok)
        :: ok -> break
        od;
        atomic { stage[d] = dead; inside[d]-- }
     :: !due(d) -> break
     od;
lost:
     seen = 0; d = 0; ok = 0
  od
}

/* A stopped runner is inside no more. */
inline stop(x) {
  stopped[x] = 1;
  inside[0] = inside[0] - (runner[0] == x + 1 && inside[0] > 0);
  inside[1] = inside[1] - (runner[1] == x + 1 && inside[1] > 0);
  inside[2] = inside[2] - (runner[2] == x + 1 && inside[2] > 0)
#if N > 2
  ; inside[3] = inside[3] - (runner[3] == x + 1 && inside[3] > 0)
#endif
}

active proctype Crash() {
end:
  do
  :: atomic { !stopped[V] -> stop(V) }
  :: atomic { living > 1 && !stopped[0] -> stop(0); living-- }
  :: atomic { living > 1 && !stopped[1] -> stop(1); living-- }
#if N > 2
  :: atomic { living > 1 && !stopped[2] -> stop(2); living-- }
#endif
  od
}

init {
  atomic {
    run Manager(0); run Runner(0);
    run Manager(1); run Runner(1);
#if N > 2
    run Manager(2); run Runner(2);
#endif
  }
}

#define over(x) (!stopped[x] || (stage[x] == dead && told_died[x] == 1 && told_recovered[x] == 1))
#if N > 2
ltl buried { []<> (over(0) && over(1) && over(2) && over(3)) }
#else
ltl buried { []<> (over(0) && over(1) && over(2)) }
#endif
