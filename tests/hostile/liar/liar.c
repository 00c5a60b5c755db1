/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * liar.c: the honest part: states, rings and disk.
 *
 *                front 3 or 4
 *     2 InitWait ────────────► 4 Connected
 *        ▲                        │ front 5: 5   front 6: 6
 *        │ front 1                ▼
 *        └──────────────── 5 Closing, 6 Closed
 *
 * The front-end is our own program under test, so what it writes is believed
 * as far as our memory is safe.
 */
#include "liar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes --------------------------------------------------------------- */

void
liar_node(struct liar *l, const char *leaf, const char *value)
{
    char path[LIAR_PATH + 64];

    snprintf(path, sizeof(path), "%s/%s", l->back, leaf);
    l->t->write(l, path, value);
}

static uint32_t
number(struct liar *l, const char *dir, const char *leaf)
{
    char path[LIAR_PATH + 64], value[64];

    snprintf(path, sizeof(path), "%s/%s", dir, leaf);
    if (l->t->read(l, path, value, sizeof(value)) < 0)
        return 0;
    return (uint32_t)strtoul(value, NULL, 10);
}

void
liar_state(struct liar *l, int state)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", state);
    l->state = state;
    liar_node(l, "state", text);
}

static void
nodes(struct liar *l)
{
    char sectors[16], queues[16], order[16];

    snprintf(queues, sizeof(queues), "%u", l->offers ? l->offers : 1);
    liar_node(l, "multi-queue-max-queues", queues);
    snprintf(order, sizeof(order), "%u", l->longest);
    liar_node(l, "max-ring-page-order", order);
    snprintf(sectors, sizeof(sectors), "%d", LIAR_SECTORS);
    liar_node(l, "frontend", l->front);
    liar_node(l, "frontend-id", "0");
    liar_node(l, "online", "1");
    liar_node(l, "feature-flush-cache", "1");
    liar_node(l, "sectors", sectors);
    liar_node(l, "sector-size", "512");
    liar_node(l, "info", "0");
}

/* ---- a ring -------------------------------------------------------------- */

uint32_t
liar_word(const struct liar *l, enum liar_word word)
{
    return __atomic_load_n((uint32_t *)(void *)l->at->ring + word,
                           __ATOMIC_ACQUIRE);
}

void
liar_word_set(struct liar *l, enum liar_word word, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)l->at->ring + word, value,
                     __ATOMIC_SEQ_CST);
}

uint32_t
liar_below(struct liar *l, uint32_t n)
{
    l->seed = l->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(((l->seed >> 32) * n) >> 32);
}

uint32_t
liar_slots(const struct liar *l)
{
    return (uint32_t)LIAR_SLOTS << l->order;
}

static uint8_t *
slot(const struct liar *l, uint32_t index)
{
    return l->at->ring + 64 + (size_t)(index % liar_slots(l)) * 112;
}

void
liar_answer(struct liar *l, uint64_t id, int op, int status)
{
    uint8_t *s = slot(l, l->at->prod++);
    int16_t small = (int16_t)status;

    memcpy(s, &id, 8);
    s[8] = (uint8_t)op;
    memcpy(s + 10, &small, 2);
}

void
liar_notify(struct liar *l)
{
    l->t->notify(l, (unsigned)(l->at - l->ring));
}

void
liar_push(struct liar *l)
{
    liar_word_set(l, RSP_PROD, l->at->prod);
    liar_notify(l);
}

static void
take(struct liar *l, struct liar_request *r)
{
    const uint8_t *s = slot(l, l->at->cons++);

    memset(r, 0, sizeof(*r));
    r->op = s[0];
    r->segs = s[1] < LIAR_SEGS ? s[1] : LIAR_SEGS;
    memcpy(&r->id, s + 8, 8);
    memcpy(&r->sector, s + 16, 8);
    for (unsigned i = 0; i < r->segs; i++) {
        const uint8_t *p = s + 24 + 8 * (size_t)i;

        memcpy(&r->seg[i].ref, p, 4);
        r->seg[i].first = p[4];
        r->seg[i].last = p[5];
    }
}

/* An index that makes no sense is one that a case has scribbled. */
static bool
waiting(const struct liar *l)
{
    const uint32_t n = liar_word(l, REQ_PROD) - l->at->cons;

    return n && n <= liar_slots(l);
}

struct liar_ring *
liar_next_ring(struct liar *l)
{
    const unsigned here = (unsigned)(l->at - l->ring);

    for (unsigned i = 1; i < l->rings; i++) {
        struct liar_ring *ring = &l->ring[(here + i) % l->rings];

        if (ring->ring)
            return ring;
    }
    return l->at;
}

/* Those that it has not taken, as it answers what it takes. */
static bool
asked(struct liar *l, struct liar_ring *ring, uint64_t *id, uint32_t nth)
{
    struct liar_ring *here = l->at;
    bool is;

    l->at = ring;
    is = ring->ring && waiting(l) && nth < liar_word(l, REQ_PROD) - ring->cons;
    if (is)
        memcpy(id, slot(l, ring->cons + nth) + 8, 8);
    l->at = here;
    return is;
}

static bool
asked_here(struct liar *l, uint64_t id)
{
    uint64_t other = 0;

    for (uint32_t n = 0; asked(l, l->at, &other, n); n++)
        if (other == id)
            return true;
    return false;
}

uint64_t
liar_id_idle(struct liar *l, uint64_t mine)
{
    for (uint32_t id = liar_slots(l); id-- > 0;)
        if (id != mine && !asked_here(l, id))
            return id;
    return mine;
}

uint64_t
liar_id_elsewhere(struct liar *l, uint64_t mine)
{
    uint64_t id = 0;

    for (unsigned i = 0; i < l->rings; i++)
        for (uint32_t n = 0; asked(l, &l->ring[i], &id, n); n++)
            if (id != mine && !asked_here(l, id))
                return id;
    return liar_id_idle(l, mine);
}

/* ---- the disk ------------------------------------------------------------ */

int
liar_do(struct liar *l, const struct liar_request *r)
{
    uint64_t sector = r->sector;

    l->served++;
    if (r->op == LIAR_FLUSH) {
        l->flushes++;
        return LIAR_OKAY;
    }
    if (r->op != LIAR_READ && r->op != LIAR_WRITE)
        return LIAR_UNSUPPORTED;
    l->writes += r->op == LIAR_WRITE;
    for (unsigned i = 0; i < r->segs; i++) {
        unsigned first = r->seg[i].first, last = r->seg[i].last, n;
        int rc;

        if (first > last || last > 7 || sector >= LIAR_SECTORS ||
            LIAR_SECTORS - sector < last - first + 1)
            return LIAR_ERROR;
        n = last - first + 1;
        rc = r->op == LIAR_READ ? l->t->put(l, r->seg[i].ref, first * 512,
                                            l->disk + sector * 512, n * 512)
                                : l->t->get(l, r->seg[i].ref, first * 512,
                                            l->disk + sector * 512, n * 512);
        if (rc)
            return LIAR_ERROR;
        sector += n;
    }
    return LIAR_OKAY;
}

void
liar_honest(struct liar *l, const struct liar_request *r)
{
    liar_answer(l, r->id, r->op, liar_do(l, r));
}

static bool
lies_here(const struct liar *l)
{
    return l->lie && (l->lie->outcome != LIE_ENDS || l->rings < 2 ||
                      l->at == &l->ring[l->turn % l->rings]);
}

/* A ring that is asked nothing while others are is passed over. */
static void
pass(struct liar *l)
{
    if (!l->lie || l->told || ++l->passed < 200)
        return;
    l->passed = 0;
    l->turn++;
}

static bool
spares(const struct liar *l, const struct liar_request *r)
{
    if (!l->spares_flushes ||
        (l->lie->outcome != LIE_ENDS && l->lie->outcome != LIE_ERRORS))
        return false;
    return r->op == LIAR_FLUSH || (r->op == LIAR_WRITE && l->lie->besides);
}

/* It dies when it is asked to read: what was written is then flushed, as far
 * as the guest asked for that. */
static void
serve_one(struct liar *l, const struct liar_request *r)
{
    const struct liar_case *c = lies_here(l) && !spares(l, r) ? l->lie : NULL;
    const unsigned before = l->told;

    l->last = r->op;
    if (c && c->dies == CONNECTED && r->op == LIAR_READ) {
        l->told++;
        liar_die(l, (int)c->how);
    } else if (c && c->answer) {
        l->told++;
        c->answer(l, r);
    } else {
        liar_honest(l, r);
        pass(l);
    }
    l->told_in[l->at - l->ring] += l->told - before;
}

static bool
all_idle(struct liar *l)
{
    struct liar_ring *here = l->at;
    bool idle = true;

    for (unsigned i = 0; i < LIAR_RINGS; i++) {
        l->at = &l->ring[i];
        idle &= !l->at->ring || liar_word(l, REQ_PROD) == l->at->prod;
    }
    l->at = here;
    return idle;
}

bool
liar_idle(struct liar *l)
{
    if (!l->at->ring || liar_word(l, REQ_PROD) != l->at->prod)
        return false;
    return !l->spares_flushes || (l->last != LIAR_WRITE && all_idle(l));
}

static void
look(struct liar *l)
{
    const unsigned before = l->told;

    if (lies_here(l) && l->lie->look)
        l->lie->look(l);
    l->told_in[l->at - l->ring] += l->told - before;
}

static void
serve(struct liar *l)
{
    for (unsigned n = 0; l->at->ring && n < liar_slots(l); n++) {
        const uint32_t prod = l->at->prod;
        struct liar_request r;

        if (!waiting(l)) {
            liar_word_set(l, REQ_EVENT, l->at->cons + 1);
            if (!waiting(l))
                return;
        }
        take(l, &r);
        serve_one(l, &r);
        if (l->at->ring && l->at->prod != prod)
            liar_push(l);
    }
}

/* ---- states -------------------------------------------------------------- */

void
liar_part(struct liar *l)
{
    for (unsigned i = 0; i < LIAR_RINGS; i++) {
        if (l->ring[i].ring)
            l->t->disconnect(l, i);
        l->ring[i].ring = NULL;
        l->ring[i].kept = false;
    }
}

/* What dies so leaves everything as it is, as a process that is killed. */
void
liar_die(struct liar *l, int how)
{
    const int was = l->state;

    liar_part(l);
    if (how == BY_CLOSING && was != CLOSING)
        liar_state(l, CLOSING);
    if (how == BY_CLOSING)
        liar_state(l, CLOSED);
    if (how == BY_VANISHING)
        l->t->rm(l, l->back);
    l->state = GONE;
}

static bool
dies(struct liar *l, int state)
{
    if (!l->lie || l->lie->dies != state || state == CONNECTED)
        return false;
    l->told++;
    liar_die(l, (int)l->lie->how);
    return true;
}

static bool
connect_ring(struct liar *l, unsigned i)
{
    char dir[LIAR_PATH + 16], leaf[16];
    uint32_t refs[LIAR_PAGES];

    snprintf(dir, sizeof(dir), l->rings > 1 ? "%s/queue-%u" : "%s", l->front,
             i);
    for (unsigned k = 0; k < 1u << l->order; k++) {
        snprintf(leaf, sizeof(leaf), l->order ? "ring-ref%u" : "ring-ref", k);
        refs[k] = number(l, dir, leaf);
    }
    l->at = &l->ring[i];
    l->at->ring = l->t->connect(l, i, refs, 1u << l->order,
                                number(l, dir, "event-channel"));
    if (l->at->ring)
        l->at->cons = l->at->prod = liar_word(l, RSP_PROD);
    return l->at->ring;
}

static bool
connect_rings(struct liar *l)
{
    l->rings = number(l, l->front, "multi-queue-num-queues");
    if (!l->rings)
        l->rings = 1;
    l->order = number(l, l->front, "ring-page-order");
    if (l->rings > LIAR_RINGS || l->order > LIAR_ORDER)
        return false;
    for (unsigned i = 0; i < l->rings; i++)
        if (!connect_ring(l, i))
            return false;
    return true;
}

static void
connect(struct liar *l)
{
    if (!connect_rings(l)) {
        liar_part(l);
        liar_state(l, CLOSING);
        return;
    }
    if (dies(l, INITIALISED))
        return;
    nodes(l);
    if (l->lie && l->lie->connecting) {
        l->told++;
        l->lie->connecting(l);
    }
    liar_state(l, CONNECTED);
}

static void
follow(struct liar *l)
{
    const int front = (int)number(l, l->front, "state");

    if (front == STARTING && l->state >= CLOSING)
        liar_state(l, INIT_WAIT);
    if ((front == INITIALISED || front == CONNECTED) && l->state == INIT_WAIT &&
        !dies(l, INIT_WAIT))
        connect(l);
    if (front == CLOSING && l->state && l->state < CLOSING) {
        liar_part(l);
        liar_state(l, CLOSING);
        dies(l, CLOSING);
    }
    if (front == CLOSED && l->state && l->state != CLOSED) {
        liar_part(l);
        liar_state(l, CLOSED);
        dies(l, CLOSED);
    }
}

void
liar_start(struct liar *l)
{
    l->at = &l->ring[0];
    nodes(l);
    liar_state(l, INIT_WAIT);
}

void
liar_step(struct liar *l)
{
    if (!l->state)
        return;
    for (unsigned i = 0; i < LIAR_RINGS && l->state; i++) {
        l->at = &l->ring[i];
        if (!i || l->at->ring)
            look(l);
    }
    follow(l);
    for (unsigned i = 0; i < LIAR_RINGS; i++) {
        l->at = &l->ring[i];
        serve(l);
    }
}

void
liar_offer(struct liar *l, unsigned rings, unsigned order)
{
    l->offers = rings;
    l->longest = order;
    if (l->state)
        nodes(l);
}

void
liar_tell(struct liar *l, const struct liar_case *c)
{
    l->lie = c;
    l->told = 0;
    if (c) {
        memset(l->told_in, 0, sizeof(l->told_in));
        l->turn += c->outcome == LIE_ENDS;
        l->passed = 0;
        return;
    }
    if (l->state) { /* what it shows may be a lie */
        nodes(l);
        liar_state(l, l->state);
    }
    for (unsigned i = 0; i < LIAR_RINGS; i++) {
        l->at = &l->ring[i];
        if (l->at->kept && l->at->ring) {
            liar_honest(l, &l->at->first);
            liar_push(l);
        }
        l->at->kept = false;
    }
    if (!l->state)
        liar_start(l);
}
