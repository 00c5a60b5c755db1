/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What layers keep as long as a disk is attached: who gets which bytes, what
 * outlives the process, and that nothing is left at the end. */
#include "config.h"

#include <fcntl.h>

#include "src/disk/keys.c"
#include "src/disk/tables.c"
#include "tests/test.h"
#include "tests/unit/locked.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ---- a loop that has mail and random numbers ----------------------------- */

static struct loop_mail *box;

static void
fake_post(struct loop *l, struct loop_mail *m)
{
    (void)l;
    m->next = box;
    box = m;
}

static uint64_t
fake_random(struct loop *l)
{
    static uint64_t n = 1;

    (void)l;
    n = n * 6364136223846793005u + 1442695040888963407u;
    return n ^ n >> 29;
}

static const struct loop_ops fake_ops = { .post = fake_post,
                                          .random = fake_random };
static struct loop loop = { .ops = &fake_ops };

/* ---- a daemon, and who keeps for it -------------------------------------- */

static int kept = -1; /* the manager's */
static unsigned keeps;

static void
on_table(void *ctx, const char *key, int fd)
{
    (void)ctx;
    REQUIRE(!strcmp(key, DISKS_KEYS));
    if (kept >= 0)
        close(kept);
    kept = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    keeps += fd >= 0;
}

static const struct disks_events keeping = { .table = on_table };

static void
begin(struct disks *ds)
{
    memset(ds, 0, sizeof *ds);
    ds->control = &loop;
    ds->events = &keeping;
    REQUIRE(!keys_new(ds));
    if (kept >= 0)
        CHECK_EQ(disks_inherit(ds, DISKS_KEYS, fcntl(kept, F_DUPFD_CLOEXEC, 3)),
                 0);
}

static void
fresh(struct disks *ds)
{
    if (kept >= 0)
        close(kept);
    kept = -1;
    keeps = 0;
    begin(ds);
}

static void
came(struct blk_keep *b)
{
    *(bool *)b->data = true;
}

static struct blk_keep
ask(struct disks *ds, const char *name, enum blk_scratch what)
{
    bool over = false;
    struct blk_keep b = { .what = what, .done = came, .data = &over };
    struct keeper *k = disks_keeper(ds);
    struct loop_mail *m;

    REQUIRE(!k->ask(k, &loop, name, &b));
    CHECK(!over);
    while ((m = box)) {
        box = m->next;
        m->run(m);
    }
    CHECK(over);
    return b;
}

static bool
over_all(void *ctx, const char *attachment)
{
    return !ctx || !strcmp(ctx, attachment);
}

/* NULL: all attachments are over. */
static void
sift(struct disks *ds, const char *over)
{
    char name[40];

    if (over)
        snprintf(name, sizeof name, "%s", over);
    disks_sift_keys(ds, over_all, over ? name : NULL);
}

/* What the memory that is kept holds of these bytes. */
static bool
holds(int fd, const uint8_t *bytes)
{
    struct key_table *t = mmap(NULL, sizeof *t, PROT_READ, MAP_SHARED, fd, 0);
    bool found;

    REQUIRE(t != MAP_FAILED);
    found = memmem(t, sizeof *t, bytes, BLK_KEEP);
    munmap(t, sizeof *t);
    return found;
}

/* ---- tests --------------------------------------------------------------- */

static void
each_has_its_own(void)
{
    uint8_t first[BLK_KEEP];
    struct blk_keep b;
    struct disks ds;

    fresh(&ds);
    CHECK_EQ(kept, -1); /* nobody needs one yet */
    b = ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY);
    REQUIRE(!b.status && b.made);
    memcpy(first, b.bytes, BLK_KEEP);
    CHECK(holds(kept, first));
    b = ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY);
    CHECK(!b.status && !b.made && !memcmp(b.bytes, first, BLK_KEEP));
    b = ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD);
    CHECK(!b.status && !b.made && !memcmp(b.bytes, first, BLK_KEEP));
    b = ask(&ds, "vbd.1.2,7,d,other", BLK_SCRATCH_ANY);
    CHECK(!b.status && b.made && memcmp(b.bytes, first, BLK_KEEP));
    b = ask(&ds, "vbd.1.2,8,d,cow", BLK_SCRATCH_OLD);
    CHECK_EQ(b.status, -ESTALE);
    CHECK(strstr(b.why, "expected the one of this attachment"));
    b = ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_NEW);
    CHECK(!b.status && b.made && memcmp(b.bytes, first, BLK_KEEP));
    CHECK(!holds(kept, first));
    CHECK_EQ(keeps, 1); /* before the first, and never again */
    keys_free(&ds);
}

static void
outlives_the_process(void)
{
    uint8_t bytes[BLK_KEEP];
    struct blk_keep b;
    struct disks ds;

    fresh(&ds);
    memcpy(bytes, ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_NEW).bytes, BLK_KEEP);
    keys_free(&ds);
    begin(&ds);
    b = ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD);
    CHECK(!b.status && !memcmp(b.bytes, bytes, BLK_KEEP));
    b = ask(&ds, "vbd.1.2,9,d,cow", BLK_SCRATCH_ANY);
    CHECK(!b.status && b.made);
    CHECK_EQ(keeps, 1);
    keys_free(&ds);
}

static void
ends_wiped(void)
{
    uint8_t a[BLK_KEEP], b[BLK_KEEP];
    struct disks ds;
    int fd;

    fresh(&ds);
    memcpy(a, ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY).bytes, BLK_KEEP);
    memcpy(b, ask(&ds, "vbd.1.2,8,d,cow", BLK_SCRATCH_ANY).bytes, BLK_KEEP);
    fd = fcntl(kept, F_DUPFD_CLOEXEC, 3); /* the memory, whoever has it */
    sift(&ds, "vbd.1.2,9");
    CHECK(holds(fd, a) && holds(fd, b));
    sift(&ds, "vbd.1.2,7");
    CHECK(!holds(fd, a) && holds(fd, b));
    CHECK(kept >= 0);
    sift(&ds, NULL);
    CHECK(!holds(fd, b));
    CHECK_EQ(kept, -1);
    CHECK(!ds.keys->table);
    close(fd);
    sift(&ds, NULL);
    CHECK(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY).made);
    CHECK_EQ(keeps, 2);
    keys_free(&ds);
}

static struct key_table *
kept_map(void)
{
    struct key_table *t =
        mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0);

    REQUIRE(t != MAP_FAILED);
    return t;
}

/* A kill in the middle of a slot, at its beginning or at its end. */
static void
half_a_slot_is_wiped(void)
{
    uint8_t a[BLK_KEEP], b[BLK_KEEP];
    struct key_table *t;
    struct disks ds;

    fresh(&ds);
    memcpy(a, ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY).bytes, BLK_KEEP);
    memcpy(b, ask(&ds, "vbd.1.2,8,d,cow", BLK_SCRATCH_ANY).bytes, BLK_KEEP);
    keys_free(&ds);
    t = kept_map();
    t->slot[0].state = SLOT_FREE;
    begin(&ds);
    CHECK(!holds(kept, a) && holds(kept, b));
    CHECK_EQ(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD).status, -ESTALE);
    CHECK_EQ(ask(&ds, "vbd.1.2,8,d,cow", BLK_SCRATCH_OLD).status, 0);
    keys_free(&ds);
    munmap(t, sizeof *t);
}

/* What can't be used is told, and none of it is. */
static void
damage_is_told(void)
{
    struct key_table *t;
    struct disks ds;
    char wrong[] = "wrong";

    fresh(&ds);
    ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY);
    keys_free(&ds);
    t = kept_map();
    t->magic[8]++;
    begin(&ds);
    CHECK_EQ(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD).status, -ESTALE);
    keys_free(&ds);
    t->magic[8]--;
    t->high = SLOTS + 1;
    begin(&ds);
    CHECK_EQ(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD).status, -ESTALE);
    keys_free(&ds);
    munmap(t, sizeof *t);
    close(kept);
    kept = memfd_create("keys", MFD_CLOEXEC);
    REQUIRE(write(kept, wrong, sizeof wrong) == sizeof wrong);
    begin(&ds);
    CHECK_EQ(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD).status, -ESTALE);
    keys_free(&ds);
}

static void
has_an_end(void)
{
    struct blk_keep b;
    struct disks ds;
    char name[40];
    unsigned i;

    fresh(&ds);
    for (i = 0; i < SLOTS; i++) {
        snprintf(name, sizeof name, "vbd.1.2,%u,d,cow", i);
        REQUIRE(!ask(&ds, name, BLK_SCRATCH_ANY).status);
    }
    b = ask(&ds, "vbd.1.2,x,d,cow", BLK_SCRATCH_ANY);
    CHECK_EQ(b.status, -ENOSPC);
    sift(&ds, "vbd.1.2,500");
    CHECK_EQ(ask(&ds, "vbd.1.2,x,d,cow", BLK_SCRATCH_ANY).status, 0);
    sift(&ds, NULL);
    keys_free(&ds);
}

static void
stays_in_memory(void)
{
    struct disks ds;

    fresh(&ds);
    CHECK(is_locked(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_ANY).bytes));
    keys_free(&ds);
    begin(&ds);
    CHECK(is_locked(ask(&ds, "vbd.1.2,7,d,cow", BLK_SCRATCH_OLD).bytes));
    keys_free(&ds);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(each_has_its_own);
    TEST(outlives_the_process);
    TEST(ends_wiped);
    TEST(half_a_slot_is_wiped);
    TEST(damage_is_told);
    TEST(has_an_end);
    if (!SANITIZED) /* its mlock() does nothing */
        TEST(stays_in_memory);
    return test_end();
}
