/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lies.c: the cases.  What is expected is what blktap-vbd(7) says: a back-end
 * that breaks the protocol ends its own disk; what it may say, bad news among
 * it, is passed on; and while it is away, requests wait.
 */
#include "liar.h"

#include <stdio.h>
#include <string.h>

static const char not_waiting[] = "an answer to a request that does not wait";
static const char not_an_id[] = "an answer's id is not that of any request";
static const char other_op[] = "an answer with another operation than asked";
static const char broke[] = "the back-end broke the protocol: ";
static const char away[] = "did not connect within ";
static const char too_many[] = "more answers than requests";

/* ---- ids ----------------------------------------------------------------- */

static void
far_id(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id + liar_slots(l), r->op, liar_do(l, r));
}

/* Only the lower half is one of ours. */
static void
wide_id(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id | UINT64_C(1) << 32, r->op, liar_do(l, r));
}

/* A good number, and nobody's. */
static void
idle_id(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, liar_id_idle(l, r->id), r->op, liar_do(l, r));
}

/* ---- how many ------------------------------------------------------------ */

static void
twice(struct liar *l, const struct liar_request *r)
{
    liar_honest(l, r);
    liar_answer(l, r->id, r->op, LIAR_OKAY);
}

/* ---- which ring ---------------------------------------------------------- */

static void
answer_in(struct liar *l, struct liar_ring *ring, const struct liar_request *r,
          int status)
{
    struct liar_ring *here = l->at;

    l->at = ring;
    liar_answer(l, r->id, r->op, status);
    liar_push(l);
    l->at = here;
}

/* The answer goes to another ring; of one ring it comes twice. */
static void
other_ring(struct liar *l, const struct liar_request *r)
{
    struct liar_ring *other = liar_next_ring(l);
    const int status = liar_do(l, r);

    if (other == l->at)
        liar_answer(l, r->id, r->op, status);
    answer_in(l, other, r, status);
}

static void
both_rings(struct liar *l, const struct liar_request *r)
{
    liar_honest(l, r);
    answer_in(l, liar_next_ring(l), r, LIAR_OKAY);
}

/* Where nobody asked; of one ring the same again. */
static void
crosswise(struct liar *l, const struct liar_request *r)
{
    struct liar_ring *here = l->at;

    liar_do(l, r);
    l->at = liar_next_ring(l);
    if (l->at == here)
        liar_answer(l, r->id, r->op, LIAR_OKAY);
    liar_answer(l, liar_id_idle(l, r->id), r->op, LIAR_OKAY);
    liar_push(l);
    l->at = here;
}

static void
id_of_other_ring(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, liar_id_elsewhere(l, r->id), r->op, liar_do(l, r));
}

/* ---- again, and unasked -------------------------------------------------- */

/* The second one comes when nobody asks for anything. */
static void
once_more_later(struct liar *l, const struct liar_request *r)
{
    liar_honest(l, r);
    l->at->first = *r;
    l->at->kept = true;
}

static void
look_once_more(struct liar *l)
{
    if (!l->at->kept || !liar_idle(l))
        return;
    l->at->kept = false;
    liar_answer(l, l->at->first.id, l->at->first.op, LIAR_OKAY);
    liar_push(l);
}

static void
never_asked(struct liar *l)
{
    if (!liar_idle(l))
        return;
    l->told++;
    liar_answer(l, 0, LIAR_READ, LIAR_OKAY);
    liar_push(l);
}

static void
whole_ring(struct liar *l, const struct liar_request *r)
{
    (void)r;
    for (unsigned i = 0; i < liar_slots(l); i++)
        liar_answer(l, i, LIAR_READ, LIAR_OKAY);
}

static void
far_ahead(struct liar *l, const struct liar_request *r)
{
    (void)r;
    l->at->prod += 0x7fffffff;
}

static void
backwards(struct liar *l, const struct liar_request *r)
{
    (void)r;
    l->at->prod -= 1;
}

/* ---- operations and statuses --------------------------------------------- */

static void
another_operation(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id, r->op ^ 1, liar_do(l, r));
}

static void
no_operation(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id, 200, liar_do(l, r));
}

static void
fails(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id, r->op, LIAR_ERROR);
}

static void
odd_status(struct liar *l, const struct liar_request *r)
{
    static const int odd[] = { 1, 77, -3, -4711, 32767, -32768 };

    liar_answer(l, r->id, r->op, odd[liar_below(l, 6)]);
}

/* A read that is not there, as some say of a flush. */
static void
unsupported(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id, r->op, LIAR_UNSUPPORTED);
}

/* ---- the ring as a piece of paper ---------------------------------------- */

/* Over the request, and over the indices that are the front's or for it. */
static void
scribbles(struct liar *l, const struct liar_request *r)
{
    uint32_t *prod = (uint32_t *)(void *)l->at->ring, mine = l->at->cons;

    memset(l->at->ring + 64 + (size_t)((l->at->cons - 1) % liar_slots(l)) * 112,
           0xff, 112);
    /* Not over one that is new: what is behind it would be lost. */
    __atomic_compare_exchange_n(prod, &mine, l->at->cons + 0x1000, false,
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    liar_word_set(l, REQ_EVENT, 0xffffffff);
    liar_word_set(l, RSP_EVENT, 0);
    liar_honest(l, r);
}

/* What it has answered it answers otherwise, once that was taken. */
static void
thinks_better_of_it(struct liar *l)
{
    if (!l->at->ring || liar_word(l, RSP_EVENT) != l->at->prod + 1)
        return;
    l->told++;
    memset(l->at->ring + 64 + (size_t)((l->at->prod - 1) % liar_slots(l)) * 112,
           0xee, 12);
}

/* ---- events, and none ---------------------------------------------------- */

static void
storm(struct liar *l)
{
    const unsigned most = 1000 / (l->rings ? l->rings : 1);

    for (unsigned i = 0; l->at->ring && i < most; i++, l->told++)
        liar_notify(l);
}

static void
silent(struct liar *l, const struct liar_request *r)
{
    if (l->at->kept) {
        /* One alone is kept back; the guest's next ones are answered, as
         * answers may come in any order. */
        liar_honest(l, r);
        return;
    }
    l->at->first = *r;
    l->at->kept = true;
}

/* ---- nodes and states ---------------------------------------------------- */

static void
no_sectors(struct liar *l)
{
    liar_node(l, "sectors", "");
}

static void
too_many_sectors(struct liar *l)
{
    liar_node(l, "sectors", "99999999999999999999");
}

static void
odd_sector(struct liar *l)
{
    liar_node(l, "sector-size", "511");
}

static void
no_queues(struct liar *l)
{
    liar_node(l, "multi-queue-max-queues", "0");
}

static void
too_many_queues(struct liar *l)
{
    liar_node(l, "multi-queue-max-queues", "4294967296");
}

static void
odd_order(struct liar *l)
{
    liar_node(l, "max-ring-page-order", "-1");
}

static void
odd_feature(struct liar *l)
{
    liar_node(l, "feature-flush-cache", "yes");
}

/* Its nodes change all the time, into nonsense and back. */
static void
restless(struct liar *l)
{
    char sectors[16];

    snprintf(sectors, sizeof(sectors), "%d", LIAR_SECTORS);
    for (unsigned i = 0; l->state == CONNECTED && i < 4; i++) {
        l->told++;
        liar_node(l, "sectors", i & 1 ? sectors : "-1");
        liar_state(l, CONNECTED);
    }
}

/* Its state, as it is, as fast as it can. */
static void
floods(struct liar *l)
{
    const unsigned most = 100 / (l->rings ? l->rings : 1);

    for (unsigned i = 0; l->state == CONNECTED && i < most; i++) {
        l->told++;
        liar_state(l, CONNECTED);
    }
}

/* It goes as soon as it has come, as fast as the front follows. */
static void
comes_and_goes(struct liar *l)
{
    if (l->state != CONNECTED)
        return;
    l->told++;
    liar_part(l);
    liar_state(l, CLOSING);
}

static void
flips(struct liar *l)
{
    char text[16];

    l->told++;
    snprintf(text, sizeof(text), "%u", liar_below(l, 12));
    liar_node(l, "state", text);
}

const struct liar_case liar_cases[] = {
    { .name = "far_id",
      .about = "an id behind the last",
      .outcome = LIE_ENDS,
      .why = not_an_id,
      .answer = far_id },
    { .name = "wide_id",
      .about = "an id of 33 bits",
      .outcome = LIE_ENDS,
      .why = not_an_id,
      .answer = wide_id },
    { .name = "idle_id",
      .about = "an id that nobody waits for",
      .outcome = LIE_ENDS,
      .why = not_waiting,
      .answer = idle_id },
    { .name = "twice",
      .about = "an answer twice",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = twice,
      .besides = true },
    { .name = "once_more_later",
      .about = "an answer again, when all is done",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = once_more_later,
      .besides = true,
      .look = look_once_more },
    { .name = "crosswise",
      .about = "an answer in another ring, to what nobody asked",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = crosswise },
    { .name = "other_ring",
      .about = "an answer in another ring than the question",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = other_ring },
    { .name = "both_rings",
      .about = "an answer in its ring and in another",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = both_rings,
      .besides = true },
    { .name = "id_of_other_ring",
      .about = "an id that is asked in another ring",
      .outcome = LIE_ENDS,
      .why = broke,
      .answer = id_of_other_ring },
    { .name = "never_asked",
      .about = "an answer when nothing is asked",
      .outcome = LIE_ENDS,
      .why = broke,
      .look = never_asked },
    { .name = "whole_ring",
      .about = "a ring full of answers",
      .outcome = LIE_ENDS,
      .why = too_many,
      .answer = whole_ring },
    { .name = "far_ahead",
      .about = "2^31 answers",
      .outcome = LIE_ENDS,
      .why = too_many,
      .answer = far_ahead },
    { .name = "backwards",
      .about = "an index that goes back",
      .outcome = LIE_ENDS,
      .why = too_many,
      .answer = backwards },
    { .name = "another_operation",
      .about = "the answer to a write for a read",
      .outcome = LIE_ENDS,
      .why = other_op,
      .answer = another_operation },
    { .name = "no_operation",
      .about = "an operation that there is not",
      .outcome = LIE_ENDS,
      .why = other_op,
      .answer = no_operation },
    { .name = "fails",
      .about = "each request fails",
      .outcome = LIE_ERRORS,
      .answer = fails },
    { .name = "odd_status",
      .about = "statuses that there are not",
      .outcome = LIE_ERRORS,
      .answer = odd_status },
    { .name = "unsupported",
      .about = "no read and no write is known",
      .outcome = LIE_ERRORS,
      .answer = unsupported },
    { .name = "scribbles",
      .about = "over requests and indices",
      .outcome = LIE_SERVED,
      .answer = scribbles },
    { .name = "thinks_better_of_it",
      .about = "over answers that were taken",
      .outcome = LIE_SERVED,
      .look = thinks_better_of_it },
    { .name = "storm",
      .about = "events without end",
      .outcome = LIE_SERVED,
      .look = storm },
    { .name = "silent",
      .about = "no answer to a request",
      .outcome = LIE_WAITS,
      .answer = silent },
    { .name = "silent_storm",
      .about = "events without end, and no answer",
      .outcome = LIE_WAITS,
      .answer = silent,
      .look = storm },
    { .name = "restless",
      .about = "nodes that change into nonsense and back all the time",
      .outcome = LIE_SERVED,
      .look = restless },
    { .name = "floods",
      .about = "its state without a pause",
      .outcome = LIE_SERVED,
      .look = floods },
    { .name = "comes_and_goes",
      .about = "lets go as soon as it is connected, for ever",
      .outcome = LIE_WAITS,
      .look = comes_and_goes },
    { .name = "flips",
      .about = "any states, all the time",
      .outcome = LIE_WAITS,
      .look = flips },
    { .name = "dies_killed",
      .about = "dies while connected, and shows it nowhere",
      .outcome = LIE_WAITS,
      .dies = CONNECTED,
      .how = BY_KILL },
    { .name = "dies_closing",
      .about = "goes to 6 while connected",
      .outcome = LIE_WAITS,
      .dies = CONNECTED,
      .how = BY_CLOSING },
    { .name = "dies_vanishing",
      .about = "its directory goes while connected",
      .outcome = LIE_WAITS,
      .dies = CONNECTED,
      .how = BY_VANISHING },
    { .name = "no_sectors",
      .about = "a size of no digits",
      .outcome = LIE_REFUSED,
      .why = "sectors: expected a number",
      .connecting = no_sectors },
    { .name = "too_many_sectors",
      .about = "a size of 67 bits",
      .outcome = LIE_REFUSED,
      .why = "sectors: expected a number",
      .connecting = too_many_sectors },
    { .name = "odd_sector",
      .about = "sectors of 511 bytes",
      .outcome = LIE_REFUSED,
      .why = "expected a power of two from 512 to 4096",
      .connecting = odd_sector },
    { .name = "no_queues",
      .about = "no queues",
      .outcome = LIE_REFUSED,
      .why = "expected a queue at least, found 0",
      .connecting = no_queues },
    { .name = "too_many_queues",
      .about = "2^32 queues",
      .outcome = LIE_REFUSED,
      .why = "multi-queue-max-queues: expected a number",
      .connecting = too_many_queues },
    { .name = "odd_order",
      .about = "rings of half a page",
      .outcome = LIE_REFUSED,
      .why = "max-ring-page-order: expected a number",
      .connecting = odd_order },
    { .name = "odd_feature",
      .about = "a flush that is offered by a word",
      .outcome = LIE_REFUSED,
      .why = "feature-flush-cache: expected a number",
      .connecting = odd_feature },
    { .name = "dies_2_killed",
      .about = "dies in state 2, and shows it nowhere",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INIT_WAIT,
      .how = BY_KILL },
    { .name = "dies_2_closing",
      .about = "dies in state 2, and goes to 6",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INIT_WAIT,
      .how = BY_CLOSING },
    { .name = "dies_2_vanishing",
      .about = "dies in state 2, and its directory goes",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INIT_WAIT,
      .how = BY_VANISHING },
    { .name = "dies_3_killed",
      .about = "dies in state 3, and shows it nowhere",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INITIALISED,
      .how = BY_KILL },
    { .name = "dies_3_closing",
      .about = "dies in state 3, and goes to 6",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INITIALISED,
      .how = BY_CLOSING },
    { .name = "dies_3_vanishing",
      .about = "dies in state 3, and its directory goes",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = INITIALISED,
      .how = BY_VANISHING },
    { .name = "dies_5_killed",
      .about = "dies in state 5, and shows it nowhere",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSING,
      .how = BY_KILL },
    { .name = "dies_5_closing",
      .about = "dies in state 5, and goes to 6",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSING,
      .how = BY_CLOSING },
    { .name = "dies_5_vanishing",
      .about = "dies in state 5, and its directory goes",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSING,
      .how = BY_VANISHING },
    { .name = "dies_6_killed",
      .about = "dies in state 6, and shows it nowhere",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSED,
      .how = BY_KILL },
    { .name = "dies_6_closing",
      .about = "dies in state 6, and goes to 6",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSED,
      .how = BY_CLOSING },
    { .name = "dies_6_vanishing",
      .about = "dies in state 6, and its directory goes",
      .outcome = LIE_REFUSED,
      .why = away,
      .dies = CLOSED,
      .how = BY_VANISHING },
    { .name = NULL }
};

const struct liar_case *
liar_find(const char *name)
{
    for (const struct liar_case *c = liar_cases; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}
