/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/qcow2_guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- what each sector may hold ------------------------------------------- */

void
guest_stamp(uint8_t *sector, uint64_t id)
{
    for (unsigned i = 0; i < 512; i += 8)
        memcpy(sector + i, &id, 8);
}

static uint64_t
read_id(const struct guest *g, const uint8_t *sector, uint64_t number)
{
    uint8_t blank[512];
    uint64_t id;

    memcpy(&id, sector, 8);
    if (!memcmp(sector, sector + 8, 512 - 8)) {
        if (!id && g->blank)
            wrong("sector %" PRIu64 " has zeroes", number);
        return id;
    }
    if (g->blank) {
        g->blank(blank, number);
        if (!memcmp(sector, blank, 512))
            return 0;
    }
    wrong("sector %" PRIu64 " is torn", number);
}

static void
later_add(struct guest *g, uint64_t sector, uint64_t id, uint64_t done)
{
    unsigned n = g->laters[sector]++;

    g->later[sector][n] = (struct guest_write){ .id = id, .done = done };
}

static void
later_done(struct guest *g, uint64_t sector, uint64_t id)
{
    for (unsigned i = 0; i < g->laters[sector]; i++) {
        if (g->later[sector][i].id == id && !g->later[sector][i].done)
            g->later[sector][i].done = ++g->time;
    }
}

/* A flush that began then is over: what was completed before it is durable. */
static void
flushed(struct guest *g, uint64_t begun)
{
    for (uint64_t s = 0; s < g->sectors; s++) {
        struct guest_write *later = g->later[s];
        unsigned n = 0, keep = 0;

        for (unsigned i = 0; i < g->laters[s]; i++) {
            if (later[i].done && later[i].done < begun) {
                g->stable[s] = later[i].id;
                n = i + 1;
            }
        }
        for (; n < g->laters[s]; n++)
            later[keep++] = later[n];
        g->laters[s] = keep;
    }
    g->flushes++;
}

static bool
allowed_after_power(const struct guest *g, uint64_t s, uint64_t id)
{
    if (id == g->stable[s])
        return true;
    for (unsigned i = 0; i < g->laters[s]; i++) {
        if (g->later[s][i].id == id)
            return true;
    }
    return false;
}

static bool
allowed_after_kill(const struct guest *g, uint64_t s, uint64_t id)
{
    unsigned i = g->laters[s];

    while (i > 0 && !g->later[s][i - 1].done) {
        if (g->later[s][--i].id == id)
            return true;
    }
    if (i > 1 && g->later[s][i - 1].crosses && g->later[s][i - 2].id == id)
        return true;
    return id == (i ? g->later[s][i - 1].id : g->stable[s]);
}

/* ---- what it does -------------------------------------------------------- */

static void way_next(struct guest_way *y);

static bool
range_busy(const struct guest *g, uint64_t first, uint64_t n)
{
    for (unsigned i = 0; i < GUEST_WAYS; i++) {
        const struct guest_way *y = &g->way[i];

        if (y->busy && first < y->first + y->n && y->first < first + n)
            return true;
    }
    for (uint64_t s = first; s < first + n; s++) {
        if (g->laters[s] + 1 >= GUEST_LATER)
            return true;
    }
    return false;
}

/* A discard is of whole clusters; else it is left alone. */
static void
way_changes(struct guest_way *y, bool begin)
{
    const uint64_t per = y->guest->cluster;
    uint64_t a = y->first, b = y->first + y->n;

    if (y->op == BLK_DISCARD) {
        a = (a + per - 1) / per * per;
        b = b / per * per;
    }
    for (; a < b; a++) {
        uint64_t id = y->op == BLK_WRITE ? y->id + a : 0;

        if (begin)
            later_add(y->guest, a, id, 0);
        else
            later_done(y->guest, a, id);
    }
}

void
guest_cluster(struct guest *g, uint64_t cluster)
{
    const uint64_t old = g->cluster;

    for (unsigned i = 0; i < GUEST_WAYS; i++) {
        const struct guest_way *y = &g->way[i];
        uint64_t a = (y->first + old - 1) / old * old;
        uint64_t b = (y->first + y->n) / old * old;
        uint64_t end = (y->first + y->n) / cluster * cluster;
        uint64_t s = (y->first + cluster - 1) / cluster * cluster;

        for (; y->busy && y->op == BLK_DISCARD && s < end; s++) {
            if (s < a || s >= b)
                later_add(g, s, 0, 0);
        }
    }
    g->cluster = cluster;
}

static void
way_done(struct chain_req *req, int error)
{
    struct guest_way *y = req->owner;

    chain_put(y->guest->chain, req);
    y->busy = false;
    y->guest->errors += error != 0;
    /* It was offered, by a layer that is out of the chain now. */
    if (error == -EOPNOTSUPP && (y->op == BLK_ZERO || y->op == BLK_DISCARD))
        ;
    else if (error && (!y->guest->faulty || y->op == BLK_FLUSH))
        wrong("op %u at sector %" PRIu64 ": error %d", y->op, y->first, error);
    if (error)
        ; /* as one that never ended */
    else if (y->op == BLK_FLUSH)
        flushed(y->guest, y->begun);
    else if (y->op != BLK_READ)
        way_changes(y, false);
    if (y->guest->working)
        way_next(y);
}

static void
way_start(struct guest_way *y)
{
    struct blk_req *r;

    y->busy = true;
    y->req = chain_get(y->guest->chain);
    y->req->done = way_done;
    y->req->owner = y;
    r = &y->req->req;
    r->op = (uint8_t)y->op;
    r->flags = 0;
    r->off = y->op == BLK_FLUSH ? 0 : y->first * 512;
    r->len = y->op == BLK_FLUSH ? 0 : (uint32_t)y->n * 512;
    y->v = (struct iovec){ y->buf, r->len };
    r->sg = (struct blk_sg){ .v = &y->v, .n = 1, .skip = 0 };
    chain_submit(y->guest->chain, y->req);
}

/* A write in place of what the disk does not offer. */
static unsigned
op_next(struct guest *g)
{
    uint64_t kind = sim_below(g->sim, 100);
    unsigned op = kind < 60   ? BLK_WRITE
                  : kind < 72 ? BLK_FLUSH
                  : kind < 82 ? BLK_DISCARD
                  : kind < 92 ? BLK_ZERO
                              : BLK_READ;

    if (op == BLK_DISCARD && g->no_discard)
        return BLK_WRITE;
    return chain_limits(g->chain)->ops & BLK_BIT(op) ? op : BLK_WRITE;
}

/* Where nothing else is under way; a flush, if such a place is not found. */
static void
way_place(struct guest_way *y)
{
    struct guest *g = y->guest;
    const uint64_t most = GUEST_LEN / 512;
    const bool data = y->op == BLK_WRITE || y->op == BLK_READ;

    for (unsigned try = 0; try <= 20; try++) {
        y->n = sim_below(g->sim, 3) ? 1 + sim_below(g->sim, 8)
                                    : 1 + sim_below(g->sim, most);
        if (!data)
            y->n *= 1 + sim_below(g->sim, 4);
        if (y->n > g->sectors)
            y->n = g->sectors;
        if (y->op == BLK_READ && y->n > most)
            y->n = most;
        y->first = sim_below(g->sim, g->sectors - y->n + 1);
        if (!range_busy(g, y->first, y->n))
            return;
        if (y->op == BLK_FLUSH)
            return;
    }
    y->op = BLK_FLUSH;
}

static void
way_begin(struct guest_way *y)
{
    struct guest *g = y->guest;

    y->begun = ++g->time;
    if (y->op == BLK_FLUSH) {
        y->n = 0;
    } else if (y->op != BLK_READ) {
        y->id = g->next_id;
        g->next_id += GUEST_SECTORS;
        way_changes(y, true);
    }
    for (uint64_t i = 0; y->op == BLK_WRITE && i < y->n; i++)
        guest_stamp(y->buf + i * 512, y->id + y->first + i);
    way_start(y);
}

static void
way_next(struct guest_way *y)
{
    y->op = op_next(y->guest);
    way_place(y);
    way_begin(y);
}

/* ---- for the test -------------------------------------------------------- */

void
guest_init(struct guest *g, struct sim *sim, uint64_t sectors, uint64_t cluster)
{
    memset(g, 0, sizeof(*g));
    g->sim = sim;
    g->sectors = sectors;
    g->cluster = cluster;
    g->next_id = 1 << 20;
    for (unsigned i = 0; i < GUEST_WAYS; i++)
        g->way[i].guest = g;
}

void
guest_work(struct guest *g)
{
    g->working = true;
    for (unsigned i = 0; i < GUEST_WAYS; i++)
        way_next(&g->way[i]);
}

/* From somewhere before its begin, or there, to somewhere in it. */
static void
place_over(struct guest_way *y, const struct guest_way *was)
{
    struct guest *g = y->guest;
    uint64_t room = GUEST_LEN / 512 - was->n, s = was->first;

    if (room > s)
        room = s;
    for (room = sim_below(g->sim, room + 1); room; room--) {
        if (g->laters[s - 1] + 1 >= GUEST_LATER)
            break;
        s--;
    }
    y->first = s;
    y->n = was->first - s + 1 + sim_below(g->sim, was->n);
}

bool
guest_over(struct guest *g, unsigned way)
{
    struct guest_way *y = &g->way[way];
    const struct guest_way *was = way ? y - 1 : NULL;

    y->op = BLK_WRITE;
    if (was)
        place_over(y, was);
    else
        way_place(y);
    if (y->op != BLK_WRITE)
        return false;
    way_begin(y);
    if (was && was->busy) {
        for (uint64_t s = was->first; s < y->first + y->n; s++)
            g->later[s][g->laters[s] - 1].crosses = true;
    }
    return true;
}

bool
guest_idle(void *guest)
{
    const struct guest *g = guest;

    for (unsigned i = 0; i < GUEST_WAYS; i++) {
        if (g->way[i].busy)
            return false;
    }
    return true;
}

void
guest_lost(struct guest *g)
{
    for (unsigned i = 0; i < GUEST_WAYS; i++)
        g->way[i].busy = false;
}

static void
look_at(struct guest *g, uint64_t s, uint64_t id, bool killed)
{
    const unsigned n = g->laters[s];

    if (!(killed ? allowed_after_kill : allowed_after_power)(g, s, id))
        wrong("sector %" PRIu64 " holds %" PRIu64
              ", after a %s; stable %" PRIu64 ", %u later, the last %" PRIu64,
              s, id, killed ? "kill" : "power failure", g->stable[s], n,
              n ? g->later[s][n - 1].id : 0);
    if (!killed) {
        g->stable[s] = id;
        g->laters[s] = 0;
    } else if (n == GUEST_LATER) {
        g->later[s][GUEST_LATER - 1] =
            (struct guest_write){ .id = id, .done = ++g->time };
    } else {
        later_add(g, s, id, ++g->time);
    }
}

static bool
under_way(const struct guest *g, uint64_t s)
{
    for (unsigned i = 0; i < g->laters[s]; i++) {
        if (!g->later[s][i].done)
            return true;
    }
    return false;
}

void
guest_look(struct guest *g, bool killed)
{
    struct guest_way *y = &g->way[0];

    for (uint64_t s = 0; s < g->sectors; s += y->n) {
        y->op = BLK_READ;
        y->first = s;
        y->n = GUEST_LEN / 512;
        if (y->n > g->sectors - s)
            y->n = g->sectors - s;
        way_start(y);
        if (!sim_run_until(g->sim, guest_idle, g, 10000000000ull))
            wrong("a read hangs");
        for (uint64_t i = 0; i < y->n; i++) {
            if (!g->garbage || !under_way(g, s + i))
                look_at(g, s + i, read_id(g, y->buf + i * 512, s + i), killed);
        }
    }
}

/* A look adds behind what is there, and replaces the last where none has room:
 * most of a guest's memory stays. */
void
guest_restore(struct guest *g, const struct guest *was)
{
    memcpy(g, was, offsetof(struct guest, later));
    for (uint64_t s = 0; s < g->sectors; s++) {
        if (g->laters[s] == GUEST_LATER)
            g->later[s][GUEST_LATER - 1] = was->later[s][GUEST_LATER - 1];
    }
    guest_lost(g);
}

/* ---- what a person says to a layer --------------------------------------- */

struct person_out {
    struct blk_out out; /* first */
    char *told;
};

static void
out_text(struct blk_out *out, const char *text)
{
    (void)out;
    (void)text;
}

static void
out_told(struct blk_out *out, const char *name, const char *value)
{
    if (!strcmp(name, "commit"))
        snprintf(((struct person_out *)out)->told, PERSON_TOLD, "%s", value);
}

static void
out_number(struct blk_out *out, const char *name, uint64_t v, const char *unit)
{
    (void)out;
    (void)name;
    (void)v;
    (void)unit;
}

int
person_says(struct chain *c, const char *layer, const char *command,
            const char *word, const char *other, char told[PERSON_TOLD])
{
    struct person_out out = {
        .out = { .text = out_text, .str = out_told, .u64 = out_number },
        .told = told
    };
    char words[3][32], *args[] = { words[0], words[1], words[2], NULL };

    snprintf(words[0], sizeof(words[0]), "%s", command);
    snprintf(words[1], sizeof(words[1]), "%s", word ? word : "");
    snprintf(words[2], sizeof(words[2]), "%s", other ? other : "");
    return chain_command(c, layer, other ? 3 : word ? 2 : 1, args, &out.out);
}
