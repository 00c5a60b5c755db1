/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a layer does with requests: children, own ones, waiting, kicks; what
 * the engine stops at a layer's border; and what happens to a plugin that
 * breaks the contract.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/chain_kit.h"

/* ---- "act" does what the test tells it ----------------------------------- */

static void (*act_submit_fn)(struct blk_layer *, struct blk_req *);
static void (*act_done_fn)(struct blk_layer *, struct blk_req *);
static void (*act_kick_fn)(struct blk_layer *);
static void (*act_limits_fn)(struct blk_layer *, struct blk_limits *);
static struct blk_layer *act_layer;

struct act {
    uint64_t seen;
};

static const struct blk_counter act_counters[] = {
    { "seen", offsetof(struct act, seen), "requests", "what it saw" },
    { .name = NULL },
};

static void
act_start(struct blk_layer *l, struct blk_layer *old)
{
    (void)old;
    act_layer = l;
    blk_ready(l, 0);
}

static void
act_submit(struct blk_layer *l, struct blk_req *r)
{
    ((struct act *)blk_self(l))->seen++;
    if (act_submit_fn)
        act_submit_fn(l, r);
    else
        blk_down(l, r);
}

static void
act_done(struct blk_layer *l, struct blk_req *r)
{
    if (act_done_fn)
        act_done_fn(l, r);
    else
        blk_end(l, r, r->error);
}

static void
act_kick(struct blk_layer *l)
{
    if (act_kick_fn)
        act_kick_fn(l);
}

static void
act_limits(struct blk_layer *l, struct blk_limits *lim)
{
    if (act_limits_fn)
        act_limits_fn(l, lim);
}

static void
act_stats(struct blk_layer *l, struct blk_out *out)
{
    blk_put_str(out, "name", blk_name(l));
    blk_put_u64(out, "two", 2);
}

static int
act_command(struct blk_layer *l, int argc, char **argv, struct blk_out *out)
{
    blk_printf(out, "%s of %s, %d", argv[0], blk_disk_name(l), argc);
    return argc > 1 ? -EINVAL : 0;
}

static const struct blk_plugin plugin_act = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct act),
    .req_size = 64,
    .own = 2,
    .ops = BLK_ALL_OPS,
    .name = "act",
    .help = "does as it is told",
    .commands = "say: says",
    .counters = act_counters,
    .start = act_start,
    .submit = act_submit,
    .done = act_done,
    .kick = act_kick,
    .limits = act_limits,
    .stats = act_stats,
    .command = act_command,
};

static const struct blk_plugin plugin_pass = {
    .abi = BLK_ABI,
    .ops = BLK_ALL_OPS,
    .name = "pass",
    .help = "passes",
};

const struct blk_plugin *const blk_plugins_static[] = { &plugin_act,
                                                        &plugin_pass, &kit_tail,
                                                        NULL };

static struct chain *
begin(const char *layers)
{
    kit_disk_reset();
    act_submit_fn = act_done_fn = NULL;
    act_kick_fn = NULL;
    act_limits_fn = NULL;
    return kit_start(layers);
}

/* ---- scatter lists ------------------------------------------------------- */

static void
lists(void)
{
    char a[] = "abcd", b[] = "efghij", c[] = "kl", out[20] = { 0 };
    struct iovec v[] = { { a, 4 }, { b, 6 }, { c, 2 } };
    struct blk_sg sg = { v, 3, 1 };

    CHECK_EQ(blk_sg_read(&sg, 0, out, 11), 11);
    CHECK_STR(out, "bcdefghijkl");
    memset(out, 0, sizeof(out));
    CHECK_EQ(blk_sg_read(&sg, 4, out, 20), 7);
    CHECK_STR(out, "fghijkl");
    CHECK_EQ(blk_sg_read(&sg, 11, out, 1), 0);
    CHECK_EQ(blk_sg_read(&sg, 500, out, 1), 0);
    CHECK_EQ(blk_sg_write(&sg, 2, "12345", 5), 5);
    CHECK(!memcmp(a, "abc1", 4) && !memcmp(b, "2345ij", 6));
    CHECK_EQ(blk_sg_zero(&sg, 8, 100), 3);
    CHECK(!memcmp(b, "2345i\0", 6) && !c[0] && !c[1]);
}

/* ---- children ------------------------------------------------------------ */

static int child_errors[2];

static void
halves(struct blk_layer *l, struct blk_req *r)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct blk_req *child = blk_split(l, r, i * r->len / 2, r->len / 2);

        REQUIRE(child);
        CHECK(child->mine && child->parent == r);
        blk_down(l, child);
    }
    CHECK(blk_split(l, r, 0, 512) == NULL);
    blk_end(l, r, 0);
}

static void
halves_done(struct blk_layer *l, struct blk_req *r)
{
    CHECK(r->mine);
    blk_end(l, r, child_errors[r->off ? 1 : 0]);
}

static void
children(void)
{
    char data[8192], back[8192];
    struct chain *c = begin("act tail");

    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    act_submit_fn = halves;
    act_done_fn = halves_done;
    child_errors[0] = child_errors[1] = 0;
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 8192, data), 0);
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 8192, back), 0);
    CHECK(!memcmp(data, back, sizeof(data)));
    CHECK_STR(noted(), "write@0+4096 write@4096+4096 read@0+4096 "
                       "read@4096+4096");
    child_errors[1] = -ENOSPC;
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 8192, data), -ENOSPC);
    child_errors[0] = -EPERM;
    CHECK_EQ(kit_do(c, BLK_WRITE, 0, 0, 8192, data), -EPERM);
    kit_stop(c);
}

/* A child that is never sent down, and one of a layer's own request. */
static void
own_split(struct blk_layer *l, struct blk_req *r)
{
    static char data[1024];
    static struct iovec v = { data, sizeof(data) };
    struct blk_req *own =
        blk_new(l, BLK_READ, 4096, 1024, (struct blk_sg){ &v, 1, 0 });
    struct blk_req *child;

    REQUIRE(own && own->mine && !own->parent);
    child = blk_split(l, own, 512, 512);
    REQUIRE(child && child->sg.skip == 512);
    blk_down(l, child);
    blk_end(l, own, 0);
    blk_down(l, r);
}

static void
unsent(struct blk_layer *l, struct blk_req *r)
{
    struct blk_req *child = blk_split(l, r, 0, 512);

    REQUIRE(child);
    blk_end(l, child, -EDOM);
    blk_end(l, r, 0);
}

static void
own_requests(void)
{
    char data[512];
    struct chain *c = begin("act tail");

    act_submit_fn = own_split;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    CHECK_STR(noted(), "read@4608+512 read@0+512");
    CHECK_EQ(act_layer->own.used, 0);
    act_submit_fn = unsent;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), -EDOM);
    CHECK_EQ(act_layer->own.used, 0);
    kit_stop(c);
}

/* ---- waiting ------------------------------------------------------------- */

/* One child over all of it; those that find no child line up. */
static void
one_child(struct blk_layer *l, struct blk_req *r)
{
    struct blk_req *child = blk_split(l, r, 0, r->len);

    note("%s%" PRIu64, child ? "got" : "wait", r->off / 512);
    if (!child) {
        blk_wait(l, r);
        return;
    }
    blk_down(l, child);
    blk_end(l, r, 0);
}

static void
waiting(void)
{
    char data[512];
    struct kit_req k[6];
    struct chain *c = begin("act tail");

    kit_disk.hold = kit_disk.quiet = true;
    act_submit_fn = one_child;
    for (unsigned i = 0; i < 5; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, i * 512, 512, data, 512);
    kit_run();
    /* 3 and 4 were not even asked: 2 is before them. */
    CHECK_STR(noted(), "got0 got1 wait2");
    kit_release(1);
    kit_run();
    CHECK_EQ(k[1].error, 0);
    CHECK_STR(noted(), "got2 wait3");
    kit_submit_req(c, &k[5], BLK_READ, 0, 5 * 512, 512, data, 512);
    kit_run();
    CHECK_STR(noted(), "");
    kit_release(0);
    kit_release(0);
    kit_run();
    CHECK_STR(noted(), "got3 got4 wait5");
    while (kit_disk.n_held) {
        kit_release(0);
        kit_run();
    }
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(k[i].error, 0);
    kit_stop(c);
}

/* ---- borders ------------------------------------------------------------- */

static void
beyond(struct blk_layer *l, struct blk_req *r)
{
    r->off += KIT_SIZE;
    blk_down(l, r);
}

static void
unaligned(struct blk_layer *l, struct blk_req *r)
{
    r->len = 100;
    blk_down(l, r);
}

static void
strange(struct blk_layer *l, struct blk_req *r)
{
    r->op = 200;
    blk_down(l, r);
}

static void
narrow_done(struct blk_layer *l, struct blk_req *r)
{
    note("error%d", r->error);
    blk_end(l, r, 0);
}

static void
borders(void)
{
    char data[512];
    struct chain *c = begin("act tail");

    act_done_fn = narrow_done;
    act_submit_fn = beyond;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    act_submit_fn = unaligned;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    act_submit_fn = strange;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), 0);
    CHECK_STR(noted(), "error-22 error-22 error-95");
    CHECK_EQ(kit_disk.requests, 0);
    kit_stop(c);
}

/* A layer that offers FUA itself gets it; below it, it becomes a flush. */
static void
offer_fua(struct blk_layer *l, struct blk_limits *lim)
{
    (void)l;
    lim->fua = true;
}

static void
see_fua(struct blk_layer *l, struct blk_req *r)
{
    note("%s,%d", op_word(r->op), r->flags);
    blk_down(l, r);
}

static void
see_fua_done(struct blk_layer *l, struct blk_req *r)
{
    note("/%s,%d@%" PRIu64, op_word(r->op), r->flags, r->off);
    blk_end(l, r, r->error);
}

static void
fua_below_a_layer(void)
{
    char data[512];
    struct chain *c;

    kit_disk_reset();
    act_limits_fn = offer_fua;
    act_submit_fn = see_fua;
    act_done_fn = see_fua_done;
    c = kit_start("act pass tail");
    CHECK(chain_limits(c)->fua);
    CHECK_EQ(kit_do(c, BLK_WRITE, BLK_FUA, 1024, 512, data), 0);
    CHECK_STR(noted(), "write,1 write@1024+512 flush@0+0 /write,1@1024");
    kit_stop(c);
}

/* ---- kicks and turns ----------------------------------------------------- */

static struct blk_req *collected[8];
static unsigned n_collected;

static void
collect(struct blk_layer *l, struct blk_req *r)
{
    (void)l;
    collected[n_collected++] = r;
}

static void
collected_down(struct blk_layer *l)
{
    while (n_collected)
        blk_down(l, collected[--n_collected]);
}

/* What a kick sends down is in the batch of the layers below. */
static void
kick_in_kick(void)
{
    char data[512];
    struct kit_req k[8];
    struct chain *c = begin("act tail");

    act_submit_fn = collect;
    act_kick_fn = collected_down;
    kit_disk.quiet = true;
    for (unsigned i = 0; i < 8; i++)
        kit_submit_req(c, &k[i], BLK_READ, 0, i * 512, 512, data, 512);
    kit_run();
    CHECK_EQ(kit_disk.kicks, 1);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(k[i].error, 0);
    kit_stop(c);
}

/* A layer that never stops asking, over a tail that answers at once: the loop
 * and the life cycle go on all the same. */
static bool restless;

static void
again(struct blk_layer *l, struct blk_req *r)
{
    static char data[512];
    static struct iovec v = { data, 512 };

    blk_end(l, r, r->error);
    r = restless ? blk_new(l, BLK_READ, 0, 512, (struct blk_sg){ &v, 1, 0 })
                 : NULL;
    if (r)
        blk_down(l, r);
}

static void
never_ends(void)
{
    char data[512];
    struct kit_req k;
    struct kit_op *op;
    struct chain *c = begin("act tail");

    kit_disk.quiet = true;
    restless = true;
    act_done_fn = again;
    kit_submit_req(c, &k, BLK_READ, 0, 0, 512, data, 512);
    chain_loop_step(&kit_loop);
    CHECK_EQ(k.error, 0);
    CHECK(kit_loop.loop.head[STAGE_NEXT] != NULL);
    CHECK(kit_disk.kicks > 0);
    op = kit_begin(c, chain_stop);
    restless = false;
    kit_run();
    CHECK_EQ(kit_end(op), 0);
    chain_free(c);
}

/* ---- what is counted and said -------------------------------------------- */

struct collector {
    struct blk_out out;
    char text[2000];
};

static void
collect_u64(struct blk_out *out, const char *name, uint64_t v, const char *unit)
{
    struct collector *k = (struct collector *)out;
    size_t len = strlen(k->text);

    snprintf(k->text + len, sizeof(k->text) - len, "%s=%" PRIu64 "%s%s ", name,
             v, *unit ? " " : "", unit);
}

static void
collect_str(struct blk_out *out, const char *name, const char *v)
{
    struct collector *k = (struct collector *)out;
    size_t len = strlen(k->text);

    snprintf(k->text + len, sizeof(k->text) - len, "%s=%s ", name, v);
}

static void
collect_text(struct blk_out *out, const char *text)
{
    struct collector *k = (struct collector *)out;

    snprintf(k->text, sizeof(k->text), "%s", text);
}

static void
counted(void)
{
    struct collector k = { { collect_u64, collect_str, collect_text }, "" };
    char data[1024], *say[] = { (char[]){ "say" }, (char[]){ "it" } };
    const struct chain_stats *st;
    struct kit_req req;
    struct chain *c = begin("act pass tail");

    kit_disk.hold = true;
    kit_submit_req(c, &req, BLK_WRITE, 0, 0, 1024, data, 1024);
    kit_run();
    kit_loop.now += 5000000;
    kit_release(0);
    kit_run();
    kit_disk.hold = false;
    kit_disk.error = -EIO;
    CHECK_EQ(kit_do(c, BLK_READ, 0, 0, 512, data), -EIO);
    for (unsigned i = 0; i < 3; i++) {
        st = chain_layer_stats(c, i);
        CHECK_EQ(st->requests[BLK_WRITE], 1);
        CHECK_EQ(st->bytes[BLK_WRITE], 1024);
        CHECK_EQ(st->errors[BLK_WRITE], 0);
        CHECK_EQ(st->latency_sum_ns[BLK_WRITE], 5000000);
        CHECK_EQ(st->latency[BLK_WRITE][13], 1); /* 4096 to 8191 us */
        CHECK_EQ(st->requests[BLK_READ], 1);
        CHECK_EQ(st->errors[BLK_READ], 1);
    }
    CHECK(chain_layer_stats(c, 3) == NULL);
    chain_layer_out(c, 0, &k.out);
    CHECK_STR(k.text,
              "read-requests=1 requests read-bytes=512 bytes read-errors=1 "
              "requests read-latency-avg=0 ns write-requests=1 requests "
              "write-bytes=1024 bytes write-latency-avg=5000000 ns "
              "seen=2 requests name=disk/act two=2 ");
    chain_layer_out(c, 9, &k.out);
    CHECK_EQ(chain_command(c, "act", 1, say, &k.out), 0);
    CHECK_STR(k.text, "say of disk, 1");
    CHECK_EQ(chain_command(c, "act", 2, say, &k.out), -EINVAL);
    CHECK_EQ(chain_command(c, "gone", 1, say, &k.out), -ENOENT);
    CHECK_STR(k.text, "disk disk has no layer gone\n");
    CHECK_EQ(chain_command(c, "pass", 1, say, &k.out), -EOPNOTSUPP);
    CHECK_EQ(chain_command(c, "act", 0, NULL, &k.out), -EOPNOTSUPP);
    kit_stop(c);
}

/* ---- broken contracts ---------------------------------------------------- */

static void
end_twice(struct blk_layer *l, struct blk_req *r)
{
    blk_end(l, r, 0);
    blk_end(l, r, 0);
}

static void
down_and_end(struct blk_layer *l, struct blk_req *r)
{
    blk_down(l, r);
    blk_end(l, r, 0);
}

static void
wait_and_down(struct blk_layer *l, struct blk_req *r)
{
    blk_wait(l, r);
    blk_down(l, r);
}

static void
down_with_children(struct blk_layer *l, struct blk_req *r)
{
    blk_split(l, r, 0, 512);
    blk_down(l, r);
}

static void
split_beyond(struct blk_layer *l, struct blk_req *r)
{
    blk_split(l, r, 256, 512);
}

static void
ready_unasked(struct blk_layer *l, struct blk_req *r)
{
    blk_ready(l, 0);
    blk_end(l, r, 0);
}

static void
positive_error(struct blk_layer *l, struct blk_req *r)
{
    blk_end(l, r, EIO);
}

/* In a process of its own; true: it was stopped by an assertion that names
 * the layer. */
static bool
stopped(void (*fn)(struct blk_layer *, struct blk_req *))
{
    char data[512], said[600] = "";
    int status = 0, fds[2];
    pid_t pid;

    REQUIRE(!pipe(fds));
    fflush(stdout);
    pid = fork();
    if (!pid) {
        struct chain *c;

        dup2(fds[1], STDERR_FILENO);
        log_open(BLK_ERR, false);
        c = begin("act tail");
        act_submit_fn = fn;
        kit_do(c, BLK_READ, 0, 0, 512, data);
        _exit(0);
    }
    close(fds[1]);
    waitpid(pid, &status, 0);
    if (read(fds[0], said, sizeof(said) - 1) < 0)
        said[0] = '\0';
    close(fds[0]);
    CHECK(strstr(said, "disk/act: ") != NULL);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
contract(void)
{
    CHECK(stopped(end_twice));
    CHECK(stopped(down_and_end));
    CHECK(stopped(wait_and_down));
    CHECK(stopped(down_with_children));
    CHECK(stopped(split_beyond));
    CHECK(stopped(ready_unasked));
    CHECK(stopped(positive_error));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(lists);
    TEST(children);
    TEST(own_requests);
    TEST(waiting);
    TEST(borders);
    TEST(fua_below_a_layer);
    TEST(kick_in_kick);
    TEST(never_ends);
    TEST(counted);
    TEST(contract);
    return test_end();
}
