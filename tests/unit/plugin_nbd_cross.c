/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a write of the nbd plugin crosses one under way, against all pairs.
 */
#include "config.h"

#include "plugins/nbd/cross.c"

#include "tests/test.h"
#include "tests/unit/plugin_nbd.h"

enum { CMDS = 40 };

static struct nbd nbd;
static struct nbd_cmd cmd[CMDS];

static void
cmd_dice(struct nbd_cmd *c)
{
    static const uint8_t ops[] = { BLK_READ, BLK_WRITE,   BLK_WRITE,
                                   BLK_ZERO, BLK_DISCARD, BLK_FLUSH };
    uint64_t sectors;

    memset(c, 0, sizeof *c);
    c->op = ops[dice(6)];
    if (c->op == BLK_FLUSH)
        return;
    sectors = 1 + (dice(20) ? dice(dice(3) ? 16 : 2048) : dice(1 << 21));
    c->len = (uint32_t)sectors * 512;
    c->off = dice(dice(2) ? 4096 : 1 << 20) * 512;
}

static bool
crosses(const struct nbd_cmd *c, unsigned *found)
{
    const struct nbd_cmd *f;

    TAILQ_FOREACH(f, &nbd.flying, link)
    {
        if (c->op == BLK_READ || c->op == BLK_FLUSH || f->op == BLK_READ ||
            f->op == BLK_FLUSH)
            continue;
        if (f->off < c->off + c->len && c->off < f->off + f->len) {
            ++*found;
            return true;
        }
    }
    return false;
}

/* Also where a page is shared, and no byte is; and of a gigabyte. */
static void
as_all_pairs_say(void)
{
    unsigned found = 0, asked = 0;

    TAILQ_INIT(&nbd.flying);
    for (state = 1; asked < 200000; asked++) {
        struct nbd_cmd *c = &cmd[dice(CMDS)], new;

        if (c->used) {
            TAILQ_REMOVE(&nbd.flying, c, link);
            cross_take(&nbd, c);
            c->used = false;
        } else {
            cmd_dice(c);
            c->used = true;
            TAILQ_INSERT_TAIL(&nbd.flying, c, link);
            cross_add(&nbd, c);
        }
        cmd_dice(&new);
        CHECK_EQ(cross_any(&nbd, &new), crosses(&new, &found));
    }
    CHECK(found > asked / 20 && found < asked / 2);
    for (unsigned i = 0; i < CMDS; i++)
        if (cmd[i].used)
            cross_take(&nbd, &cmd[i]);
    CHECK_EQ(nbd.cross_wide, 0);
    for (unsigned i = 0; i < CROSS_ROOM; i++)
        CHECK_EQ(nbd.cross[i], 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(as_all_pairs_say);
    return test_end();
}
