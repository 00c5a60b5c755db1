/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * channel_alloc.c: the n-th allocation of opening a channel fails, n = 1 until
 * none does: nothing is left behind, and the next opening works.
 *
 * Linked with --wrap for calloc(), realloc() and host_memory().
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "channel/internal.h"
#include "tests/test.h"
#include "tests/unit/channel_fake.h"

static int countdown; /* 1: the next allocation fails */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
int __real_host_memory(const char *name, size_t len, void **addr, int *fd);
int __wrap_host_memory(const char *name, size_t len, void **addr, int *fd);

void *
__wrap_calloc(size_t n, size_t size)
{
    if (countdown && !--countdown)
        return NULL;
    return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    if (countdown && !--countdown)
        return NULL;
    return __real_realloc(p, size);
}

int
__wrap_host_memory(const char *name, size_t len, void **addr, int *fd)
{
    if (countdown && !--countdown)
        return -ENOMEM;
    return __real_host_memory(name, len, addr, fd);
}

struct guest {
    struct fake fake;
    struct front front;
    struct sink sink;
    struct sweep *sweep;
    struct chan_params params;
};

static void
set_up(struct guest *g)
{
    fake_init(&g->fake);
    sink_init(&g->sink, 1 << 20);
    front_init(&g->front, &g->fake, CHAN_ABI_64, 0, 16, 100, 0);
    front_params(&g->front, 1, &g->params);
    CHECK(sweep_new(&g->sweep, &g->fake.tap) == 0);
}

static void
tear_down(struct guest *g)
{
    sweep_free(g->sweep);
    sweep_free(NULL);
    CHECK(g->fake.maps == 0 && g->fake.binds == 0);
    sink_end(&g->sink);
    fake_end(&g->fake);
}

/* Opens with failing allocations; how many it took until none failed. */
static int
open_failing(struct guest *g, int table)
{
    struct chan *c = NULL;
    int n;

    for (n = 1; n < 100; n++) {
        char why[200] = "";
        int error;

        countdown = n;
        error = chan_open(&c, g->sweep, &g->params, &sink_ops, &g->sink, table,
                          why, sizeof(why));
        if (!error)
            break;
        countdown = 0;
        CHECK(error == -ENOMEM);
        CHECK(why[0] != '\0');
        CHECK(g->fake.maps == 0 && g->fake.binds == 0);
    }
    countdown = 0;
    CHECK(c != NULL);
    chan_close(c);
    return n;
}

static void new (void)
{
    struct guest g;

    set_up(&g);
    CHECK(open_failing(&g, -1) > 6);
    tear_down(&g);
}

static void
adopted(void)
{
    struct guest g;
    struct chan *c;
    char why[200];
    int table;

    set_up(&g);
    CHECK(chan_open(&c, g.sweep, &g.params, &sink_ops, &g.sink, -1, why,
                    sizeof(why)) == 0);
    table = dup(chan_table_fd(c));
    chan_close(c);
    CHECK(open_failing(&g, table) > 5);
    /* For want of memory a table is not given up: it is tried again. */
    g.params.resumed = true;
    CHECK(open_failing(&g, table) > 5);
    close(table);
    tear_down(&g);
}

static void
sweep(void)
{
    struct fake fake;
    struct sweep *s;

    fake_init(&fake);
    for (int n = 1; n <= 2; n++) {
        countdown = n;
        CHECK(sweep_new(&s, &fake.tap) == -ENOMEM);
    }
    countdown = 0;
    fake_end(&fake);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(new);
    TEST(adopted);
    TEST(sweep);
    return test_end();
}
