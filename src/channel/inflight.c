/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inflight.c: the table of requests in flight.
 *
 *   +--------+--------------------+---------+---------+-- - - --+
 *   | header | queues: refs, cons | entry 0 | entry 1 |         |
 *   +--------+--------------------+---------+---------+-- - - --+
 *
 * An entry goes FREE -> LIVE (noted) -> ANSWERED (rsp is known) -> FREE.  The
 * state is written last, so that an entry that is not FREE is whole.
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

enum { TABLE_VERSION = 1 };
#define TABLE_MAGIC UINT64_C(0x7468676c66697462) /* "btiflght" */

enum entry_state { ENTRY_FREE, ENTRY_LIVE, ENTRY_ANSWERED };

struct inflight_entry {
    uint32_t state;
    uint32_t queue;
    uint64_t index; /* as cons, below */
    uint32_t rsp;   /* ANSWERED: index of its response */
    uint32_t reserved;
    uint8_t raw[BLKIF_RAW_MAX];
};

struct inflight_queue {
    uint64_t cons; /* of 64 bits, so that age can be told after a wrap */
    uint32_t port;
    uint32_t refs[1u << CHAN_ORDER_MAX];
    uint32_t reserved;
};

struct inflight_table {
    uint64_t magic;
    uint32_t version, bytes; /* of the whole table */
    uint64_t nonce;
    uint32_t domid, abi, order, queues, slots, reserved;
    struct inflight_queue queue[CHAN_QUEUES_MAX];
    struct inflight_entry entry[];
};

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
        if (f->table->entry[i].state == ENTRY_FREE)
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
    shm_wmb();
    t->magic = TABLE_MAGIC;
}

int
inflight_make(struct inflight *f, const struct chan_params *p)
{
    void *addr;
    int error = set_up(f, p);

    if (!error)
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
        return "another version";
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
    if (e->state == ENTRY_FREE)
        return NULL;
    if (e->state != ENTRY_LIVE && e->state != ENTRY_ANSWERED)
        return "damaged: an entry is in no known state";
    if (e->queue >= t->queues)
        return "damaged: an entry is of no queue";
    if (e->index > t->queue[e->queue].cons)
        return "damaged: an entry was never consumed";
    return NULL;
}

/* Why the table can't be gone on from, or NULL.  Nobody but us wrote it, and
 * yet nothing in it is believed: it decides what is written to a disk. */
static const char *
inflight_check(const struct inflight *f, const struct chan_params *p)
{
    const char *differs = header_differs(f->table, f, p);

    for (unsigned i = 0; !differs && i < f->n; i++)
        differs = entry_differs(f->table, &f->table->entry[i]);
    return differs;
}

/* Maps the table; its file must be long enough, and stay so: touching what was
 * cut off would be a SIGBUS. */
static const char *
map_table(struct inflight *f, int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    void *addr;

    if (fstat(fd, &st) || st.st_size < (off_t)f->size)
        return "too short";
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return "not sealed";
    f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (f->fd < 0)
        return "no file descriptor left";
    addr = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    if (addr == MAP_FAILED)
        return "can't be mapped";
    f->table = addr;
    return NULL;
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

/* Already answered in the guest's eyes; or noted when cons had not been
 * advanced yet, so that it is still to be taken from the ring. */
static bool
is_over(const struct inflight_entry *e, uint64_t cons, uint32_t rsp)
{
    return e->index == cons ||
           (e->state == ENTRY_ANSWERED && (int32_t)(rsp - e->rsp) > 0);
}

int
inflight_recover(struct inflight *f, unsigned queue, uint32_t rsp,
                 uint32_t *cons, uint32_t *list, char *why, size_t why_size)
{
    struct inflight_table *t = f->table;
    uint64_t at = t->queue[queue].cons;
    unsigned n = 0;

    *cons = (uint32_t)at;
    for (uint32_t i = 0; i < f->n; i++) {
        struct inflight_entry *e = &t->entry[i];

        if (e->state == ENTRY_FREE || e->queue != queue)
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
        __atomic_store_n(&e->state, ENTRY_LIVE, __ATOMIC_RELAXED);
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
inflight_begin(struct inflight *f, unsigned queue, uint32_t cons)
{
    f->table->queue[queue].cons = cons;
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
    e->index = q->cons;
    memcpy(e->raw, raw, sizeof(e->raw));
    shm_wmb();
    __atomic_store_n(&e->state, ENTRY_LIVE, __ATOMIC_RELAXED);
    shm_wmb();
    __atomic_store_n(&q->cons, e->index + 1, __ATOMIC_RELAXED);
    return i;
}

void
inflight_answer(struct inflight *f, uint32_t entry, uint32_t rsp)
{
    struct inflight_entry *e = &f->table->entry[entry];

    e->rsp = rsp;
    shm_wmb();
    __atomic_store_n(&e->state, ENTRY_ANSWERED, __ATOMIC_RELAXED);
    shm_wmb();
}

void
inflight_drop(struct inflight *f, uint32_t entry)
{
    __atomic_store_n(&f->table->entry[entry].state, ENTRY_FREE,
                     __ATOMIC_RELAXED);
    f->spare[f->spares++] = entry;
}
