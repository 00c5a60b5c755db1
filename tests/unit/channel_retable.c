/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon that comes back without its table, or with one of no use. */
#include "tests/unit/channel_model.h"

static int
reopen(int inherit, char *why, size_t why_size)
{
    why[0] = '\0';
    return chan_open(&m.rig.chan, m.rig.sweep, &m.rig.params, &model_ops, &m,
                     inherit, why, why_size);
}

/* A guest that wrote over rsp_prod, or a table of another day: no start. */
static void
refuses(void)
{
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    char why[200] = "";
    struct chan *c;
    int error;

    begin(CHAN_ABI_64, 1, 5, 0);
    front_put(&m.rig.front[0], &op);
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    die();
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    front_set(&m.rig.front[0], 8, 5);
    error = chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                      why, sizeof(why));
    CHECK_EQ(error, -EPROTO);
    CHECK(strstr(why, "disagree"));
    m.rig.params.nonce++;
    error = chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                      why, sizeof(why));
    CHECK_EQ(error, -EINVAL);
    CHECK(strstr(why, "of another connection"));
    CHECK_EQ(m.rig.fake.maps, 0);
    CHECK_EQ(m.rig.fake.binds, 0);
    m.rig.chan = NULL;
    finish();
}

/* Served before, and no table that can be used: with a request unanswered the
 * ring is left alone; when all are answered it is gone on from. */
static void
without_a_table(void)
{
    struct blkif_op op = rw(BLKIF_WRITE, 1, 0, 1);
    struct front_response rsp;
    struct chan *c;
    char why[256] = "";

    begin(CHAN_ABI_64, 1, 5, 0);
    front_put(&m.rig.front[0], &op);
    front_push(&m.rig.front[0]);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    CHECK_EQ(chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, -1, why,
                       sizeof(why)),
             -EUCLEAN);
    CHECK(strstr(why, "1 requests have no answer"));
    CHECK(!front_get(&m.rig.front[0], &rsp));
    m.rig.params.nonce++;
    CHECK_EQ(chan_open(&c, m.rig.sweep, &m.rig.params, &model_ops, &m, m.table,
                       why, sizeof(why)),
             -EUCLEAN);
    CHECK(strstr(why, "of another connection"));
    m.rig.params.nonce--;
    sweep_free(m.rig.sweep);
    start_daemon(m.table); /* the table itself was not touched */
    fake_run(&m.rig.fake);
    while (m.n)
        chan_complete(pick(0), 0);
    fake_run(&m.rig.fake);
    CHECK(front_get(&m.rig.front[0], &rsp));
    die();
    close(m.table);
    start_daemon(-1);
    finish();
}

/* Served before, and the front-end has made its rings anew since: the old
 * table is of rings that are gone, and the new ones are begun. */
static void
rings_made_anew(void)
{
    char why[256];

    begin(CHAN_ABI_64, 2, 5, 0);
    die();
    front_init(&m.rig.front[0], &m.rig.fake, CHAN_ABI_64, 0, 60, 120, 0);
    front_init(&m.rig.front[1], &m.rig.fake, CHAN_ABI_64, 0, 61, 121, 0);
    front_params(m.rig.front, 2, &m.rig.params);
    m.rig.params.resumed = true;
    put_writes(3);
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    REQUIRE(!reopen(m.table, why, sizeof(why)));
    CHECK(strstr(why, "of another ring"));
    CHECK(!strstr(why, "answer"));
    CHECK(!chan_adopted(m.rig.chan));
    answers(3);
    finish();
}

/* Other references, but something was answered on them: somebody served them,
 * and what is open may have been done. */
static void
other_rings_that_were_served(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    die();
    front_init(&m.rig.front[0], &m.rig.fake, CHAN_ABI_64, 0, 60, 120, 4);
    front_params(m.rig.front, 1, &m.rig.params);
    m.rig.params.resumed = true;
    put_writes(2);
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    CHECK_EQ(reopen(m.table, why, sizeof(why)), -EUCLEAN);
    CHECK(strstr(why, "of another ring; 2 requests have no answer"));
    CHECK_EQ(m.rig.fake.maps, 0);
    front_set(&m.rig.front[0], 0, 4); /* all are answered after all */
    m.rig.front[0].req = 4;
    REQUIRE(!reopen(m.table, why, sizeof(why)));
    CHECK(strstr(why, "all requests have their answer: gone on without it"));
    put_writes(2);
    answers(2);
    finish();
}

/* The table goes with the connection and not with the ring: as without it,
 * and nothing of what was begun with it is left. */
static void
a_table_that_disagrees(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(2);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    front_set(&m.rig.front[0], 8, m.rig.front[0].req - 1);
    CHECK_EQ(reopen(m.table, why, sizeof(why)), -EUCLEAN);
    CHECK(strstr(why, "disagree"));
    CHECK(strstr(why, "; 1 requests have no answer"));
    CHECK_EQ(m.rig.fake.maps, 0);
    m.rig.chan = NULL;
    finish();
}

/* The caller's buffer is short: the sentence is cut off, the answer not. */
static void
a_short_sentence(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(1);
    fake_run(&m.rig.fake);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    memset(why, 'x', sizeof(why));
    CHECK_EQ(reopen(-1, why, 16), -EUCLEAN);
    CHECK_STR(why, "expected the in");
    CHECK_EQ(why[16], 'x');
    front_set(&m.rig.front[0], 8, m.rig.front[0].req);
    REQUIRE(!reopen(-1, why, 16));
    CHECK_STR(why, "expected the in");
    finish();
}

/* The table can't be gone on from, but is whole enough to say that the disk
 * failed: so it has, for whoever goes on without it. */
static void
a_table_of_a_failed_disk(void)
{
    char why[256];

    begin(CHAN_ABI_64, 1, 5, 0);
    put_writes(2);
    answers(2);
    chan_lossy(m.rig.chan);
    die();
    m.rig.params.resumed = true;
    REQUIRE(!sweep_new(&m.rig.sweep, &m.rig.fake.tap));
    put_writes(1);
    front_set(&m.rig.front[0], 8, m.rig.front[0].req); /* it lies */
    REQUIRE(!reopen(m.table, why, sizeof(why)));
    CHECK(strstr(why, "disagree"));
    CHECK(!chan_adopted(m.rig.chan));
    CHECK(chan_is_lossy(m.rig.chan));
    finish();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(refuses);
    TEST(without_a_table);
    TEST(rings_made_anew);
    TEST(other_rings_that_were_served);
    TEST(a_table_that_disagrees);
    TEST(a_short_sentence);
    TEST(a_table_of_a_failed_disk);
    return test_end();
}
