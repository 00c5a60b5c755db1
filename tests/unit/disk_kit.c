/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* disk_kit.c: a disk on the fakes, a config for it, and what its owner hears.
 */
#include "config.h"

#include "tests/unit/disk_kit.h"

static struct blk_conf layer = { .plugin = "memory" };
struct conf_disk cd = { .name = "web",
                        .indirect = 256,
                        .discard = true,
                        .buffers = 1 << 20,
                        .chain = { .disk = "web", .layer = &layer, .n = 1 } };
struct conf conf = { .refs = 1, .disk = &cd, .disks = 1 };
struct conf_disk cd2;
struct conf conf2 = { .refs = 1, .disk = &cd2, .disks = 1 };
const struct disk_front front = {
    .kind = "xen", .vm = "guest", .vdev = "xvda", .domid = 3
};
struct disks *disks;
char trail[256], sentence[256];

/* ---- config, as far as src/disk needs it ----------------------------------
 */

struct conf *
conf_ref(struct conf *c)
{
    c->refs++;
    return c;
}

void
conf_unref(struct conf *c)
{
    c->refs--;
}

const struct conf_disk *
conf_disk(const struct conf *c, const char *name)
{
    return !c->disks || strcmp(c->disk[0].name, name) ? NULL : &c->disk[0];
}

bool
conf_disk_equal(const struct conf_disk *a, const struct conf_disk *b)
{
    return a->chain.layer == b->chain.layer && a->queues == b->queues;
}

/* ---- what is told, as a trail of letters ----------------------------------
 */

void
tell(char letter, int status, const char *why)
{
    size_t n = strlen(trail);

    snprintf(trail + n, sizeof trail - n, "%c%s", letter, status ? "!" : "");
    if (why)
        snprintf(sentence, sizeof sentence, "%s", why);
}

#define TELLER(name, letter)                                          \
    void name(void *ctx, struct disk *d, int status, const char *why) \
    {                                                                 \
        (void)ctx;                                                    \
        (void)d;                                                      \
        tell(letter, status, why);                                    \
    }
TELLER(opened, 'o')
TELLER(connected, 'c')
TELLER(disconnected, 'd')
TELLER(closed, 'x')
TELLER(stepped, 'p')

static void
resized(void *ctx, struct disk *d)
{
    (void)ctx;
    (void)d;
    tell('r', 0, NULL);
}

static void
failed(void *ctx, struct disk *d, const char *why)
{
    (void)ctx;
    (void)d;
    tell('f', 0, why);
}

static void
stopped(void *ctx, struct disk *d, const char *why)
{
    (void)ctx;
    (void)d;
    tell('s', 0, why);
}

static void
recovered(void *ctx, struct disk *d)
{
    (void)ctx;
    (void)d;
    tell('m', 0, NULL);
}

static void
reconnect(void *ctx, struct disk *d)
{
    (void)ctx;
    (void)d;
    tell('R', 0, NULL);
}

const struct disk_owner owner = { resized, failed, reconnect, stopped,
                                  recovered };

struct loop *loops[1];
struct sweep *sweeps[1];

void
setup(void)
{
    fakes_reset();
    trail[0] = sentence[0] = '\0';
    loops[0] = &fake.data;
    sweeps[0] = (struct sweep *)&fake; /* there is one; nobody looks inside */
    conf.refs = conf2.refs = 1;
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, NULL, NULL));
}

struct disk *
open_disk(void)
{
    struct disk *d = NULL;
    char why[128];

    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &front, &owner, NULL,
                       opened, why, sizeof why));
    fake_run();
    return d;
}

struct disk *
connect_disk(void)
{
    struct disk *d = open_disk();
    struct chan_params p = { .domid = 3, .queues = 1 };

    disk_connect(d, &p, NULL, connected);
    fake_run();
    return d;
}

void
teardown(struct disk *d)
{
    disk_close(d, closed);
    fake_run();
    if (fake.idle)
        fake_idle();
    fake_run();
    CHECK_EQ(disks_count(disks), 0);
    CHECK_EQ(conf.refs, 1);
    CHECK_EQ(conf2.refs, 1);
    disks_free(disks);
}
