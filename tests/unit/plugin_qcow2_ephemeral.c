/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 plugin: overlays that go with the attachment. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

#define CHAIN "qcow2 name=cow ephemeral=true | file path=%s lock=off"
#define BASE  run_path("base")

enum { SIZE = 4 << 20 };

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));
static const char *folder;

static void
lend_folder(struct run *r)
{
    r->loop->commons->scratch = folder;
    r->loop->commons->no_scratch = "it was taken away";
}

/* As a daemon does that knows which attachment it is. */
static struct run
begin(const char *attachment, bool resumed)
{
    struct run r = { .looped = lend_folder,
                     .attachment = attachment,
                     .resumed = resumed };

    return r;
}

static const char *
file_of(const char *attachment)
{
    char name[200];

    snprintf(name, sizeof(name), "scratch/%s,disk,cow", attachment);
    return run_path(name);
}

static void
fresh(void)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s", run_path("scratch"));
    folder = path;
    mkdir(path, 0700);
    run_file("base", SIZE);
}

static void
fill(struct run *r, uint64_t off, uint8_t with, uint32_t len)
{
    memset(buf, with, len);
    CHECK_EQ(run_io(r, BLK_WRITE, 0, off, buf, len), 0);
}

static void
holds(struct run *r, uint64_t off, uint8_t want, uint32_t len)
{
    memset(buf, ~want, len);
    CHECK_EQ(run_io(r, BLK_READ, 0, off, buf, len), 0);
    CHECK(buf[0] == want && !memcmp(buf, buf + 1, len - 1));
}

/* A file's first byte; -1: there is none. */
static int
first_byte(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t v = 0;

    if (fd < 0)
        return -1;
    REQUIRE(pread(fd, &v, 1, 0) >= 0);
    close(fd);
    return v;
}

static void
put(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

/* ---- whose it is --------------------------------------------------------- */

static void
is_the_attachments(void)
{
    struct run r = begin("vbd.1.51712,7", false), other;
    struct stat st;

    fresh();
    RUN(r, CHAIN, BASE);
    CHECK_EQ(chain_limits(r.chain)->size, SIZE);
    CHECK(chain_limits(r.chain)->fleeting);
    fill(&r, 65536 + 512, 0x41, 4096);
    CHECK_EQ(run_counter(&r, 0, "ephemeral"), 1);
    CHECK(!stat(file_of("vbd.1.51712,7"), &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
    /* Another attachment of another disk over the same base. */
    other = begin("vbd.1.51712,8", false);
    RUN(other, CHAIN, BASE);
    holds(&other, 0, 0, SIZE / 4);
    fill(&other, 65536 + 512, 0x42, 4096);
    holds(&r, 65536 + 512, 0x41, 4096);
    run_close(&other);
    run_close(&r);
    qcow2_judge(file_of("vbd.1.51712,7"), true);
    /* The next process. */
    r = begin("vbd.1.51712,7", true);
    RUN(r, CHAIN, BASE);
    holds(&r, 65536 + 512, 0x41, 4096);
    holds(&r, 0, 0, 65536);
    run_close(&r);
    r = begin("vbd.1.51712,9", false);
    RUN(r, CHAIN, BASE);
    holds(&r, 65536 + 512, 0, 4096);
    run_close(&r);
    CHECK_EQ(first_byte(BASE), 0);
}

/* Its file is locked: nobody else takes it, and nobody removes it. */
static void
is_one_disks(void)
{
    struct run r = begin("vbd.1.51712,7", false), twin = r;

    fresh();
    RUN(r, CHAIN, BASE);
    CHECK_EQ(run_open(&twin, RUN_READWRITE, CHAIN, BASE), -EBUSY);
    run_close(&r);
}

/* ---- what is refused ----------------------------------------------------- */

static void
refused(struct run *r, int error, const char *words)
{
    CHECK_EQ(run_open(r, RUN_READWRITE, CHAIN, BASE), error);
    if (!strstr(r->why, words))
        test_fail(__FILE__, __LINE__, "expected \"%s\", found \"%s\"", words,
                  r->why);
}

static void
says_what_is_missing(void)
{
    struct run r = begin(NULL, false);

    fresh();
    refused(&r, -ESTALE, "detach the disk and attach it again");
    r = begin("vbd.1.51712,7", false);
    folder = NULL;
    refused(&r, -ENOENT,
            "no folder for files that go with the attachment: it "
            "was taken away");
    r = begin("vbd.1.51712,7", false);
    folder = "/nowhere";
    refused(&r, -ENOENT, "/nowhere/vbd.1.51712,7,disk,cow: cannot open it");
}

/* What the guest wrote to is never made anew. */
static void
lost_is_told(void)
{
    struct run r = begin("vbd.1.51712,10", true);

    fresh();
    refused(&r, -ESTALE,
            "expected what the guest has written since its disk "
            "was attached, found nothing");
    CHECK_EQ(first_byte(file_of("vbd.1.51712,10")), -1);
    put(file_of("vbd.1.51712,10"), "rubbish", 7);
    r = begin("vbd.1.51712,10", true);
    refused(&r, -EINVAL, "expected a qcow2 image, found none");
    CHECK_EQ(first_byte(file_of("vbd.1.51712,10")), 'r');
}

/* One that stays can't be over one that goes. */
static void
stays_below_what_stays(void)
{
    const char *image = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = begin("vbd.1.51712,11", false);

    fresh();
    CHECK_EQ(run_open(&r, RUN_READWRITE,
                      "qcow2 path=%s | qcow2 name=cow ephemeral=true | file "
                      "path=%s lock=off",
                      image, BASE),
             -EINVAL);
    CHECK(strstr(r.why, "expected below it data that stay"));
    r = begin("vbd.1.51712,11", false);
    RUN(r, "trace | " CHAIN, BASE);
    CHECK(chain_limits(r.chain)->fleeting);
    CHECK_EQ(run_replace(&r,
                         "qcow2 name=top path=%s | trace | qcow2 name=cow "
                         "ephemeral=true | file path=%s lock=off",
                         image, BASE),
             -EINVAL);
    fill(&r, 0, 0x43, 512);
    CHECK_EQ(run_replace(&r,
                         "qcow2 name=top ephemeral=true | trace | qcow2 "
                         "name=cow ephemeral=true | file path=%s lock=off",
                         BASE),
             0);
    holds(&r, 0, 0x43, 512);
    run_close(&r);
    r = begin(NULL, false);
    RUN(r, "qcow2 path=%s | file path=%s", image, BASE);
    CHECK(!chain_limits(r.chain)->fleeting);
    run_close(&r);
}

/* ---- changes under a guest ----------------------------------------------- */

static void
replaced_it_stays(void)
{
    struct run r = begin("vbd.1.51712,12", false);

    fresh();
    RUN(r, CHAIN, BASE);
    fill(&r, 8192, 0x44, 8192);
    CHECK_EQ(run_replace(&r, "trace | " CHAIN, BASE), 0);
    holds(&r, 8192, 0x44, 8192);
    CHECK_EQ(
        run_replace(&r,
                    "qcow2 name=cow ephemeral=true cache=1M | file path=%s "
                    "lock=off",
                    BASE),
        0);
    holds(&r, 8192, 0x44, 8192);
    CHECK_EQ(run_replace(&r,
                         "qcow2 name=cow ephemeral=true direct=off | file "
                         "path=%s lock=off",
                         BASE),
             0);
    holds(&r, 8192, 0x44, 8192);
    /* One that can't start: the old one goes on. */
    CHECK(run_replace(&r,
                      "qcow2 name=cow ephemeral=true cache=2M | file name=two "
                      "path=%s/none",
                      folder));
    holds(&r, 8192, 0x44, 8192);
    run_close(&r);
}

/* What is below may have changed meanwhile: what was in it is void. */
static void
inserted_it_is_new(void)
{
    struct run r = begin("vbd.1.51712,13", true);

    fresh();
    RUN(r, "file path=%s lock=off", BASE);
    for (uint8_t i = 1; i < 4; i++) {
        CHECK_EQ(run_replace(&r, CHAIN, BASE), 0);
        holds(&r, 0, 0, 8192);
        fill(&r, 0, i, 8192);
        holds(&r, 0, i, 8192);
        CHECK_EQ(run_replace(&r, "file path=%s lock=off", BASE), 0);
        holds(&r, 0, 0, 8192);
    }
    run_close(&r);
    CHECK_EQ(first_byte(BASE), 0);
}

/* In place of an image under the same layer's name, and back. */
static void
takes_an_images_place(void)
{
    const char *image = qcow2_image(&qcow2_plain, 0, Q2_MAGIC, 4);
    struct run r = begin("vbd.1.51712,14", false);

    fresh();
    RUN(r, "qcow2 name=cow path=%s | file path=%s lock=off", image, BASE);
    CHECK_EQ(run_replace(&r, CHAIN, BASE), 0);
    holds(&r, 0, 0, 8192);
    fill(&r, 0, 0x45, 8192);
    CHECK_EQ(run_replace(&r, "qcow2 name=cow path=%s | file path=%s lock=off",
                         image, BASE),
             0);
    CHECK_EQ(run_replace(&r, CHAIN, BASE), 0);
    holds(&r, 0, 0, 8192);
    run_close(&r);
}

/* ---- when it is made ----------------------------------------------------- */

static unsigned countdown;
static int fails_with;

/* The I/O after so many fails, and so do all that follow. */
static int
fail_later(struct run *r, struct blk_io *io)
{
    (void)r;
    if (io->op == BLK_IO_READ || io->op == BLK_IO_SYNC)
        return 0;
    if (countdown) {
        countdown--;
        return 0;
    }
    return fails_with;
}

static void
failing_folder(struct run *r)
{
    lend_folder(r);
    r->fault = fail_later;
}

/* A full file system is told, wherever it is met, and what is left of the try
 * is no image: the next one makes it. */
static void
half_made_is_made_anew(void)
{
    unsigned i;

    fresh();
    for (i = 0; i < 4; i++) {
        struct run r = begin("vbd.1.51712,15", false);

        r.looped = failing_folder;
        countdown = i;
        fails_with = -ENOSPC;
        refused(&r, -ENOSPC, "can't be made: No space left on device");
        CHECK_EQ(first_byte(file_of("vbd.1.51712,15")), 0);
        if (i % 2)
            continue; /* two tries */
        r = begin("vbd.1.51712,15", false);
        RUN(r, CHAIN, BASE);
        holds(&r, 0, 0, 8192);
        run_close(&r);
        qcow2_judge(file_of("vbd.1.51712,15"), true);
        unlink(file_of("vbd.1.51712,15"));
    }
}

/* Of another size than ours, but without a header: nobody's yet. */
static void
rubbish_is_made_anew(void)
{
    struct run r = begin("vbd.1.51712,16", false);

    fresh();
    memset(buf, 0, sizeof(buf));
    memset(buf + 65536, 0xff, 65536);
    put(file_of("vbd.1.51712,16"), buf, sizeof(buf));
    RUN(r, CHAIN, BASE);
    holds(&r, 0, 0, 8192);
    fill(&r, 0, 0x46, 8192);
    run_close(&r);
    qcow2_judge(file_of("vbd.1.51712,16"), true);
}

/* A guest that may only read gets its disk, too. */
static void
is_read(void)
{
    struct run r = begin("vbd.1.51712,17", false);

    fresh();
    CHECK_EQ(run_open(&r, RUN_READONLY, CHAIN, BASE), 0);
    holds(&r, 0, 0, 8192);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EROFS);
    run_close(&r);
}

/* What is below belongs to every attachment. */
static void
is_not_committed(void)
{
    struct run r = begin("vbd.1.51712,18", false);
    char said[300];

    fresh();
    RUN(r, CHAIN, BASE);
    fill(&r, 0, 0x47, 8192);
    CHECK_EQ(run_command(&r, "cow", "commit", said, sizeof(said)), -EINVAL);
    CHECK(strstr(said, "expected an overlay that stays, found one that is "
                       "ephemeral: what is below it is what every attachment"));
    CHECK_EQ(run_command(&r, "cow", "commit status", said, sizeof(said)), 0);
    CHECK_STR(said, "commit=none\n");
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_resume(&r), 0);
    holds(&r, 0, 0x47, 8192);
    run_close(&r);
    CHECK_EQ(first_byte(BASE), 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(is_the_attachments);
    TEST(is_one_disks);
    TEST(says_what_is_missing);
    TEST(lost_is_told);
    TEST(stays_below_what_stays);
    TEST(replaced_it_stays);
    TEST(inserted_it_is_new);
    TEST(takes_an_images_place);
    TEST(half_made_is_made_anew);
    TEST(rubbish_is_made_anew);
    TEST(is_read);
    TEST(is_not_committed);
    return test_end();
}
