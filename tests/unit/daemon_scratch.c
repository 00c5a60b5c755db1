/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scratch.c: whose files go, and whose stay. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.c"
#include "tests/test.h"

static struct scratch s;
static struct loop *loop;
static struct commons commons;
static char folder[64];
static const char *ended; /* attachments that are over, with spaces between */

static bool
is_over(void *ctx, const char *attachment)
{
    CHECK(ctx == &ended);
    return strstr(ended, attachment);
}

static const char *
in_folder(const char *name)
{
    static char path[2][300];
    static unsigned turn;
    char *p = path[turn++ % 2];

    snprintf(p, sizeof path[0], "%s/s/%s", folder, name);
    return p;
}

static bool
there_is(const char *name)
{
    struct stat st;

    return !lstat(in_folder(name), &st);
}

static int
make(const char *name)
{
    int fd = open(in_folder(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    REQUIRE(fd >= 0);
    return fd;
}

static void
begin(void)
{
    char why[200];
    struct loop_posix_options o = { .workers = 1 };

    snprintf(folder, sizeof folder, "/tmp/daemon_scratch.XXXXXX");
    REQUIRE(mkdtemp(folder));
    REQUIRE(!loop_posix_new(&loop, "control", &o, why, sizeof why));
    ended = "";
    scratch_open(&s, in_folder(""), NULL);
    scratch_begin(&s, loop, is_over, &ended);
    scratch_lend(&s, &commons);
}

static void
finish(void)
{
    char line[100];

    if (loop) {
        loop->ops->timer_stop(loop, &s.later);
        loop->ops->free(loop);
    }
    loop = NULL;
    scratch_close(&s);
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    REQUIRE(!system(line));
}

/* ---- the loop, until nothing is under way -------------------------------- */

static void
look(struct blk_timer *t)
{
    if (s.busy)
        loop->ops->timer_start(loop, t, 1000000);
    else
        loop->ops->stop(loop);
}

static void
settle(void)
{
    struct blk_timer t = { .fire = look };

    loop->ops->timer_start(loop, &t, 1000000);
    loop->ops->run(loop);
}

static void
sift(void)
{
    scratch_sift(&s);
    settle();
}

static void
gone(struct blk_timer *t)
{
    if (there_is("vbd.1.51712,5,web,cow"))
        loop->ops->timer_start(loop, t, 1000000);
    else
        loop->ops->stop(loop);
}

/* ---- tests --------------------------------------------------------------- */

static void
those_that_are_over_go(void)
{
    begin();
    CHECK_STR(commons.scratch, s.path);
    close(make("vbd.1.51712,5,web,cow"));
    close(make("vbd.1.51712,6,web,cow"));
    close(make("vbd.2.51712,5,we,b,cow"));
    sift();
    CHECK(there_is("vbd.1.51712,5,web,cow"));
    ended = "vbd.1.51712,5 vbd.2.51712,5";
    scratch_sift(&s);
    scratch_sift(&s); /* while it is at work: once more */
    settle();
    CHECK(!there_is("vbd.1.51712,5,web,cow"));
    CHECK(!there_is("vbd.2.51712,5,we,b,cow"));
    CHECK(there_is("vbd.1.51712,6,web,cow"));
    finish();
}

static void
what_is_not_ours_stays(void)
{
    static const char *const names[] = { "a", "a,b", ",", "lost+found" };
    char longest[200];
    unsigned i;

    begin();
    memset(longest, 'x', sizeof longest);
    strcpy(longest + 180, ",1,web,cow");
    for (i = 0; i < 4; i++)
        close(make(names[i]));
    close(make(longest));
    ended = "a,b , x";
    sift();
    for (i = 0; i < 4; i++)
        CHECK(there_is(names[i]));
    CHECK(there_is(longest));
    finish();
}

/* Locked by whoever it is: not yet. */
static void
one_in_use_goes_later(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct blk_timer t = { .fire = gone };
    int fd;

    begin();
    fd = make("vbd.1.51712,5,web,cow");
    CHECK(!fcntl(fd, F_OFD_SETLK, &lock));
    ended = "vbd.1.51712,5";
    sift();
    CHECK(there_is("vbd.1.51712,5,web,cow"));
    close(fd);
    loop->ops->timer_start(loop, &t, 1000000);
    loop->ops->run(loop); /* by itself */
    CHECK(!there_is("vbd.1.51712,5,web,cow"));
    settle();
    CHECK_EQ(s.later_ns, 0);
    finish();
}

/* A link is removed, not what it names; a folder of that name is told. */
static void
odd_ones(void)
{
    begin();
    close(make("other"));
    REQUIRE(!symlink("other", in_folder("vbd.1.51712,5,web,cow")));
    REQUIRE(!mkdir(in_folder("vbd.1.51712,5,web,dir"), 0700));
    ended = "vbd.1.51712,5";
    sift();
    CHECK(there_is("other"));
    CHECK(!there_is("vbd.1.51712,5,web,cow"));
    CHECK(there_is("vbd.1.51712,5,web,dir"));
    finish();
}

static void
local_ones_end_with_us(void)
{
    begin();
    close(make("local,5,web,cow"));
    close(make("vbd.1.51712,5,web,cow"));
    loop->ops->free(loop);
    loop = NULL;
    scratch_close(&s);
    CHECK(!there_is("local,5,web,cow"));
    CHECK(there_is("vbd.1.51712,5,web,cow"));
    s.loop = NULL;
    finish();
}

static void
no_folder(void)
{
    struct scratch other;
    char path[100];

    begin();
    scratch_open(&other, "", NULL);
    scratch_begin(&other, loop, is_over, &ended);
    scratch_lend(&other, &commons);
    CHECK(!commons.scratch);
    CHECK(strstr(commons.no_scratch, "expected daemon.scratch"));
    scratch_sift(&other);
    CHECK(!other.busy);
    scratch_close(&other);
    snprintf(path, sizeof path, "%s/none/s", folder);
    scratch_open(&other, path, NULL);
    scratch_lend(&other, &commons);
    CHECK(!commons.scratch);
    CHECK(strstr(commons.no_scratch, "none/s: No such file or directory"));
    chmod(s.path, 0750);
    scratch_open(&other, s.path, NULL);
    scratch_begin(&other, loop, is_over, &ended);
    scratch_lend(&other, &commons);
    CHECK(!commons.scratch);
    CHECK(strstr(commons.no_scratch, "that nobody else can open, found"));
    chmod(s.path, 0700);
    finish();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(those_that_are_over_go);
    TEST(what_is_not_ours_stays);
    TEST(one_in_use_goes_later);
    TEST(odd_ones);
    TEST(local_ones_end_with_us);
    TEST(no_folder);
    return test_end();
}
