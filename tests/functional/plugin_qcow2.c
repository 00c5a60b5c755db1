/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The qcow2 plugin and QEMU's, on the same images: each reads what the other
 * wrote, in all formats; every image is checked by qemu-img.
 */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/plugin_model.h"

enum { DISK = 4 << 20 };

/* ---- QEMU's tools -------------------------------------------------------- */

static char said[4096];

/* The exit status of a command; what it says is in said. */
__attribute__((format(printf, 1, 2))) static int
tool(const char *fmt, ...)
{
    char command[2048];
    va_list ap;
    size_t n;
    FILE *f;
    int status;

    va_start(ap, fmt);
    n = (size_t)vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    REQUIRE(n + 6 < sizeof(command));
    strcat(command, " 2>&1");
    f = popen(command, "r");
    REQUIRE(f);
    n = fread(said, 1, sizeof(said) - 1, f);
    said[n] = '\0';
    while (getc(f) != EOF)
        ;
    status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define TOOL(...)                                                             \
    do {                                                                      \
        if (tool(__VA_ARGS__))                                                \
            test_fail(__FILE__, __LINE__, "%s said: %s", #__VA_ARGS__, said); \
    } while (0)

static void
write_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, data, n) == (ssize_t)n);
    close(fd);
}

/* The image is sound, and QEMU reads from it what the model has; a raw data
 * file has it, too. */
static void
compare_with_qemu(const struct model *m, const char *image)
{
    const char *raw = run_path("model.raw");

    write_file(raw, m->data, m->size);
    TOOL("qemu-img check -f qcow2 %s", image);
    TOOL("qemu-img compare -f raw -F qcow2 %s %s", raw, image);
    TOOL("qemu-img info -f qcow2 %s", image);
    if (strstr(said, "data file raw: true"))
        TOOL("cmp -n %" PRIu64 " %s %s.data", m->size, raw, image);
}

/* The disk of an image as QEMU sees it, into the model. */
static void
learn_from_qemu(struct model *m, const char *image)
{
    const char *raw = run_path("learn.raw");
    FILE *f;

    TOOL("qemu-img convert -f qcow2 -O raw %s %s", image, raw);
    f = fopen(raw, "re");
    REQUIRE(f);
    REQUIRE(fread(m->data, 1, m->size, f) == m->size);
    fclose(f);
}

/* ---- formats ------------------------------------------------------------- */

struct format {
    const char *name, *options;
    uint32_t cluster;
    uint64_t size;
    bool zeroes; /* the format has them */
};

static const struct format formats[] = {
    { "plain", "compat=1.1", 65536, DISK, true },
    { "v2", "compat=0.10", 65536, DISK, false },
    { "512", "compat=1.1,cluster_size=512", 512, DISK, true },
    { "v2-512", "compat=0.10,cluster_size=512", 512, DISK, false },
    { "4k", "compat=1.1,cluster_size=4k,lazy_refcounts=on", 4096, DISK, true },
    { "2M", "compat=1.1,cluster_size=2M", 2 << 20, 16 << 20, true },
    { "ref1", "compat=1.1,refcount_bits=1,cluster_size=1k", 1024, DISK, true },
    { "ref64", "compat=1.1,refcount_bits=64,cluster_size=512", 512, DISK,
      true },
    { "extended", "compat=1.1,extended_l2=on,cluster_size=64k", 65536, DISK,
      true },
    { "extended16k", "compat=1.1,extended_l2=on,cluster_size=16k", 16384, DISK,
      true },
    { "meta", "compat=1.1,preallocation=metadata", 65536, DISK, true },
    { "odd", "compat=1.1", 65536, DISK + 1536, true },
    { "full", "compat=1.1,preallocation=falloc", 65536, DISK, true },
    { "data", "compat=1.1", 65536, DISK, true },
    { "data-4k", "cluster_size=4k", 4096, DISK + 1536, true },
    { "data-extended", "extended_l2=on,cluster_size=16k", 16384, DISK, true },
    { "data-raw", "data_file_raw=on", 65536, DISK, true },
    { "data-raw-512", "data_file_raw=on,cluster_size=512", 512, DISK + 1536,
      true },
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

static bool
has_data(const struct format *f)
{
    return f->name && !strncmp(f->name, "data", 4);
}

static const char *
format_create(const struct format *f, const char *name)
{
    const char *path = run_path(name);

    if (has_data(f))
        TOOL("qemu-img create -q -f qcow2 -o %s,data_file=%s.data %s %" PRIu64,
             f->options, path, path, f->size);
    else
        TOOL("qemu-img create -q -f qcow2 -o %s %s %" PRIu64, f->options, path,
             f->size);
    return path;
}

/* A layer with this image. */
static const char *
layer_of(const struct format *f, const char *path)
{
    static char layer[800];

    snprintf(layer, sizeof(layer), "qcow2 path=%s%s%s%s", path,
             has_data(f) ? " data-file=" : "", has_data(f) ? path : "",
             has_data(f) ? ".data" : "");
    return layer;
}

static void
play(struct run *r, struct model *m, const struct format *f, unsigned n)
{
    m->trim = true;
    m->grain = f->cluster;
    model_play(m, n);
    model_check(m);
    CHECK_EQ(r->fatals, 0);
    CHECK_EQ(m->errors, 0);
}

/* As a tail: random requests, then QEMU looks; then again, on what is there. */
static void
formats_one(const struct format *f, unsigned n)
{
    const char *path = format_create(f, f->name);
    struct run r = { .seed = 7 };
    struct model m;

    model_init(&m, &r, f->size);
    for (unsigned round = 0; round < 2; round++) {
        RUN(r, "%s cache=256k", layer_of(f, path));
        r.seed = round + 1;
        play(&r, &m, f, n);
        run_close(&r);
        compare_with_qemu(&m, path);
    }
    model_free(&m);
}

static void
every_format(void)
{
    for (unsigned i = 0; i < FORMATS; i++) {
        printf("  %s\n", formats[i].name);
        formats_one(&formats[i], 400);
    }
}

/* ---- what QEMU wrote ----------------------------------------------------- */

/* Patterns all over an image, some of them zeroes and discards. */
static void
qemu_scribble(const char *path, uint64_t size, unsigned seed)
{
    char commands[1800] = "";
    size_t len = 0;

    for (unsigned i = 0; i < 24; i++) {
        uint64_t off;
        unsigned n;

        seed = seed * 1103515245 + 12345;
        off = (uint64_t)(seed >> 4) * 512 % (size - 131072) / 512 * 512;
        n = 512 * (1 + (seed >> 8) % 200);
        len += (size_t)snprintf(commands + len, sizeof(commands) - len,
                                i % 6 == 4   ? " -c 'write -z %" PRIu64 " %u'"
                                : i % 6 == 5 ? " -c 'discard %" PRIu64 " %u'"
                                             : " -c 'write -P %3$u %1$" PRIu64
                                               " %2$u'",
                                off, n, 1 + i * 7);
    }
    TOOL("qemu-io -f qcow2%s %s", commands, path);
}

/* Ours goes on where QEMU stopped, and the other way, in turns. */
static void
in_turns(void)
{
    for (unsigned i = 0; i < FORMATS; i++) {
        const struct format *f = &formats[i];
        const char *path = format_create(f, "turns");
        struct run r = { 0 };
        struct model m;

        model_init(&m, &r, f->size);
        for (unsigned round = 0; round < 3; round++) {
            qemu_scribble(path, f->size, round * 77 + i);
            learn_from_qemu(&m, path);
            RUN(r, "%s cache=256k", layer_of(f, path));
            r.seed = round * 100 + i;
            model_check(&m);
            play(&r, &m, f, 100);
            run_close(&r);
            compare_with_qemu(&m, path);
        }
        model_free(&m);
    }
}

/* Compressed clusters are read, and written over. */
static void
compressed_one(const char *type, const char *cluster_size, uint32_t cluster)
{
    const char *raw = run_path("c.raw"), *path = run_path("c.qcow2");
    struct format f = { .cluster = cluster, .size = DISK };
    struct run r = { 0 };
    struct model m;

    model_init(&m, &r, DISK);
    for (uint32_t i = 0; i < DISK; i++)
        m.data[i] = (uint8_t)(i / 3000 * (i % 7));
    write_file(raw, m.data, DISK);
    TOOL("qemu-img convert -c -O qcow2 -o compression_type=%s,cluster_size=%s "
         "%s %s",
         type, cluster_size, raw, path);
    RUN(r, "qcow2 path=%s", path);
    model_check(&m);
    CHECK(run_counter(&r, 0, "unpacked") > 0);
    play(&r, &m, &f, 300);
    run_close(&r);
    compare_with_qemu(&m, path);
    model_free(&m);
}

static void
compressed(void)
{
    compressed_one("zlib", "64k", 65536);
    compressed_one("zstd", "64k", 65536);
    compressed_one("zlib", "4k", 4096);
    compressed_one("zstd", "2M", 2 << 20);
    compressed_one("zlib", "512", 512);
}

/* Internal snapshots stay what they were. */
static void
snapshots(void)
{
    static const unsigned some[] = { 0, 1, 2, 4, 8 };

    for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        const struct format *f = &formats[some[i]];
        const char *path = format_create(f, "snap");
        const char *before = run_path("before.raw");
        struct run r = { .seed = i };
        struct model m;

        qemu_scribble(path, f->size, 5 + i);
        TOOL("qemu-img convert -f qcow2 -O raw %s %s", path, before);
        TOOL("qemu-img snapshot -c one %s", path);
        model_init(&m, &r, f->size);
        learn_from_qemu(&m, path);
        RUN(r, "qcow2 path=%s", path);
        model_check(&m);
        play(&r, &m, f, 150);
        run_close(&r);
        compare_with_qemu(&m, path);
        TOOL("qemu-img snapshot -c two %s", path);
        RUN(r, "qcow2 path=%s", path);
        play(&r, &m, f, 150);
        run_close(&r);
        compare_with_qemu(&m, path);
        TOOL("qemu-img snapshot -a one %s", path);
        TOOL("qemu-img compare -f raw -F qcow2 %s %s", before, path);
        TOOL("qemu-img snapshot -d one %s", path);
        TOOL("qemu-img snapshot -d two %s", path);
        TOOL("qemu-img check %s", path);
        model_free(&m);
    }
}

/* With lazy refcounts QEMU counts when it closes: killed, it leaves counters
 * that are too low. */
static void
lazy(void)
{
    const char *path = format_create(&formats[4], "lazy");
    struct run r = { .seed = 2 };
    struct model m;

    tool("qemu-io -f qcow2 -c 'write -P 5 0 300k' -c 'write -P 6 1M 64k' "
         "-c flush -c 'sigraise 9' %s",
         path);
    model_init(&m, &r, DISK);
    memset(m.data, 5, 300 << 10);
    memset(m.data + (1 << 20), 6, 64 << 10);
    RUN(r, "qcow2 path=%s", path);
    CHECK(run_counter(&r, 0, "mended") > 0);
    model_check(&m);
    play(&r, &m, &formats[4], 200);
    run_close(&r);
    compare_with_qemu(&m, path);
    model_free(&m);
}

/* ---- over another layer -------------------------------------------------- */

/* Over a raw file that is shorter, or longer, than the disk; QEMU reads the
 * pair as we do, and what is below is not touched. */
static void
overlay_one(const struct format *f, uint64_t below)
{
    const char *base = run_file("base.raw", below), *path = run_path("over");
    struct run r = { .seed = 3 };
    uint8_t *data = calloc(1, below);
    struct model m;
    struct stat st;

    REQUIRE(data);
    for (uint64_t i = 0; i < below; i++)
        data[i] = (uint8_t)(1 + i / 512 * 31 + i % 13);
    write_file(base, data, below);
    TOOL("qemu-img create -q -f qcow2 -o %s%s%s%s -b %s -F raw %s %" PRIu64,
         f->options, has_data(f) ? ",data_file=" : "", has_data(f) ? path : "",
         has_data(f) ? ".data" : "", base, path, f->size);
    model_init(&m, &r, f->size);
    memcpy(m.data, data, below < f->size ? below : f->size);
    for (unsigned round = 0; round < 2; round++) {
        RUN(r, "%s backing=%s cache=256k | file path=%s", layer_of(f, path),
            base, base);
        model_check(&m);
        play(&r, &m, f, 300);
        run_close(&r);
        compare_with_qemu(&m, path);
    }
    REQUIRE(!stat(base, &st));
    CHECK_EQ((uint64_t)st.st_size, below);
    write_file(run_path("copy"), data, below);
    TOOL("cmp %s %s", base, run_path("copy"));
    free(data);
    model_free(&m);
}

static void
overlay(void)
{
    for (unsigned i = 0; i < FORMATS; i++) {
        if (!formats[i].zeroes || strstr(formats[i].options, "prealloc") ||
            strstr(formats[i].options, "raw"))
            continue;
        overlay_one(&formats[i], DISK);
    }
    overlay_one(&formats[0], DISK / 2 + 512 * 3);
    overlay_one(&formats[4], DISK / 2 + 512 * 3);
    overlay_one(&formats[8], DISK / 2 + 512 * 3);
    overlay_one(&formats[14], DISK / 2 + 512 * 3);
    overlay_one(&formats[0], DISK * 2);
}

/* One qcow2 image over another, over memory that the image does not name. */
static void
three_deep(void)
{
    const char *a = format_create(&formats[0], "a");
    const char *b = format_create(&formats[4], "b");
    struct run r = { .seed = 9 };
    struct model m;

    model_init(&m, &r, DISK);
    RUN(r, "qcow2 name=a path=%s | qcow2 name=b path=%s | memory size=4M", a,
        b);
    play(&r, &m, &formats[0], 500);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    play(&r, &m, &formats[0], 500);
    run_close(&r);
    TOOL("qemu-img check %s", a);
    TOOL("qemu-img check %s", b);
    model_free(&m);
}

/* ---- larger -------------------------------------------------------------- */

static void
wait_for_size(struct run *r, uint64_t size)
{
    char words[60], text[300];

    snprintf(words, sizeof(words), "resize %" PRIu64, size);
    CHECK_EQ(run_command(r, "qcow2", words, text, sizeof(text)), 0);
    RUN_WAIT(*r, chain_limits(r->chain)->size == size);
}

/* By us, by QEMU, and by us again: each sees what the other made. */
static void
larger_one(const struct format *f)
{
    const char *path = format_create(f, "larger");
    struct run r = { .seed = 5 };
    struct model m, grown;
    char want[40];

    model_init(&m, &r, f->size);
    model_init(&grown, &r, 4 * f->size);
    RUN(r, "%s", layer_of(f, path));
    play(&r, &m, f, 100);
    wait_for_size(&r, 2 * f->size);
    model_check(&m);
    run_close(&r);
    TOOL("qemu-img info -f qcow2 %s", path);
    snprintf(want, sizeof(want), "(%" PRIu64 " bytes)", 2 * f->size);
    CHECK(strstr(said, want));
    TOOL("qemu-img check -f qcow2 %s", path);
    TOOL("qemu-img resize -q -f qcow2 %s %" PRIu64, path, 3 * f->size);
    RUN(r, "%s", layer_of(f, path));
    wait_for_size(&r, 4 * f->size);
    memset(grown.data, 0, 4 * f->size);
    memcpy(grown.data, m.data, f->size);
    model_check(&grown);
    play(&r, &grown, f, 100);
    run_close(&r);
    compare_with_qemu(&grown, path);
    model_free(&grown);
    model_free(&m);
}

static void
larger(void)
{
    for (unsigned i = 0; i < FORMATS; i++) {
        printf("  %s\n", formats[i].name);
        larger_one(&formats[i]);
    }
}

/* QEMU and we do not write to one image at a time, whoever was first. */
static void
two_writers(void)
{
    const char *path = format_create(&formats[0], "both");
    const char *fifo = run_path("fifo");
    struct run r = { 0 };
    FILE *qemu;

    RUN(r, "qcow2 path=%s", path);
    CHECK(tool("qemu-io -f qcow2 -c 'write 0 64k' %s", path));
    CHECK(strstr(said, "lock"));
    run_close(&r);
    TOOL("qemu-io -f qcow2 -c 'write 0 64k' %s", path);
    TOOL("mkfifo %s", fifo);
    snprintf(said, sizeof(said), "qemu-io -f qcow2 %s >%s", path, fifo);
    qemu = popen(said, "w");
    REQUIRE(qemu);
    fputs("write 0 512\n", qemu); /* when it answers it has the image */
    fflush(qemu);
    TOOL("head -n 1 %s", fifo);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "qcow2 path=%s", path), -EBUSY);
    CHECK(strstr(r.why, "cannot lock it"));
    pclose(qemu);
    RUN(r, "qcow2 path=%s", path);
    run_close(&r);
    TOOL("qemu-img check %s", path);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    if (tool("qemu-img --version") || tool("qemu-io --version")) {
        printf("there is no qemu-img: it is in qemu-utils\n");
        return 77;
    }
    TEST(every_format);
    TEST(in_turns);
    TEST(compressed);
    TEST(snapshots);
    TEST(lazy);
    TEST(overlay);
    TEST(three_deep);
    TEST(larger);
    TEST(two_writers);
    return test_end();
}
