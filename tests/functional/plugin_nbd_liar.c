/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The nbd plugin with a server that answers wrongly, under many seeds: what is
 * answered well is right, all requests end, nothing that was acknowledged is
 * lost, and no more memory is taken than a server may make us take.
 *
 *     plugin_nbd_liar [SEEDS [FIRST]]
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/functional/nbd_liar.h"
#include "tests/unit/plugin_model.h"

enum {
    DISK = 3 << 20,
    REQUESTS = 150,
    LIES = 12,
    MAPS = 8,
    MEMORY_MOST_MB = 200
};

static unsigned seeds = 30, first = 1;
static unsigned told[LIAR_LIES];
static uint64_t mapped; /* bytes that an honest server told of */
static unsigned misled; /* answers about where data are */
static uint8_t buf[1 << 20];

/* The most memory that this process ever had, MiB. */
static unsigned
memory_mb(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned kb = 0;
    char line[200];

    REQUIRE(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "VmHWM: %u kB", &kb) == 1)
            break;
    }
    fclose(f);
    return kb >> 10;
}

static void
count(const struct liar *l)
{
    unsigned i;

    for (i = 0; i < LIAR_LIES; i++)
        told[i] += atomic_load(&l->told[i]);
}

/* A reply that holds less than it says ends a READ with an error: not more
 * often than there were such replies. */
static unsigned
may_fail(const struct liar *l)
{
    return atomic_load(&l->told[LIAR_SHORT]) +
           atomic_load(&l->told[LIAR_NONE]) + atomic_load(&l->told[LIAR_MORE]) +
           atomic_load(&l->told[LIAR_PLAIN]);
}

/* Pauses between two tries grow to seconds; here they take as many hundredths
 * of that. */
static const struct loop_ops *patient;

static void
hurry(struct loop *loop, struct blk_timer *t, uint64_t after_ns)
{
    patient->timer_start(loop, t, after_ns / 100);
}

/* ---- where data are ------------------------------------------------------ */

struct asked {
    struct chain_map map;
    struct run *run;
    const uint8_t *data; /* what the disk has; NULL: that changes */
    uint64_t at;
    bool over;
    int error;
};

static bool
extent(struct chain_map *m, uint64_t len, enum blk_extent kind)
{
    struct asked *a = m->data;
    const uint8_t *p = a->data ? a->data + a->at : NULL;

    CHECK(len && a->at + len == m->off && m->off <= DISK);
    if (p && kind == BLK_ZEROES)
        CHECK(!p[0] && !memcmp(p, p + 1, len - 1));
    a->at += len;
    return true;
}

static void
map_done(struct chain_map *m, int error)
{
    struct asked *a = m->data;

    a->error = error;
    a->over = true;
    a->run->loop->ops->stop(a->run->loop);
}

/* How many of its questions failed. */
static unsigned
map_all(struct run *r, const uint8_t *data, uint64_t *known)
{
    struct asked a = { .run = r, .data = data };
    unsigned failed = 0;

    *known = 0;
    while (a.at < DISK && failed < 100) {
        uint64_t from = a.at;

        a.over = false;
        a.map = (struct chain_map){ .off = a.at,
                                    .len = DISK - a.at,
                                    .extent = extent,
                                    .done = map_done,
                                    .data = &a };
        chain_map(r->chain, &a.map);
        run_until(r, &a.over);
        failed += a.error != 0;
        CHECK(a.error || a.at > from);
        if (a.error)
            a.at = from;
        else if (a.map.known)
            *known += a.at - from;
    }
    return failed;
}

static void
play(unsigned seed)
{
    uint64_t known;
    struct run r = { .seed = seed };
    struct liar l;
    struct model m;
    size_t i;

    liar_start(&l, DISK, seed, seed % 3 != 0);
    RUN(r, "nbd uri=nbd+unix:///?socket=%s connections=%u", l.socket,
        1 + seed % 2);
    patient = r.real;
    r.ops.timer_start = hurry;
    /* For ever, and what is replayed would never be through. */
    atomic_store(&l.left, LIES);
    atomic_store(&l.rate, 6);
    atomic_store(&l.shakes, 8);
    model_init(&m, &r, DISK);
    m.reads_may_fail = true;
    for (i = 0; i < DISK; i++)
        m.data[i] = l.disk[i] = (uint8_t)(i / 8192 % 2 ? 0 : i / 512 + 1);
    model_play(&m, REQUESTS);
    CHECK(m.errors <= may_fail(&l));
    atomic_store(&l.left, LIES);
    for (i = 0; i < MAPS; i++)
        misled += map_all(&r, m.data, &known);
    atomic_store(&l.rate, 0);
    atomic_store(&l.shakes, 0);
    m.reads_may_fail = false;
    model_check(&m);
    CHECK_EQ(map_all(&r, m.data, &known), 0);
    CHECK(!known || l.structured); /* and a handshake may have lost it */
    mapped += known;
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    for (i = 0; i < DISK && l.disk[i] == m.data[i]; i++)
        ;
    if (i < DISK)
        test_fail(__FILE__, __LINE__, "seed %u: byte %zu of the server's", seed,
                  i);
    model_free(&m);
    run_close(&r);
    liar_stop(&l);
    count(&l);
}

static void
lies_do_no_harm(void)
{
    unsigned seed, i;

    for (seed = first; seed < first + seeds && !test_failures; seed++) {
        play(seed);
        if (test_failures)
            printf("plugin_nbd_liar 1 %u\n", seed);
    }
    for (i = 0; i < LIAR_LIES && seeds > 10; i++)
        CHECK(told[i] > 0);
    printf("%u maps refused\n", misled);
    CHECK(seeds <= 10 || (misled > 0 && mapped > DISK));
}

/* Whatever number it is, it is an error to the guest. */
static void
errors_are_errors(void)
{
    struct run r = { 0 };
    struct liar l;
    unsigned i;

    for (i = 0; i < 2; i++) {
        unsigned k;

        liar_start(&l, DISK, 7 + i, i);
        RUN(r, "nbd uri=nbd+unix:///?socket=%s", l.socket);
        atomic_store(&l.fail, 1);
        for (k = 0; k < 60; k++) {
            CHECK(run_io(&r, BLK_READ, 0, 512 * k, buf, 4096) < 0);
            CHECK(run_io(&r, BLK_WRITE, 0, 512 * k, buf, 4096) < 0);
            CHECK(run_io(&r, BLK_DISCARD, 0, 0, NULL, 4096) < 0);
        }
        atomic_store(&l.fail, 0);
        CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
        CHECK_EQ(run_counter(&r, 0, "losses"), 0);
        run_close(&r);
        liar_stop(&l);
    }
}

/* It opens, or is refused with a sentence. */
static void
any_handshake(void)
{
    unsigned i, opened = 0, refused = 0;

    for (i = 0; i < 3 * seeds; i++) {
        struct run r = { 0 };
        struct liar l;

        liar_start(&l, DISK, i, i % 2);
        atomic_store(&l.shakes, 1 + i % 8);
        if (run_open(&r, RUN_READWRITE,
                     "nbd uri=nbd+unix:///?socket=%s start=0 "
                     "connections=1",
                     l.socket)) {
            CHECK(r.why[0]);
            refused++;
        } else {
            run_close(&r);
            opened++;
        }
        liar_stop(&l);
    }
    printf("%u opened, %u refused\n", opened, refused);
    CHECK(opened > 0 && refused > 0);
}

static void
takes_no_memory(void)
{
    unsigned mb = memory_mb();

    printf("%u MiB\n", mb);
#ifndef __SANITIZE_ADDRESS__
    CHECK(mb <= MEMORY_MOST_MB);
#endif
}

int
main(int argc, char **argv)
{
    char *none[] = { argv[0], NULL };

    if (argc > 1)
        seeds = (unsigned)strtoul(argv[1], NULL, 10);
    else if (getenv("CHECK_LONG"))
        seeds = 1000;
    if (argc > 2)
        first = (unsigned)strtoul(argv[2], NULL, 10);
    test_args(1, none);
    TEST(lies_do_no_harm);
    TEST(errors_are_errors);
    TEST(any_handshake);
    TEST(takes_no_memory);
    return test_end();
}
