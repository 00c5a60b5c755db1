/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* buffers.c, from inside. */
#include <sys/stat.h>

#include "channel/buffers.c"
#include "tests/test.h"
#include "tests/unit/channel_fake.h"

static struct fake fake;
static struct buffers b;

static void
begin(size_t max)
{
    fake_init(&fake);
    CHECK_EQ(buffers_init(&b, &fake.loop, max), 0);
}

static void
end(void)
{
    buffers_free(&b);
    CHECK_EQ(fake.buffers, 0);
    CHECK_EQ(fake_timers(&fake), 0);
    fake_end(&fake);
}

/* Memory that the file holds. */
static size_t
held(void)
{
    struct stat st;

    CHECK(!fstat(b.fd, &st));
    return (size_t)st.st_blocks * 512;
}

static void
shifts(void)
{
    for (unsigned n = 1; n < 256; n++) {
        uint64_t v[4], want[4] = { 0 };

        for (unsigned i = 0; i < 4; i++)
            v[i] = UINT64_C(0x9e3779b97f4a7c15) * (i + n);
        for (unsigned i = 0; i + n < 256; i++) {
            unsigned k = i + n;

            if ((v[i / 64] >> i % 64 & 1) && (v[k / 64] >> k % 64 & 1))
                want[i / 64] |= UINT64_C(1) << i % 64;
        }
        and_shifted(v, n);
        CHECK(!memcmp(v, want, sizeof(v)));
    }
}

/* Against a plain map of pages: what is given is free, in one slab, and room
 * is only refused when there is no such run. */
static void
random_use(void)
{
    enum { SLABS = 3, MAX = 400, PAGES = SLABS * 256 };
    static bool used[PAGES];
    static struct {
        uint8_t *at;
        size_t len;
    } held_[MAX];
    unsigned n = 0, refused = 0, given = 0;
    uint64_t seed = 1;

    begin(SLABS << 20);
    for (int step = 0; step < 20000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        if (seed >> 63 && n < MAX) {
            size_t len =
                1 + (seed >> 40) % ((seed >> 33 & 7) ? 65536 : 1048576);
            unsigned pages = (unsigned)((len + 4095) / 4096), run = 0;
            uint8_t *at = buffers_get(&b, len);

            for (unsigned i = 0; i < PAGES && run < pages; i++)
                run = used[i] ? 0 : i % 256 ? run + 1 : 1;
            CHECK_EQ(at != NULL, run >= pages);
            refused += !at;
            given += at != NULL;
            if (!at)
                continue;
            for (unsigned i = 0; i < pages; i++) {
                unsigned p = (unsigned)(at - b.addr) / 4096 + i;

                CHECK(!used[p]);
                CHECK_EQ(p / 256, (unsigned)(at - b.addr) >> 20);
                used[p] = true;
            }
            held_[n].at = at;
            held_[n++].len = len;
        } else if (n) {
            unsigned i = (unsigned)(seed >> 20) % n;

            for (unsigned k = 0; k < (held_[i].len + 4095) / 4096; k++)
                used[(unsigned)(held_[i].at - b.addr) / 4096 + k] = false;
            buffers_put(&b, held_[i].at, held_[i].len);
            held_[i] = held_[--n];
        }
    }
    CHECK(refused > 100);
    CHECK(given > 1000);
    while (n--)
        buffers_put(&b, held_[n].at, held_[n].len);
    end();
}

static void
at_least_one_slab(void)
{
    void *p;

    begin(1);
    CHECK_EQ(b.size, 1 << 20);
    p = buffers_get(&b, 1 << 20);
    CHECK(p);
    CHECK(!buffers_get(&b, 1));
    buffers_put(&b, p, 1 << 20);
    end();
}

/* Nothing is held before the first use and a while after the last. */
static void
goes_cold(void)
{
    uint8_t *p, *q;

    begin(4 << 20);
    CHECK_EQ(held(), 0);
    CHECK_EQ(fake_timers(&fake), 0);
    p = buffers_get(&b, 1 << 20);
    q = buffers_get(&b, 8192);
    CHECK_EQ(fake.buffers, 2);
    memset(p, 1, 1 << 20);
    memset(q, 1, 8192);
    CHECK(held() >= (1 << 20) + 8192);
    CHECK_EQ(fake_timers(&fake), 0); /* busy: nothing to wait for */
    buffers_put(&b, p, 1 << 20);
    CHECK_EQ(fake_timers(&fake), 1);
    fake_pass(&fake, UINT64_C(3000000000));
    CHECK_EQ(fake.buffers, 1);
    CHECK(held() < 1 << 20);
    CHECK_EQ(q[8191], 1); /* what is in use stays */
    CHECK_EQ(fake_timers(&fake), 0);
    buffers_put(&b, q, 8192);
    fake_pass(&fake, UINT64_C(1500000000));
    CHECK_EQ(fake.buffers, 1); /* not yet */
    fake_pass(&fake, UINT64_C(1500000000));
    CHECK_EQ(fake.buffers, 0);
    CHECK_EQ(held(), 0);
    CHECK_EQ(fake_timers(&fake), 0); /* no wake-ups of an idle disk */
    end();
}

/* Who comes back in time keeps the slab warm. */
static void
stays_warm(void)
{
    begin(1 << 20);
    for (int i = 0; i < 20; i++) {
        uint8_t *p = buffers_get(&b, 4096);

        buffers_put(&b, p, 4096);
        fake_pass(&fake, UINT64_C(900000000));
        CHECK_EQ(fake.buffers, 1);
    }
    end();
}

static int
refuse_buffer(struct loop *loop, void *addr, size_t len)
{
    (void)loop;
    (void)addr;
    (void)len;
    return -ENOMEM;
}

/* A loop without registered buffers, or one that refuses: they serve as well,
 * and what was not registered is not taken back. */
static void
not_registered(int (*add)(struct loop *, void *, size_t))
{
    const struct loop_ops *plain;
    struct loop_ops ops;
    uint8_t *p;

    begin(BUFFERS_SLAB);
    plain = fake.loop.ops;
    ops = *plain;
    ops.buffer_add = add;
    fake.loop.ops = &ops;
    p = buffers_get(&b, 8192);
    REQUIRE(p);
    memset(p, 1, 8192);
    CHECK(held() >= 8192);
    CHECK_EQ(fake.buffers, 0);
    buffers_put(&b, p, 8192);
    fake_pass(&fake, UINT64_C(3000000000));
    CHECK_EQ(held(), 0);
    CHECK_EQ(fake.buffers, 0); /* it would be -1 */
    end();
}

static void
without_registered_buffers(void)
{
    not_registered(NULL);
    not_registered(refuse_buffer);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(shifts);
    TEST(random_use);
    TEST(at_least_one_slab);
    TEST(goes_cold);
    TEST(stays_warm);
    TEST(without_registered_buffers);
    return test_end();
}
