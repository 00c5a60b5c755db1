/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host_log.c: lines, their fields, what is dropped, and shared memory.  This
 * program takes the place of the journal. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "host/host.h"
#include "tests/test.h"

/* ---- the journal --------------------------------------------------------- */

static char journal[65536]; /* fields by '|', lines by '\n' */
static unsigned lines;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* holds it up */

int
sd_journal_sendv(const struct iovec *v, int n)
{
    size_t at;

    pthread_mutex_lock(&gate);
    at = strlen(journal);
    for (int i = 0; i < n && at + v[i].iov_len + 2 < sizeof journal; i++) {
        memcpy(journal + at, v[i].iov_base, v[i].iov_len);
        at += v[i].iov_len;
        journal[at++] = i + 1 < n ? '|' : '\n';
        journal[at] = '\0';
    }
    lines++;
    pthread_mutex_unlock(&gate);
    return 0;
}

static void
clear(void)
{
    journal[0] = '\0';
    lines = 0;
}

static void
fields_of_a_line(void)
{
    struct log_fields f = { .disk = "web-root", .vm = "web", .layer = "crypt" };
    struct log_fields d = { .disk = "web-root" };

    clear();
    log_open(BLK_INFO, true);
    log_line(BLK_ERR, &f, "request %d: %s", 7, "bad");
    log_line(BLK_INFO, &d, "fine");
    log_line(BLK_WARN, NULL, "two\nlines\x1b");
    log_line(BLK_DEBUG, &f, "not wanted");
    log_close();
    CHECK_STR(journal,
              "MESSAGE=request 7: bad|PRIORITY=3|DISK=web-root|VM=web|"
              "LAYER=crypt|SYSLOG_IDENTIFIER=blktapd\n"
              "MESSAGE=fine|PRIORITY=6|DISK=web-root|"
              "SYSLOG_IDENTIFIER=blktapd\n"
              "MESSAGE=two lines |PRIORITY=4|SYSLOG_IDENTIFIER=blktapd\n");
}

static void
the_level_can_change(void)
{
    clear();
    log_open(BLK_WARN, true);
    log_line(BLK_INFO, NULL, "one");
    log_level(BLK_DEBUG);
    log_line(BLK_DEBUG, NULL, "two");
    log_level(BLK_ERR);
    log_line(BLK_WARN, NULL, "three");
    log_close();
    CHECK_EQ(lines, 1);
    CHECK(strstr(journal, "MESSAGE=two|PRIORITY=7"));
    log_level(BLK_INFO);
}

static void
long_lines_and_names_are_cut(void)
{
    char text[3000], name[300];
    struct log_fields f = { .disk = name };

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    clear();
    log_open(BLK_INFO, true);
    log_line(BLK_INFO, &f, "%s", text);
    log_close();
    CHECK_EQ(lines, 1);
    CHECK(strstr(journal, "|PRIORITY=6|DISK=nnnn"));
    CHECK(strlen(journal) > 500 && strlen(journal) < 1000);
}

/* The journal does not take anything: nobody waits, and what was lost is said
 * when it does again. */
static void
a_journal_that_hangs_holds_up_nobody(void)
{
    unsigned long long dropped = 0;
    const char *p;

    clear();
    log_open(BLK_INFO, true);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 5000; i++)
        log_line(BLK_INFO, NULL, "line %d", i);
    pthread_mutex_unlock(&gate);
    log_close();
    p = strstr(journal, " lines of log could not be written in time");
    CHECK(p);
    if (p) {
        while (p > journal && p[-1] != '=')
            p--;
        dropped = strtoull(p, NULL, 10);
    }
    CHECK(dropped >= 5000 - 513 && dropped <= 5000 - 512);
    CHECK_EQ(lines, 5001 - dropped);
}

static void
tapped(void *data, enum blk_level level, const char *text)
{
    CHECK_EQ(level, BLK_WARN);
    CHECK_STR(text, "heard");
    ++*(unsigned *)data;
    log_line(BLK_DEBUG, NULL, "from inside"); /* must not hang */
}

static void
a_test_can_listen(void)
{
    unsigned n = 0;

    log_tap(tapped, &n);
    log_open(BLK_INFO, true);
    log_line(BLK_WARN, NULL, "heard");
    log_close();
    log_tap(NULL, NULL);
    CHECK_EQ(n, 1);
}

/* Without the journal, and before log_open(): to stderr. */
static void
to_stderr(void)
{
    char text[200] = "";
    int fd[2], saved = dup(STDERR_FILENO);

    REQUIRE(!pipe(fd));
    dup2(fd[1], STDERR_FILENO);
    clear();
    log_line(BLK_WARN, NULL, "early");
    log_open(BLK_INFO, false);
    log_line(BLK_ERR, NULL, "in time");
    log_close();
    dup2(saved, STDERR_FILENO);
    CHECK(read(fd[0], text, sizeof text - 1) > 0);
    CHECK_STR(text, "blktapd: warning: early\nblktapd: error: in time\n");
    CHECK_EQ(lines, 0);
    close(fd[0]);
    close(fd[1]);
    close(saved);
}

static void *
shout(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        log_line(BLK_INFO, NULL, "shout");
    return NULL;
}

static void
many_threads(void)
{
    pthread_t t[4];

    clear();
    log_open(BLK_INFO, true);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, shout, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    log_close();
    CHECK(lines > 0 && lines <= 4001);
}

/* ---- rate ---------------------------------------------------------------- */

static void
ten_lines_then_one_a_second(void)
{
    uint64_t second = 1000000000, now = 5 * second;
    struct log_limit l = { 0 };
    unsigned n = 0;

    for (int i = 0; i < 100; i++)
        n += log_allowed(&l, now + (uint64_t)i);
    CHECK_EQ(n, 10);
    CHECK_EQ(l.dropped, 90);
    CHECK(!log_allowed(&l, now + second - 1));
    CHECK(log_allowed(&l, now + second + 100));
    CHECK(!log_allowed(&l, now + second + 200));
    CHECK_EQ(l.dropped, 92);
    l.dropped = 0;
    for (unsigned i = n = 0; i < 100; i++)
        n += log_allowed(&l, now + 3600 * second + i);
    CHECK_EQ(n, 10);
    CHECK(!log_allowed(&l, now)); /* a clock that went back */
}

/* ---- memory -------------------------------------------------------------- */

static bool
all_are(const char *p, size_t n, char c)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != c)
            return false;
    }
    return true;
}

static void
shared_memory(void)
{
    enum { LEN = 64 << 10 };
    void *addr;
    char *p, *q;
    int fd;

    CHECK_EQ(host_memory("test", LEN, &addr, &fd), 0);
    p = addr;
    CHECK(all_are(p, LEN, 0));
    CHECK(ftruncate(fd, LEN / 2) < 0);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    q = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
    memset(p, 'm', LEN);
    CHECK(all_are(q, LEN, 'm'));
    host_memory_release(p + 8192, 8192);
    CHECK(all_are(q, 8192, 'm') && all_are(q + 8192, 8192, 0));
    CHECK(all_are(q + 16384, LEN - 16384, 'm'));
    /* Parts of pages, at both ends. */
    host_memory_release(p + 20000, 10000);
    CHECK(all_are(q + 16384, 3616, 'm') && all_are(q + 20000, 10000, 0));
    CHECK(all_are(q + 30000, LEN - 30000, 'm'));
    host_memory_release(p + 40000, 100);
    CHECK(all_are(q + 40000, 100, 0) && q[39999] == 'm' && q[40100] == 'm');
    munmap(q, LEN);
    host_memory_free(addr, LEN, fd);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK_EQ(host_memory("test", LEN, &addr, NULL), 0);
    host_memory_free(addr, LEN, -1);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(fields_of_a_line);
    TEST(the_level_can_change);
    TEST(long_lines_and_names_are_cut);
    TEST(a_journal_that_hangs_holds_up_nobody);
    TEST(a_test_can_listen);
    TEST(to_stderr);
    TEST(many_threads);
    TEST(ten_lines_then_one_a_second);
    TEST(shared_memory);
    return test_end();
}
