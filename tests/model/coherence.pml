/* A page's coherence protocol, with its movers dying at any step: hyperkernel/coherence.cc.
 *
 * N nodes read, write and evict one page, and with -DSHARE put it into a frame that all map and take it
 * out again; any of them may die between any two steps as long as one
 * lives, and with -DQUIET may stop running the guest and begin again. A dead node's memory stays, as a file
 * that the living hold; that it stays stopped is the fabric's part: a node that hangs is powered off, so
 * it is a death too. Written apart from the C++ state machine, which is explored by itself
 * (tests/property/coherence_exploration_test.cc): the two must not share a mistake.
 *
 * Shown, in every state: a running node that has a copy reads the last write; nobody reads what
 * another may write; the entry leads to the last write, whoever dies next; an entry that is held is
 * held by one at work, or by the dead. -DMISTAKE=1..10 puts a mistake in, which has to be found.
 */
#ifndef N
#define N 3
#endif

mtype = { owned, replicated, shared };
mtype mode = replicated;
byte owner;
bit holds[N];
byte mover;                     /* node + 1 */

bit home = 1;                   /* 1: as last written */
bit present[N], writable[N], current[N];
bit frame;                      /* of the coherent region, 1: as last written */
bit mapped[N], fwrites[N];      /* that frame: may read it, may write to it */
bit marked[N];
mtype = { quiet, waking, running };
mtype run_[N] = running;
bit dead[N], inside[N];
byte living = N;

/* Waits while the mover lives. Who takes a dead one's place takes frames that the entry does not name
 * from everybody before anything else. */
inline take() {
  atomic { mover == 0 || dead[mover - 1] -> left = (mover != 0); mover = p + 1; inside[p] = 1 }
#if MISTAKE == 10               /* a dead mover's frame is left mapped */
  left = 0;
#endif
  atomic {
    if
    :: left && mode != shared -> unmap_all()
    :: else
    fi;
    left = 0
  }
}

inline unmap_all() {
  frame = 0; mapped[0] = 0; fwrites[0] = 0; mapped[1] = 0; fwrites[1] = 0;
#if N > 2
  mapped[2] = 0; fwrites[2] = 0;
#endif
}

inline bring_home(from) {
  writable[from] = 0;
  atomic {
    if
#if MISTAKE == 4                /* the owner's content is not brought home */
#else
    :: present[from] -> home = current[from]
#endif
    :: else
    fi
  }
}

inline drop(x) { atomic { present[x] = 0; writable[x] = 0; current[x] = 0 } }

inline install(w) {
  atomic {
    if
    :: !present[p] -> present[p] = 1; current[p] = home
    :: else
    fi;
    mapped[p] = 0; fwrites[p] = 0; /* the view has one or the other */
    writable[p] = writable[p] | w
  }
}

/* A read-only copy of a node that runs nothing is marked: the mark first, then the look. */
inline invalidate(x) {
#if MISTAKE == 2
  atomic { left = (run_[x] == quiet) };
  marked[x] = 1;
#else
  if
  :: run_[x] == quiet -> marked[x] = 1; atomic { left = (run_[x] == quiet) }
  :: run_[x] != quiet -> left = 0
  fi;
#endif
  if
  :: left -> left = 0
  :: else -> drop(x)
  fi
}

/* A shared page's copies of before: nobody maps the frame until they are gone, whoever put it there. */
inline drop_copies() {
  v = 0;
  do
  :: v < N && holds[v] && v != p -> invalidate(v); v++
  :: v < N && holds[v] && v == p -> drop(p); v++
  :: v < N && !holds[v] -> v++
  :: v == N -> break
  od;
  atomic { v = 0; nobody_holds() }
}

inline nobody_holds() {
  holds[0] = 0; holds[1] = 0;
#if N > 2
  holds[2] = 0;
#endif
}

/* Straight from the owner's copy; the entry names the frame while the copies are still there. */
inline share_page() {
  take();
  if
  :: mode == owned ->
#if MISTAKE == 6                /* filled while the owner goes on writing */
     atomic { if :: present[owner] -> frame = current[owner] :: else -> frame = home fi };
     writable[owner] = 0;
#else
     writable[owner] = 0;
     atomic { if :: present[owner] -> frame = current[owner] :: else -> frame = home fi };
#endif
     atomic { mode = shared; holds[owner] = 1; owner = 0 }
  :: mode == replicated -> frame = home; mode = shared
  :: else
  fi;
  drop_copies();
  atomic { let_go() }
}

inline map_frame() {
#if MISTAKE == 7                /* a dead mover's copies are left */
#else
  drop_copies();
#endif
  atomic { mapped[p] = 1; fwrites[p] = 1 }
  atomic { let_go() }
}

/* Home first, while nobody can write; then the entry says so; only then is the frame taken from its readers. */
inline unshare_page() {
  take();
  if
  :: mode == shared ->
     drop_copies();
#if MISTAKE == 8                /* they write on while it goes home */
#else
     fwrites[0] = 0;
     fwrites[1] = 0;
#if N > 2
     fwrites[2] = 0;
#endif
#endif
     home = frame;
#if MISTAKE == 9                /* the frame goes before the entry names the home */
     atomic { unmap_all() }
     mode = replicated;
#else
     mode = replicated;
     atomic { unmap_all() }
#endif
  :: else
  fi;
  atomic { let_go() }
}

inline let_go() { mover = 0; inside[p] = 0 }

inline read_page() {
  take();
  if
  :: mode == shared -> map_frame()
  :: mode == owned && owner == p -> install(1); atomic { let_go() }
  :: mode == owned && owner != p ->
     bring_home(owner);
     install(0);
     atomic { mode = replicated; holds[owner] = 1; holds[p] = 1; let_go() }
  :: else ->
#if MISTAKE == 3                /* let go before the copy is there */
     atomic { holds[p] = 1; let_go() };
     install(0)
#else
     install(0);
     atomic { holds[p] = 1; let_go() }
#endif
  fi
}

inline write_page() {
  take();
  if
  :: mode == owned && owner != p ->
     bring_home(owner);
#if MISTAKE == 1                /* claimed before the other copy is gone */
     atomic { v = owner; owner = p };
     install(1);
     drop(v);
     v = 0;
#else
     drop(owner);
     owner = p
#endif
  :: mode == replicated ->
     v = 0;
     do
     :: v < N && v != p && holds[v] -> invalidate(v); v++
     :: v < N && (v == p || !holds[v]) -> v++
     :: v == N -> break
     od;
     v = 0;
#if MISTAKE == 5                /* writable before the entry says so */
     install(1);
#endif
     atomic { mode = owned; owner = p; nobody_holds() }
  :: else
  fi;
  if
  :: mode == shared -> map_frame()
  :: else -> install(1); atomic { let_go() }
  fi
}

inline evict_page(x) {
  take();
  if
  :: mode == owned && owner == x -> bring_home(x); drop(x); atomic { mode = replicated; let_go() }
  :: mode == replicated && holds[x] -> drop(x); atomic { holds[x] = 0; let_go() }
  :: mode == shared -> drop_copies(); atomic { let_go() }
  :: else -> atomic { let_go() }
  fi
}

inline begin_to_run() {
  run_[p] = waking;
  if
  :: marked[p] ->
     marked[p] = 0;
     if
     :: !(mode == owned && owner == p) -> drop(p)
     :: else
     fi
  :: else
  fi;
  run_[p] = running
}

#define is_running (run_[p] == running)

proctype Node(byte p) provided (!dead[p]) {
  byte v;
  bit left;
end:
  do
  :: is_running && !present[p] && !mapped[p] -> read_page()
  :: is_running && !writable[p] && !fwrites[p] -> write_page()
#ifdef SHARE
  :: is_running && mode == shared -> unshare_page()
  :: is_running && mode != shared -> share_page()
#endif
  :: is_running && present[p] -> evict_page(p)
  :: is_running && dead[(p + 1) % N] -> evict_page(((p + 1) % N))
#if N > 2
  :: is_running && dead[(p + 2) % N] -> evict_page(((p + 2) % N))
#endif
#ifdef QUIET
  :: is_running -> run_[p] = quiet; begin_to_run()
#endif
  od
}

/* A write by a vCPU, beside whatever its node's transition is at. */
proctype Vcpu(byte p) provided (!dead[p]) {
end:
  do
  :: atomic { is_running && fwrites[p] ->
       home = 0; current[0] = 0; current[1] = 0;
#if N > 2
       current[2] = 0;
#endif
       frame = 1 }
  :: atomic { is_running && writable[p] ->
       home = 0; frame = 0; current[0] = 0; current[1] = 0;
#if N > 2
       current[2] = 0;
#endif
       current[p] = 1 }
  od
}

active proctype Crash() {
end:
  do
  :: atomic { living > 1 && !dead[0] -> dead[0] = 1; living-- }
  :: atomic { living > 1 && !dead[1] -> dead[1] = 1; living-- }
#if N > 2
  :: atomic { living > 1 && !dead[2] -> dead[2] = 1; living-- }
#endif
  od
}

#define reads(x) (!dead[x] && run_[x] == running && present[x])
#define writes(x) (!dead[x] && (writable[x] || fwrites[x]))
#define leads_to_last (mode == shared && frame || mode == replicated && home || mode == owned && (present[owner] && current[owner] || !present[owner] && home))
#if N > 2
#define old_read (reads(0) && !current[0] || reads(1) && !current[1] || reads(2) && !current[2] || \
  !frame && (mapped[0] || mapped[1] || mapped[2]))
#define two (writes(0) && (reads(1) || reads(2)) || writes(1) && (reads(0) || reads(2)) || writes(2) && (reads(0) || reads(1)))
#else
#define old_read (reads(0) && !current[0] || reads(1) && !current[1] || !frame && (mapped[0] || mapped[1]))
#define two (writes(0) && reads(1) || writes(1) && reads(0))
#endif

active proctype Monitor() {
end:
  atomic {
    (old_read || two || !leads_to_last || mover != 0 && !dead[mover - 1] && !inside[mover - 1]) ->
    assert(false)
  }
}

init {
  atomic {
    run Node(0); run Vcpu(0); run Node(1); run Vcpu(1);
#if N > 2
    run Node(2); run Vcpu(2);
#endif
  }
}
