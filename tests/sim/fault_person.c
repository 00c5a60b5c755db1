/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault_person.c: scenarios of the fault loops that begin with a person or a
 * program: a configuration, commands, a local front-end.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/ring_client.h"
#include "tests/sim/fault.h"
#include "tests/test.h"

/* ---- a configuration ----------------------------------------------------- */

static const char rich[] =
    "daemon = { control = \"/run/x\"; loops = 2; log = \"debug\";\n"
    "  kinds = ( \"vbd\", \"vbd3\" ); };\n"
    "disks = ( { name = \"a\"; vm = \"g\"; vdev = \"xvda\"; queues = 2;\n"
    "  ring-order = 1; indirect = 64; barrier = true; buffers = \"2M\";\n"
    "  readonly = true; chain = ( { plugin = \"trace\"; },\n"
    "  { plugin = \"delay\"; name = \"slow\"; time = \"1ms\"; op = \"read\"; "
    "},\n"
    "  { plugin = \"memory\"; size = \"1G\"; limit = \"1M\"; } ); } );\n";

static struct conf *
load(const char *text, char *why, size_t n)
{
    char path[] = "/tmp/blktapd-fault.XXXXXX";
    int fd = mkstemp(path);
    struct conf *c;

    REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    c = conf_load(path, NULL, why, n);
    unlink(path);
    return c;
}

void
fault_load(const struct point *p)
{
    char why[1024] = "";
    struct conf *c;

    alloc_begin();
    point_begin(p);
    c = load(rich, why, sizeof why);
    point_end(p);
    if (!c)
        CHECK(point_failed && why[0]);
    conf_unref(c);
    CHECK_EQ(alloc_live(), 0);
    c = load(rich, why, sizeof why);
    CHECK(c);
    conf_unref(c);
    CHECK_EQ(alloc_live(), 0);
    alloc_end();
}

/* ---- another one, while all runs ----------------------------------------- */

struct reloading {
    struct rig *rig;
    struct conf *to;
    unsigned answers;
    int status;
    char why[256];
};

static void
wait_answer(const struct reloading *l)
{
    for (int i = 0; i < 200 && !l->answers; i++)
        rig_run(l->rig, SECOND / 10);
}

static void
reloaded(void *ctx, int status, const char *why)
{
    struct reloading *l = ctx;

    l->answers++;
    l->status = status;
    snprintf(l->why, sizeof l->why, "%s", why ? why : "");
    conf_unref(l->rig->conf);
    l->rig->conf = l->to;
    xenbus_reload(l->rig->xenbus, l->to);
}

/* As src/reload.c does it. */
static void
reload(struct rig *r, struct reloading *l, const char *text)
{
    *l = (struct reloading){ .rig = r };
    l->to = load(text, l->why, sizeof l->why);
    if (!l->to)
        return;
    disks_reload(r->disks, l->to, reloaded, l);
    wait_answer(l);
}

/* A layer comes, while requests are on their way, and goes. */
void
fault_reload(const struct point *p)
{
    static const char other[] =
        RIG_CONF("{ plugin = \"trace\"; file = \"/trace\"; }, "
                 "{ plugin = \"delay\"; time = \"1ms\"; }, " RIG_FILE);
    struct reloading l;
    struct rig r;

    rig_new(&r, rig_plain);
    fault_guest(&r);
    guest_work(&r.guest);
    point_begin(p);
    reload(&r, &l, other);
    point_end(p);
    CHECK_EQ(l.answers, l.to != NULL);
    if (!l.to || l.status)
        CHECK(point_failed && l.why[0]);
    fault_check_guest(&r, p);
    /* Whichever chain it has, it is one. */
    guest_work(&r.guest);
    CHECK(rig_until(&r, guest_answered, &r.guest, 20 * SECOND));
    if (p->kind == ALLOC)
        CHECK_EQ(r.guest.errors, 0);
    reload(&r, &l, rig_plain);
    CHECK_EQ(l.answers, 1);
    CHECK_EQ(l.status, 0);
    fault_check_neighbour(&r);
    fault_check_works_again(&r);
    rig_end(&r);
}

/* ---- a chain is changed by command --------------------------------------- */

static void
written_down(void *ctx)
{
    (void)ctx;
}

static void
rechained(void *ctx, int status, const char *why, uint64_t took_ns)
{
    struct reloading *l = ctx;

    (void)took_ns;
    l->answers++;
    l->status = status;
    snprintf(l->why, sizeof l->why, "%s", why ? why : "");
    if (status) {
        conf_unref(l->to);
        return;
    }
    conf_unref(l->rig->conf);
    l->rig->conf = l->to;
    xenbus_reload(l->rig->xenbus, l->to);
}

/* As src/live.c does it. */
static void
rechain(struct rig *r, struct reloading *l, const struct conf_edit *edit)
{
    struct disk *d = disks_find(r->disks, "a");

    *l = (struct reloading){ .rig = r };
    REQUIRE(d);
    l->to = conf_edit(r->conf, "a", disk_conf(d), edit, l->why, sizeof l->why);
    if (!l->to)
        return;
    disks_rechain(r->disks, d, l->to, conf_disk(l->to, "a"), written_down,
                  rechained, l);
    wait_answer(l);
}

/* A layer comes while requests are on their way; and goes without a fault. */
void
fault_chain(const struct point *p)
{
    static const struct conf_edit in = {
        .kind = CONF_INSERT,
        .at = "0",
        .layer = "plugin = \"trace\"; file = \"/trace\""
    };
    static const struct conf_edit out = { .kind = CONF_REMOVE, .at = "trace" };
    struct reloading l;
    struct rig r;

    rig_new(&r, rig_plain);
    fault_guest(&r);
    guest_work(&r.guest);
    point_begin(p);
    rechain(&r, &l, &in);
    point_end(p);
    CHECK_EQ(l.answers, l.to != NULL);
    if (!l.to || l.status)
        CHECK(point_failed && l.why[0]);
    fault_check_guest(&r, p);
    guest_work(&r.guest);
    CHECK(rig_until(&r, guest_answered, &r.guest, 20 * SECOND));
    if (p->kind == ALLOC)
        CHECK_EQ(r.guest.errors, 0);
    if (l.to && !l.status) {
        rechain(&r, &l, &out);
        CHECK_EQ(l.answers, 1);
        CHECK_EQ(l.status, 0);
    }
    fault_check_neighbour(&r);
    fault_check_works_again(&r);
    rig_end(&r);
}

/* ---- a disk that failed comes back --------------------------------------- */

static void
mended(void *ctx, struct disk *d, int status, const char *why)
{
    struct reloading *l = ctx;

    (void)d;
    l->answers++;
    l->status = status;
    snprintf(l->why, sizeof l->why, "%s", why ? why : "");
}

static void
mend(struct rig *r, struct reloading *l)
{
    struct disk *d = disks_find(r->disks, "a");

    *l = (struct reloading){ .rig = r };
    REQUIRE(d);
    disk_recover(d, mended, l);
    wait_answer(l);
    CHECK_EQ(l->answers, 1);
}

/* By a flush that failed; its medium is well again. */
void
fault_recover(const struct point *p)
{
    static const struct sim_faults bad = { .sync = 1000000 }, none = { 0 };
    struct reloading l;
    struct rig r;
    unsigned errors;

    rig_new(&r, rig_plain);
    fault_guest(&r);
    sim_file_faults(r.sim, "/a.img", &bad);
    guest_work(&r.guest);
    REQUIRE(rig_until(&r, guest_answered, &r.guest, 10 * SECOND));
    sim_file_faults(r.sim, "/a.img", &none);
    guest_read(&r.guest, 0);
    REQUIRE(rig_until(&r, guest_answered, &r.guest, 10 * SECOND));
    CHECK(r.guest.errors > 1);
    point_begin(p);
    mend(&r, &l);
    point_end(p);
    if (l.status) {
        CHECK(point_failed);
        mend(&r, &l);
        CHECK_EQ(l.status, 0);
    }
    errors = r.guest.errors;
    guest_work(&r.guest);
    CHECK(rig_until(&r, guest_answered, &r.guest, 20 * SECOND));
    CHECK_EQ(r.guest.errors, errors);
    fault_check_neighbour(&r);
    fault_check_works_again(&r);
    rig_end(&r);
}

/* ---- commands ------------------------------------------------------------ */

static int
client(const struct rig *r)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", r->path);
    REQUIRE(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to));
    return fd;
}

enum { FDS = 9, REPLY = 65536 };

struct reply {
    char text[REPLY]; /* one line; "": hung up, or nothing came */
    int fd[FDS];
    unsigned fds;
    bool hung_up;
};

static void
take_fds(struct reply *a, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_type != SCM_RIGHTS)
            continue;
        a->fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        REQUIRE(a->fds <= FDS);
        memcpy(a->fd, CMSG_DATA(c), a->fds * sizeof(int));
    }
}

/* What is asked is answered, or the daemon hangs up. */
static void
ask(struct rig *r, int fd, const char *line, struct reply *a)
{
    size_t n = 0;

    memset(a, 0, sizeof *a);
    a->hung_up = send(fd, line, strlen(line), MSG_NOSIGNAL) < 0;
    for (int i = 0; i < 100000 && !a->hung_up; i++) {
        union {
            struct cmsghdr head;
            char room[CMSG_SPACE(FDS * sizeof(int))];
        } control;
        struct iovec v = { a->text + n, REPLY - 1 - n };
        struct msghdr m = { .msg_iov = &v,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control };
        ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

        if (got > 0) {
            take_fds(a, &m);
            n += (size_t)got;
            if (a->text[n - 1] == '\n')
                return;
        } else if (!got || errno != EAGAIN) {
            a->hung_up = true;
        } else {
            rig_turn(r);
        }
    }
    CHECK(a->hung_up);
}

/* A command without faults. */
static bool
works(struct rig *r, const char *line)
{
    struct reply *a = malloc(sizeof *a);
    int fd = client(r);
    bool ok;

    REQUIRE(a);
    ask(r, fd, line, a);
    ok = strstr(a->text, "\"result\"") || !strcmp(a->text, "{}\n");
    if (!ok)
        printf("%s-> %s\n", line, a->text);
    close(fd);
    for (int i = 0; i < 20; i++)
        rig_turn(r);
    free(a);
    return ok;
}

#define ASK(command, args) \
    "{\"command\": \"" command "\", \"args\": [" args "]}\n"

void
fault_commands(const struct point *p)
{
    static const char *const line[] = {
        ASK("list", ""),
        ASK("show", "\"a\""),
        ASK("stats", ""),
        ASK("stats", "\"a\""),
        ASK("pause", "\"a\""),
        ASK("resume", "\"a\""),
        ASK("recover", "\"a\""),
        ASK("resize", "\"a\""),
        ASK("plugins", ""),
        ASK("config", ""),
        ASK("log", "\"info\""),
        ASK("version", ""),
        ASK("nothing", "\"x\""),
        ASK("show", ""),
        ASK("metrics", ""),
        ASK("layer", "\"a\", \"file\", \"rescan\""),
        ASK("attach", "\"c\", \"guest7\", \"xvdb\""),
        ASK("detach", "\"guest7\", \"xvdb\", \"force\""),
    };
    struct reply *a = malloc(sizeof *a);
    struct rig r;
    int fd;

    REQUIRE(a);
    rig_new(&r, rig_plain);
    rig_socket(&r);
    fault_guest(&r);
    fd = client(&r);
    point_begin(p);
    for (unsigned i = 0; i < sizeof line / sizeof line[0]; i++) {
        ask(&r, fd, line[i], a);
        if (!a->hung_up)
            continue;
        CHECK(point_failed ||
              (p->kind == ALLOC ? alloc_failed() : fault_failed()));
        close(fd);
        fd = client(&r);
    }
    point_end(p);
    close(fd);
    /* What did not come about can be asked for again. */
    (void)works(&r, ASK("resume", "\"a\""));
    CHECK(works(&r, ASK("pause", "\"a\"")));
    CHECK(works(&r, ASK("resume", "\"a\"")));
    CHECK(works(&r, ASK("list", "")));
    sim_store_rm(r.sim, "/local/domain/0/backend/vbd/7/51728");
    sim_store_rm(r.sim, "/local/domain/7/device/vbd/51728");
    rig_run(&r, 5 * SECOND);
    guest_work(&r.guest);
    fault_check_guest(&r, p);
    fault_check_neighbour(&r);
    fault_check_works_again(&r);
    rig_end(&r);
    free(a);
}

/* ---- a local front-end --------------------------------------------------- */

enum { PAGE = 4096, LOCAL_QUEUES = 2, DATA_AT = 1024 };

struct front {
    uint8_t *memory;
    size_t size;
    struct ring_client ring[LOCAL_QUEUES];
    struct ring_slot slot[LOCAL_QUEUES][64];
};

static bool
front_done(struct rig *r, struct front *f, const struct reply *a, unsigned q)
{
    struct ring_answer done;
    uint64_t one = 1;

    if (ring_client_publish(&f->ring[q]))
        REQUIRE(write(a->fd[1 + q], &one, sizeof one) == sizeof one);
    for (int i = 0; i < 20000; i++) {
        if (ring_client_take(&f->ring[q], &done) == 1)
            return !done.error;
        rig_turn(r);
    }
    test_fail(__FILE__, __LINE__, "expected an answer, found none");
    return false;
}

/* Writes, flushes, reads back, on each queue; false: some ended in an error. */
static bool
front_works(struct rig *r, const struct reply *a)
{
    static struct front f;
    bool good = true;

    memset(&f, 0, sizeof f);
    f.size = (size_t)lseek(a->fd[0], 0, SEEK_END);
    f.memory =
        mmap(NULL, f.size, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd[0], 0);
    REQUIRE(f.memory != MAP_FAILED);
    for (unsigned q = 0; q < LOCAL_QUEUES; q++) {
        uint32_t page = (uint32_t)(f.size / PAGE) - 2 - q;
        struct ring_seg seg = { page, 0, 7 };
        struct ring_request w = { RING_WRITE, 8 * q, 0, &seg, 1, NULL };
        struct ring_request fl = { .op = RING_FLUSH };
        uint8_t *data = f.memory + (size_t)page * PAGE;

        ring_client_init(&f.ring[q], f.memory + (size_t)q * PAGE, 0, f.slot[q]);
        memset(data, 'a' + (int)q, PAGE);
        REQUIRE(!ring_client_put(&f.ring[q], &w));
        good = front_done(r, &f, a, q) && good;
        REQUIRE(!ring_client_put(&f.ring[q], &fl));
        good = front_done(r, &f, a, q) && good;
        memset(data, 0, PAGE);
        w.op = RING_READ;
        REQUIRE(!ring_client_put(&f.ring[q], &w));
        good = front_done(r, &f, a, q) && good;
        if (good)
            CHECK(data[0] == 'a' + q && data[PAGE - 1] == 'a' + q);
    }
    munmap(f.memory, f.size);
    return good;
}

/* Connects, works, leaves; true: all of it went well. */
static bool
front(struct rig *r)
{
    static struct reply a;
    int fd = client(r);
    bool good = false;

    ask(r, fd, ASK("front", "\"c\", \"queues=2\", \"ring-order=0\""), &a);
    if (a.fds) {
        CHECK_EQ(a.fds, 1 + 2 * LOCAL_QUEUES);
        good = front_works(r, &a);
    } else {
        CHECK(a.hung_up || strstr(a.text, "\"error\""));
    }
    for (unsigned i = 0; i < a.fds; i++)
        close(a.fd[i]);
    close(fd);
    for (int i = 0; i < 200; i++)
        rig_turn(r);
    return good;
}

void
fault_local(const struct point *p)
{
    struct rig r;
    bool good;

    rig_new(&r, rig_plain);
    rig_socket(&r);
    point_begin(p);
    good = front(&r);
    point_end(p);
    CHECK(good || point_failed);
    rig_run(&r, 5 * SECOND);
    CHECK_EQ(disks_count(r.disks), 1);
    CHECK(front(&r));
    CHECK_EQ(disks_count(r.disks), 1);
    fault_check_neighbour(&r);
    rig_end(&r);
}
