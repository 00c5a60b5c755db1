/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inflight.c: the table of requests in flight.
 *
 *   +--------+--------------------+---------+---------+-- - - --+
 *   | header | queues: refs, cons | entry 0 | entry 1 |         |
 *   +--------+--------------------+---------+---------+-- - - --+
 *
 * An entry goes FREE -> LIVE (noted) -> ANSWERED (rsp is known) -> FREE.  The
 * word that says so is written last, so that an entry that is not FREE is
 * whole.
 *
 * Everything carries a check of itself, in the same word where a kill could
 * come between: the header a sum, each queue's cons sixteen bits above it, an
 * entry's state the inverse of what it goes with, an entry a sum.  The sums
 * find damage; they are no signature, as only we can write here.
 *
 * Whether the disk failed stands in the first queue, in a word of its own that
 * is no part of the header's sum: it is one of two that are no likely damage
 * of each other.
 */
#include "config.h"

#include "channel/inflight.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/shm.h"

/* Another layout is another version: channel_stored has the bytes of each. */
enum { TABLE_VERSION = 2 };
#define TABLE_MAGIC UINT64_C(0x7468676c66697462) /* "btiflght" */

/* The upper half of an entry's word; no two are alike by a few bits. */
#define ENTRY_FREE     UINT32_C(0)
#define ENTRY_LIVE     UINT32_C(0x5a3c96e1)
#define ENTRY_ANSWERED UINT32_C(0xa1c7691e)

#define DISK_GOOD  UINT32_C(0)
#define DISK_LOSSY UINT32_C(0xc35a6d96)

struct inflight_entry {
    uint64_t word;  /* see entry_word() */
    uint64_t index; /* as cons, below */
    uint32_t queue;
    uint32_t check; /* of queue, index and raw */
    uint8_t raw[BLKIF_RAW_MAX];
};

struct inflight_queue {
    uint64_t cons; /* see cons_word(); the count itself is of 48 bits, so that
                      age can be told after a ring's index wrapped */
    uint32_t port;
    uint32_t refs[1u << CHAN_ORDER_MAX];
    uint32_t mark; /* of the first queue: DISK_GOOD or DISK_LOSSY; else 0 */
};

struct inflight_table {
    uint64_t magic;
    uint32_t version, bytes; /* of the whole table */
    uint64_t nonce;
    uint32_t domid, abi, order, queues, slots;
    uint32_t check; /* of all of this but each cons and the mark */
    struct inflight_queue queue[CHAN_QUEUES_MAX];
    struct inflight_entry entry[];
};

/* ---- checks -------------------------------------------------------------- */

enum { CONS_BITS = 48 };
#define CONS_MASK ((UINT64_C(1) << CONS_BITS) - 1)

/* Each step can be undone, so that no change of one word alone is lost. */
static uint64_t
mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ (sum >> 29);
}

static uint32_t
mix_end(uint64_t sum)
{
    sum = mix(sum, 0);
    return (uint32_t)(sum >> 32);
}

static uint32_t
entry_check(const struct inflight_entry *e)
{
    uint64_t sum = mix(e->queue, e->index), word;

    _Static_assert(BLKIF_RAW_MAX % sizeof(word) == 0, "summed by words");
    for (size_t i = 0; i < sizeof(e->raw); i += sizeof(word)) {
        memcpy(&word, e->raw + i, sizeof(word));
        sum = mix(sum, word);
    }
    return mix_end(sum);
}

static uint64_t
entry_word(uint32_t state, uint32_t rsp)
{
    return (uint64_t)(state ^ rsp * UINT32_C(0x9e3779b1)) << 32 | rsp;
}

/* False: the word is damaged. */
static bool
entry_state(const struct inflight_entry *e, uint32_t *state, uint32_t *rsp)
{
    *rsp = (uint32_t)e->word;
    *state = (uint32_t)(e->word >> 32) ^ *rsp * UINT32_C(0x9e3779b1);
    if (*state == ENTRY_FREE || *state == ENTRY_LIVE)
        return !*rsp;
    return *state == ENTRY_ANSWERED;
}

static uint64_t
cons_word(uint64_t cons)
{
    cons &= CONS_MASK;
    return cons | (uint64_t)(mix_end(cons) & 0xffff) << CONS_BITS;
}

static uint64_t
cons_of(const struct inflight_queue *q)
{
    return q->cons & CONS_MASK;
}

static uint32_t
header_check(const struct inflight_table *t)
{
    struct inflight_table h;
    const uint8_t *at = (const uint8_t *)&h;
    uint64_t sum = 0, word;

    _Static_assert(sizeof(h) % sizeof(word) == 0, "summed by words");
    memcpy(&h, t, sizeof(h));
    h.check = 0;
    h.magic = TABLE_MAGIC; /* it is written last */
    for (unsigned q = 0; q < CHAN_QUEUES_MAX; q++)
        h.queue[q].cons = 0;
    h.queue[0].mark = 0;
    for (size_t i = 0; i < sizeof(h); i += sizeof(word)) {
        memcpy(&word, at + i, sizeof(word));
        sum = mix(sum, word);
    }
    return mix_end(sum);
}

/* ---- a table ------------------------------------------------------------- */

static size_t
table_bytes(unsigned n)
{
    return sizeof(struct inflight_table) + n * sizeof(struct inflight_entry);
}

static int
set_up(struct inflight *f, const struct chan_params *p)
{
    memset(f, 0, sizeof(*f));
    f->fd = -1;
    f->queues = p->queues;
    f->slots = blkif_ring_entries(p->abi, p->order);
    f->n = f->queues * f->slots;
    f->size = (table_bytes(f->n) + BLKIF_PAGE - 1) & ~(size_t)(BLKIF_PAGE - 1);
    f->spare = calloc(f->n, sizeof(f->spare[0]));
    return f->spare ? 0 : -ENOMEM;
}

/* Low entries on top: a quiet disk touches few pages. */
static void
list_spares(struct inflight *f)
{
    f->spares = 0;
    for (unsigned i = f->n; i-- > 0;) {
        if (!f->table->entry[i].word)
            f->spare[f->spares++] = i;
    }
}

static void
write_header(struct inflight_table *t, const struct inflight *f,
             const struct chan_params *p)
{
    t->version = TABLE_VERSION;
    t->bytes = (uint32_t)table_bytes(f->n);
    t->nonce = p->nonce;
    t->domid = p->domid;
    t->abi = p->abi;
    t->order = p->order;
    t->queues = f->queues;
    t->slots = f->slots;
    for (unsigned q = 0; q < f->queues; q++) {
        t->queue[q].port = p->queue[q].port;
        memcpy(t->queue[q].refs, p->queue[q].refs,
               sizeof(t->queue[q].refs[0]) << p->order);
    }
    t->check = header_check(t);
    shm_wmb();
    t->magic = TABLE_MAGIC;
}

int
inflight_make(struct inflight *f, const struct chan_params *p)
{
    void *addr;
    int error = set_up(f, p);

    if (!error &&
        (p->room <= 0 || host_memory_in(p->room, f->size, &addr, &f->fd)))
        error = host_memory("blktapd-inflight", f->size, &addr, &f->fd);
    if (error) {
        f->fd = -1;
        inflight_free(f);
        return error;
    }
    f->table = addr;
    write_header(f->table, f, p);
    list_spares(f);
    return 0;
}

/* What of the table is not as this connection has it, or NULL. */
static const char *
header_differs(const struct inflight_table *t, const struct inflight *f,
               const struct chan_params *p)
{
    if (t->magic != TABLE_MAGIC)
        return "no such table";
    if (t->version != TABLE_VERSION)
        return "of another version";
    if (t->check != header_check(t))
        return "damaged: its header's sum is wrong";
    if (t->queue[0].mark != DISK_GOOD && t->queue[0].mark != DISK_LOSSY)
        return "damaged: whether the disk failed can't be read";
    if (t->nonce != p->nonce || t->domid != p->domid)
        return "of another connection";
    if (t->abi != (uint32_t)p->abi || t->order != p->order ||
        t->queues != f->queues || t->slots != f->slots ||
        t->bytes != table_bytes(f->n))
        return "of a ring of another shape";
    for (unsigned q = 0; q < f->queues; q++) {
        if (t->queue[q].port != p->queue[q].port ||
            memcmp(t->queue[q].refs, p->queue[q].refs,
                   sizeof(t->queue[q].refs[0]) << p->order) != 0)
            return "of another ring";
    }
    return NULL;
}

static const char *
entry_differs(const struct inflight_table *t, const struct inflight_entry *e)
{
    uint32_t state, rsp;

    if (!entry_state(e, &state, &rsp))
        return "damaged: an entry is in no known state";
    if (state == ENTRY_FREE)
        return NULL;
    if (e->check != entry_check(e))
        return "damaged: an entry's sum is wrong";
    if (e->queue >= t->queues)
        return "damaged: an entry is of no queue";
    if (e->index > cons_of(&t->queue[e->queue]))
        return "damaged: an entry was never consumed";
    return NULL;
}

static const char *
queue_differs(const struct inflight_queue *q)
{
    return q->cons == cons_word(q->cons)
               ? NULL
               : "damaged: a queue's index does not go with its check";
}

/* Why the table can't be gone on from, or NULL.  Nobody but us wrote it, and
 * yet nothing in it is believed: it decides what is written to a disk. */
static const char *
inflight_check(const struct inflight *f, const struct chan_params *p)
{
    const char *differs = header_differs(f->table, f, p);

    for (unsigned q = 0; !differs && q < f->queues; q++)
        differs = queue_differs(&f->table->queue[q]);
    for (unsigned i = 0; !differs && i < f->n; i++)
        differs = entry_differs(f->table, &f->table->entry[i]);
    return differs;
}

/* Why somebody could cut the memory off: a memfd is sealed; a file must be
 * ours, and nobody else may open it. */
static const char *
size_unsure(int fd, const struct stat *st)
{
    int seals = fcntl(fd, F_GET_SEALS);

    if (!S_ISREG(st->st_mode))
        return "not a file";
    if (seals >= 0 && seals & F_SEAL_SHRINK)
        return NULL;
    if (st->st_uid != geteuid())
        return "not sealed, and a file of another user";
    if (st->st_nlink > 1 || st->st_mode & 077)
        return "not sealed, and a file that others can open";
    return NULL;
}

/* Maps the table; its file must be as long as we made it, and stay so:
 * touching what was cut off would be a SIGBUS. */
static const char *
map_table(struct inflight *f, int fd)
{
    struct stat st;
    const char *unsure;
    void *addr;

    if (fstat(fd, &st))
        return "no file";
    unsure = size_unsure(fd, &st);
    if (unsure)
        return unsure;
    if (st.st_size != (off_t)f->size)
        return st.st_size < (off_t)f->size ? "too short" : "too long";
    f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (f->fd < 0)
        return "no file descriptor left";
    addr = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    if (addr == MAP_FAILED)
        return "can't be mapped";
    f->table = addr;
    return NULL;
}

/* False: no table of this connection's number, by its header's sum. */
static bool
read_header(int fd, const struct chan_params *p, struct inflight_table *t)
{
    return pread(fd, t, sizeof(*t), 0) == sizeof(*t) &&
           t->magic == TABLE_MAGIC && t->version == TABLE_VERSION &&
           t->check == header_check(t) && t->nonce == p->nonce &&
           t->domid == p->domid;
}

bool
inflight_was_lossy(int fd, const struct chan_params *p)
{
    struct inflight_table t;

    return read_header(fd, p, &t) && t.queue[0].mark == DISK_LOSSY;
}

/* A whole table, by its sum, of other references or ports, of a ring on which
 * nothing was ever answered: the front-end made its rings anew while we were
 * dead, and nobody took a request from them. */
bool
inflight_other_ring(int fd, const struct chan_params *p)
{
    struct inflight_table t;

    if (!read_header(fd, p, &t))
        return false;
    for (unsigned q = 0; q < p->queues; q++) {
        if (q < t.queues && (t.queue[q].port == p->queue[q].port ||
                             t.queue[q].refs[0] == p->queue[q].refs[0]))
            return false;
    }
    return true;
}

bool
chan_table_of(int fd, uint64_t nonce)
{
    uint64_t found = 0;
    off_t at = offsetof(struct inflight_table, nonce);

    return pread(fd, &found, sizeof(found), at) == sizeof(found) &&
           found == nonce;
}

int
inflight_adopt(struct inflight *f, const struct chan_params *p, int fd,
               char *why, size_t why_size)
{
    const char *differs;
    int error = set_up(f, p);

    if (error) {
        snprintf(why, why_size, "no memory for the in-flight table");
        return error;
    }
    differs = map_table(f, fd);
    if (!differs)
        differs = inflight_check(f, p);
    if (differs) {
        snprintf(why, why_size,
                 "expected the in-flight table of this connection, found one "
                 "that is %s",
                 differs);
        inflight_free(f);
        return -EINVAL;
    }
    list_spares(f);
    return 0;
}

void
inflight_free(struct inflight *f)
{
    if (f->table)
        host_memory_free(f->table, f->size, f->fd);
    else if (f->fd >= 0)
        close(f->fd);
    free(f->spare);
    f->table = NULL;
    f->spare = NULL;
    f->fd = -1;
}

static void
sort_by_age(const struct inflight_table *t, uint32_t *list, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        uint32_t e = list[i];
        unsigned at = i;

        for (; at > 0 && t->entry[list[at - 1]].index > t->entry[e].index; at--)
            list[at] = list[at - 1];
        list[at] = e;
    }
}

static void
set_word(struct inflight_entry *e, uint64_t word)
{
    __atomic_store_n(&e->word, word, __ATOMIC_RELAXED);
}

/* Already answered in the guest's eyes; or noted when cons had not been
 * advanced yet, so that it is still to be taken from the ring. */
static bool
is_over(const struct inflight_entry *e, uint64_t cons, uint32_t rsp)
{
    uint32_t state, answer;

    return e->index == cons || !entry_state(e, &state, &answer) ||
           (state == ENTRY_ANSWERED && (int32_t)(rsp - answer) > 0);
}

int
inflight_recover(struct inflight *f, unsigned queue, uint32_t rsp,
                 uint32_t *cons, uint32_t *list, char *why, size_t why_size)
{
    struct inflight_table *t = f->table;
    uint64_t at = cons_of(&t->queue[queue]);
    unsigned n = 0;

    *cons = (uint32_t)at;
    for (uint32_t i = 0; i < f->n; i++) {
        struct inflight_entry *e = &t->entry[i];

        if (!e->word || e->queue != queue)
            continue;
        if (is_over(e, at, rsp)) {
            inflight_drop(f, i);
            continue;
        }
        if (n == f->slots) {
            n++;
            break;
        }
        /* The response that was noted is another one's, in this life. */
        set_word(e, entry_word(ENTRY_LIVE, 0));
        list[n++] = i;
    }
    if (n > f->slots || n != *cons - rsp) {
        snprintf(why, why_size,
                 "the in-flight table and the ring disagree: expected %u "
                 "requests without an answer, found %u",
                 *cons - rsp, n);
        return -EPROTO;
    }
    sort_by_age(t, list, n);
    for (unsigned i = 1; i < n; i++) {
        if (t->entry[list[i]].index == t->entry[list[i - 1]].index) {
            snprintf(why, why_size,
                     "the in-flight table holds a request "
                     "twice");
            return -EPROTO;
        }
    }
    return (int)n;
}

const uint8_t *
inflight_raw(const struct inflight *f, uint32_t entry)
{
    return f->table->entry[entry].raw;
}

void
inflight_mark(struct inflight *f, bool lossy)
{
    __atomic_store_n(&f->table->queue[0].mark, lossy ? DISK_LOSSY : DISK_GOOD,
                     __ATOMIC_RELAXED);
    shm_wmb();
}

bool
inflight_lossy(const struct inflight *f)
{
    return f->table->queue[0].mark == DISK_LOSSY;
}

void
inflight_begin(struct inflight *f, unsigned queue, uint32_t cons)
{
    f->table->queue[queue].cons = cons_word(cons);
}

uint32_t
inflight_note(struct inflight *f, unsigned queue,
              const uint8_t raw[BLKIF_RAW_MAX])
{
    struct inflight_queue *q = &f->table->queue[queue];
    struct inflight_entry *e;
    uint32_t i;

    assert(f->spares);
    i = f->spare[--f->spares];
    e = &f->table->entry[i];
    e->queue = queue;
    e->index = cons_of(q);
    memcpy(e->raw, raw, sizeof(e->raw));
    e->check = entry_check(e);
    shm_wmb();
    set_word(e, entry_word(ENTRY_LIVE, 0));
    shm_wmb();
    __atomic_store_n(&q->cons, cons_word(e->index + 1), __ATOMIC_RELAXED);
    return i;
}

void
inflight_answer(struct inflight *f, uint32_t entry, uint32_t rsp)
{
    struct inflight_entry *e = &f->table->entry[entry];

    shm_wmb();
    set_word(e, entry_word(ENTRY_ANSWERED, rsp));
    shm_wmb();
}

void
inflight_drop(struct inflight *f, uint32_t entry)
{
    set_word(&f->table->entry[entry], 0);
    f->spare[f->spares++] = entry;
}
