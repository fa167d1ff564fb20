/*
 * Who owns a request, and who may answer it: the model of section 6 of docs/protocol.md.
 *
 * Two callers (one non-repeatable request, one repeatable), two sidecars, one bus. Everybody may crash at any step, every
 * command may lose its reply or take effect late, every XADD may be refused, every lease may lapse at any moment, and the
 * bus may come back from an earlier snapshot. README.md says what each macro selects, what is left out and why that is
 * sound. Rules are switched off by NO_... and similar macros; check_model expects a counterexample for each.
 */

/* ---- Configuration ------------------------------------------------------------------------------------------------- */

#ifndef NON_REPEATABLE_ENTRIES
#define NON_REPEATABLE_ENTRIES 1  /* 2: with re-homing, or where it is (wrongly) written again */
#endif
#ifndef REPEATABLE_ENTRIES
#define REPEATABLE_ENTRIES 1      /* 2: written again once under the same id */
#endif
#define ENTRIES (NON_REPEATABLE_ENTRIES + REPEATABLE_ENTRIES)

/* With one request only, the other caller waits for one that never reached the queue, and may take what is not its own. */
#ifdef ALONE
#define OTHER_CALL ENDED
#else
#define OTHER_CALL WAITING
#endif

/* A caller's take never meets another's entry: for the larger products. */
#ifdef NEVER_MEET
#define may_meet(caller, entry) (owner_of(entry) == (caller))
#else
#define may_meet(caller, entry) true
#endif

/* The repeatable request is only claimed, run, answered and settled: for the larger products. */
#ifdef PLAIN_REPEATABLE
#define may_give_up(entry) (!is_repeatable(entry))
#else
#define may_give_up(entry) true
#endif

#ifdef PROMOTION
#define ROLLBACK                  /* the same loss, but connections outlive it: a replica was promoted */
#endif

#if defined(GROUP_LOST) && defined(ROLLBACK)
#error "GROUP_LOST: what is held back is not part of a snapshot"
#endif

#define is_repeatable(entry) ((entry) >= NON_REPEATABLE_ENTRIES)
#define owner_of(entry)      (is_repeatable(entry) -> 1 : 0)   /* the caller whose request it is */

/* Consumers of the group. */
#define SIDECARS 2
#define CALLERS  2
#define caller_name(caller) (SIDECARS + (caller))
#define PARKED   4

/* ---- The bus ------------------------------------------------------------------------------------------------------- */

#define ABSENT      0   /* not written yet, or acknowledged and deleted */
#define UNDELIVERED 1
#define PENDING     2
#define LEFT        3   /* in the stream only: acknowledged, its XDEL held back, or the group is lost (GROUP_LOST) */

typedef Entry {
  unsigned place : 2;
  unsigned consumer : 3;
  unsigned delivery_count : 2;   /* 2 stands for "2 or more"; kept for non-repeatable entries only */
  bit is_dead_lettered;
#ifdef GROUP_LOST
  bit is_held_back;              /* acknowledged, and somebody still means to delete it */
#endif
};

typedef ReplyStream {
  bit is_made;
  bit has_answer;                /* anything but the next: the service's answer, 502 outcome-unknown, ... */
  bit has_unreachable;           /* 503 service-unreachable, written by a sidecar */
};

Entry queue[ENTRIES];
ReplyStream replies[CALLERS];
bit bus;                         /* the incarnation: 0, then 1 after the rollback */
bit stamp[ENTRIES];              /* `bus` as its caller wrote it into the REQUEST; never changes */
#ifdef GROUP_LOST
bit has_group = 1;
#endif

#ifdef ROLLBACK
bit is_saved;
Entry saved_queue[ENTRIES];
ReplyStream saved_replies[CALLERS];
#endif

/* One command whose sender will never read its reply, and which takes effect later or never. */
#define NOTHING            0
#define LATE_SEND          1
#define LATE_CLAIM_NEW     2
#define LATE_CLAIM_PARKED  3
#define LATE_TAKE_OVER     4
#define LATE_ANSWER        5
#define LATE_UNREACHABLE   6
#define LATE_DEAD_LETTER   7
#define LATE_SETTLE        8
#define LATE_HAND_BACK     9
#define LATE_MAKE_STREAM  10
#define LATE_REHOME       11

typedef Late {
  unsigned command : 4;
  unsigned sender : 3;           /* consumer, or caller for LATE_MAKE_STREAM */
  unsigned at : 2;               /* the entry */
  unsigned expected : 3;         /* LATE_TAKE_OVER: the consumer it is taken from */
};

Late late;

#ifdef LATE_ONCE
#define LATE
bit was_late;
#define may_be_late (late.command == NOTHING && !was_late)
#elif defined(LATE)
#define may_be_late (late.command == NOTHING)
#else
#define may_be_late false
#endif

/* ---- What a process knows ------------------------------------------------------------------------------------------ */

bit known_bus[SIDECARS + CALLERS];   /* the incarnation its connections were opened under */

#ifdef PROMOTION
#define is_connected(process) true
#else
#define is_connected(process) (known_bus[process] == bus)
#endif

/* A caller's request. */
#define NOT_SENT     0
#define READY        1   /* reply stream confirmed */
#define WAITING      2   /* written, or perhaps written */
#define WAITING_ONLY 3   /* waits for an answer or the deadline; may not say 503 by itself any more */
#define TAKEN        4   /* knows itself owner of its entry; reads the incarnation before it says 503 (PROMOTION) */
#define ENDED        5   /* its client has its end */
#define DEAD         6   /* crashed */

byte call[CALLERS];
bit is_written_again;

#define has_ended(caller) (call[caller] >= ENDED)

/* What a sidecar has in hand, per entry. */
#define IDLE                 0
#define CLAIMED              1   /* may be begun */
#define UNCHECKED            2   /* claimed; the incarnation must be read again before it is begun (PROMOTION) */
#define HANDING_BACK         3   /* a hand-back was sent, its reply was not read */
#define OWES_ANSWER          4
#define OWES_UNREACHABLE     5
#define OWES_DEAD_LETTER     6
#define ANSWERED             7   /* the XADD's id was read; to be settled */
#define ANSWERED_UNREACHABLE 8
#define DEAD_LETTERED        9

byte hand[SIDECARS * ENTRIES];
#define in_hand(sidecar, entry) hand[(sidecar) * ENTRIES + (entry)]
#define is_settling(state) ((state) >= ANSWERED)

bit is_alive[SIDECARS] = 1;
bit has_handed_back[SIDECARS];   /* the non-repeatable id: never run by this sidecar again */

/* The sidecars are alike, so the first one to claim anything may as well be sidecar 0. */
bit is_stirred;
#define may_act(sidecar) (is_alive[sidecar] && (sidecar == 0 || is_stirred))

#ifdef ASYNCHRONOUS
/* Replies that are on their way: a claim's, and the answer to "which pending entries are mine?". */
#define ASKED  1
#define LISTED 2
byte claim_reply[SIDECARS * ENTRIES];       /* the delivery count it tells; 0: none */
byte question[SIDECARS];
byte listed_count[SIDECARS * ENTRIES];      /* 0: not listed */
bit left_hand[SIDECARS * ENTRIES];          /* since the question was sent */
bit claim_sent[SIDECARS];                   /* a claim is unanswered */
#endif

/* ---- Invariants ---------------------------------------------------------------------------------------------------- */

bit was_run;                     /* the non-repeatable request was given to a service */
bit was_refused;                 /* its client was told 503 */
#ifdef PROMOTION
bit was_answered[CALLERS];
#endif

bit invariant_a_run_at_most_once = 1;
bit invariant_b_no_request_lost = 1;
bit invariant_c_one_end = 1;
bit invariant_c_every_call_ends = 1;
bit invariant_d_503_never_run = 1;

inline give_to_service(entry) {
  skip;
  if
  :: !is_repeatable(entry) ->
     invariant_a_run_at_most_once = !was_run;
     assert(invariant_a_run_at_most_once);
     invariant_d_503_never_run = !was_refused;
     assert(invariant_d_503_never_run);
     was_run = 1;
#ifdef WITNESS_RUN_AFTER_HAND_BACK
     assert(!(has_handed_back[0] || has_handed_back[1]))
#endif
  :: else
  fi
}

/* The client of `caller` gets its end; the reply stream does not matter from here on. */
inline end_call(caller) {
  invariant_c_one_end = !has_ended(caller);
  assert(invariant_c_one_end);
  call[caller] = ENDED;
  replies[caller].is_made = 0;
  replies[caller].has_answer = 0;
  replies[caller].has_unreachable = 0;
#ifdef ROLLBACK
  saved_replies[caller].is_made = 0;
  saved_replies[caller].has_answer = 0;
  saved_replies[caller].has_unreachable = 0
#endif
}

inline end_call_with_503(caller) {
  skip;
  if
  :: caller == 0 ->
     invariant_d_503_never_run = !was_run;
     assert(invariant_d_503_never_run);
     was_refused = 1;
#ifdef WITNESS_TAKEN_BACK
     assert(!(queue[0].place == PENDING && queue[0].consumer == caller_name(0) && (has_handed_back[0] || has_handed_back[1])))
#endif
#ifdef WITNESS_UNREACHABLE
     assert(!replies[0].has_unreachable)
#endif
  :: else
  fi;
  end_call(caller)
}

/* An inline that opens with an `if` has a `skip` before it: as the first statement of an option its `else` would
 * otherwise be taken for one of the outer `if`. */

/* ---- Commands, as the bus carries them out -------------------------------------------------------------------------- */

inline give_entry(entry, to) {
  queue[entry].place = PENDING;
  queue[entry].consumer = to;
  if
  :: is_repeatable(entry) || queue[entry].delivery_count == 2
  :: else -> queue[entry].delivery_count = queue[entry].delivery_count + 1
  fi
}

inline remove_entry(entry) {
  queue[entry].place = ABSENT;
  queue[entry].consumer = 0;
  queue[entry].delivery_count = 0;
  queue[entry].is_dead_lettered = 0
#ifdef GROUP_LOST
  ; queue[entry].is_held_back = 0
#endif
}

/* XACK + XDEL; 6.11 XDEL may be held back. Without the group XACK does nothing, and XDEL goes through all the same. */
inline acknowledge_and_delete(entry) {
#ifdef GROUP_LOST
  skip;
  if
  :: remove_entry(entry)
  :: queue[entry].place = LEFT;
     queue[entry].consumer = 0;
     queue[entry].delivery_count = 0;
     queue[entry].is_held_back = 1
  fi
#else
  remove_entry(entry)
#endif
}

/* XADD of the REQUEST. */
inline do_send(entry) {
#ifdef GROUP_LOST
  queue[entry].place = (has_group -> UNDELIVERED : LEFT);
#else
  queue[entry].place = UNDELIVERED;
#endif
  queue[entry].consumer = 0;
  queue[entry].delivery_count = 0
}

/* XREADGROUP >: any undelivered entry stands for the oldest one. */
inline do_claim_new(entry, consumer_) {
  skip;
  if
  :: queue[entry].place == UNDELIVERED -> give_entry(entry, consumer_)
  :: else
  fi
}

/* Script: XCLAIM if XPENDING names `parked`; raises the count from 0 to 1. */
inline do_claim_parked(entry, consumer_) {
  skip;
  if
  :: queue[entry].place == PENDING && queue[entry].consumer == PARKED -> give_entry(entry, consumer_)
  :: else
  fi
}

/* Script: XCLAIM if XPENDING names the consumer it is taken from. */
inline do_take_over(entry, consumer_, expected_) {
  skip;
  if
  :: queue[entry].place == PENDING && queue[entry].consumer == expected_ ->
     give_entry(entry, consumer_);
     if
     :: is_repeatable(entry)
     :: else -> queue[entry].delivery_count = 2
     fi
  :: else
  fi
}

/* Script: to `parked` if XPENDING names this consumer and the delivery count it claimed with. */
inline do_hand_back(entry, consumer_) {
  skip;
  if
  :: queue[entry].place == PENDING &&
#ifndef NO_OWNER_CHECK
     queue[entry].consumer == consumer_ &&
#endif
#if !defined(NO_COUNT_CHECK) && !defined(HAND_BACK_ANY_COUNT)
     (is_repeatable(entry) || queue[entry].delivery_count == 1) &&
#endif
     true ->
        queue[entry].consumer = PARKED;
        queue[entry].delivery_count = 0
  :: else
  fi
}

/* XADD of a RESPONSE with NOMKSTREAM: nothing is written where the stream is missing. */
inline do_answer(caller) {
  skip;
  if
  :: replies[caller].is_made && !has_ended(caller) ->
     replies[caller].has_answer = 1;
#ifdef PROMOTION
     was_answered[caller] = 1
#endif
  :: else
  fi
}

inline do_unreachable(caller) {
  skip;
  if
  :: replies[caller].is_made && !has_ended(caller) ->
     replies[caller].has_unreachable = 1;
#ifdef PROMOTION
     was_answered[caller] = 1
#endif
  :: else
  fi
}

inline do_make_stream(caller) {
  skip;
  if
  :: has_ended(caller)
  :: else -> replies[caller].is_made = 1
  fi
}

inline do_dead_letter(entry) {
  skip;
  if
  :: queue[entry].place != ABSENT -> queue[entry].is_dead_lettered = 1
  :: else
  fi
}

/* XACK + XDEL by a sidecar. */
inline do_settle(entry) {
  skip;
  if
  :: queue[entry].place != ABSENT ->
     invariant_b_no_request_lost =
#ifdef PROMOTION
       was_answered[owner_of(entry)] ||   /* the bus lost it afterwards */
#endif
       replies[owner_of(entry)].has_answer || replies[owner_of(entry)].has_unreachable ||
       has_ended(owner_of(entry)) || queue[entry].is_dead_lettered;
     assert(invariant_b_no_request_lost);
#ifdef WITNESS_SETTLED_AFTER_ROLLBACK
     assert(!(bus == 1 && was_run && replies[0].has_answer));
#endif
#ifdef WITNESS_ACKNOWLEDGED_AGAIN
     assert(!(queue[entry].place == PENDING && queue[entry].is_held_back));
#endif
#ifdef WITNESS_DEAD_LETTER
     assert(!queue[entry].is_dead_lettered);
#endif
     acknowledge_and_delete(entry)
  :: else
  fi
}

/* XACK + XDEL by the caller whose request it is: the reason is its own. */
inline do_withdraw(entry) {
  acknowledge_and_delete(entry)
}

#ifdef REHOME
/* MULTI XADD XACK XDEL EXEC: the same id at the broader address. */
inline do_rehome() {
  acknowledge_and_delete(0);
  do_send(1)
}
#endif

inline be_late(command_, sender_, entry_) {
  late.command = command_;
  late.sender = sender_;
  late.at = entry_
}

inline forget_late() {
  late.command = NOTHING;
  late.sender = 0;
  late.at = 0;
  late.expected = 0
#ifdef LATE_ONCE
  ; was_late = 1
#endif
}

/* ---- A caller ------------------------------------------------------------------------------------------------------- */

proctype Caller(byte me) {
end:
  do
  /* 6.1 No REQUEST before the reply stream is confirmed. */
  :: atomic { call[me] == NOT_SENT && is_connected(caller_name(me)) ->
       if
       :: do_make_stream(me); call[me] = READY
       :: do_make_stream(me)
       :: may_be_late -> be_late(LATE_MAKE_STREAM, me, 0)
       fi }
  /* 6.1 Not written: Valkey is away, said nil or refused. */
  :: atomic { (call[me] == NOT_SENT || call[me] == READY) -> end_call_with_503(me) }
  /* The stream is made again while a request that names it is out. */
  :: atomic { (call[me] == WAITING || call[me] == WAITING_ONLY) && !replies[me].is_made && is_connected(caller_name(me)) ->
       do_make_stream(me) }
  /* The first RESPONSE head ends the call; later ones are counted. */
  :: atomic {
#ifdef NO_FIRST_ANSWER_BINDS
       call[me] >= WAITING && call[me] != DEAD &&
#else
       call[me] >= WAITING && !has_ended(me) &&
#endif
       replies[me].has_answer && is_connected(caller_name(me)) -> end_call(me)
#ifdef NO_FIRST_ANSWER_BINDS
       ; replies[me].has_answer = 1
#endif
     }
  :: atomic { call[me] >= WAITING && !has_ended(me) && replies[me].has_unreachable && is_connected(caller_name(me)) ->
       end_call_with_503(me) }
#ifndef NO_DEADLINE
  /* The deadline, or a client that left: 504, and whoever finds the entry may drop it. */
  :: atomic { !has_ended(me) -> end_call(me) }
#endif
#ifdef CRASH
  :: atomic { call[me] != DEAD ->
       if
       :: call[me] == ENDED
       :: call[me] != ENDED -> end_call(me)
       fi;
       call[me] = DEAD; known_bus[caller_name(me)] = 0 }
#endif
#ifdef ROLLBACK
  /* 6.2 A new connection reads the incarnation first. */
  :: atomic { call[me] != DEAD && known_bus[caller_name(me)] != bus ->
       known_bus[caller_name(me)] = bus;
       if
       :: call[me] == READY -> call[me] = NOT_SENT
       :: else
       fi }
#endif
  od
}

#define is_mine(me, entry) (owner_of(entry) == (me))
/* 6.8 Never begun, as far as the bus can tell: first delivery, and of the incarnation it is asked under. */
#if defined(TAKE_ANY_COUNT)
#define is_fresh(process, entry) (is_repeatable(entry) || stamp[entry] == known_bus[process])
#elif defined(TAKE_ANY_BUS)
#define is_fresh(process, entry) (is_repeatable(entry) || queue[entry].delivery_count == 1)
#else
#define is_fresh(process, entry) \
  (is_repeatable(entry) || (queue[entry].delivery_count == 1 && stamp[entry] == known_bus[process]))
#endif

/* 6.8 The caller read that its entry is its own. */
inline on_taken(me, entry) {
  skip;
  if
  :: is_fresh(caller_name(me), entry) ->
#if defined(PROMOTION) && !defined(TAKE_WITHOUT_READING_BUS)
     call[me] = TAKEN
#else
     end_call_with_503(me)
#endif
  :: else -> end_call(me)
  fi
}

/* What a caller does with one entry of the queue. */
proctype CallerAtEntry(byte me; byte entry) {
end:
  do
  /* 6.1 Send. */
  :: atomic { is_mine(me, entry) && (entry == 0 || entry == NON_REPEATABLE_ENTRIES) &&
#ifdef SEND_BEFORE_STREAM
              call[me] <= READY &&
#else
              call[me] == READY &&
#endif
              is_connected(caller_name(me)) ->
       call[me] = WAITING;
       stamp[entry] = known_bus[caller_name(me)];
       if
       :: do_send(entry)
       :: may_be_late -> be_late(LATE_SEND, caller_name(me), entry)
       fi }
#if REPEATABLE_ENTRIES == 2 || defined(RESEND_NON_REPEATABLE)
  /* 6.1 Written again, under the same id, only if repeatable. */
  :: atomic { is_mine(me, entry) && !(entry == 0 || entry == NON_REPEATABLE_ENTRIES) && !is_written_again &&
#ifndef RESEND_NON_REPEATABLE
              is_repeatable(entry) &&
#endif
              call[me] == WAITING && is_connected(caller_name(me)) ->
       is_written_again = 1;
       stamp[entry] = known_bus[caller_name(me)];
       if
       :: do_send(entry)
       :: may_be_late -> be_late(LATE_SEND, caller_name(me), entry)
       fi }
#endif
  /* 6.8 Nobody there: XREADGROUP > gives the oldest entry, which may be another's. */
  :: atomic { call[me] == WAITING && queue[entry].place == UNDELIVERED && may_meet(me, entry) && is_connected(caller_name(me)) ->
       if
       :: do_claim_new(entry, caller_name(me));
          if
          :: is_mine(me, entry) -> on_taken(me, entry)
          :: else
          fi
       :: do_claim_new(entry, caller_name(me))
#ifdef NO_TAKE_CONFIRM
          ; end_call_with_503(me)
#endif
       fi }
  :: atomic { call[me] == WAITING && is_connected(caller_name(me)) && may_be_late ->
       be_late(LATE_CLAIM_NEW, caller_name(me), entry)
#ifdef NO_TAKE_CONFIRM
       ; end_call_with_503(me)
#endif
     }
  :: atomic { call[me] == WAITING && is_mine(me, entry) && queue[entry].place == PENDING &&
#ifdef TAKE_FROM_ANYONE
              queue[entry].consumer != caller_name(me) &&
#else
              queue[entry].consumer == PARKED &&
#endif
              is_connected(caller_name(me)) ->
       if
#ifdef TAKE_FROM_ANYONE
       :: queue[entry].consumer = caller_name(me); queue[entry].delivery_count = 1; on_taken(me, entry)
#else
       :: do_claim_parked(entry, caller_name(me)); on_taken(me, entry)
#endif
       :: do_claim_parked(entry, caller_name(me))
       :: may_be_late -> be_late(LATE_CLAIM_PARKED, caller_name(me), entry)
       fi }
  /* 6.8 The take's reply was lost, but it finds itself owner. */
  :: atomic { call[me] == WAITING && is_mine(me, entry) && queue[entry].place == PENDING &&
              queue[entry].consumer == caller_name(me) && is_connected(caller_name(me)) ->
       on_taken(me, entry) }
#ifdef PROMOTION
  /* 6.2, 6.8 The connection outlives a promotion, so the incarnation is read after the take and before the 503. */
  :: atomic { call[me] == TAKEN && is_mine(me, entry) ->
       known_bus[caller_name(me)] = bus;
       if
       :: stamp[entry] == bus -> end_call_with_503(me)
       :: else -> end_call(me)
       fi }
#endif
#ifdef REHOME
  /* 6.8 To a broader address, once the take was confirmed. */
  :: atomic { entry == 0 && is_mine(me, entry) && call[me] == WAITING && !is_written_again &&
              queue[entry].place == PENDING && queue[entry].consumer == caller_name(me) &&
              is_fresh(caller_name(me), entry) && is_connected(caller_name(me)) ->
       is_written_again = 1;
       stamp[1] = known_bus[caller_name(me)];
       if
       :: do_rehome()
       :: do_rehome();
#ifndef REHOME_THEN_503
          call[me] = WAITING_ONLY
#endif
       :: acknowledge_and_delete(0); end_call_with_503(me)       /* XADD inside EXEC said nil */
       :: acknowledge_and_delete(0); call[me] = WAITING_ONLY
       :: may_be_late -> be_late(LATE_REHOME, caller_name(me), 0);
#ifndef REHOME_THEN_503
          call[me] = WAITING_ONLY
#endif
       fi }
#endif
  /* 6.8 Another's entry goes back, as soon as this caller knows of it. */
  :: atomic { !is_mine(me, entry) && call[me] != DEAD && queue[entry].place == PENDING &&
              queue[entry].consumer == caller_name(me) && is_connected(caller_name(me)) ->
       if
       :: do_hand_back(entry, caller_name(me))
       :: may_be_late -> be_late(LATE_HAND_BACK, caller_name(me), entry)
       fi }
  /* Its own one is withdrawn after its client had its end. */
  :: atomic { is_mine(me, entry) && call[me] == ENDED && queue[entry].place == PENDING &&
              queue[entry].consumer == caller_name(me) && is_connected(caller_name(me)) ->
       if
       :: do_withdraw(entry)
       :: may_be_late -> be_late(LATE_SETTLE, caller_name(me), entry)
       fi }
  od
}

/* ---- A sidecar ------------------------------------------------------------------------------------------------------ */

/* 6.2, 6.5 What an entry it just found itself owner of is to this sidecar. One that is in hand stays what it is. */
inline take_in_hand(me, entry, count) {
  skip;
  if
  :: in_hand(me, entry) != IDLE
  :: else ->
     if
     :: is_repeatable(entry) -> in_hand(me, entry) = CLAIMED
     :: else ->
        if
        ::
#ifndef NO_COUNT_EVIDENCE
           count == 1 &&
#endif
#ifndef NO_BUS_CHECK
           stamp[entry] == known_bus[me] &&
#endif
#ifndef HAND_BACK_RERUN
           !has_handed_back[me] &&
#endif
           true ->
#if defined(PROMOTION) && !defined(BEGIN_WITHOUT_READING_BUS)
           in_hand(me, entry) = UNCHECKED
#else
           in_hand(me, entry) = CLAIMED
#endif
#ifdef HAND_BACK_ANY_COUNT
        :: else -> in_hand(me, entry) = HANDING_BACK
#else
        :: else -> in_hand(me, entry) = OWES_ANSWER     /* 502 outcome-unknown */
#endif
        fi
     fi
  fi
}

inline leave_hand(me, entry) {
  in_hand(me, entry) = IDLE;
#ifdef ASYNCHRONOUS
  if
  :: question[me] != NOTHING -> left_hand[me * ENTRIES + entry] = 1
  :: else
  fi
#endif
}

/* What a sidecar does with one entry of the queue. */
proctype SidecarAtEntry(byte me; byte entry) {
end:
  do
  /* 6.2 Claim: a new entry ... */
#ifdef ASYNCHRONOUS
  :: atomic { may_act(me) && is_connected(me) && !claim_sent[me] &&
#ifndef CLAIM_DURING_QUESTION
              question[me] == NOTHING &&
#endif
              (queue[entry].place == UNDELIVERED ||
               (queue[entry].place == PENDING && queue[entry].consumer == PARKED)) ->
       is_stirred = 1;
       do_claim_new(entry, me);
       do_claim_parked(entry, me);
       if
       :: claim_sent[me] = 1; claim_reply[me * ENTRIES + entry] = (queue[entry].delivery_count == 2 -> 2 : 1)
       :: true
       fi }
  :: atomic { is_alive[me] && claim_reply[me * ENTRIES + entry] > 0 ->
       claim_sent[me] = 0;
       take_in_hand(me, entry, claim_reply[me * ENTRIES + entry]);
       claim_reply[me * ENTRIES + entry] = 0 }
#else
  :: atomic { may_act(me) && is_connected(me) && queue[entry].place == UNDELIVERED ->
       is_stirred = 1;
       do_claim_new(entry, me);
       if
       :: take_in_hand(me, entry, queue[entry].delivery_count)
       :: true
       fi }
  /* ... or one that was handed back. */
  :: atomic { may_act(me) && is_connected(me) && queue[entry].place == PENDING && queue[entry].consumer == PARKED ->
       is_stirred = 1;
       if
       :: do_claim_parked(entry, me); take_in_hand(me, entry, queue[entry].delivery_count)
       :: do_claim_parked(entry, me)
       :: may_be_late -> be_late(LATE_CLAIM_PARKED, me, entry)
       fi }
#endif
  :: atomic { may_act(me) && is_connected(me) && may_be_late ->
       is_stirred = 1;
       be_late(LATE_CLAIM_NEW, me, entry) }
  /* 6.7 Take over: the lease lapsed, or the owner's alive channel is gone. Either may seem so at any time. */
  :: atomic { may_act(me) && is_connected(me) && queue[entry].place == PENDING &&
              queue[entry].consumer != me && queue[entry].consumer != PARKED ->
       is_stirred = 1;
       if
       :: do_take_over(entry, me, queue[entry].consumer);
#ifdef TAKE_OVER_RUNS
          take_in_hand(me, entry, 1)
#else
          take_in_hand(me, entry, queue[entry].delivery_count)
#endif
       :: do_take_over(entry, me, queue[entry].consumer)
       :: may_be_late -> be_late(LATE_TAKE_OVER, me, entry); late.expected = queue[entry].consumer
       fi }
  /* 6.5 Own pending. Overlapping replies are modelled for a single entry. */
#ifdef ASYNCHRONOUS
  :: atomic { is_alive[me] && entry == 0 && is_connected(me) && 
#ifndef ASK_DURING_CLAIM
              !claim_sent[me] &&
#endif
              question[me] == NOTHING -> question[me] = ASKED }
  :: atomic { is_alive[me] && entry == 0 && is_connected(me) && question[me] == ASKED ->
       question[me] = LISTED;
       if
       :: queue[0].place == PENDING && queue[0].consumer == me -> listed_count[me * ENTRIES] = queue[0].delivery_count
       :: else
       fi }
  :: atomic { is_alive[me] && entry == 0 && question[me] == LISTED ->
       if
       ::
#ifndef NO_LEFT_HAND_CHECK
          !left_hand[me * ENTRIES] &&
#endif
          listed_count[me * ENTRIES] > 0 -> take_in_hand(me, 0, listed_count[me * ENTRIES])
       :: else
       fi;
       question[me] = NOTHING; listed_count[me * ENTRIES] = 0; left_hand[me * ENTRIES] = 0 }
#else
  :: atomic { is_alive[me] && is_connected(me) && in_hand(me, entry) == IDLE &&
              queue[entry].place == PENDING && queue[entry].consumer == me ->
       take_in_hand(me, entry, queue[entry].delivery_count) }
#endif
#ifdef PROMOTION
  /* 6.2 Read again after the claim, before it is begun. */
  :: atomic { in_hand(me, entry) == UNCHECKED && bus == known_bus[me] -> in_hand(me, entry) = CLAIMED }
#endif
  /* The service gets it; what it answers (or that it fell silent) is owed to the caller. */
  :: atomic { in_hand(me, entry) == CLAIMED ->
       give_to_service(entry);
       in_hand(me, entry) = OWES_ANSWER }
  /* 6.6 The service refused the connection and nobody else is there: nothing was begun. */
  :: atomic { (
#ifdef UNREACHABLE_AFTER_HAND_BACK
               in_hand(me, entry) == HANDING_BACK ||
#endif
               in_hand(me, entry) == CLAIMED) && !is_repeatable(entry) -> in_hand(me, entry) = OWES_UNREACHABLE }
  /* 6.6 Hand back what was not begun; repeated until the reply was read. */
  :: atomic { (
               in_hand(me, entry) == CLAIMED || in_hand(me, entry) == HANDING_BACK) &&
              may_give_up(entry) && is_connected(me) ->
       if
       :: is_repeatable(entry)
       :: else -> has_handed_back[me] = 1
       fi;
       if
       :: do_hand_back(entry, me); leave_hand(me, entry)
       :: do_hand_back(entry, me); in_hand(me, entry) = HANDING_BACK
       :: may_be_late -> be_late(LATE_HAND_BACK, me, entry); in_hand(me, entry) = HANDING_BACK
       fi
#ifdef HAND_BACK_RERUN
       ; if
       :: in_hand(me, entry) == HANDING_BACK -> in_hand(me, entry) = IDLE
       :: else
       fi
#endif
     }
  /* 6.6 Too many attempts. */
  :: atomic { is_repeatable(entry) && (in_hand(me, entry) == CLAIMED || in_hand(me, entry) == OWES_DEAD_LETTER) &&
              may_give_up(entry) && is_connected(me) ->
       if
       :: do_dead_letter(entry); in_hand(me, entry) = DEAD_LETTERED
       :: do_dead_letter(entry); in_hand(me, entry) = OWES_DEAD_LETTER
       :: may_be_late -> be_late(LATE_DEAD_LETTER, me, entry); in_hand(me, entry) = OWES_DEAD_LETTER
       fi }
  /* 6.3 Answer. Refused at maxmemory, or nil: the answer is kept and tried again. */
  :: atomic { in_hand(me, entry) == OWES_ANSWER && is_connected(me) ->
       if
#ifdef NO_SETTLE_AFTER_ANSWER
       :: do_settle(entry); in_hand(me, entry) = IDLE     /* one pipeline at maxmemory */
#endif
#ifdef NIL_IS_DEATH
       :: !replies[owner_of(entry)].is_made -> in_hand(me, entry) = ANSWERED
#endif
       :: replies[owner_of(entry)].is_made -> do_answer(owner_of(entry)); in_hand(me, entry) = ANSWERED
       :: do_answer(owner_of(entry))
       :: may_be_late -> be_late(LATE_ANSWER, me, entry)
#ifdef NO_ANSWER_CONFIRM
          ; in_hand(me, entry) = ANSWERED
#endif
       fi }
  :: atomic { in_hand(me, entry) == OWES_UNREACHABLE && is_connected(me) ->
       if
       :: replies[owner_of(entry)].is_made ->
          do_unreachable(owner_of(entry)); in_hand(me, entry) = ANSWERED_UNREACHABLE
       :: do_unreachable(owner_of(entry))
       :: may_be_late -> be_late(LATE_UNREACHABLE, me, entry)
       fi }
  /* 5, 6.9 Cancelled or expired: dropped once the owner knows. */
  :: atomic { in_hand(me, entry) != IDLE && in_hand(me, entry) != HANDING_BACK && !is_settling(in_hand(me, entry)) &&
#ifndef DROP_BEFORE_OWNER_KNOWS
              has_ended(owner_of(entry)) &&
#endif
              is_alive[me] -> in_hand(me, entry) = ANSWERED }
  /* 6.3 Settle; the id stays in hand until the reply was read. */
  :: atomic { is_settling(in_hand(me, entry)) && is_connected(me) ->
       if
       :: do_settle(entry); leave_hand(me, entry)
       :: do_settle(entry)
       :: may_be_late -> be_late(LATE_SETTLE, me, entry)
#ifdef FORGET_BEFORE_SETTLED
          ; leave_hand(me, entry)
#endif
       fi }
#ifdef RENEW_WITHOUT_OWNER_CHECK
  :: atomic { in_hand(me, entry) != IDLE && is_connected(me) && queue[entry].place == PENDING &&
              queue[entry].consumer != me -> queue[entry].consumer = me }
#endif
  /* 6.4 Renewal found another owner (or none): what is answered is forgotten, not settled. */
  :: atomic { (in_hand(me, entry) == CLAIMED || is_settling(in_hand(me, entry))) && is_connected(me) &&
              !(queue[entry].place == PENDING && queue[entry].consumer == me) -> leave_hand(me, entry) }
  od
}

/* A sidecar as a whole. */
#if defined(CRASH) || defined(ROLLBACK)
proctype Sidecar(byte me) {
  byte entry;
end:
  do
#ifdef CRASH
  :: d_step { may_act(me) ->
       is_stirred = 1;
       is_alive[me] = 0; known_bus[me] = 0; has_handed_back[me] = 0;
       entry = 0;
       do
       :: entry < ENTRIES ->
          in_hand(me, entry) = IDLE;
#ifdef ASYNCHRONOUS
          claim_reply[me * ENTRIES + entry] = 0; listed_count[me * ENTRIES + entry] = 0;
          left_hand[me * ENTRIES + entry] = 0; claim_sent[me] = 0; question[me] = NOTHING;
#endif
          entry++
       :: else -> break
       od;
       entry = 0 }
#endif
#ifdef ROLLBACK
  /* 6.2 A new connection reads the incarnation first; 6.3 what was confirmed under the old one must be answered again. */
  :: d_step { is_alive[me] && known_bus[me] != bus ->
       known_bus[me] = bus;
       entry = 0;
       do
       :: entry < ENTRIES ->
          if
#ifndef NO_ANSWER_AGAIN
          :: in_hand(me, entry) == ANSWERED -> in_hand(me, entry) = OWES_ANSWER
          :: in_hand(me, entry) == ANSWERED_UNREACHABLE -> in_hand(me, entry) = OWES_UNREACHABLE
          :: in_hand(me, entry) == DEAD_LETTERED -> in_hand(me, entry) = OWES_DEAD_LETTER
#endif
          :: in_hand(me, entry) == UNCHECKED -> in_hand(me, entry) = OWES_ANSWER
          :: else
          fi;
          entry++
       :: else -> break
       od;
       entry = 0 }
#endif
  od
}
#endif

/* ---- The bus's own doings ------------------------------------------------------------------------------------------- */

#ifdef LATE
proctype LateCommand() {
end:
  do
  :: atomic { late.command != NOTHING ->
       if
       :: late.command == LATE_SEND -> do_send(late.at)
       :: late.command == LATE_CLAIM_NEW -> do_claim_new(late.at, late.sender)
       :: late.command == LATE_CLAIM_PARKED -> do_claim_parked(late.at, late.sender)
       :: late.command == LATE_TAKE_OVER -> do_take_over(late.at, late.sender, late.expected)
       :: late.command == LATE_ANSWER -> do_answer(owner_of(late.at))
       :: late.command == LATE_UNREACHABLE -> do_unreachable(owner_of(late.at))
       :: late.command == LATE_DEAD_LETTER -> do_dead_letter(late.at)
       :: late.command == LATE_SETTLE -> do_settle(late.at)
       :: late.command == LATE_HAND_BACK -> do_hand_back(late.at, late.sender)
       :: late.command == LATE_MAKE_STREAM -> do_make_stream(late.sender)
#ifdef REHOME
       :: late.command == LATE_REHOME -> do_rehome()
#endif
       :: true                                            /* never carried out */
       fi;
       forget_late() }
  od
}
#endif

#ifdef ROLLBACK
#define copy_entry(to, from, entry) \
  to[entry].place = from[entry].place; \
  to[entry].consumer = from[entry].consumer; \
  to[entry].delivery_count = from[entry].delivery_count; \
  to[entry].is_dead_lettered = from[entry].is_dead_lettered

#define copy_replies(to, from, caller) \
  to[caller].is_made = from[caller].is_made; \
  to[caller].has_answer = from[caller].has_answer; \
  to[caller].has_unreachable = from[caller].has_unreachable

/* A snapshot at any moment, and at any later one the bus comes back from it as a new incarnation. */
proctype Rollback() {
  byte i;
  d_step {
    !is_saved -> is_saved = 1;
    i = 0;
    do
    :: i < ENTRIES -> copy_entry(saved_queue, queue, i); i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < CALLERS ->
       if
       :: has_ended(i)
       :: else -> copy_replies(saved_replies, replies, i)
       fi;
       i++
    :: else -> break
    od;
    i = 0
  };
  atomic {
    bus = 1; is_saved = 0;
    i = 0;
    do
    :: i < ENTRIES ->
       copy_entry(queue, saved_queue, i);
       saved_queue[i].place = 0; saved_queue[i].consumer = 0;
       saved_queue[i].delivery_count = 0; saved_queue[i].is_dead_lettered = 0;
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < CALLERS ->
       if
       :: has_ended(i)
       :: else ->
          copy_replies(replies, saved_replies, i);
          if
          :: true
          :: replies[i].is_made = 0; replies[i].has_answer = 0; replies[i].has_unreachable = 0
             /* its TTL passed while the bus was away */
          fi
       fi;
       saved_replies[i].is_made = 0; saved_replies[i].has_answer = 0; saved_replies[i].has_unreachable = 0;
       i++
    :: else -> break
    od;
#ifndef PROMOTION
    forget_late();                                        /* its connection died with the old incarnation */
#endif
    i = 0
  }
}
#endif

#ifdef GROUP_LOST
/* XGROUP DESTROY at any moment, any number of times: nobody knows any more what was delivered to whom, and how often. Until
 * some sidecar makes the group again nothing can be claimed, taken, handed back or found. 6.2.6 Whoever makes it gives all
 * that stands in the stream to `parked`, counted once, in the same script. */
proctype Group() {
  byte i;
end:
  do
  :: d_step { has_group ->
       has_group = 0;
       i = 0;
       do
       :: i < ENTRIES && queue[i].place != ABSENT ->
          queue[i].place = LEFT; queue[i].consumer = 0; queue[i].delivery_count = 0; i++
       :: i < ENTRIES && queue[i].place == ABSENT -> i++
       :: else -> break
       od;
       i = 0 }
  :: d_step { !has_group ->
       has_group = 1;
       i = 0;
       do
       :: i < ENTRIES && queue[i].place != ABSENT ->
#ifdef GROUP_FROM_START
          queue[i].place = UNDELIVERED;
#else
          queue[i].place = PENDING; queue[i].consumer = PARKED;
#ifndef GROUP_PARKED_AS_NEW
          queue[i].delivery_count = (is_repeatable(i) -> 0 : 1);
#endif
#endif
          i++
       :: i < ENTRIES && queue[i].place == ABSENT -> i++
       :: else -> break
       od;
       i = 0 }
  od
}

/* 6.11 Deletes what is acknowledged; what was held back before the group was lost it deletes whoever owns it now. */
proctype Sweep(byte entry) {
end:
  do
  :: d_step { has_group && queue[entry].is_held_back -> remove_entry(entry) }
  od
}
#endif

/* 6.1 Nothing moves any more: then no caller still waits. */
proctype Stillness() {
end:
  timeout -> invariant_c_every_call_ends = has_ended(0) && has_ended(1);
  assert(invariant_c_every_call_ends)
}

init {
  byte i;
  atomic {
    i = 0;
    do
    :: i < ENTRIES ->
       run SidecarAtEntry(0, i); run SidecarAtEntry(1, i);
       run CallerAtEntry(0, i); run CallerAtEntry(1, i);
       i++
    :: else -> break
    od;
    i = 0;
#if REPEATABLE_ENTRIES == 0
    call[1] = OTHER_CALL;
#endif
#if NON_REPEATABLE_ENTRIES == 0
    call[0] = OTHER_CALL;
#endif
    run Caller(0); run Caller(1); run Stillness();
#if defined(CRASH) || defined(ROLLBACK)
    run Sidecar(0); run Sidecar(1);
#endif
#ifdef LATE
    run LateCommand();
#endif
#ifdef ROLLBACK
    run Rollback();
#endif
#ifdef GROUP_LOST
    run Group(); run Sweep(0);
#if NON_REPEATABLE_ENTRIES + REPEATABLE_ENTRIES > 1
    run Sweep(1);
#endif
#endif
  }
}
