/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All disks: which of them a new config touches, what their owners hear of it,
 * and what is so when there is no memory.  Linked with --wrap=calloc.
 */
#include "config.h"

#include <stdlib.h>

#include "tests/unit/disk_kit.h"

static int countdown; /* 1: the next allocation fails */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
    if (countdown && !--countdown)
        return NULL;
    return __real_calloc(n, size);
}

/* ---- what is told -------------------------------------------------------- */

static unsigned ended;
static int end_status;
static char end_why[256], event_text[256];

static void
reload_done(void *ctx, int status, const char *why)
{
    CHECK(ctx == &ended);
    ended++;
    end_status = status;
    snprintf(end_why, sizeof end_why, "%s", why ? why : "");
}

static void
event(void *ctx, const char *what, const char *disk, const char *detail)
{
    (void)ctx;
    snprintf(event_text, sizeof event_text, "%s %s: %s", what, disk, detail);
}

static const struct disks_events events = { .event = event };

/* disk_kit's, whose events somebody takes. */
static void
begin(void)
{
    setup();
    disks->events = &events;
    ended = 0;
    end_status = 1;
    end_why[0] = event_text[0] = '\0';
}

static void
reload(struct conf *to)
{
    disks_reload(disks, to, reload_done, &ended);
    fake_run();
}

static struct blk_conf other_layer = { .plugin = "file" };

/* conf2: the same disk with another chain. */
static void
other_chain(void)
{
    cd2 = cd;
    cd2.chain.layer = &other_layer;
}

/* ---- what is touched ----------------------------------------------------- */

static void
nothing_to_do(void)
{
    begin();
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK_STR(end_why, "");
    CHECK(!disks->reload);
    disks_free(disks);
}

static void
what_is_equal_stays(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    cd2 = cd;
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(fake.replaces, 0);
    CHECK(disk_conf(d) == &cd); /* the old tree */
    CHECK_EQ(conf2.refs, 1);
    teardown(d);
}

static void
chain_is_replaced(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(fake.replaces, 1);
    CHECK_EQ(fake.paused, 1);
    CHECK_EQ(fake.resumed, 1);
    CHECK(disk_conf(d) == &cd2);
    CHECK_EQ(conf.refs, 1);
    CHECK_EQ(conf2.refs, 2);
    CHECK_STR(event_text, "changed web: the chain was replaced");
    CHECK_STR(trail, "ocr"); /* its size may be another */
    CHECK_EQ(disk_limits(d)->size, 1 << 20);
    teardown(d);
}

static void
chain_that_fails_is_left(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.replace_error = -ENOENT;
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, -ENOENT);
    CHECK_STR(end_why, "web: keeps its old chain: no such medium");
    CHECK(disk_conf(d) == &cd);
    CHECK_EQ(conf2.refs, 1);
    CHECK_EQ(fake.resumed, 1);
    CHECK_STR(trail, "oc");
    teardown(d);
}

/* What is of the next connection alone does not wait for requests. */
static void
layers_that_stay_are_not_held(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    cd2 = cd;
    cd2.queues++;
    reload(&conf2);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(fake.replaces, 1);
    CHECK_EQ(fake.paused, 0);
    CHECK(disk_conf(d) == &cd2);
    teardown(d);
}

/* A request does not end in time: the next reload tries again. */
static void
chain_that_does_not_pause_is_left(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    disks_drain(disks, UINT64_C(5000000000));
    fake.hold_steps = true;
    reload(&conf2);
    fake.hold_steps = false;
    CHECK_EQ(ended, 0);
    CHECK_EQ(fake.drain_ns, UINT64_C(5000000000));
    snprintf(fake.held->why, sizeof fake.held->why, "late");
    fake_step(-ETIMEDOUT);
    fake_run();
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, -ETIMEDOUT);
    CHECK_STR(end_why, "web: keeps its old chain: late");
    CHECK_EQ(fake.replaces, 0);
    CHECK(disk_conf(d) == &cd);
    ended = 0;
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK(disk_conf(d) == &cd2);
    teardown(d);
}

/* Not opened yet: it has no limits to lose, and none of a chain. */
static void
one_that_failed_to_open(void)
{
    struct disk *d;

    begin();
    fake.start_error = -ENOENT;
    d = open_disk();
    fake.start_error = 0;
    other_chain();
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(disk_limits(d)->size, 0);
    teardown(d);
}

static void
no_longer_in_the_config(void)
{
    struct conf none = { .refs = 1 };
    struct disk *d;

    begin();
    d = connect_disk();
    reload(&none);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK_STR(event_text, "kept web: no longer in the config; goes on until "
                          "its front-end leaves");
    CHECK_EQ(none.refs, 1);
    CHECK_STR(trail, "oc");
    teardown(d);
}

static void
one_that_closes_is_left(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    disk_close(d, closed); /* drains */
    fake_run();
    other_chain();
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(fake.replaces, 0);
    CHECK_EQ(conf2.refs, 1);
    fake_idle();
    fake_run();
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

/* Its vbd goes while the chain is being replaced: nobody is told, all is
 * given back. */
static void
closes_meanwhile(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.hold_steps = true;
    reload(&conf2);
    CHECK_EQ(ended, 0);
    disk_close(d, closed);
    fake_run();
    fake.hold_steps = false;
    REQUIRE(fake.held);
    fake_step(0);
    fake_run();
    CHECK_EQ(ended, 1);
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocx");
    CHECK_EQ(disks_count(disks), 0);
    CHECK_EQ(conf.refs, 1);
    CHECK_EQ(conf2.refs, 1);
    disks_free(disks);
}

static void
one_at_a_time(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.hold_steps = true;
    reload(&conf2);
    CHECK_EQ(ended, 0);
    reload(&conf);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, -EBUSY);
    CHECK_STR(end_why, "an earlier reload is still at work");
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    CHECK_EQ(ended, 2);
    CHECK_EQ(end_status, 0);
    CHECK(disk_conf(d) == &cd2);
    teardown(d);
}

/* ---- one disk, by command ------------------------------------------------ */

static unsigned switches;
static struct disk *switching;

/* The new chain is there and nothing was resumed; nor was the disk told. */
static void
switched(void *ctx)
{
    CHECK(ctx == &ended);
    CHECK_EQ(fake.replaces, fake.paused);
    CHECK_EQ(fake.resumed, 0);
    CHECK_EQ(ended, 0);
    if (switching)
        CHECK(disk_conf(switching) == &cd);
    switches++;
}

static void
rechained(void *ctx, int status, const char *why, uint64_t took_ns)
{
    CHECK(took_ns < 1000000);
    reload_done(ctx, status, why);
}

static void
rechain(struct disk *d)
{
    switches = 0;
    switching = d;
    disks_drain(disks, UINT64_C(7000000000));
    disks_rechain(disks, d, &conf2, &cd2, switched, rechained, &ended);
    fake_run();
    switching = NULL;
}

static void
one_changes(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    rechain(d);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(switches, 1);
    CHECK_EQ(fake.resumed, 1);
    /* A request that never ends must not hold up the guest's others for ever,
     * nor every later change. */
    CHECK_EQ(fake.drain_ns, UINT64_C(7000000000));
    CHECK(disk_conf(d) == &cd2);
    CHECK_EQ(conf.refs, 1);
    CHECK_EQ(conf2.refs, 2);
    CHECK_STR(trail, "ocr");
    CHECK(!disks->reload);
    teardown(d);
}

/* Nothing is written down, and the old chain goes on. */
static void
one_can_not_change(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.replace_error = -ENOENT;
    rechain(d);
    CHECK_EQ(end_status, -ENOENT);
    CHECK_STR(end_why, "web: keeps its old chain: no such medium");
    CHECK_EQ(switches, 0);
    CHECK_EQ(fake.resumed, 1);
    CHECK(disk_conf(d) == &cd);
    CHECK_EQ(conf2.refs, 1);
    teardown(d);
}

/* It is not even paused. */
static void
one_can_not_pause(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.hold_steps = true;
    rechain(d);
    fake.hold_steps = false;
    snprintf(fake.held->why, sizeof fake.held->why, "busy");
    fake_step(-EBUSY);
    fake_run();
    CHECK_EQ(end_status, -EBUSY);
    CHECK_STR(end_why, "web: keeps its old chain: busy");
    CHECK_EQ(fake.replaces, 0);
    teardown(d);
}

/* Changed and written down; then a layer did not resume. */
static void
one_that_does_not_resume(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.hold_steps = true;
    rechain(d);
    fake_step(0); /* paused */
    fake_step(0); /* replaced */
    fake_run();
    REQUIRE(fake.held); /* resumes */
    fake.hold_steps = false;
    snprintf(fake.held->why, sizeof fake.held->why, "broken");
    fake_step(-EIO);
    fake_run();
    CHECK_EQ(switches, 1);
    CHECK_EQ(end_status, 0); /* the quarantine is told by itself */
    CHECK(disk_conf(d) == &cd2);
    teardown(d);
}

static void
one_that_is_paused(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    disk_pause(d, stepped, NULL);
    fake_run();
    other_chain();
    rechain(d);
    CHECK_EQ(end_status, -EBUSY);
    CHECK_STR(end_why,
              "web: keeps its old chain: the disk is paused: resume it first");
    CHECK_EQ(fake.replaces, 0);
    teardown(d);
}

static void
one_without_a_chain(void)
{
    struct disk *d;

    begin();
    fake.start_error = -ENOENT;
    d = open_disk();
    fake.start_error = 0;
    other_chain();
    rechain(d);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(switches, 1);
    CHECK_EQ(fake.replaces, 0);
    CHECK(disk_conf(d) == &cd2);
    teardown(d);
}

static void
never_two_at_once(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    fake.hold_steps = true;
    rechain(d);
    CHECK_EQ(ended, 0);
    rechain(d);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, -EBUSY);
    CHECK_STR(end_why, "an earlier change or reload is still at work");
    fake.hold_steps = false;
    ended = 0;
    fake_step(0);
    fake_run();
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, 0);
    disk_close(d, closed);
    rechain(d);
    CHECK_EQ(end_status, -ESHUTDOWN);
    CHECK_STR(end_why, "the disk is being closed");
    fake_idle();
    fake_run();
    disks_free(disks);
}

static void
no_memory_for_a_change(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    countdown = 1;
    rechain(d);
    CHECK_EQ(end_status, -ENOMEM);
    CHECK_STR(end_why, "out of memory");
    /* None for the job: the disk has one. */
    countdown = 2;
    ended = 0;
    rechain(d);
    CHECK_EQ(end_status, 0);
    CHECK_EQ(ended, 1);
    teardown(d);
}

/* ---- what a front-end was told ------------------------------------------- */

static const struct blk_limits told = { .size = 1 << 20,
                                        .ops = BLK_ALL_OPS,
                                        .align = 512,
                                        .block = 4096,
                                        .max_len = 1 << 20,
                                        .max_segs = 64,
                                        .fua = true };

static void
offers(const struct blk_limits *then, const char *why_not)
{
    char why[200] = "";
    int rc =
        fake.chain_events->accept(fake.chain_ctx, &told, then, why, sizeof why);

    CHECK_EQ(rc, why_not[0] ? -EINVAL : 0);
    CHECK_STR(why, why_not);
}

#define OFFERS(set, why)               \
    do {                               \
        struct blk_limits then = told; \
        set;                           \
        offers(&then, why);            \
    } while (0)

#define REFUSES(what)                                          \
    "expected " what                                           \
    ", which the guest was told of, found layers that refuse " \
    "them"

static void
what_a_change_may_offer(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    OFFERS((void)0, "");
    OFFERS(then.size <<= 1, "");
    OFFERS(then.max_segs = 1, "");
    OFFERS(then.max_len = 512, "");
    OFFERS(then.fua = false, "");
    OFFERS(then.align = 4096, ""); /* the block that it was told */
    OFFERS(then.block = 8192, "");
    OFFERS(then.ops &= ~BLK_BIT(BLK_ZERO), "");
    OFFERS(then.size -= 512, "size: expected at least the 1048576 bytes that "
                             "the guest was told, found 1048064");
    OFFERS(then.align = 8192, "sector size: expected at most the 4096 bytes "
                              "that the guest was told, found 8192");
    OFFERS(then.readonly = true, REFUSES("writes"));
    OFFERS(then.ops &= ~BLK_BIT(BLK_FLUSH), REFUSES("flushes"));
    OFFERS(then.ops &= ~BLK_BIT(BLK_DISCARD), REFUSES("discards"));
    OFFERS(then.ops &= ~BLK_BIT(BLK_WRITE), REFUSES("reads and writes"));
    cd.discard = false;
    OFFERS(then.ops &= ~BLK_BIT(BLK_DISCARD), "");
    cd.discard = true;
    teardown(d);
}

/* ---- what a front-end has to connect again for ----------------------------
 */

/* One disk of the config with something that the guest was told. */
static void
reconnects(void (*change)(void), bool wanted)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    change();
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_STR(trail, wanted ? "ocRr" : "ocr");
    teardown(d);
}

#define CHANGE(name, field, value) \
    static void name(void)         \
    {                              \
        cd2.field = value;         \
    }
CHANGE(no_change, indirect, cd.indirect)
CHANGE(change_readonly, readonly, !cd.readonly)
CHANGE(change_discard, discard, !cd.discard)
CHANGE(change_barrier, barrier, !cd.barrier)
CHANGE(change_queues, queues, cd.queues + 1)
CHANGE(change_ring_order, ring_order, cd.ring_order + 1)
CHANGE(change_indirect, indirect, 32)
CHANGE(change_buffers, buffers, 2 << 20)
CHANGE(change_mode, mode, CONF_INTERPOSE)

static void
settings_of_the_next_connection(void)
{
    static void (*const change[])(void) = {
        change_readonly,   change_discard,  change_barrier, change_queues,
        change_ring_order, change_indirect, change_buffers,
    };
    unsigned i;

    reconnects(no_change, false);
    reconnects(change_mode, false); /* it is changed live */
    CHECK_EQ(fake.spec_mode, CONF_INTERPOSE);
    for (i = 0; i < sizeof change / sizeof change[0]; i++)
        reconnects(change[i], true);
}

/* A local front-end's disk: nobody could tell it. */
static void
owners_that_do_not_mind(void)
{
    struct disk_owner deaf = owner;
    struct disk *d;

    begin();
    d = connect_disk();
    deaf.reconnect = NULL;
    d->owner = &deaf;
    other_chain();
    change_queues();
    reload(&conf2);
    CHECK_STR(trail, "ocr");
    d->owner = NULL;
    reload(&conf); /* and back */
    CHECK_EQ(ended, 2);
    CHECK_EQ(fake.replaces, 2);
    CHECK_STR(trail, "ocr");
    teardown(d);
}

/* ---- all disks ----------------------------------------------------------- */

static struct conf_disk
named(const char *name)
{
    struct conf_disk one = cd;

    one.name = name;
    return one;
}

static struct disk *
open_named(struct conf_disk *one)
{
    struct disk *d = NULL;
    char why[128];

    REQUIRE(!disk_open(&d, disks, &conf, one, false, &front, &owner, NULL,
                       opened, why, sizeof why));
    fake_run();
    return d;
}

static void
count_one(void *ctx, struct disk *d)
{
    (void)d;
    ++*(unsigned *)ctx;
}

static void
close_one(void *ctx, struct disk *d)
{
    (void)ctx;
    disk_close(d, closed);
}

static void
finds_each(void)
{
    struct conf_disk a = named("a"), b = named("b");
    unsigned n = 0;

    begin();
    disks_each(disks, count_one, &n);
    CHECK_EQ(n, 0);
    CHECK(!disks_find(disks, "a"));
    CHECK(open_named(&a) == disks_find(disks, "a"));
    CHECK(open_named(&b) == disks_find(disks, "b"));
    CHECK(disks_find(disks, "a") != disks_find(disks, "b"));
    CHECK(!disks_find(disks, "c"));
    disks_each(disks, count_one, &n);
    CHECK_EQ(n, 2);
    disks_each(disks, close_one, NULL);
    fake_run();
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static unsigned quiets;

static void
quiet(void *ctx)
{
    CHECK(ctx == &quiets);
    quiets++;
}

static void
quiet_when_the_last_is_gone(void)
{
    struct conf_disk a = named("a"), b = named("b");
    struct disk *first, *second;

    begin();
    quiets = 0;
    first = open_named(&a);
    second = open_named(&b);
    disks_quiet(disks, quiet, &quiets);
    disk_close(first, closed);
    fake_run();
    CHECK_EQ(quiets, 0);
    disk_close(second, closed);
    fake_run();
    CHECK_EQ(quiets, 1);
    disks_quiet(disks, quiet, &quiets); /* at once */
    CHECK_EQ(quiets, 2);
    disks_free(disks);
}

/* Two that close have the name, one waits for it, and another disk is there:
 * it opens when the last of the two is gone. */
static void
name_comes_free(void)
{
    struct conf_disk other = named("other");
    struct disk *first, *next, *third, *beside;

    begin();
    beside = open_named(&other);
    first = connect_disk();
    disk_close(first, closed);
    next = open_disk(); /* waits */
    CHECK(disks_find(disks, "web") == next);
    disk_close(next, closed);
    CHECK(disks_find(disks, "web")->state == DISK_CLOSING);
    third = open_disk();
    CHECK_STR(trail, "ooco!x");
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ooco!xxo");
    CHECK_EQ(disks_count(disks), 2);
    disk_close(beside, closed);
    fake_run();
    teardown(third);
}

/* What waits for a name is not let in when another name comes free. */
static void
another_name_comes_free(void)
{
    struct conf_disk other = named("other");
    struct disk *first, *next;

    begin();
    first = connect_disk();
    disk_close(first, closed);
    next = open_disk(); /* waits */
    disk_close(open_named(&other), closed);
    fake_run();
    CHECK_STR(trail, "ocox");
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocoxxo");
    teardown(next);
}

/* ---- events, and none ---------------------------------------------------- */

static void
nobody_listens(void)
{
    static const struct disks_events none;
    struct disk *d;

    begin();
    disks->events = &none;
    d = open_disk();
    disks->events = NULL;
    other_chain();
    reload(&conf2);
    CHECK_STR(event_text, "");
    teardown(d);
}

/* ---- no memory ----------------------------------------------------------- */

static void
no_memory_to_begin(void)
{
    struct disks *none = NULL;
    int n;

    fakes_reset();
    loops[0] = &fake.data;
    for (n = 1; n <= 3; n++) {
        countdown = n;
        CHECK_EQ(disks_new(&none, &fake.control, loops, sweeps, 1, NULL, NULL),
                 -ENOMEM);
        CHECK(!none);
        CHECK_EQ(countdown, 0);
    }
    disks_free(none);
}

static void
no_memory_to_reload(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    other_chain();
    countdown = 1;
    reload(&conf2);
    CHECK_EQ(ended, 1);
    CHECK_EQ(end_status, -ENOMEM);
    CHECK_STR(end_why, "out of memory");
    CHECK(disk_conf(d) == &cd);
    CHECK_EQ(conf2.refs, 1);
    reload(&conf2); /* and a little later */
    CHECK_EQ(end_status, 0);
    teardown(d);
}

/* A table that can't be kept in mind is not left open. */
static void
no_memory_to_inherit(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    begin();
    REQUIRE(fd >= 0);
    countdown = 1;
    disks_inherit(disks, "vbd3.7.51712", fd);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK(!disks->tables);
    disks_free(disks);
}

/* Its place is taken by a table of that key: this one is left. */
static void
no_place_for_a_table(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct table *none = NULL;

    begin();
    REQUIRE(fd >= 0);
    table_give(disks, &none, "vbd3.7.51712", fd);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK(!disks->tables);
    disks_free(disks);
}

/* A failure there was no memory to tell of is told a little later: else its
 * owner would think it well for ever. */
static void
no_memory_to_tell(void)
{
    struct blk_limits l = { .size = 2 << 20 };
    struct disk *d;

    begin();
    d = connect_disk();
    countdown = 1;
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the image is gone");
    fake_run();
    CHECK_STR(trail, "oc");
    countdown = 1; /* nor now */
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "oc");
    countdown = 1;
    fake.chain_events->relimit(fake.chain_ctx, &l); /* the timer runs */
    CHECK_EQ(countdown, 0);
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "ocs");
    CHECK_STR(sentence, "the image is gone");
    CHECK_EQ(disk_limits(d)->size, 1 << 20); /* as the chain has it by now */
    CHECK(!fake_timer());
    teardown(d);
}

/* What is over by then is no news. */
static void
told_too_late(void)
{
    struct disk *d;

    begin();
    d = connect_disk();
    countdown = 1;
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the image is gone");
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocmp");
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "ocmp");
    countdown = 1;
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "gone again");
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    teardown(d);
    CHECK(!fake_timer()); /* it is no more */
    CHECK_STR(trail, "ocmpdx");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(nothing_to_do);
    TEST(what_is_equal_stays);
    TEST(chain_is_replaced);
    TEST(chain_that_fails_is_left);
    TEST(layers_that_stay_are_not_held);
    TEST(chain_that_does_not_pause_is_left);
    TEST(one_that_failed_to_open);
    TEST(no_longer_in_the_config);
    TEST(one_that_closes_is_left);
    TEST(closes_meanwhile);
    TEST(one_at_a_time);
    TEST(one_changes);
    TEST(one_can_not_change);
    TEST(one_can_not_pause);
    TEST(one_that_does_not_resume);
    TEST(one_that_is_paused);
    TEST(one_without_a_chain);
    TEST(never_two_at_once);
    TEST(no_memory_for_a_change);
    TEST(what_a_change_may_offer);
    TEST(settings_of_the_next_connection);
    TEST(owners_that_do_not_mind);
    TEST(finds_each);
    TEST(quiet_when_the_last_is_gone);
    TEST(name_comes_free);
    TEST(another_name_comes_free);
    TEST(nobody_listens);
    TEST(no_memory_to_begin);
    TEST(no_memory_to_reload);
    TEST(no_memory_to_inherit);
    TEST(no_place_for_a_table);
    TEST(no_memory_to_tell);
    TEST(told_too_late);
    return test_end();
}
