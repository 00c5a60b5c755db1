/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk's jobs, in every order that matters. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "disk/disk_private.h"
#include "tests/test.h"
#include "tests/unit/disk_fakes.h"

static struct blk_conf layer = { .plugin = "memory" };
static struct conf_disk cd = { .name = "web",
                               .indirect = 256,
                               .discard = true,
                               .buffers = 1 << 20,
                               .chain = { "web", &layer, 1, false } };
static struct conf conf = { .refs = 1, .disk = &cd, .disks = 1 };
static struct conf_disk cd2;
static struct conf conf2 = { .refs = 1, .disk = &cd2, .disks = 1 };
static const struct disk_front front = {
    .kind = "xen", .vm = "guest", .vdev = "xvda", .domid = 3
};
static struct disks *disks;
static char trail[256], sentence[256];

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

static void
tell(char letter, int status, const char *why)
{
    size_t n = strlen(trail);

    snprintf(trail + n, sizeof trail - n, "%c%s", letter, status ? "!" : "");
    if (why)
        snprintf(sentence, sizeof sentence, "%s", why);
}

#define TELLER(name, letter)                                                 \
    static void name(void *ctx, struct disk *d, int status, const char *why) \
    {                                                                        \
        (void)ctx;                                                           \
        (void)d;                                                             \
        tell(letter, status, why);                                           \
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

static const struct disk_owner owner = { resized, failed, reconnect, stopped,
                                         recovered };

static struct loop *loops[1];
static struct sweep *sweeps[1];

static void
setup(void)
{
    fakes_reset();
    trail[0] = sentence[0] = '\0';
    loops[0] = &fake.data;
    sweeps[0] = (struct sweep *)&fake; /* there is one; nobody looks inside */
    conf.refs = conf2.refs = 1;
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, NULL, NULL));
}

static struct disk *
open_disk(void)
{
    struct disk *d = NULL;
    char why[128];

    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &front, &owner, NULL,
                       opened, why, sizeof why));
    fake_run();
    return d;
}

static struct disk *
connect_disk(void)
{
    struct disk *d = open_disk();
    struct chan_params p = { .domid = 3, .queues = 1 };

    disk_connect(d, &p, NULL, connected);
    fake_run();
    return d;
}

/* Closes, and sees that nothing is left. */
static void
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

static void
opens_and_closes(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    CHECK_EQ(disk_limits(d)->size, 1 << 20);
    CHECK(disks_find(disks, "web") == d);
    teardown(d);
    CHECK_STR(trail, "ox");
    CHECK_EQ(fake.chain_stops, 1);
    CHECK_EQ(fake.chain_frees, 1);
}

/* The control loop may take the last answer, and free the unit, before the
 * data loop has done its next step.  (The address sanitizer tells.) */
static void
closes_with_a_faster_control_loop(void)
{
    struct disk *d;

    setup();
    d = open_disk();
    fake.control_is_faster = true;
    teardown(d);
    CHECK_STR(trail, "ox");
}

static void
open_fails_with_a_sentence(void)
{
    struct disk *d;

    setup();
    fake.start_error = -ENOENT;
    d = open_disk();
    CHECK_STR(sentence, "no such medium");
    teardown(d);
    CHECK_STR(trail, "o!x");
}

static void
second_front_end_is_refused(void)
{
    struct disk *d, *other = NULL;
    char why[128] = "";

    setup();
    d = open_disk();
    CHECK_EQ(disk_open(&other, disks, &conf, &cd, false, &front, &owner, NULL,
                       opened, why, sizeof why),
             -EBUSY);
    CHECK_STR(why, "disk web is in use by guest guest, xvda");
    teardown(d);
}

static void
waits_for_one_that_closes(void)
{
    struct disk *d, *next;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    next = open_disk();
    CHECK_STR(trail, "oc"); /* the first drains: the second has to wait */
    CHECK_EQ(fake.chain_starts, 1);
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocxo");
    CHECK_EQ(fake.chain_starts, 2);
    teardown(next);
}

static void
held_one_can_be_closed(void)
{
    struct disk *d, *next;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    next = open_disk();
    disk_close(next, closed);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oco!xx");
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static void
connects_with_what_the_chain_offers(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    CHECK_EQ(fake.params.size, 1 << 20);
    CHECK(fake.params.discard);
    CHECK_EQ(fake.params.max_indirect, 256);
    CHECK_EQ(fake.reserved, 32);
    teardown(d);
    CHECK_STR(trail, "ocx");
    CHECK_EQ(fake.chan_closes, 1);
}

static void
readonly_reaches_everybody(void)
{
    struct chan_params p = { .queues = 1 };
    struct disk *d = NULL;
    char why[128];

    setup();
    REQUIRE(!disk_open(&d, disks, &conf, &cd, true, &front, &owner, NULL,
                       opened, why, sizeof why));
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK(disk_readonly(d));
    CHECK(fake.spec_readonly);
    CHECK(fake.params.readonly);
    teardown(d);
}

static void
connect_fails_with_a_sentence(void)
{
    struct disk *d;

    setup();
    fake.chan_error = -EINVAL;
    d = connect_disk();
    CHECK_STR(trail, "oc!");
    CHECK_STR(sentence, "ring 0: expected a page, found none");
    fake.chan_error = 0;
    teardown(d);
    CHECK_EQ(fake.chan_closes, 0);
}

static void
requests_go_down_and_come_up(void)
{
    struct chan_io a, b;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&a, BLK_READ, 4096, 8192);
    fake_request(&b, BLK_WRITE, 512, 512);
    REQUIRE(fake.nsent == 2);
    CHECK_EQ(fake.sent[0]->req.op, BLK_READ);
    CHECK_EQ(fake.sent[0]->req.off, 4096);
    CHECK_EQ(fake.sent[0]->req.len, 8192);
    CHECK(fake.sent[1]->req.sg.v == &b.iov);
    fake_end(0);
    CHECK_EQ(fake.last_error, 0);
    fake_end(-ENOSPC);
    CHECK_EQ(fake.last_error, -ENOSPC);
    CHECK_EQ(fake.completed, 2);
    teardown(d);
}

static void
barrier_is_flush_then_durable_write(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    memset(&io, 0, sizeof io);
    io.op = BLK_WRITE;
    io.barrier = true;
    io.len = 512;
    fake.chan_ops->request(fake.chan_ctx, &io);
    CHECK_EQ(fake.sent[0]->req.op, BLK_FLUSH);
    fake_end(0);
    CHECK_EQ(fake.completed, 0);
    CHECK_EQ(fake.sent[0]->req.op, BLK_WRITE);
    CHECK_EQ(fake.sent[0]->req.flags, BLK_FUA);
    fake_end(0);
    CHECK_EQ(fake.completed, 1);
    io.len = 0; /* an empty one is a flush */
    fake.chan_ops->request(fake.chan_ctx, &io);
    fake_end(0);
    CHECK_EQ(fake.nsent, 0);
    CHECK_EQ(fake.completed, 2);
    teardown(d);
}

static void
long_discard_is_cut(void)
{
    uint64_t gib = 1ull << 30, sum = 0;
    struct chan_io io;
    struct disk *d;
    unsigned n = 0;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_DISCARD, 512, 5 * gib + 512);
    while (fake.nsent) {
        CHECK_EQ(fake.sent[0]->req.off, 512 + sum);
        sum += fake.sent[0]->req.len;
        n++;
        fake_end(0);
    }
    CHECK_EQ(sum, 5 * gib + 512);
    CHECK_EQ(n, 6);
    CHECK_EQ(fake.completed, 1);
    teardown(d);
}

static void
failed_flush_stops_the_disk(void)
{
    struct chan_io io, more;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_FLUSH, 0, 0);
    fake_end(-EIO);
    fake_request(&more, BLK_WRITE, 0, 512);
    CHECK_EQ(fake.nsent, 0);
    CHECK_EQ(fake.last_error, -EIO);
    fake_run();
    CHECK_STR(trail, "ocs");
    CHECK(strstr(sentence, "flush failed"));
    teardown(d);
}

static void
flush_that_is_not_there_does_not(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_FLUSH, 0, 0);
    fake_end(-EOPNOTSUPP);
    fake_run();
    CHECK_STR(trail, "oc");
    teardown(d);
}

static void
disconnect_drains(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_disconnect(d, disconnected);
    fake_run();
    CHECK_STR(trail, "oc");
    CHECK_EQ(fake.chan_closes, 0);
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocd");
    CHECK_EQ(fake.chan_closes, 1);
    CHECK(!fake_timer());
    disk_disconnect(d, disconnected); /* of nothing: at once */
    fake_run();
    CHECK_STR(trail, "ocdd");
    teardown(d);
}

static void
hung_request_does_not_hold_the_ring(void)
{
    struct chan_params p = { .queues = 1 };
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&io, BLK_WRITE, 0, 512);
    disk_disconnect(d, disconnected);
    fake_run();
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "ocd");
    CHECK_EQ(fake.chan_closes, 1);
    disk_connect(d, &p, NULL, connected); /* waits for the old write */
    fake_run();
    CHECK_EQ(fake.chan_opens, 1);
    fake_end(0);
    fake_run();
    CHECK_EQ(fake.chan_opens, 2);
    CHECK_STR(trail, "ocdc");
    teardown(d);
}

static void
fatal_layer_is_mended_by_a_new_connection(void)
{
    struct chan_params p = { .queues = 1 };
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    CHECK_STR(trail, "ocs");
    CHECK_STR(sentence, "the medium went away");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    disk_connect(d, &p, NULL, connected);
    fake_run();
    CHECK_EQ(fake.chains, 2);
    CHECK_EQ(fake.chain_frees, 1);
    CHECK_STR(trail, "ocsdc");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);
}

/* The ring is gone on with; what comes meanwhile gets an error. */
static void
fatal_layer_is_mended_by_command(void)
{
    struct chan_io old, io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake_request(&old, BLK_READ, 0, 512);
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    CHECK_STR(trail, "ocs");
    /* Not before the old chain is empty. */
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.chains, 1);
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    CHECK_EQ(fake.chains, 1);
    fake.hold_steps = true;
    fake_end(-EIO);
    fake_run();
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    CHECK_EQ(fake.chains, 2);
    CHECK_EQ(fake.chain_frees, 1);
    CHECK_EQ(fake.chan_opens, 1);
    CHECK_STR(trail, "ocsmp");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    CHECK_EQ(fake.last_error, 0);
    /* Once is enough. */
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsmpp!");
    CHECK(strstr(sentence, "not quarantined"));
    teardown(d);
}

static void
recovery_that_fails_may_be_tried_again(void)
{
    struct chan_io io;
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->fatal(fake.chain_ctx, -EIO, "the medium went away");
    fake_run();
    fake.start_error = -ENODEV;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsp!");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.last_error, -EIO);
    fake.start_error = 0;
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocsp!mp");
    fake_request(&io, BLK_READ, 0, 512);
    CHECK_EQ(fake.nsent, 1);
    fake_end(0);
    teardown(d);
}

static void
broken_ring_is_not_recovered(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chan_ops->broken(fake.chan_ctx, "ring 0: expected 32, found 99");
    disk_recover(d, stepped, NULL);
    fake_run();
    CHECK_STR(trail, "ocfp!");
    CHECK(strstr(sentence, "only a new connection"));
    teardown(d);
}

static void
broken_ring_is_told(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chan_ops->broken(fake.chan_ctx, "ring 0: expected 32, found 99");
    fake_run();
    CHECK_STR(trail, "ocf");
    CHECK_STR(sentence, "ring 0: expected 32, found 99");
    teardown(d);
}

static void
resize_is_told(void)
{
    struct blk_limits l = { .size = 2 << 20 };
    struct disk *d;

    setup();
    d = connect_disk();
    fake.chain_events->relimit(fake.chain_ctx, &l);
    fake_run();
    CHECK_EQ(fake.resized, 2 << 20);
    CHECK_EQ(disk_limits(d)->size, 2 << 20);
    CHECK_STR(trail, "ocr");
    teardown(d);
}

static void
pause_and_close(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_pause(d, stepped, NULL);
    disk_pause(d, stepped, NULL);
    fake_run();
    CHECK_EQ(fake.paused, 1);
    CHECK_STR(trail, "ocpp");
    teardown(d); /* resumes first, or nothing in the chain would ever end */
    CHECK_EQ(fake.resumed, 1);
}

/* ---- in-flight tables -----------------------------------------------------
 */

static void
table_event(void *ctx, const char *key, int fd)
{
    (void)ctx;
    CHECK_STR(key, "vbd.3.51712");
    tell(fd >= 0 ? 'K' : 'F', 0, NULL);
}

static const struct disks_events table_events = { .table = table_event };
static const struct disk_front vbd_front = {
    .kind = "xen",
    .vm = "guest",
    .vdev = "xvda",
    .domid = 3,
    .path = "/local/domain/0/backend/vbd/3/51712"
};

/* Connects a disk of a vbd, when a table of nonce 5 was left by a process
 * before us (left), and the vbd's connection has this nonce. */
static struct disk *
connect_vbd(bool left, uint64_t nonce)
{
    struct chan_params p = { .domid = 3, .queues = 1, .nonce = nonce };
    struct disk *d = NULL;
    char why[128];

    setup();
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    fake.table_fd = 0;
    fake.table_nonce = 5;
    if (left)
        disks_inherit(disks, "vbd.3.51712", dup(0));
    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &vbd_front, &owner, NULL,
                       opened, why, sizeof why));
    disk_connect(d, &p, NULL, connected);
    fake_run();
    return d;
}

static void
table_is_kept_while_connected(void)
{
    struct disk *d = connect_vbd(false, 5);

    CHECK_EQ(fake.inherit, -1);
    CHECK_STR(trail, "oFKc"); /* kept before the guest may send anything */
    disk_disconnect(d, disconnected);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oFKcFd");
    teardown(d);
}

static void
table_is_gone_on_from(void)
{
    struct disk *d = connect_vbd(true, 5);

    CHECK(fake.inherit >= 0);
    CHECK_STR(trail, "oKc");
    teardown(d);
}

static void
table_of_another_connection_is_not(void)
{
    struct disk *d = connect_vbd(true, 6);

    CHECK_EQ(fake.inherit, -1);
    CHECK_STR(trail, "oFKc");
    teardown(d);
}

static void
table_stays_when_not_all_had_ended(void)
{
    struct chan_io io;
    struct disk *d = connect_vbd(false, 5);

    fake_request(&io, BLK_WRITE, 0, 512);
    disk_disconnect(d, disconnected);
    fake_run();
    REQUIRE(fake_timer());
    fake_run();
    CHECK_STR(trail, "oFKcd");
    fake_end(0);
    teardown(d);
}

/* A daemon that is told to stop: its successor asks for the table. */
static void
table_stays_for_the_next_process(void)
{
    struct disk *d = connect_vbd(false, 5);

    disk_leave(d, closed);
    fake_run();
    fake_idle();
    fake_run();
    CHECK_STR(trail, "oFKcx");
    disks_free(disks);
}

/* Told to stop before the front-end was connected again. */
static void
table_that_was_not_come_to_stays(void)
{
    struct disk *d = NULL;
    char why[128];

    setup();
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    disks_inherit(disks, "vbd.3.51712", dup(0));
    REQUIRE(!disk_open(&d, disks, &conf, &cd, false, &vbd_front, &owner, NULL,
                       opened, why, sizeof why));
    fake_run();
    disk_close(d, closed);
    fake_run();
    CHECK_STR(trail, "ox");
    disks_free(disks);
}

static int
a_room(void *ctx, const char *key)
{
    (void)ctx;
    CHECK_STR(key, "vbd.3.51712");
    tell('Q', 0, NULL);
    return dup(0);
}

/* Of two tables of one key one is left; other keys' are not touched. */
static void
two_tables_of_one_key(void)
{
    int first = dup(0), second = dup(0), other = dup(0);

    setup();
    disks_inherit(disks, "vbd.3.51712", first);
    disks_inherit(disks, "vbd.4.51712", other);
    disks_inherit(disks, "vbd.3.51712", second);
    CHECK(fcntl(second, F_GETFD) < 0); /* closed */
    CHECK(table_waits(disks, "vbd.3.51712"));
    CHECK(table_waits(disks, "vbd.4.51712"));
    CHECK(!table_waits(disks, "vbd.5.51712"));
    CHECK_EQ(table_take(disks, "vbd.5.51712"), -1);
    CHECK_EQ(table_take(disks, "vbd.3.51712"), first);
    CHECK_EQ(table_take(disks, "vbd.3.51712"), -1);
    close(first);
    disks_free(disks);
    CHECK(fcntl(other, F_GETFD) < 0); /* not asked for: goes at the end */
}

/* A room is asked for where somebody gives rooms, and for what has a key. */
static void
room_for_a_table(void)
{
    static const struct disks_events none, gives = { .room = a_room };
    int fd;

    setup();
    CHECK_EQ(table_room(disks, "vbd.3.51712"), -1);
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &none, NULL));
    CHECK_EQ(table_room(disks, "vbd.3.51712"), -1);
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    disks_free(disks);
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &gives, NULL));
    CHECK_EQ(table_room(disks, ""), -1);
    CHECK_STR(trail, "");
    fd = table_room(disks, "vbd.3.51712");
    CHECK(fd >= 0);
    CHECK_STR(trail, "Q");
    close(fd);
    disks_free(disks);
    /* Nobody is told of what has no key, or no table. */
    REQUIRE(!disks_new(&disks, &fake.control, loops, sweeps, 1, &table_events,
                       NULL));
    table_keep(disks, "", 0);
    table_keep(disks, "vbd.3.51712", -1);
    table_forget(disks, "");
    CHECK_STR(trail, "Q");
    table_keep(disks, "vbd.3.51712", 0);
    table_forget(disks, "vbd.3.51712");
    CHECK_STR(trail, "QKF");
    disks_free(disks);
}

static int reload_status = 99;
static void
reloaded(void *ctx, int status, const char *why)
{
    (void)ctx;
    reload_status = status;
    if (why)
        snprintf(sentence, sizeof sentence, "%s", why);
}

static void
reload_touches_what_changed(void)
{
    static struct blk_conf other = { .plugin = "file" };
    struct disk *d;

    setup();
    d = connect_disk();
    cd2 = cd;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(reload_status, 0);
    CHECK_EQ(fake.replaces, 0);
    cd2.chain.layer = &other;
    cd2.queues = 2;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(fake.replaces, 1);
    CHECK_EQ(conf2.refs, 2);
    CHECK_EQ(conf.refs, 1);
    CHECK(disk_conf(d) == &cd2);
    CHECK(strchr(trail, 'R'));
    teardown(d);
}

static void
reload_that_fails_keeps_the_old(void)
{
    static struct blk_conf other = { .plugin = "file" };
    struct disk *d;

    setup();
    d = connect_disk();
    cd2 = cd;
    cd2.chain.layer = &other;
    fake.replace_error = -ENOENT;
    disks_reload(disks, &conf2, reloaded, NULL);
    fake_run();
    CHECK_EQ(reload_status, -ENOENT);
    CHECK_STR(sentence, "web: keeps its old chain: no such medium");
    CHECK(disk_conf(d) == &cd);
    teardown(d);
}

static struct json_object *shown;
static void
show(void *ctx, struct json_object *o)
{
    (void)ctx;
    shown = o;
}

static void
shows_while_a_step_hangs(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    fake.hold_steps = true;
    disk_pause(d, stepped, NULL);
    disk_show(d, show, NULL);
    fake_run();
    REQUIRE(shown);
    CHECK(strstr(json_object_to_json_string(shown), "\"things\": 7"));
    CHECK(strstr(json_object_to_json_string(shown), "\"connected\""));
    json_object_put(shown);
    fake.hold_steps = false;
    fake_step(0);
    fake_run();
    teardown(d);
}

/* Its data half may be gone when a look would arrive there. */
static void
looks_at_a_closing_disk_are_answered(void)
{
    struct disk *d;

    setup();
    d = connect_disk();
    disk_close(d, closed);
    shown = NULL;
    disk_show(d, show, NULL);
    disk_pause(d, stepped, NULL);
    CHECK(!shown); /* from the loop, not from inside */
    fake_run();
    REQUIRE(shown);
    CHECK(strstr(json_object_to_json_string(shown), "\"closing\""));
    json_object_put(shown);
    CHECK_STR(trail, "ocp!");
    CHECK_STR(sentence, "the disk is being closed");
    fake_idle();
    fake_run();
    CHECK_STR(trail, "ocp!x");
    CHECK_EQ(disks_count(disks), 0);
    disks_free(disks);
}

static void
command_out(void *ctx, int status, struct json_object *o)
{
    (void)ctx;
    tell('k', status, json_object_to_json_string(o));
    json_object_put(o);
}

static void
commands_reach_the_layer(void)
{
    static const char *const argv[] = { "hello" };
    struct disk *d;

    setup();
    d = open_disk();
    disk_command(d, "fake", 1, argv, command_out, NULL);
    disk_command(d, "none", 1, argv, command_out, NULL);
    fake_run();
    CHECK_STR(trail, "okk!");
    CHECK(strstr(sentence, "hello"));
    teardown(d);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(opens_and_closes);
    TEST(closes_with_a_faster_control_loop);
    TEST(open_fails_with_a_sentence);
    TEST(second_front_end_is_refused);
    TEST(waits_for_one_that_closes);
    TEST(held_one_can_be_closed);
    TEST(connects_with_what_the_chain_offers);
    TEST(readonly_reaches_everybody);
    TEST(connect_fails_with_a_sentence);
    TEST(requests_go_down_and_come_up);
    TEST(barrier_is_flush_then_durable_write);
    TEST(long_discard_is_cut);
    TEST(failed_flush_stops_the_disk);
    TEST(flush_that_is_not_there_does_not);
    TEST(disconnect_drains);
    TEST(hung_request_does_not_hold_the_ring);
    TEST(fatal_layer_is_mended_by_a_new_connection);
    TEST(fatal_layer_is_mended_by_command);
    TEST(recovery_that_fails_may_be_tried_again);
    TEST(broken_ring_is_not_recovered);
    TEST(broken_ring_is_told);
    TEST(resize_is_told);
    TEST(pause_and_close);
    TEST(table_is_kept_while_connected);
    TEST(table_is_gone_on_from);
    TEST(table_of_another_connection_is_not);
    TEST(table_stays_when_not_all_had_ended);
    TEST(table_stays_for_the_next_process);
    TEST(table_that_was_not_come_to_stays);
    TEST(two_tables_of_one_key);
    TEST(room_for_a_table);
    TEST(reload_touches_what_changed);
    TEST(reload_that_fails_keeps_the_old);
    TEST(shows_while_a_step_hangs);
    TEST(looks_at_a_closing_disk_are_answered);
    TEST(commands_reach_the_layer);
    return test_end();
}
