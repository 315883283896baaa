/* The queue lock of fabric/queue_lock.h: places in an array, turns granted in order, and whoever
 * waits passes the turn on for the dead. Any process may die between any two steps; at most DEATHS
 * do, and a death is announced at once (no step of the dead comes after it).
 * Checked: never two inside; nobody who lives waits for ever (no invalid end state).
 * Tickets are not reduced modulo a round: TICKETS bounds them, SLOTS places are reused. */
#define SLOTS 2
#ifndef MISTAKE
#define MISTAKE 0 /* 1: a place is left before the turn is granted  2: whoever sees a dead one passes its turn on */
#endif
#define PROCS 3
#define DEATHS 2
#define FREE 255
#define TICKETS 12

byte owner[SLOTS];      /* who has the place, FREE */
byte ticket_of[SLOTS];  /* which ticket the word speaks of */
byte granted[SLOTS];    /* the last ticket of the slot whose turn came */
byte next = 0;
bool dead[PROCS];
byte deaths = 0;
byte inside = 0;

#define HAS_TURN(t) (granted[(t) % SLOTS] >= (t))
#define MAY_DIE  if :: deaths < DEATHS -> atomic { deaths++; dead[me] = true; goto died } :: skip fi

/* pass_on, split into its steps: t is the dead one's ticket, o its owner as seen */
#define PASS_ON(t, o) \
  atomic { \
    if \
    :: MISTAKE == 2 || (owner[(t) % SLOTS] == o && ticket_of[(t) % SLOTS] == (t)) -> owner[(t) % SLOTS] = me; won = true \
    :: else -> won = false \
    fi }; \
  if \
  :: won -> \
     MAY_DIE; \
     atomic { if :: !HAS_TURN((t) + 1) -> granted[((t) + 1) % SLOTS] = (t) + 1 :: else fi }; \
     MAY_DIE; \
     atomic { owner[(t) % SLOTS] = FREE; ticket_of[(t) % SLOTS] = (t) + SLOTS } \
  :: else \
  fi

proctype Contender(byte me) {
  byte t, before, seen, rounds = 0;
  bool won;
  do
  :: rounds < 2 ->
     rounds++;
     t = next;
enter:
     atomic {
       seen = owner[t % SLOTS];
       if
       :: ticket_of[t % SLOTS] == t && seen == FREE -> owner[t % SLOTS] = me; won = true
       :: ticket_of[t % SLOTS] + SLOTS == t -> won = false; before = 1  /* the queue is full */
       :: else -> won = false; before = 0                              /* taken, or past */
       fi
     };
     if
     :: won -> skip
     :: !won && before == 1 ->
        /* wait for the oldest to leave, or help it if it is dead */
        if
        :: seen != FREE && dead[seen] && HAS_TURN(t - SLOTS) -> PASS_ON(t - SLOTS, seen)
        :: (seen == FREE || !dead[seen] || !HAS_TURN(t - SLOTS)) ->
           (owner[t % SLOTS] != seen || ticket_of[t % SLOTS] + SLOTS != t ||
            (seen != FREE && dead[seen] && HAS_TURN(t - SLOTS)))
        fi;
        t = next;
        goto enter
     :: !won && before == 0 -> t++; assert(t < TICKETS + SLOTS); goto enter
     fi;
     MAY_DIE;
     next = t + 1;
     MAY_DIE;
wait:
     if
     :: HAS_TURN(t) -> skip
     :: atomic {
          !HAS_TURN(t) && t > 0 && ticket_of[(t - 1) % SLOTS] == t - 1 &&
          owner[(t - 1) % SLOTS] != FREE && dead[owner[(t - 1) % SLOTS]] && HAS_TURN(t - 1) ->
          seen = owner[(t - 1) % SLOTS]
        }
        PASS_ON(t - 1, seen);
        goto wait
     fi;
     inside++;
     assert(inside == 1);
     if
     :: deaths < DEATHS -> atomic { deaths++; dead[me] = true; inside--; goto died }
     :: skip
     fi;
     inside--;
     if
     :: MISTAKE == 1 ->
        atomic { owner[t % SLOTS] = FREE; ticket_of[t % SLOTS] = t + SLOTS };
        MAY_DIE;
        granted[(t + 1) % SLOTS] = t + 1
     :: MISTAKE != 1 ->
        granted[(t + 1) % SLOTS] = t + 1;
        MAY_DIE;
        atomic { owner[t % SLOTS] = FREE; ticket_of[t % SLOTS] = t + SLOTS }
     fi
  :: rounds == 2 -> break
  od;
died:
  skip
}

init {
  byte i;
  atomic {
    for (i : 0 .. SLOTS - 1) { owner[i] = FREE; ticket_of[i] = i; granted[i] = 0 }
    for (i : 0 .. PROCS - 1) { run Contender(i) }
  }
}
