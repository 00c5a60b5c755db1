/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/fault_rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

const char rig_plain[] = RIG_CONF(RIG_FILE);
unsigned rig_sentences;
char rig_sentence[256];

static void
heard(void *ctx, enum blk_level level, const char *line)
{
    (void)ctx;
    if (getenv("FAULT_LOG"))
        printf("    log %d: %s\n", (int)level, line);
    if (level > BLK_WARN)
        return;
    rig_sentences++;
    snprintf(rig_sentence, sizeof rig_sentence, "%s", line);
}

static int
fds_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* ---- a guest ------------------------------------------------------------- */

enum { RING_REF = 8, DATA_REF = 100, SEGS_REF = 90, DEVID = 51712 };

static void
guest_init(struct guest *g, struct sim *sim, uint32_t domid, const char *disk)
{
    char home[64];

    memset(g, 0, sizeof *g);
    g->sim = sim;
    g->domid = domid;
    g->disk = disk;
    snprintf(g->back, sizeof g->back, "/local/domain/0/backend/vbd/%u/%d",
             domid, DEVID);
    snprintf(g->front, sizeof g->front, "/local/domain/%u/device/vbd/%d", domid,
             DEVID);
    snprintf(home, sizeof home, "/local/domain/%u/name", domid);
    sim_store_write(sim, home, "guest%u", domid);
}

__attribute__((format(printf, 3, 4))) static void
put(const struct guest *g, const char *node, const char *fmt, ...)
{
    char path[160], value[128];
    va_list ap;

    snprintf(path, sizeof path, "%s/%s", node[0] == 'b' ? g->back : g->front,
             node + 2);
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    sim_store_write(g->sim, path, "%s", value);
}

static int
get(const struct guest *g, const char *node)
{
    char path[160];
    const char *v;

    snprintf(path, sizeof path, "%s/%s", node[0] == 'b' ? g->back : g->front,
             node + 2);
    v = sim_store_read(g->sim, path);
    return v ? atoi(v) : -1;
}

void
guest_attach(struct guest *g)
{
    g->leaves = false;
    put(g, "f/backend", "%s", g->back);
    put(g, "f/backend-id", "0");
    put(g, "f/virtual-device", "%d", DEVID);
    put(g, "f/device-type", "disk");
    put(g, "f/state", "1");
    put(g, "b/frontend", "%s", g->front);
    put(g, "b/params", "%s", g->disk);
    put(g, "b/frontend-id", "%u", g->domid);
    put(g, "b/online", "1");
    put(g, "b/removable", "0");
    put(g, "b/bootable", "1");
    put(g, "b/dev", "xvda");
    put(g, "b/type", "vbd");
    put(g, "b/mode", "w");
    put(g, "b/device-type", "disk");
    put(g, "b/discard-enable", "1");
    put(g, "b/state", "1");
}

void
guest_detach(struct guest *g)
{
    g->leaves = true;
    put(g, "b/online", "0");
    put(g, "b/state", "5");
}

void
guest_forget(struct guest *g)
{
    sim_store_rm(g->sim, g->back);
    sim_store_rm(g->sim, g->front);
}

static void
guest_notified(void *data)
{
    struct guest *g = data;

    for (unsigned q = 0; q < QUEUES; q++) {
        uint8_t *ring = g->ring[q];
        uint32_t prod;

        if (!ring)
            continue;
        memcpy(&prod, ring + 8, 4);
        for (; g->cons[q] != prod; g->cons[q]++) {
            const uint8_t *slot = ring + 64 + g->cons[q] % 32 * 112;
            int16_t status;
            uint64_t id;

            memcpy(&id, slot, 8);
            memcpy(&status, slot + 10, 2);
            if (id >= ASKED_MAX || g->seen[id]++) {
                g->twice++;
                continue;
            }
            g->answered++;
            g->errors += status != 0;
        }
        prod = g->cons[q] + 1;
        memcpy(ring + 12, &prod, 4);
    }
}

/* New rings and ports, as after every connection. */
static void
guest_rings(struct guest *g)
{
    uint32_t one = 1;

    put(g, "f/multi-queue-num-queues", "%d", QUEUES);
    put(g, "f/protocol", "x86_64-abi");
    for (unsigned q = 0; q < QUEUES; q++) {
        char node[48];

        if (g->port[q])
            sim_port_close(g->sim, g->domid, g->port[q]);
        (void)sim_ungrant(g->sim, g->domid, RING_REF + q);
        g->ring[q] = sim_grant(g->sim, g->domid, RING_REF + q, false);
        REQUIRE(g->ring[q]);
        memset(g->ring[q], 0, 4096);
        memcpy(g->ring[q] + 4, &one, 4);
        memcpy(g->ring[q] + 12, &one, 4);
        g->prod[q] = g->cons[q] = 0;
        g->port[q] = sim_port(g->sim, g->domid, guest_notified, g);
        snprintf(node, sizeof node, "f/queue-%u/ring-ref", q);
        put(g, node, "%d", RING_REF + (int)q);
        snprintf(node, sizeof node, "f/queue-%u/event-channel", q);
        put(g, node, "%u", g->port[q]);
    }
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        if (!sim_grant_page(g->sim, g->domid, DATA_REF + i))
            sim_grant(g->sim, g->domid, DATA_REF + i, false);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!sim_grant_page(g->sim, g->domid, SEGS_REF + i))
            sim_grant(g->sim, g->domid, SEGS_REF + i, false);
    }
    g->asked = g->answered = g->errors = g->twice = 0;
    memset(g->seen, 0, sizeof g->seen);
}

/* What Linux does. */
static void
guest_act(struct guest *g)
{
    int back = get(g, "b/state"), front = get(g, "f/state");

    if (front < 0)
        return;
    if (back == 2 && (front == 1 || (front == 6 && !g->leaves))) {
        guest_rings(g);
        put(g, "f/state", "3");
    } else if (back == 4 && front == 3) {
        put(g, "f/state", "4");
    } else if (back == 5 && front != 6) {
        put(g, "f/state", "6");
    }
}

bool
guest_connected(const struct guest *g)
{
    return get(g, "b/state") == 4 && get(g, "f/state") == 4;
}

bool
guest_refused(const struct guest *g)
{
    return get(g, "b/state") >= 5;
}

bool
guest_closed(const struct guest *g)
{
    return get(g, "b/state") == 6 || get(g, "b/state") == -1;
}

bool
guest_answered(const struct guest *g)
{
    return g->answered == g->asked;
}

void
guest_print(const struct guest *g)
{
    printf("    guest %u: back-end %d, front-end %d, online %d; %u asked, "
           "%u answered, %u errors\n",
           g->domid, get(g, "b/state"), get(g, "f/state"), get(g, "b/online"),
           g->asked, g->answered, g->errors);
}

static void
ask(struct guest *g, unsigned q, const uint8_t slot[112])
{
    uint64_t id = g->asked++;
    uint8_t *to = g->ring[q] + 64 + g->prod[q]++ % 32 * 112;

    memcpy(to, slot, 112);
    memcpy(to + 8, &id, 8);
}

static void
push(struct guest *g)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        memcpy(g->ring[q], &g->prod[q], 4);
        sim_port_notify(g->sim, g->domid, g->port[q]);
    }
}

static void
ask_rw(struct guest *g, unsigned q, uint8_t op, uint64_t sector, unsigned page,
       unsigned segs)
{
    uint8_t slot[112] = { op, (uint8_t)segs };

    memcpy(slot + 16, &sector, 8);
    for (unsigned i = 0; i < segs; i++) {
        uint32_t ref = DATA_REF + page + i;

        memcpy(slot + 24 + 8 * i, &ref, 4);
        slot[24 + 8 * i + 5] = 7;
    }
    ask(g, q, slot);
}

static void
ask_indirect(struct guest *g, unsigned q, uint8_t op, uint64_t sector,
             unsigned page, unsigned segs)
{
    uint8_t slot[112] = { 6, op, (uint8_t)segs };
    uint32_t table = SEGS_REF + q;
    uint8_t *list = sim_grant_page(g->sim, g->domid, table);

    memcpy(slot + 16, &sector, 8);
    memcpy(slot + 28, &table, 4);
    for (unsigned i = 0; i < segs; i++) {
        uint32_t ref = DATA_REF + page + i;

        memcpy(list + 8 * i, &ref, 4);
        list[8 * i + 4] = 0;
        list[8 * i + 5] = 7;
    }
    ask(g, q, slot);
}

static void
ask_plain(struct guest *g, unsigned q, uint8_t op, uint64_t sector,
          uint64_t sectors)
{
    uint8_t slot[112] = { op };

    memcpy(slot + 16, &sector, 8);
    if (sectors)
        memcpy(slot + 24, &sectors, 8);
    ask(g, q, slot);
}

void
guest_work(struct guest *g)
{
    ask_rw(g, 0, 1, 0, 0, 1);
    ask_rw(g, 1, 1, 64, 1, 11);
    ask_rw(g, 0, 0, 800, 12, 3);
    ask_indirect(g, 0, 1, 1024, 15, 16);
    ask_indirect(g, 1, 0, 2000, 31, 13);
    ask_plain(g, 0, 3, 0, 0);
    ask_plain(g, 1, 5, 4096, 64);
    push(g);
}

/* What guest_work() moves: sector, page, pages; to the disk or from it. */
static const struct moved {
    uint64_t sector;
    unsigned page, pages;
    bool write;
} moved[] = { { 0, 0, 1, true },
              { 64, 1, 11, true },
              { 800, 12, 3, false },
              { 1024, 15, 16, true },
              { 2000, 31, 13, false } };

enum { MOVED = sizeof moved / sizeof moved[0], PAGE = 4096 };

void
guest_fill(struct guest *g, const char *file)
{
    uint8_t bytes[PAGE];

    for (unsigned k = 0; k < MOVED; k++) {
        for (unsigned i = 0; i < moved[k].pages; i++) {
            uint8_t *page =
                sim_grant_page(g->sim, g->domid, DATA_REF + moved[k].page + i);

            for (unsigned b = 0; b < PAGE; b++) {
                bytes[b] = (uint8_t)(1 + b / 512 + 8 * i + 128 * k);
                page[b] = (uint8_t)~bytes[b];
            }
            sim_file_put(g->sim, file, moved[k].sector * 512 + i * PAGE, bytes,
                         PAGE);
        }
    }
}

bool
guest_right(struct guest *g, const char *file)
{
    uint8_t bytes[PAGE];
    bool right = true;

    for (unsigned k = 0; k < MOVED; k++) {
        for (unsigned i = 0; i < moved[k].pages; i++) {
            const uint8_t *page =
                sim_grant_page(g->sim, g->domid, DATA_REF + moved[k].page + i);
            uint8_t first = (uint8_t)(1 + 8 * i + 128 * k);

            sim_file_get(g->sim, file, moved[k].sector * 512 + i * PAGE, bytes,
                         PAGE);
            if (moved[k].write)
                first = (uint8_t)~first;
            right = right && bytes[0] == first && !memcmp(bytes, page, PAGE);
        }
    }
    return right;
}

void
guest_read(struct guest *g, unsigned queue)
{
    ask_rw(g, queue, 0, 8, 44, 2);
    push(g);
}

/* ---- the daemon ---------------------------------------------------------- */

static void
keep_table(void *ctx, const char *key, int fd)
{
    struct rig *r = ctx;
    struct rig_table *t = NULL;

    for (int i = 0; i < RIG_TABLES; i++) {
        if (!strcmp(r->table[i].key, key))
            t = &r->table[i];
        else if (!t && !r->table[i].key[0])
            t = &r->table[i];
    }
    REQUIRE(t);
    if (t->key[0])
        close(t->fd);
    t->key[0] = '\0';
    if (fd < 0)
        return;
    snprintf(t->key, sizeof t->key, "%s", key);
    t->fd = dup(fd);
}

static int
inherit(struct rig *r)
{
    int rc = 0;

    for (int i = 0; i < RIG_TABLES && !rc; i++) {
        if (r->table[i].key[0]) {
            int fd = dup(r->table[i].fd);

            alloc_adopt_fd(fd);
            rc = disks_inherit(r->disks, r->table[i].key, fd);
        }
    }
    return rc;
}

static void
tell(void *ctx, const char *what, const char *disk, const char *detail)
{
    struct rig *r = ctx;

    if (r->socket)
        control_event(r->socket, what, disk, detail);
}

static const struct disks_events disks_events = { .event = tell,
                                                  .table = keep_table };
static const struct xenbus_events xenbus_events = { .event = tell };

int
rig_start(struct rig *r)
{
    char why[256] = "";
    int rc;

    if (!r->control) {
        r->control = sim_loop_new(r->sim, "control");
        r->data = sim_loop_new(r->sim, "data0");
        fault_loop(r->control);
        fault_loop(r->data);
        r->tap = sim_tap_new(r->sim, r->data);
        fault_tap(r->tap);
        r->store = sim_store_open(r->sim, r->control);
        fault_store(r->store);
    }
    rc = sweep_new(&r->sweep, r->tap);
    if (!rc)
        rc = disks_new(&r->disks, r->control, &r->data, &r->sweep, 1,
                       &disks_events, r);
    if (!rc)
        rc = inherit(r);
    if (!rc)
        rc = xenbus_new(&r->xenbus, r->control, r->store, r->disks, r->conf,
                        &xenbus_events, r, why, sizeof why);
    if (!rc)
        return 0;
    if (why[0])
        log_line(BLK_ERR, NULL, "%s", why);
    else
        log_line(BLK_ERR, NULL, "can't start: %s", strerror(-rc));
    if (r->disks)
        disks_free(r->disks);
    if (r->sweep)
        sweep_free(r->sweep);
    r->disks = NULL;
    r->sweep = NULL;
    return rc;
}

static struct conf *
load(const char *text)
{
    char path[64], why[1024] = "";
    struct conf *c;
    FILE *f;

    snprintf(path, sizeof path, "/tmp/blktapd-fault.%d", (int)getpid());
    f = fopen(path, "we");
    REQUIRE(f);
    fputs(text, f);
    fclose(f);
    c = conf_load(path, NULL, why, sizeof why);
    unlink(path);
    if (!c)
        printf("%s", why);
    REQUIRE(c);
    return c;
}

void
rig_conf(struct rig *r, const char *conf)
{
    r->conf = load(conf);
}

void
rig_new(struct rig *r, const char *conf)
{
    memset(r, 0, sizeof *r);
    r->fds = fds_open();
    alloc_begin();
    rig_sentences = 0;
    rig_sentence[0] = '\0';
    log_tap(heard, NULL);
    r->sim = sim_new(1);
    sim_store_write(r->sim, "/local/domain/0/domid", "0");
    sim_store_write(r->sim, "domid", "0");
    sim_file_make(r->sim, "/a.img", 4 << 20);
    guest_init(&r->guest, r->sim, 7, "a");
    guest_init(&r->neighbour, r->sim, 9, "b");
    rig_conf(r, conf);
    REQUIRE(!rig_start(r));
    guest_attach(&r->neighbour);
    if (!rig_until(r, guest_connected, &r->neighbour, 10 * SECOND))
        printf("the neighbour: back-end %d, front-end %d: %s\n",
               get(&r->neighbour, "b/state"), get(&r->neighbour, "f/state"),
               rig_sentence);
    REQUIRE(guest_connected(&r->neighbour));
}

void
rig_kill(struct rig *r)
{
    sim_kill(r->sim);
    r->tap->ops->free(r->tap);
    r->store->ops->free(r->store);
    r->data->ops->free(r->data);
    r->control->ops->free(r->control);
    r->control = r->data = NULL;
    r->conf = NULL;
    r->disks = NULL;
    r->xenbus = NULL;
    r->sweep = NULL;
    alloc_free_all();
    fault_killed();
}

/* ---- the control socket -------------------------------------------------- */

static struct conf *
view_conf(void *ctx)
{
    return ((struct rig *)ctx)->conf;
}

static void
view_log_level(void *ctx, int level)
{
    (void)ctx;
    (void)level;
}

static void
view_reload(void *ctx, void (*done)(void *arg, int status, const char *why),
            void *arg)
{
    (void)ctx;
    done(arg, -EBUSY, "not here");
}

void
rig_socket(struct rig *r)
{
    char why[256];

    snprintf(r->dir, sizeof r->dir, "/tmp/blktapd-fault.XXXXXX");
    REQUIRE(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/control", r->dir);
    REQUIRE(!control_open(&r->socket, r->control, r->path, why, sizeof why));
    r->view = (struct daemon_view){ .control = r->socket,
                                    .loop = r->control,
                                    .disks = r->disks,
                                    .xenbus = r->xenbus,
                                    .store = r->store,
                                    .ctx = r,
                                    .conf = view_conf,
                                    .reload = view_reload,
                                    .log_level = view_log_level };
    REQUIRE(!commands_register(&r->view));
}

void
rig_turn(struct rig *r)
{
    fault_poll(r->sim);
    sim_run_for(r->sim, 100000);
    rig_run(r, 0);
}

struct until {
    struct rig *rig;
    bool (*cond)(const struct guest *);
    const struct guest *guest;
};

static bool
acted(void *data)
{
    struct until *u = data;

    guest_act(&u->rig->guest);
    guest_act(&u->rig->neighbour);
    return u->cond && u->cond(u->guest);
}

bool
rig_until(struct rig *r, bool (*cond)(const struct guest *),
          const struct guest *g, uint64_t ns)
{
    struct until u = { r, cond, g };

    return acted(&u) || sim_run_until(r->sim, acted, &u, ns);
}

void
rig_run(struct rig *r, uint64_t ns)
{
    (void)rig_until(r, NULL, NULL, ns);
}

static void
stopped(void *ctx)
{
    ((struct rig *)ctx)->stopped = true;
}

static void
quiet(void *ctx)
{
    ((struct rig *)ctx)->over = true;
}

void
rig_end(struct rig *r)
{
    guest_detach(&r->neighbour);
    CHECK(rig_until(r, guest_closed, &r->neighbour, 20 * SECOND));
    guest_forget(&r->neighbour);
    rig_run(r, SECOND);
    if (r->socket) {
        control_close(r->socket);
        rmdir(r->dir);
    }
    r->socket = NULL;
    xenbus_stop(r->xenbus, stopped, r);
    rig_run(r, 10 * SECOND);
    CHECK(r->stopped);
    disks_quiet(r->disks, quiet, r);
    rig_run(r, 10 * SECOND);
    CHECK(r->over);
    CHECK_EQ(disks_count(r->disks), 0);
    if (!r->over || !r->stopped)
        exit(1);
    xenbus_free(r->xenbus);
    disks_free(r->disks);
    sweep_free(r->sweep);
    conf_unref(r->conf);
    CHECK_EQ(sim_mapped(r->sim, 7), 0);
    CHECK_EQ(sim_mapped(r->sim, 9), 0);
    for (unsigned q = 0; q < QUEUES; q++)
        CHECK(!sim_port_bound(r->sim, 7, r->guest.port[q]));
    r->tap->ops->free(r->tap);
    r->store->ops->free(r->store);
    r->data->ops->free(r->data);
    r->control->ops->free(r->control);
    for (int i = 0; i < RIG_TABLES; i++) {
        if (r->table[i].key[0])
            close(r->table[i].fd);
    }
    sim_free(r->sim);
    CHECK_EQ(alloc_live(), 0);
    alloc_end();
    CHECK_EQ(fds_open(), r->fds);
}
