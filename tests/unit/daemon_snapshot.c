/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A snapshot, step by step: where the overlay comes, what its image says, and
 * that nothing is left of one that can't be made.  Everything around
 * src/snapshot.c is made up here, the file system apart.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int fails_at; /* the n-th call of those below from now on; 0: none */
static int fails_with;

static int
fail_here(void)
{
    if (!fails_at || --fails_at)
        return 0;
    errno = fails_with;
    return 1;
}

static ssize_t
test_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (fail_here())
        return fails_with ? -1 : 0;
    return pwrite(fd, p, n > 1000 ? n / 2 : n, at);
}

static int
test_fsync(int fd)
{
    return fail_here() ? -1 : fsync(fd);
}

static int
test_ftruncate(int fd, off_t size)
{
    return fail_here() ? -1 : ftruncate(fd, size);
}

static void *
test_malloc(size_t n)
{
    return fail_here() ? NULL : malloc(n);
}

static void *
test_calloc(size_t n, size_t size)
{
    return fail_here() ? NULL : calloc(n, size);
}

static FILE *
test_memstream(char **text, size_t *size)
{
    return fail_here() ? NULL : open_memstream(text, size);
}

#define pwrite         test_pwrite
#define fsync          test_fsync
#define ftruncate      test_ftruncate
#define malloc         test_malloc
#define calloc         test_calloc
#define open_memstream test_memstream
#include "src/folder.c"
#include "src/snapshot.c"
#include "plugins/qcow2/overlay.c"
#undef pwrite
#undef fsync
#undef ftruncate
#undef malloc
#undef calloc
#undef open_memstream
#include "tests/test.h"

/* ---- what is around it --------------------------------------------------- */

/* Names of options that no real plugin has: nothing may know them by heart. */
static const struct blk_image raw_image = { .format = "flat", .path = "at" },
                              cow_image = { .format = "qcow2",
                                            .path = "image",
                                            .backing = "over",
                                            .overlay = q2_overlay };
static const struct blk_plugin middle = { .tail = BLK_MIDDLE },
                               tail = { .tail = BLK_TAIL },
                               flat = { .tail = BLK_TAIL, .image = &raw_image },
                               either = { .tail = BLK_EITHER,
                                          .name = "cow",
                                          .image = &cow_image };
static bool has_maker;
static struct conf_disk web;
static struct conf tree;
static struct daemon d = { .conf = &tree };
static struct blk_work *asked; /* of the worker */
static bool is_open, kept;
static const char *shown;
static struct {
    unsigned n;
    int status, chained;
    char why[600], layer[600], at[64];
} told;
static int chain_status; /* what daemon_chain() says */

const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    (void)why, (void)n;
    if (!strcmp(name, "trace") || !strcmp(name, "crypt"))
        return &middle;
    if (!strcmp(name, "cow"))
        return &either;
    if (!strcmp(name, "file"))
        return &flat;
    return strcmp(name, "nbd") ? NULL : &tail;
}

int
plugin_each(void (*cb)(void *, const struct blk_plugin *), void *ctx)
{
    static const struct blk_image unable = { .format = "x", .path = "x" };
    static const struct blk_plugin other = { .name = "abc", .image = &unable },
                                   late = { .name = "zyx",
                                            .image = &cow_image };

    cb(ctx, &middle);
    cb(ctx, &other);
    if (has_maker) {
        cb(ctx, &either);
        cb(ctx, &late);
    }
    return 4;
}

struct disk *
disks_find(struct disks *ds, const char *name)
{
    (void)ds;
    CHECK_STR(name, "web");
    return is_open ? (struct disk *)&web : NULL;
}

const struct conf_disk *
disk_conf(const struct disk *disk)
{
    CHECK(disk == (struct disk *)&web);
    return &web;
}

const struct conf_disk *
conf_disk(const struct conf *c, const char *name)
{
    CHECK(c == &tree && !strcmp(name, "web"));
    return is_open ? &web : NULL;
}

void
disk_show(struct disk *disk, void (*done)(void *, struct json_object *),
          void *ctx)
{
    CHECK(disk == (struct disk *)&web);
    done(ctx, json_tokener_parse(shown));
}

static void
loop_work(struct loop *l, struct blk_work *w)
{
    CHECK(l == d.control && !asked);
    asked = w;
}

static struct blk_kv overlay_path[1];
static struct blk_conf kept_layer[1];

/* A change that is made, and is not called good when the status says so. */
void
daemon_chain(void *daemon, const char *disk, const struct conf_edit *edit,
             enum chain_force force, chain_done *done, void *arg)
{
    static char path[PATH_MAX];

    CHECK(daemon == &d && !strcmp(disk, "web") && force == CHAIN_FORCE);
    CHECK_EQ(edit->kind, CONF_INSERT);
    told.chained++;
    snprintf(told.at, sizeof told.at, "%s", edit->at);
    snprintf(told.layer, sizeof told.layer, "%s", edit->layer);
    if (kept) {
        snprintf(path, sizeof path, "%s", ((struct snapshot *)arg)->file);
        overlay_path[0] = (struct blk_kv){ .key = "where", .value = path };
        kept_layer[0] = (struct blk_conf){ .kv = overlay_path, .n = 1 };
        web.chain = (struct chain_spec){ .layer = kept_layer, .n = 1 };
    }
    done(arg, chain_status, chain_status ? "not so" : NULL, 77);
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    CHECK_EQ(level, BLK_INFO);
    CHECK(f && fmt);
}

/* ---- asking -------------------------------------------------------------- */

static const struct blk_kv raw[] = { { .key = "lock", .value = "false" },
                                     { .key = "at", .value = "/raw \"" } },
                           image[] = { { .key = "image", .value = "/a.qcow2" },
                                       { .key = "over", .value = "b" } },
                           server[] = { { .key = "uri", .value = "nbd://x" } };
#define LAYER(what, how, kvs, count)                       \
    {                                                      \
        .plugin = what, .name = how, .kv = kvs, .n = count \
    }
static const struct blk_conf stack[] = {
    LAYER("trace", "t", NULL, 0),     LAYER("crypt", "c", NULL, 0),
    LAYER("cow", "snap1", image, 2),  LAYER("file", "f", raw, 2),
    LAYER("crypt", "c", NULL, 0),     LAYER("nbd", "n", server, 1),
    LAYER("cow", "q", image, 1),      LAYER("nbd", "n", server, 1),
    LAYER("trace", "snap1", NULL, 0), LAYER("trace", "snap2", NULL, 0),
    LAYER("cow", "alone", image, 1),
};

static char dir[] = "/tmp/daemon_snapshot.XXXXXX", file[64];

static void
snapshot_told(void *arg, int status, const char *why, uint64_t took_ns)
{
    CHECK(arg == &told);
    CHECK_EQ(took_ns, told.chained ? 77u : 0u);
    told.n++;
    told.status = status;
    snprintf(told.why, sizeof told.why, "%s", why ? why : "");
}

static void
begin(unsigned from, unsigned n)
{
    static const struct loop_ops ops = { .work = loop_work };
    static struct loop loop = { .ops = &ops };

    memset(&told, 0, sizeof told);
    d.control = &loop;
    web.chain = (struct chain_spec){ .layer = stack + from, .n = n };
    is_open = has_maker = true;
    kept = false;
    chain_status = 0;
    asked = NULL;
    shown = "{\"limits\":{\"readonly\":false},\"layers\":["
            "{\"name\":\"t\",\"size\":1},{\"name\":\"snap1\",\"size\":65536},"
            "{\"name\":\"n\",\"size\":8192},{\"name\":\"q\",\"size\":8192},"
            "{\"name\":\"f\",\"size\":1073741825},"
            "{\"name\":\"alone\",\"size\":9223372036854775807}]}";
    unlink(file);
}

static void
go(void)
{
    daemon_snapshot(&d, "web", file, snapshot_told, &told);
    if (!asked)
        return;
    asked->work(asked);
    asked->done(asked);
}

/* The header of what was made, or its sizes zero. */
static struct q2_header
made(void)
{
    static uint8_t bytes[Q2_BLANK_BYTES];
    struct q2_header h = { 0 };
    struct stat st;
    char why[300] = "";
    int fd = open(file, O_RDONLY);

    if (fd < 0)
        return h;
    CHECK_EQ(read(fd, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(q2_header_parse(&h, bytes, sizeof bytes, why, sizeof why), 0);
    CHECK_STR(why, "");
    CHECK(!fstat(fd, &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK_EQ(st.st_size, 4 << 16);
    close(fd);
    return h;
}

static bool
is_left(void)
{
    return !access(file, F_OK);
}

/* ---- tests --------------------------------------------------------------- */

static void
comes_above_what_holds_data(void)
{
    char want[300];

    begin(0, 4);
    go();
    CHECK_EQ(told.n, 1);
    CHECK_EQ(told.status, 0);
    CHECK_STR(told.at, "snap1");
    snprintf(want, sizeof want,
             "plugin = \"cow\"; name = \"snap2\"; image = \"%s\"; "
             "over = \"/a.qcow2\"; ",
             file);
    CHECK_STR(told.layer, want);
    CHECK_EQ(made().size, 65536);
    CHECK_STR(made().backing, "/a.qcow2");
    CHECK_STR(made().format, "qcow2");
    begin(3, 1);
    go();
    CHECK_STR(told.at, "f");
    CHECK(strstr(told.layer, "name = \"snap1\""));
    CHECK(strstr(told.layer, "over = \"/raw \\\"\"; "));
    CHECK_EQ(made().size, 1073741825);
    CHECK_EQ(made().l1_entries, 3);
    CHECK_STR(made().backing, "/raw \"");
    CHECK_STR(made().format, "flat");
}

static void
names_only_what_others_can_open(void)
{
    begin(4, 2);
    go();
    CHECK_EQ(told.status, 0);
    CHECK_STR(told.at, "n");
    CHECK(!strstr(told.layer, "over"));
    CHECK_STR(made().backing, "");
    /* An image that is over something it does not name. */
    begin(6, 2);
    go();
    CHECK_EQ(told.status, 0);
    CHECK_STR(told.at, "q");
    CHECK(!strstr(told.layer, "over"));
    CHECK_STR(made().backing, "");
    /* Names that are taken. */
    begin(8, 3);
    go();
    CHECK_EQ(told.status, -EFBIG);
    CHECK(!is_left());
    CHECK(strstr(told.why, "can't be made: File too large"));
}

static void
leaves_nothing(void)
{
    unsigned n, ends = 0;

    for (n = 1; n < 30 && !ends; n++) {
        begin(0, 4);
        fails_at = (int)n;
        fails_with = ENOSPC;
        go();
        CHECK_EQ(told.n, 1);
        ends = fails_at != 0; /* not so many calls were made */
        fails_at = 0;
        CHECK_EQ(told.status != 0, !ends);
        CHECK_EQ(is_left(), ends);
        if (told.status != -ENOMEM && !ends)
            CHECK(strstr(told.why, "can't be made: No space left"));
    }
    CHECK(n > 10 && ends);
    begin(0, 4);
    fails_at = 3; /* a write of nothing */
    fails_with = 0;
    go();
    CHECK_EQ(told.status, -ENOSPC);
    begin(0, 4);
    chain_status = -EINVAL;
    go();
    CHECK_EQ(told.status, -EINVAL);
    CHECK_STR(told.why, "not so");
    CHECK(!is_left());
    /* It is in force, but for the next process. */
    begin(0, 4);
    chain_status = -EIO;
    kept = true;
    go();
    CHECK_EQ(told.status, -EIO);
    CHECK(is_left());
}

static void
sees_what_changed_meanwhile(void)
{
    begin(0, 4);
    daemon_snapshot(&d, "web", file, snapshot_told, &told);
    REQUIRE(asked);
    asked->work(asked);
    web.chain = (struct chain_spec){ .layer = stack + 4, .n = 2 };
    asked->done(asked);
    CHECK_EQ(told.status, -EBUSY);
    CHECK_STR(told.why, "the chain was changed meanwhile: try it again");
    CHECK(!is_left());
    begin(0, 4);
    daemon_snapshot(&d, "web", file, snapshot_told, &told);
    REQUIRE(asked);
    asked->work(asked);
    is_open = false;
    asked->done(asked);
    CHECK_EQ(told.status, -ESHUTDOWN);
    CHECK(!is_left());
    CHECK_EQ(told.chained, 0);
}

static void
refused(const char *path, int status, const char *words)
{
    told.n = 0;
    asked = NULL;
    daemon_snapshot(&d, "web", path, snapshot_told, &told);
    CHECK(!asked);
    CHECK_EQ(told.n, 1);
    CHECK_EQ(told.status, status);
    if (!strstr(told.why, words))
        CHECK_STR(told.why, words);
}

static void
refuses(void)
{
    static char name[PATH_MAX + 1];

    begin(0, 4);
    refused("a", -EINVAL, "expected the absolute path of a new file");
    refused("", -EINVAL, "expected the absolute path of a new file");
    refused("/a/", -EINVAL, "expected the absolute path of a new file");
    refused("/a\nb", -EINVAL, "expected the absolute path of a new file");
    refused("/a\x7f", -EINVAL, "expected the absolute path of a new file");
    memset(name, 'x', PATH_MAX);
    name[0] = '/';
    refused(name, -EINVAL, "expected the absolute path of a new file");
    d.change = (struct daemon_change *)&told;
    refused(file, -EBUSY, "an earlier change or reload is still at work");
    d.change = NULL;
    d.reload = (struct daemon_reload *)&told;
    refused(file, -EBUSY, "an earlier change or reload is still at work");
    d.reload = NULL;
    shown = "{\"state\":\"failed\"}";
    refused(file, -ENOTCONN, "its chain does not run");
    shown = "{\"layers\":[{\"name\":\"t\",\"size\":5}]}";
    refused(file, -ENOTCONN, "its chain does not run");
    shown = "{\"limits\":{\"readonly\":true},"
            "\"layers\":[{\"name\":\"snap1\",\"size\":512}]}";
    refused(file, -EROFS, "the disk is read-only");
    is_open = false;
    refused(file, -ENOTCONN, "the disk is not open");
    CHECK(!is_left());
    begin(4, 2);
    has_maker = false;
    refused(file, -ENOENT, "expected a plugin that can make an overlay");
    CHECK(!is_left());
}

static void
refuses_files(void)
{
    begin(0, 4);
    CHECK(!symlink("nowhere", file));
    go();
    CHECK_EQ(told.status, -EEXIST);
    CHECK(strstr(told.why, "found one: a snapshot writes over nothing"));
    CHECK(!lstat(file, &(struct stat){ 0 }));
    begin(0, 4);
    daemon_snapshot(&d, "web", "/sys/no", snapshot_told, &told);
    REQUIRE(asked);
    asked->work(asked);
    asked->done(asked);
    CHECK(strstr(told.why, "expected a folder that the daemon's user may"));
    CHECK_EQ(told.chained, 0);
}

/* Each cluster up to the end of L1 is counted once, and none behind it. */
static void
counts_its_clusters(void)
{
    static const uint64_t g = 1 << 30, t = g << 10, p = t << 10;
    static const struct {
        uint64_t size, tables, clusters;
    } of[] = {
        { 512, 1, 4 },      { g / 2, 1, 4 },          { g / 2 + 512, 2, 4 },
        { 4 * t, 8192, 4 }, { 4 * t + 512, 8193, 5 }, { 2 * p, 4 << 20, 515 },
    };
    static uint8_t bytes[Q2_BLANK_BYTES];
    uint64_t length;

    for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct q2_header h;
        char why[300] = "";
        unsigned k;

        CHECK_EQ(q2_blank(bytes, of[i].size, NULL, NULL, &length), 0);
        CHECK_EQ(length, of[i].clusters << 16);
        CHECK_EQ(q2_header_parse(&h, bytes, sizeof bytes, why, sizeof why), 0);
        CHECK_STR(why, "");
        CHECK_EQ(h.size, of[i].size);
        CHECK_EQ(h.l1_entries, of[i].tables);
        CHECK_EQ(h.cluster_bits, 16);
        for (k = 0; k < 1 << 15; k++) {
            if (q2_ref_get(bytes + (2 << 16), h.refcount_order, k) !=
                (k < of[i].clusters))
                break;
        }
        CHECK_EQ(k, 1 << 15);
    }
    CHECK_EQ(q2_blank(bytes, 2 * p + 512, NULL, NULL, &length), -EFBIG);
    CHECK_EQ(q2_blank(bytes, 512, "", "raw", &length), -ENAMETOOLONG);
}

int
main(void)
{
    REQUIRE(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/new", dir);
    TEST(comes_above_what_holds_data);
    TEST(names_only_what_others_can_open);
    TEST(leaves_nothing);
    TEST(sees_what_changed_meanwhile);
    TEST(refuses);
    TEST(refuses_files);
    TEST(counts_its_clusters);
    unlink(file);
    rmdir(dir);
    return test_end();
}
