/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.c: random bytes that layers have as long as a disk is attached
 * (blk_keep()).
 *
 * All are in one table in memory with a descriptor, which is kept beyond our
 * death as in-flight tables are (tables.c), under a key of its own.  So it is
 * kept before anything is in it, and what is put into it later needs no more.
 *
 *   header | slot | slot ...
 *
 * In a slot the name is the first thing written, and the last one wiped; its
 * state makes it count.  So what a kill leaves in one that does not is found.
 *
 * A loop asks by mail, the control loop answers by mail.  Nobody gives a key
 * back: they are sifted, as the files that they are for (src/scratch.c).
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/disk_private.h"

enum { SLOTS = 1023, SLOT_SIZE = 512, SLOT_NAME = 440 };
enum { SLOT_FREE, SLOT_USED };

static const char magic[16] = "blktapd keys 1\n";

struct slot {
    uint32_t state, reserved;
    uint8_t bytes[BLK_KEEP];
    char name[SLOT_NAME]; /* an attachment, ',', what the chain says */
};

struct key_table {
    char magic[16];
    uint32_t high; /* no slot from it on was ever used */
    char reserved[SLOT_SIZE - 20];
    struct slot slot[SLOTS];
};

_Static_assert(sizeof(struct slot) == SLOT_SIZE, "no slot is in two pages");

struct keys {
    struct keeper keeper; /* first */
    struct disks *disks;
    struct key_table *table; /* or NULL: there is none */
    int fd;
};

struct key_ask {
    struct loop_mail mail; /* first */
    struct keys *keys;
    struct loop *loop;
    struct blk_keep *keep;
    char name[SLOT_NAME];
};

/* ---- the table ----------------------------------------------------------- */

static void
slot_wipe(struct slot *e)
{
    __atomic_store_n(&e->state, SLOT_FREE, __ATOMIC_SEQ_CST);
    explicit_bzero(e->bytes, sizeof e->bytes);
    atomic_signal_fence(memory_order_seq_cst);
    explicit_bzero(e->name, sizeof e->name);
}

/* The page that it is in, before anything secret is. */
static int
slot_protect(struct key_table *t, const struct slot *e)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t at = (size_t)((const char *)e - (const char *)t);

    return host_secret_protect((char *)t + at / page * page, page);
}

static int
table_make(struct keys *k)
{
    const size_t len = sizeof(struct key_table);
    int file = table_room(k->disks, DISKS_KEYS), rc = -1;
    void *p = NULL;

    if (file >= 0) {
        rc = host_memory_in(file, len, &p, &k->fd);
        close(file);
    }
    if (rc)
        rc = host_memory("keys", len, &p, &k->fd);
    if (rc)
        return rc;
    k->table = p;
    memcpy(k->table->magic, magic, sizeof magic);
    table_keep(k->disks, DISKS_KEYS, k->fd);
    return 0;
}

static void
table_drop(struct keys *k)
{
    if (k->table)
        host_memory_free(k->table, sizeof *k->table, k->fd);
    k->table = NULL;
    k->fd = -1;
}

static bool
table_is_empty(const struct key_table *t)
{
    for (unsigned i = 0; i < t->high; i++) {
        if (t->slot[i].state == SLOT_USED)
            return false;
    }
    return true;
}

static bool
slot_is_good(const struct slot *e)
{
    return e->state == SLOT_USED && e->name[0] &&
           memchr(e->name, '\0', sizeof e->name);
}

static int
table_take_over(struct keys *k)
{
    struct key_table *t = k->table;

    if (memcmp(t->magic, magic, sizeof magic) || t->high > SLOTS)
        return -EINVAL;
    for (unsigned i = 0; i < t->high; i++) {
        struct slot *e = &t->slot[i];

        if (!slot_is_good(e) && (e->state || e->name[0]))
            slot_wipe(e);
        else if (slot_is_good(e) && slot_protect(t, e))
            return -ENOMEM;
    }
    return 0;
}

int
keys_inherit(struct disks *ds, int fd)
{
    struct keys *k = ds->keys;
    const size_t len = sizeof *k->table;
    int rc = -EINVAL;
    struct stat st;
    void *p = MAP_FAILED;

    if (!k->table && !fstat(fd, &st) && st.st_size == (off_t)len)
        p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
        k->table = p;
        k->fd = fd;
        rc = table_take_over(k);
    }
    if (!rc)
        return 0;
    log_line(BLK_ERR, NULL,
             "what an earlier process kept of the keys of encrypted layers "
             "can't be used (%s): disks that need one of them will not be "
             "served",
             strerror(-rc));
    if (p != MAP_FAILED)
        table_drop(k);
    else
        close(fd);
    return 0;
}

/* ---- one that is asked for ----------------------------------------------- */

static struct slot *
slot_find(struct key_table *t, const char *name)
{
    for (unsigned i = 0; t && i < t->high; i++) {
        if (t->slot[i].state == SLOT_USED && !strcmp(t->slot[i].name, name))
            return &t->slot[i];
    }
    return NULL;
}

static struct slot *
slot_spare(struct key_table *t)
{
    for (unsigned i = 0; i < t->high; i++) {
        if (t->slot[i].state != SLOT_USED)
            return &t->slot[i];
    }
    return t->high < SLOTS ? &t->slot[t->high] : NULL;
}

static void
slot_fill(struct keys *k, struct slot *e, const char *name)
{
    struct loop *l = k->disks->control;
    const uint32_t end = (uint32_t)(e - k->table->slot) + 1;

    if (k->table->high < end)
        k->table->high = end;
    snprintf(e->name, sizeof e->name, "%s", name);
    atomic_signal_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < BLK_KEEP; i += 8) {
        uint64_t word = l->ops->random(l);

        memcpy(e->bytes + i, &word, 8);
        explicit_bzero(&word, sizeof word);
    }
    __atomic_store_n(&e->state, SLOT_USED, __ATOMIC_SEQ_CST);
}

static int
key_make(struct keys *k, struct slot **out, struct key_ask *a)
{
    struct slot *e = *out;
    struct blk_keep *b = a->keep;
    int rc = k->table ? 0 : table_make(k);

    if (rc) {
        snprintf(b->why, sizeof b->why, "no memory for a table of keys: %s",
                 strerror(-rc));
        return rc;
    }
    if (e)
        slot_wipe(e);
    else
        e = slot_spare(k->table);
    if (!e) {
        snprintf(b->why, sizeof b->why,
                 "expected at most %d of them, found "
                 "more",
                 SLOTS);
        return -ENOSPC;
    }
    rc = slot_protect(k->table, e);
    if (rc) {
        snprintf(b->why, sizeof b->why,
                 "its memory can't be locked (%s): raise the limit of locked "
                 "memory (LimitMEMLOCK= of the unit)",
                 strerror(-rc));
        return rc;
    }
    slot_fill(k, e, a->name);
    b->made = true;
    *out = e;
    return 0;
}

static void
key_came(struct loop_mail *m)
{
    struct key_ask *a = (struct key_ask *)m;
    struct blk_keep *b = a->keep;

    free(a);
    b->done(b);
}

static void
key_asked(struct loop_mail *m)
{
    struct key_ask *a = (struct key_ask *)m;
    struct blk_keep *b = a->keep;
    struct slot *e = slot_find(a->keys->table, a->name);

    b->status = 0;
    if (b->what == BLK_SCRATCH_OLD && !e) {
        b->status = -ESTALE;
        snprintf(b->why, sizeof b->why,
                 "expected the one of this attachment of the disk, found none: "
                 "take the disk away from the guest");
    } else if (!e || b->what == BLK_SCRATCH_NEW) {
        b->status = key_make(a->keys, &e, a);
    }
    if (!b->status)
        b->bytes = e->bytes;
    m->run = key_came;
    a->loop->ops->post(a->loop, m);
}

static int
key_ask(struct keeper *keeper, struct loop *loop, const char *name,
        struct blk_keep *keep)
{
    struct keys *k = (struct keys *)keeper;
    struct loop *control = k->disks->control;
    struct key_ask *a = calloc(1, sizeof *a);

    if (!a)
        return -ENOMEM;
    a->mail.run = key_asked;
    a->keys = k;
    a->loop = loop;
    a->keep = keep;
    snprintf(a->name, sizeof a->name, "%s", name);
    control->ops->post(control, &a->mail);
    return 0;
}

/* ---- the end ------------------------------------------------------------- */

/* Up to the second comma. */
static void
attachment_of(char attachment[SLOT_NAME], const char *name)
{
    const char *comma = strchr(name, ',');

    comma = comma ? strchr(comma + 1, ',') : NULL;
    snprintf(attachment, SLOT_NAME, "%.*s",
             comma ? (int)(comma - name) : (int)strlen(name), name);
}

void
disks_sift_keys(struct disks *ds,
                bool (*over)(void *ctx, const char *attachment), void *ctx)
{
    struct keys *k = ds->keys;
    char attachment[SLOT_NAME];
    unsigned wiped = 0;

    for (unsigned i = 0; k->table && i < k->table->high; i++) {
        struct slot *e = &k->table->slot[i];

        if (e->state != SLOT_USED)
            continue;
        attachment_of(attachment, e->name);
        if (over(ctx, attachment)) {
            slot_wipe(e);
            wiped++;
        }
    }
    if (!wiped || !table_is_empty(k->table))
        return;
    table_forget(ds, DISKS_KEYS);
    table_drop(k);
}

struct keeper *
disks_keeper(struct disks *ds)
{
    return &ds->keys->keeper;
}

int
keys_new(struct disks *ds)
{
    struct keys *k = calloc(1, sizeof *k);

    if (!k)
        return -ENOMEM;
    k->keeper.ask = key_ask;
    k->disks = ds;
    k->fd = -1;
    ds->keys = k;
    return 0;
}

void
keys_free(struct disks *ds)
{
    if (!ds->keys)
        return;
    table_drop(ds->keys);
    free(ds->keys);
}
