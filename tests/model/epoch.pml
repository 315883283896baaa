/* The end of an epoch, and the way back to its beginning, with coordinators that die at any step:
 * vmm/epoch_word.h, epoch_coordinator.cc, epoch_roll_back.cc, epoch_member.cc, vcpu_epoch.cc and
 * hyperkernel/undo_log.h, written_pages.h.
 *
 * Two coordinators, of which one may die; a process with one vCPU that writes P pages, each protected
 * until it has been saved (one page is enough for all mistakes); somebody who asks for a roll-back at any moment. A coordinator may give up
 * an end at any moment, too (its patience). Every value that is written is a new one.
 *
 * Shown: what is put back, pages and vCPU, is what there was when the epoch began, always; and nobody
 * who lives waits for ever. -DMISTAKE=1..5 puts a mistake in, which has to be found.
 */
#ifndef P
#define P 1
#endif
#ifndef WRITES
#define WRITES 2                /* in all */
#endif
#ifndef ENDS
#define ENDS 2                  /* that are tried */
#endif
#ifndef ROLLS
#define ROLLS 1
#endif

#define OPEN 0
#define STOP 1
#define CLOSE 2
#define ROLL 3
#define W(st, e, t) ((e) * 64 + (t) * 4 + (st))
#define STAGE(w) ((w) % 4)
#define TURN(w) (((w) / 4) % 16)
#define EPOCH(w) ((w) / 64)

short word = W(OPEN, 1, 0);
byte number[2];                 /* EpochRecord::log */
byte bank[2];                   /* the vCPU's state */
short vcpu_answered, member_answered;
byte stamp[2 * P], image[2 * P]; /* of both halves of the log */
byte page[P];
bit writable[P];                /* here and now, in the process */
bit pages_lock;                 /* WrittenPages::lock */
byte role = 2;                  /* a coordinator; 2: nobody */
bit dead[3];
byte deaths, ends, rolls, writes;
byte state;                     /* of the vCPU */

/* What a roll-back has to bring back. */
byte then_state[2], then_page[2 * P];

inline capture(n, q) {           /* its own steps: tests/property/undo_deaths_test.cc */
  d_step {
    if
    :: stamp[(n % 2) * P + q] != n ->
       image[(n % 2) * P + q] = page[q];
       stamp[(n % 2) * P + q] = n
    :: else
    fi
  }
}

proctype vcpu() {
  short w;
  byte p, n;
  bit rolled;
again:
  atomic { w = word; p = 0; n = 0 };
  if
#if MISTAKE == 1                /* it says that it stands still, with a state that is void */
  :: rolled && STAGE(w) == OPEN ->
#else
  :: rolled && STAGE(w) != ROLL ->
#endif
     atomic {
       state = bank[EPOCH(w) % 2];
       assert(state == then_state[EPOCH(w) % 2]);
       rolled = 0
     }
  :: else ->
     if
     :: STAGE(w) == OPEN && writes < WRITES ->
        if
        :: p = 0
        :: p = P - 1
        fi;
        if
        :: !writable[p] ->
           do
           :: atomic { !pages_lock -> pages_lock = 1 };
              w = word;
              if
              :: STAGE(w) != CLOSE -> break
              :: else -> pages_lock = 0; STAGE(word) != CLOSE
              fi
           od;
           n = number[EPOCH(w) % 2];
           capture(n, p);
           atomic { writable[p] = 1; pages_lock = 0; n = 0 }
        :: else
        fi;
        atomic { writes++; state = writes; page[p] = writes }
     :: STAGE(w) == STOP && vcpu_answered != w ->
#if MISTAKE == 1
        if
        :: !rolled -> bank[(EPOCH(w) + 1) % 2] = state
        :: else
        fi;
#else
        bank[(EPOCH(w) + 1) % 2] = state;
#endif
        vcpu_answered = w
     :: STAGE(w) == ROLL && vcpu_answered != w ->
        rolled = 1;
        vcpu_answered = w
     :: else ->
end:    word != w
     fi
  fi;
  goto again
}

proctype member() {
  short w;
  byte p, n;
again:
  atomic { w = word; p = 0; n = 0 };
  if
  :: STAGE(w) == CLOSE && member_answered != w ->
     atomic { !pages_lock -> pages_lock = 1 };
#if MISTAKE != 5                /* an answer that comes late, to an end that was given up */
     n = number[(EPOCH(w) + 1) % 2];
#endif
     if
     :: word == w ->
#if MISTAKE == 5
        n = number[(EPOCH(w) + 1) % 2];
#endif
        p = 0;
        do
        :: p == P -> break
        :: p < P && !writable[p] -> p++
        :: p < P && writable[p] ->          /* it stays so, and is saved for the next epoch */
#if MISTAKE != 3
           capture(n, p);
#endif
           p++
        :: p < P && writable[p] -> writable[p] = 0; p++
        od;
        atomic { pages_lock = 0; member_answered = w }
     :: else -> pages_lock = 0
     fi
  :: STAGE(w) == ROLL && member_answered != w -> member_answered = w
  :: else ->
end: word != w
  fi;
  goto again
}

#define MAY_DIE if :: deaths == 0 -> deaths = 1; dead[me] = 1; goto gone :: skip fi

inline begin_to_end() {         /* a number that was never used, in the half of the epoch to come */
  atomic {
    ends++;
    n = (number[0] > number[1] -> number[0] : number[1]) + 1;
#if MISTAKE == 2                /* the same for each end that is tried */
    n = EPOCH(w) + 1;
#endif
    number[(EPOCH(w) + 1) % 2] = n + (n % 2 != (EPOCH(w) + 1) % 2)
  };
  MAY_DIE;
  atomic {
    if
    :: word == w -> w = W(STOP, EPOCH(w), TURN(w) + 1); word = w
    :: else -> goto again
    fi
  };
  MAY_DIE
}

inline call_off() {
  atomic {
    if
    :: word == w -> word = W(OPEN, EPOCH(w), TURN(w))
    :: else
    fi
  }
}

inline commit() {
  atomic {
    if
    :: word == w ->
       word = W(OPEN, EPOCH(w) + 1, TURN(w));
       then_state[(EPOCH(w) + 1) % 2] = state;
       then_page[((EPOCH(w) + 1) % 2) * P] = page[0];
       then_page[((EPOCH(w) + 1) % 2) * P + P - 1] = page[P - 1]
    :: else
    fi
  }
}

proctype coordinator(byte me) {
  short w;
  byte p, n;
again:
end_role:
  if
  :: role == me
  :: atomic { (role == 2 || dead[role]) && role != me -> role = me }
  fi;
  atomic { w = word; p = 0; n = 0 };
  if
  :: STAGE(w) == OPEN && ends < ENDS ->
     begin_to_end();
     if
     :: vcpu_answered == w
     :: word != w -> goto again
     :: call_off(); goto again
     fi;
     atomic {
       if
       :: word == w -> w = W(CLOSE, EPOCH(w), TURN(w)); word = w
       :: else -> goto again
       fi
     };
     MAY_DIE;
     if
#if MISTAKE == 4                /* pages may be protected later */
     :: skip
#else
     :: member_answered == w
#endif
     :: word != w -> goto again
     :: call_off(); goto again
     fi;
     MAY_DIE;
     commit();
     MAY_DIE
  :: STAGE(w) == STOP || STAGE(w) == CLOSE -> call_off()
  :: STAGE(w) == ROLL ->
     if
     :: vcpu_answered == w && member_answered == w
     :: word != w -> goto again
     fi;
     p = 0;
     do
     :: p == P -> break
     :: p < P ->
        d_step {
          n = number[EPOCH(w) % 2];
          if
          :: stamp[(n % 2) * P + p] == n -> page[p] = image[(n % 2) * P + p]
          :: else
          fi;
          p++
        };
        MAY_DIE
     od;
     atomic {
       if
       :: word == w ->
          assert(page[0] == then_page[(EPOCH(w) % 2) * P]);
          assert(page[P - 1] == then_page[(EPOCH(w) % 2) * P + P - 1]);
          word = W(OPEN, EPOCH(w), TURN(w))
       :: else
       fi
     }
  :: else ->
end: word != w
  fi;
  goto again;
gone: atomic { w = 0; p = 0; n = 0 }
}

/* A host was lost. */
proctype loss() {
  do
  :: rolls < ROLLS -> atomic { rolls++; word = W(ROLL, EPOCH(word), TURN(word) + 1) }
  :: break
  od
}

init {
  number[1] = 1;
  atomic { run vcpu(); run member(); run coordinator(0); run coordinator(1); run loss() }
}
