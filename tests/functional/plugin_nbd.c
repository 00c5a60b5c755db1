/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The nbd plugin against nbdkit and qemu-nbd, as they are installed. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chain/chain.h"
#include "tests/functional/nbd_server.h"
#include "tests/unit/plugin_model.h"

enum { MB = 1 << 20, DISK = 3 * MB };

static uint8_t buf[MB], other[MB];

static const char *
uri(const struct server *s)
{
    static char text[300];

    snprintf(text, sizeof text, "nbd+unix:///?socket=%s", s->socket);
    return text;
}

/* What the server's file holds is what the model says. */
static void
compare_file(const char *path, const struct model *m)
{
    static uint8_t found[DISK];
    int fd = open(path, O_RDONLY);
    size_t i;

    CHECK_EQ(pread(fd, found, m->size, 0), (ssize_t)m->size);
    close(fd);
    for (i = 0; i < m->size && found[i] == m->data[i]; i++)
        ;
    if (i < m->size)
        test_fail(__FILE__, __LINE__, "byte %zu of %s is %02x, expected %02x",
                  i, path, found[i], m->data[i]);
}

/* ---- plain servers ------------------------------------------------------- */

static void
play(struct server *s, const char *options, const char *file, uint64_t seed)
{
    struct run r = { .seed = seed };
    struct model m;

    RUN(r, "nbd uri=%s %s", uri(s), options);
    model_init(&m, &r, DISK);
    model_play(&m, 1500);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    if (file)
        compare_file(file, &m);
    CHECK_EQ(run_counter(&r, 0, "losses"), 0);
    model_free(&m);
    run_close(&r);
    server_stop(s);
}

static void
nbdkit_holds_what_was_written(void)
{
    const char *file = run_file("disk", DISK);
    struct server s;

    server_start(&s, "nbdkit -f -U %%S file %s", file);
    play(&s, "", file, 1);
    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    play(&s, "connections=1 replay=4M", NULL, 2);
}

static void
qemu_nbd_holds_what_was_written(void)
{
    const char *file = run_file("disk", DISK);
    struct server s;

    server_start(&s, "qemu-nbd -t -e 8 -f raw --discard=unmap --socket=%%S %s",
                 file);
    play(&s, "", file, 3);
}

/* A request in many pieces goes through memory of ours, both ways. */
static void
scattered_requests(void)
{
    struct run r = { .seed = 4 };
    struct run_io w = { .op = BLK_WRITE, .len = 65536, .segs = 16, .buf = buf };
    struct run_io g = { .op = BLK_READ, .len = 65536, .segs = 7, .buf = other };
    struct server s;
    unsigned i;

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd uri=%s", uri(&s));
    for (i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)run_random(&r);
    run_start(&r, &w);
    run_wait(&r, &w);
    run_start(&r, &g);
    run_wait(&r, &g);
    CHECK_EQ(w.error, 0);
    CHECK_EQ(g.error, 0);
    CHECK(!memcmp(buf, other, 65536));
    run_close(&r);
    server_stop(&s);
}

static void
offers_what_the_server_can(void)
{
    const struct blk_limits *l;
    struct run r = { 0 };
    struct server s;

    server_start(&s,
                 "nbdkit -f -U %%S --filter=nozero --filter=blocksize-policy "
                 "memory %d zeromode=none blocksize-minimum=4096 "
                 "blocksize-preferred=8192 blocksize-maximum=65536",
                 DISK + 512);
    RUN(r, "nbd uri=%s", uri(&s));
    l = chain_limits(r.chain);
    CHECK_EQ(l->size, DISK);
    CHECK_EQ(l->align, 4096);
    CHECK_EQ(l->block, 8192);
    CHECK_EQ(l->max_len, 65536);
    CHECK(l->volatile_cache && l->fua);
    CHECK(!(l->ops & BLK_BIT(BLK_ZERO)));
    CHECK(l->ops & BLK_BIT(BLK_DISCARD));
    run_close(&r);
    server_stop(&s);
}

static void
read_only(void)
{
    struct run r = { 0 }, again = { 0 };
    struct server s;

    server_start(&s, "nbdkit -r -f -U %%S memory %d", DISK);
    CHECK_EQ(run_open(&r, RUN_READWRITE, "nbd uri=%s", uri(&s)), -EROFS);
    CHECK(strstr(r.why, "expected an export that may be written"));
    REQUIRE(!run_open(&again, RUN_READONLY, "nbd uri=%s", uri(&s)));
    CHECK_EQ(run_io(&again, BLK_READ, 0, 0, buf, 4096), 0);
    CHECK(chain_limits(again.chain)->readonly);
    run_close(&again);
    server_stop(&s);
}

/* A server that nobody may write to, below an image that takes the writes. */
static void
is_the_base_of_an_overlay(void)
{
    const char *base = strdup(run_file("base", DISK));
    const char *over = strdup(run_path("over"));
    struct run r = { .seed = 5 };
    char command[1000];
    struct server s;
    int fd = open(base, O_RDWR | O_CLOEXEC);

    for (unsigned i = 0; i < sizeof other; i++)
        other[i] = (uint8_t)(run_random(&r) | 1);
    REQUIRE(pwrite(fd, other, MB, MB) == MB);
    close(fd);
    snprintf(command, sizeof command,
             "qemu-img create -q -f qcow2 -u -F raw -b base.raw %s %d", over,
             DISK);
    REQUIRE(!system(command));
    server_start(&s, "nbdkit -r -f -U %%S file %s", base);
    CHECK_EQ(run_open(&r, RUN_READWRITE,
                      "qcow2 path=%s backing=base.raw | nbd uri=%s", over,
                      uri(&s)),
             -EROFS);
    CHECK(strstr(r.why, "below an overlay, say readonly = true"));
    r = (struct run){ .seed = 5 };
    RUN(r, "qcow2 path=%s backing=base.raw | nbd uri=%s readonly=true", over,
        uri(&s));
    CHECK(!chain_limits(r.chain)->readonly);
    memset(buf, 'w', 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, MB + 8192, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_DISCARD, 0, MB + 65536, NULL, 65536), 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, MB, buf, MB), 0);
    CHECK(!memcmp(buf, other, 8192));
    CHECK(buf[8192] == 'w' && buf[8192 + 4095] == 'w');
    CHECK(!memcmp(buf + 12288, other + 12288, 65536 - 12288));
    CHECK_EQ(buf[65536], 0);
    CHECK(!memcmp(buf + 131072, other + 131072, MB - 131072));
    run_close(&r);
    server_stop(&s);
    fd = open(base, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, buf, MB, MB), MB);
    CHECK(!memcmp(buf, other, MB));
    close(fd);
}

/* ---- refused at open ----------------------------------------------------- */

static void
refuses(int error, const char *says, const char *options)
{
    struct run r = { 0 };

    CHECK_EQ(run_open(&r, RUN_READWRITE, "nbd start=0 %s", options), error);
    if (!strstr(r.why, says))
        test_fail(__FILE__, __LINE__, "expected \"%s\", found \"%s\"", says,
                  r.why);
}

static void
mistakes_are_told(void)
{
    char text[400];

    refuses(-EINVAL, "expected nbd://", "uri=http://there/");
    refuses(-EINVAL, "expected ?socket=PATH", "uri=nbd+unix:///x");
    refuses(-EINVAL, "expected nbds://", "uri=nbd://there/ tls-psk=/x");
    refuses(-EINVAL, "found both",
            "uri=nbds://there/ tls-psk=/x tls-certificates=/y");
    snprintf(text, sizeof text, "uri=nbd+unix:///?socket=%s",
             run_path("nobody"));
    refuses(-ENOENT, "No such file", text);
}

static void
what_is_no_server_is_refused(void)
{
    struct run r = { 0 };
    struct server s;
    char text[400];

    server_start(&s,
                 "nbdkit -f -U %%S --filter=exportname memory %d "
                 "exportname=disk exportname-strict=true",
                 DISK);
    snprintf(text, sizeof text, "uri=nbd+unix:///other?socket=%s", s.socket);
    refuses(-ENOENT, "other", text);
    /* And the right name is served. */
    RUN(r, "nbd uri=nbd+unix:///disk?socket=%s", s.socket);
    run_close(&r);
    server_stop(&s);
    server_start(&s, "nbdkit -f -U %%S memory 100");
    snprintf(text, sizeof text, "uri=%s", uri(&s));
    refuses(-EINVAL, "expected at least 512 bytes, found 100", text);
    server_stop(&s);
}

/* Takes the first connection there, hangs up, and is gone. */
static void
hang_up_once(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 1))
        _exit(1);
    close(accept(fd, NULL, NULL));
    unlink(path);
}

/* A server that is late is waited for. */
static void
waits_for_a_late_server(void)
{
    struct server s;
    struct run r = { 0 };
    pid_t pid;

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    server_kill(&s, SIGKILL);
    unlink(s.socket);
    fflush(NULL);
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        hang_up_once(s.socket);
        execvp(s.words[0], s.words);
        _exit(1);
    }
    RUN(r, "nbd start=100s uri=%s", uri(&s));
    CHECK(run_counter(&r, 0, "failures") > 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&r);
    s.pid = pid;
    server_stop(&s);
}

/* Once, if it is told so. */
static void
tries_as_long_as_it_is_told(void)
{
    struct run r = { 0 };

    run_log();
    CHECK_EQ(run_open(&r, RUN_READWRITE,
                      "nbd start=0 uri=nbd+unix:///?socket=%s",
                      run_path("nobody")),
             -ENOENT);
    CHECK(!strstr(run_log(), "trying again"));
}

/* ---- servers that die ---------------------------------------------------- */

/* The server keeps what was not flushed in memory: it is lost with it. */
static void
killed_again_and_again(void)
{
    unsigned kills = getenv("CHECK_LONG") ? 1000 : 60, most = kills * 20;
    unsigned losses = kills / 6, rounds = 0;
    const char *file = run_file("disk", DISK);
    struct run r = { .seed = 5 };
    struct server s;
    struct model m;

    server_start(&s, "nbdkit -f -U %%S --filter=cache file %s cache=writeback",
                 file);
    RUN(r, "nbd replay=4M uri=%s", uri(&s));
    model_init(&m, &r, DISK);
    server_keeper(&s, most, 150000, 5);
    /* Where we are slow a server can die before we were connected to it. */
    for (; *s.kills < kills ||
           (run_counter(&r, 0, "losses") < losses && *s.kills < most);
         rounds++)
        model_play(&m, 40);
    kills = *s.kills;
    server_keeper_end(&s);
    model_play(&m, 100);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    compare_file(file, &m);
    printf("%u kills, %u rounds, %" PRIu64 " losses, %" PRIu64
           " requests again, %" PRIu64 " replayed, %" PRIu64 " own flushes\n",
           kills, rounds, run_counter(&r, 0, "losses"),
           run_counter(&r, 0, "again"), run_counter(&r, 0, "replayed"),
           run_counter(&r, 0, "own_flushes"));
    CHECK(run_counter(&r, 0, "losses") >= losses);
    CHECK(run_counter(&r, 0, "replayed") > 0);
    model_free(&m);
    run_close(&r);
    server_stop(&s);
}

/* Written, acknowledged, not flushed, the server dies: it is there again. */
static void
unflushed_writes_are_replayed(void)
{
    const char *file = run_file("disk", DISK);
    struct run r = { .seed = 6 };
    struct server s;

    server_start(&s, "nbdkit -f -U %%S --filter=cache file %s cache=writeback",
                 file);
    RUN(r, "nbd uri=%s", uri(&s));
    memset(buf, 1, 8192);
    memset(buf + 4096, 2, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 8192), 0);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf + 4096, 4096), 0);
    server_kill(&s, SIGKILL);
    server_again(&s);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, other, 8192), 0);
    CHECK_EQ(other[0], 2);
    CHECK_EQ(other[8191], 2);
    CHECK_EQ(run_counter(&r, 0, "replayed"), 2);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), 0);
    server_kill(&s, SIGKILL);
    server_again(&s);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, other, 8192), 0);
    CHECK_EQ(other[0], 2);
    CHECK_EQ(run_counter(&r, 0, "replayed"), 2); /* nothing was left */
    run_close(&r);
    server_stop(&s);
}

static void
gives_up_after_a_time(void)
{
    struct run r = { 0 };
    struct run_io io = { .op = BLK_WRITE, .len = 4096, .buf = buf };
    struct server s;

    run_log(); /* a thousand kills fill it */
    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd reconnect=300ms uri=%s", uri(&s));
    server_kill(&s, SIGKILL);
    run_start(&r, &io);
    run_wait(&r, &io);
    CHECK_EQ(io.error, -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), -EIO);
    CHECK(strstr(run_log(), "requests fail until there is one again"));
    server_again(&s);
    RUN_WAIT(r, run_counter(&r, 0, "connects") == 2);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    server_stop(&s);
}

/* It accepts no other disk under the same name. */
/* A server that is a shell script of nbdkit's: begun, and when its text is
 * written, started. */
static FILE *
script_begin(char path[200], const char *name)
{
    FILE *f;

    snprintf(path, 200, "%s", run_path(name));
    f = fopen(path, "we");
    REQUIRE(f);
    fputs("#!/bin/sh\ncase $1 in\n", f);
    return f;
}

static void
script_start(struct server *s, FILE *f, const char *path)
{
    fputs("*) exit 2;;\nesac 2>/dev/null\n", f);
    fclose(f);
    chmod(path, 0755);
    server_start(s, "nbdkit -f -U %%S sh %s", path);
}

/* It opens whatever connection one likes, and answers no request. */
static void
gives_up_a_server_that_never_answers(void)
{
    struct run r = { 0 };
    struct server s;
    char path[200];
    FILE *f;

    f = script_begin(path, "mute.sh");
    fprintf(f,
            "thread_model) echo parallel;;\n"
            "get_size) echo 16M;;\n"
            "pread) while [ ! -e %s/speak ]; do sleep 0.05; done\n"
            "  dd if=/dev/zero count=$3 iflag=count_bytes;;\n",
            run_dir());
    script_start(&s, f, path);
    RUN(r, "nbd readonly=true timeout=300ms reconnect=1s uri=%s", uri(&s));
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), -EIO);
    CHECK(strstr(run_log(), "no answer for 1 s"));
    run_file("speak", 0);
    RUN_WAIT(r, !run_io(&r, BLK_READ, 0, 0, buf, 4096));
    run_close(&r);
    server_stop(&s);
}

static void
another_size_is_refused(void)
{
    struct run r = { 0 };
    struct run_io io = { .op = BLK_READ, .len = 4096, .buf = buf };
    struct server s;
    char *was;

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd uri=%s", uri(&s));
    was = s.words[5];
    REQUIRE(atoi(was) == DISK);
    server_kill(&s, SIGKILL);
    s.words[5] = (char *)(uintptr_t) "2M";
    server_again(&s);
    run_start(&r, &io);
    RUN_WAIT(r, run_counter(&r, 0, "failures") > 2);
    CHECK(!io.done);
    CHECK(strstr(run_log(), "found that its size is another"));
    server_kill(&s, SIGKILL);
    s.words[5] = was;
    server_again(&s);
    run_wait(&r, &io);
    CHECK_EQ(io.error, 0);
    run_close(&r);
    server_stop(&s);
}

static void
a_silent_server_is_left(void)
{
    struct run r = { 0 };
    struct run_io io = { .op = BLK_READ, .len = 4096, .buf = buf };
    struct server s;

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd timeout=500ms uri=%s", uri(&s));
    server_signal(&s, SIGSTOP);
    run_start(&r, &io);
    RUN_WAIT(r, run_counter(&r, 0, "losses") > 0);
    CHECK(!io.done);
    server_signal(&s, SIGCONT);
    run_wait(&r, &io);
    CHECK_EQ(io.error, 0);
    CHECK(strstr(run_log(), "no answer within 500 ms"));
    run_close(&r);
    server_stop(&s);
}

/* Closed while it looks for a server in vain. */
static void
closes_without_a_server(void)
{
    struct run r = { 0 };
    struct server s;

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd uri=%s", uri(&s));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    server_kill(&s, SIGKILL);
    RUN_WAIT(r, run_counter(&r, 0, "failures") > 0);
    run_close(&r);
    CHECK(strstr(run_log(), "1 writes that were not flushed are left"));
    server_stop(&s);
}

/* ---- servers that fail --------------------------------------------------- */

static void
a_failed_flush_is_final(void)
{
    struct run r = { 0 };
    struct server s;
    char path[200], good[220];
    FILE *f;

    f = script_begin(path, "server.sh");
    snprintf(good, sizeof good, "%s.good", path);
    fprintf(f, "get_size) echo 1M;;\n"
               "pread) dd if=/dev/zero count=$3 iflag=count_bytes;;\n"
               "pwrite) cat >/dev/null;;\n"
               "can_write|can_flush) exit 0;;\n"
               "flush) [ -e $0.good ] || exit 1;;\n");
    script_start(&s, f, path);
    /* What a daemon before us may have written can't be made durable. */
    CHECK_EQ(run_open(&r, RUN_READWRITE, "nbd uri=%s", uri(&s)), -EIO);
    CHECK(strstr(r.why, "expected a server that flushes"));
    fclose(fopen(good, "we"));
    RUN(r, "nbd uri=%s", uri(&s));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK(!unlink(good));
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    CHECK_EQ(r.fatals, 1);
    CHECK(strstr(r.fatal, "flush failed"));
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), -EIO);
    CHECK_EQ(run_io(&r, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, buf, 4096), 0);
    run_close(&r);
    server_stop(&s);
}

static void
errors_of_the_server_are_the_guests(void)
{
    struct run r = { .seed = 7 };
    struct server s;
    unsigned i, errors = 0;

    server_start(&s,
                 "nbdkit -f -U %%S --filter=error memory %d "
                 "error=ENOSPC error-rate=10%%",
                 DISK);
    RUN(r, "nbd uri=%s", uri(&s));
    for (i = 0; i < 500; i++) {
        int rc =
            run_io(&r, i % 3 ? BLK_WRITE : BLK_READ, 0, i * 4096, buf, 4096);

        CHECK(!rc || rc == -ENOSPC);
        errors += rc != 0;
    }
    CHECK(errors > 5 && errors < 200);
    CHECK_EQ(run_counter(&r, 0, "losses"), 0);
    CHECK_EQ(r.fatals, 0);
    run_close(&r);
    server_stop(&s);
}

/* Memory for what is not flushed is bounded: we flush ourselves. */
static void
much_without_a_flush(void)
{
    struct run r = { 0 };
    struct server s;
    unsigned i;

    server_start(&s, "nbdkit -f -U %%S memory 64M");
    RUN(r, "nbd replay=4M uri=%s", uri(&s));
    for (i = 0; i < 20; i++)
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, (uint64_t)i * MB, buf, MB), 0);
    CHECK(run_counter(&r, 0, "own_flushes") >= 4);
    CHECK(run_counter(&r, 0, "unflushed_bytes") <= 4 * MB);
    run_close(&r);
    server_stop(&s);
}

/* ---- TLS ----------------------------------------------------------------- */

static void
keys(void)
{
    struct run r = { 0 };
    struct server s;
    char psk[200], text[600];

    snprintf(psk, sizeof psk, "%s", run_path("keys.psk"));
    snprintf(text, sizeof text, "psktool -u alice -p %s >%s 2>&1", psk,
             run_path("psktool.log"));
    REQUIRE(!system(text));
    server_start(&s, "nbdkit -f -U %%S --tls=require --tls-psk=%s memory %d",
                 psk, DISK);
    RUN(r, "nbd uri=nbds+unix:///?socket=%s tls-psk=%s tls-user=alice",
        s.socket, psk);
    memset(buf, 9, 4096);
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, other, 4096), 0);
    CHECK(!memcmp(buf, other, 4096));
    run_close(&r);
    memset(&r, 0, sizeof r);
    CHECK(run_open(&r, RUN_READWRITE,
                   "nbd start=0 uri=nbds+unix:///?socket=%s tls-psk=%s "
                   "tls-user=bob",
                   s.socket, psk) < 0);
    CHECK(strstr(r.why, s.socket));
    memset(&r, 0, sizeof r);
    CHECK(run_open(&r, RUN_READWRITE, "nbd start=0 uri=%s", uri(&s)) < 0);
    server_stop(&s);
}

static void
certificates(void)
{
    static const char make[] =
        "cd %s && mkdir pki && cd pki && {\n"
        "certtool --generate-privkey --outfile ca-key.pem\n"
        "printf 'cn=ca\\nca\\ncert_signing_key\\n' >ca.info\n"
        "certtool --generate-self-signed --load-privkey ca-key.pem"
        " --template ca.info --outfile ca-cert.pem\n"
        "for w in server client; do\n"
        "certtool --generate-privkey --outfile $w-key.pem\n"
        "printf 'cn=localhost\\ndns_name=localhost\\ntls_www_'$w'\\n"
        "encryption_key\\nsigning_key\\n' >$w.info\n"
        "certtool --generate-certificate --load-ca-certificate ca-cert.pem"
        " --load-ca-privkey ca-key.pem --load-privkey $w-key.pem"
        " --template $w.info --outfile $w-cert.pem\n"
        "done; } >log 2>&1";
    struct run r = { 0 };
    struct server s;
    char text[2000];

    snprintf(text, sizeof text, make, run_dir());
    REQUIRE(!system(text));
    server_start(&s,
                 "nbdkit -f -U %%S --tls=require --tls-verify-peer "
                 "--tls-certificates=%s/pki memory %d",
                 run_dir(), DISK);
    RUN(r, "nbd uri=nbds+unix://localhost/?socket=%s tls-certificates=%s/pki",
        s.socket, run_dir());
    CHECK_EQ(run_io(&r, BLK_WRITE, 0, 0, buf, 4096), 0);
    CHECK_EQ(run_io(&r, BLK_READ, 0, 0, other, 4096), 0);
    CHECK(!memcmp(buf, other, 4096));
    run_close(&r);
    server_stop(&s);
}

/* ---- a life -------------------------------------------------------------- */

/* A server made of a script: the first flush lasts until there is a file
 * "one", the second until there is "two".  Each makes a folder first. */
static void
slow_flushes(struct server *s)
{
    char path[200];
    FILE *f;

    f = script_begin(path, "slow.sh");
    fprintf(f,
            "thread_model) echo parallel;;\n"
            "get_size) echo 16M;;\n"
            "pread) dd if=/dev/zero count=$3 iflag=count_bytes;;\n"
            "pwrite) cat >/dev/null;;\n"
            "can_write|can_flush) exit 0;;\n"
            "flush) if mkdir %s/open; then exit 0;\n"
            "  elif mkdir %s/first; then file=one;\n"
            "  elif mkdir %s/second; then file=two; else exit 0; fi\n"
            "  while [ ! -e %s/$file ]; do sleep 0.02; done;;\n",
            run_dir(), run_dir(), run_dir(), run_dir());
    script_start(s, f, path);
}

static bool
is_there(const char *name)
{
    return !access(run_path(name), F_OK);
}

static void
second_ends(struct blk_timer *t)
{
    (void)t;
    run_file("two", 0);
}

/* The layer's own flush is under way, as there was no room; a flush of the
 * guest's gives room before it ends, so that a write comes after both. */
static void
a_pause_covers_what_its_flush_does_not(void)
{
    struct run r = { 0 };
    struct run_io f = { .op = BLK_FLUSH };
    struct run_io w = { .op = BLK_WRITE, .off = 4 * MB, .len = MB, .buf = buf };
    struct blk_timer t = { .fire = second_ends };
    struct server s;
    unsigned i;

    slow_flushes(&s);
    RUN(r, "nbd connections=1 replay=4M uri=%s", uri(&s));
    for (i = 0; i < 3; i++)
        CHECK_EQ(run_io(&r, BLK_WRITE, 0, (uint64_t)i * MB, buf, MB), 0);
    run_start(&r, &f);
    RUN_WAIT(r, is_there("first"));
    run_start(&r, &w);
    RUN_WAIT(r, is_there("second"));
    run_file("one", 0);
    run_wait(&r, &f);
    run_wait(&r, &w);
    CHECK_EQ(w.error, 0);
    CHECK_EQ(run_counter(&r, 0, "own_flushes"), 2); /* one at open */
    CHECK(run_counter(&r, 0, "unflushed_bytes") > 0);
    r.loop->ops->timer_start(r.loop, &t, 100000000); /* during the pause */
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_counter(&r, 0, "unflushed_bytes"), 0);
    CHECK_EQ(run_counter(&r, 0, "own_flushes"), 3);
    CHECK_EQ(run_resume(&r), 0);
    run_close(&r);
    server_stop(&s);
}

static void
replaced_and_told_to_reconnect(void)
{
    struct run r = { .seed = 8 };
    struct server s;
    struct model m;
    char out[300];

    server_start(&s, "nbdkit -f -U %%S memory %d", DISK);
    RUN(r, "nbd uri=%s", uri(&s));
    model_init(&m, &r, DISK);
    model_play(&m, 200);
    CHECK_EQ(run_replace(&r, "nbd connections=2 uri=%s", uri(&s)), 0);
    model_play(&m, 200);
    CHECK_EQ(run_command(&r, "nbd", "reconnect", out, sizeof out), 0);
    CHECK_EQ(run_command(&r, "nbd", "reconnect", out, sizeof out), -EBUSY);
    model_play(&m, 200);
    CHECK_EQ(run_pause(&r), 0);
    CHECK_EQ(run_counter(&r, 0, "unflushed_bytes"), 0);
    CHECK_EQ(run_resume(&r), 0);
    model_check(&m);
    CHECK_EQ(m.errors, 0);
    CHECK_EQ(run_counter(&r, 0, "connects"), 2);
    CHECK_EQ(run_counter(&r, 0, "open_connections"), 2);
    CHECK_EQ(run_command(&r, "nbd", "sing", out, sizeof out), -EINVAL);
    CHECK_STR(out, "expected info or reconnect, found sing\n");
    model_free(&m);
    run_close(&r);
    server_stop(&s);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(nbdkit_holds_what_was_written);
    TEST(qemu_nbd_holds_what_was_written);
    TEST(scattered_requests);
    TEST(offers_what_the_server_can);
    TEST(read_only);
    TEST(is_the_base_of_an_overlay);
    TEST(mistakes_are_told);
    TEST(what_is_no_server_is_refused);
    TEST(waits_for_a_late_server);
    TEST(tries_as_long_as_it_is_told);
    TEST(killed_again_and_again);
    TEST(unflushed_writes_are_replayed);
    TEST(gives_up_after_a_time);
    TEST(gives_up_a_server_that_never_answers);
    TEST(another_size_is_refused);
    TEST(a_silent_server_is_left);
    TEST(closes_without_a_server);
    TEST(a_failed_flush_is_final);
    TEST(errors_of_the_server_are_the_guests);
    TEST(much_without_a_flush);
    TEST(keys);
    TEST(certificates);
    TEST(a_pause_covers_what_its_flush_does_not);
    TEST(replaced_and_told_to_reconnect);
    return test_end();
}
