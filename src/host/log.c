/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.c: lines for people.
 *
 * A line is put into a ring of fixed size; a thread of its own writes it out,
 * since the journal's socket and a terminal may block, and a loop must not.
 * When the ring is full the line is counted, and the count is written instead.
 *
 * There is one log in a process, as there is one stderr: this is the only
 * state here that does not hang off a loop.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* it would be ours, of every line */
#include <systemd/sd-journal.h>

#include "host/host.h"

enum { LINES = 512, TEXT_MAX = 512, FIELD_MAX = 64 };

struct line {
    enum blk_level level;
    char text[TEXT_MAX];
    char disk[FIELD_MAX], vm[FIELD_MAX], layer[FIELD_MAX];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct line line[LINES];
    unsigned head, count; /* of lines not yet written */
    uint64_t dropped;
    bool open, to_journal;
    pthread_t thread;
    void (*tap)(void *, enum blk_level, const char *);
    void *tap_data;
} logger = { .lock = PTHREAD_MUTEX_INITIALIZER,
             .more = PTHREAD_COND_INITIALIZER };

static atomic_int level_max = BLK_INFO;

/* ---- the writing side ---------------------------------------------------- */

static const char *
prefix_of(enum blk_level level)
{
    switch (level) {
    case BLK_ERR:
        return "error: ";
    case BLK_WARN:
        return "warning: ";
    case BLK_DEBUG:
        return "debug: ";
    default:
        return "";
    }
}

static void
to_stderr(const struct line *l)
{
    char buf[TEXT_MAX + 64];
    int n = snprintf(buf, sizeof buf, "blktapd: %s%s\n", prefix_of(l->level),
                     l->text);
    ssize_t done;

    for (char *p = buf; n > 0; p += done, n -= (int)done) {
        done = write(STDERR_FILENO, p, (size_t)n);
        if (done < 0 && errno == EINTR)
            done = 0;
        else if (done < 0)
            break;
    }
}

static unsigned
add_field(struct iovec *v, unsigned n, char *buf, size_t size, const char *name,
          const char *value)
{
    int len;

    if (!value[0])
        return n;
    len = snprintf(buf, size, "%s=%s", name, value);
    v[n].iov_base = buf;
    v[n].iov_len = (size_t)len < size ? (size_t)len : size - 1;
    return n + 1;
}

static void
to_journal(const struct line *l)
{
    char text[TEXT_MAX + 16], level[16], number[4];
    char disk[FIELD_MAX + 16], vm[FIELD_MAX + 16], layer[FIELD_MAX + 16];
    char id[] = "SYSLOG_IDENTIFIER=blktapd";
    struct iovec v[6];
    unsigned n = 0;

    snprintf(number, sizeof number, "%d", (int)l->level);
    n = add_field(v, n, text, sizeof text, "MESSAGE", l->text);
    n = add_field(v, n, level, sizeof level, "PRIORITY", number);
    n = add_field(v, n, disk, sizeof disk, "DISK", l->disk);
    n = add_field(v, n, vm, sizeof vm, "VM", l->vm);
    n = add_field(v, n, layer, sizeof layer, "LAYER", l->layer);
    v[n++] = (struct iovec){ id, sizeof id - 1 };
    if (sd_journal_sendv(v, (int)n) < 0)
        to_stderr(l);
}

static void
write_line(const struct line *l, bool journal)
{
    if (journal)
        to_journal(l);
    else
        to_stderr(l);
}

static void
write_dropped(uint64_t dropped, bool journal)
{
    struct line l = { .level = BLK_WARN };

    snprintf(l.text, sizeof l.text,
             "%" PRIu64 " lines of log could not be written in time", dropped);
    write_line(&l, journal);
}

static void
take_line(struct line *l)
{
    *l = logger.line[logger.head];
    logger.head = (logger.head + 1) % LINES;
    logger.count--;
}

/* Ends when the log was closed and nothing is left. */
static void *
writer(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&logger.lock);
    while (logger.open || logger.count || logger.dropped) {
        bool journal = logger.to_journal;
        uint64_t dropped = logger.dropped;
        struct line l;

        if (logger.count) {
            take_line(&l);
            pthread_mutex_unlock(&logger.lock);
            write_line(&l, journal);
        } else if (dropped) {
            logger.dropped = 0;
            pthread_mutex_unlock(&logger.lock);
            write_dropped(dropped, journal);
        } else {
            pthread_cond_wait(&logger.more, &logger.lock);
            continue;
        }
        pthread_mutex_lock(&logger.lock);
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

/* ---- the side that must not wait ----------------------------------------- */

static void
set_field(char *to, const char *from)
{
    to[0] = '\0';
    if (from)
        snprintf(to, FIELD_MAX, "%s", from);
}

/* A line break in a line would look like another line, which a guest or a
 * server might like to write. */
static void
set_line(struct line *l, enum blk_level level, const struct log_fields *f,
         const char *fmt, va_list ap)
{
    l->level = level;
    vsnprintf(l->text, sizeof l->text, fmt, ap);
    for (char *p = l->text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == '\x7f')
            *p = ' ';
    }
    set_field(l->disk, f ? f->disk : NULL);
    set_field(l->vm, f ? f->vm : NULL);
    set_field(l->layer, f ? f->layer : NULL);
}

/* Before log_open() and after log_close() the caller writes it itself. */
void
log_vline(enum blk_level level, const struct log_fields *f, const char *fmt,
          va_list ap)
{
    void (*tap)(void *, enum blk_level, const char *);
    void *tap_data;
    struct line l;
    bool direct;

    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;
    set_line(&l, level, f, fmt, ap);
    pthread_mutex_lock(&logger.lock);
    tap = logger.tap;
    tap_data = logger.tap_data;
    direct = !logger.open;
    if (!direct && logger.count == LINES) {
        logger.dropped++;
    } else if (!direct) {
        logger.line[(logger.head + logger.count) % LINES] = l;
        logger.count++;
        pthread_cond_signal(&logger.more);
    }
    pthread_mutex_unlock(&logger.lock);
    if (tap)
        tap(tap_data, level, l.text);
    if (direct)
        to_stderr(&l);
}

void
log_line(enum blk_level level, const struct log_fields *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vline(level, f, fmt, ap);
    va_end(ap);
}

void
log_level(int level)
{
    atomic_store(&level_max, level);
}

void
log_tap(void (*cb)(void *, enum blk_level, const char *), void *data)
{
    pthread_mutex_lock(&logger.lock);
    logger.tap = cb;
    logger.tap_data = data;
    pthread_mutex_unlock(&logger.lock);
}

/* ---- life ---------------------------------------------------------------- */

/* If there is no thread to be had, lines are written by who says them. */
void
log_open(int level, bool journal)
{
    sigset_t all, old;

    log_level(level);
    pthread_mutex_lock(&logger.lock);
    logger.to_journal = journal;
    if (!logger.open) {
        logger.open = true;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        if (pthread_create(&logger.thread, NULL, writer, NULL))
            logger.open = false;
        else
            pthread_setname_np(logger.thread, "log");
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_mutex_unlock(&logger.lock);
}

void
log_close(void)
{
    bool was;

    pthread_mutex_lock(&logger.lock);
    was = logger.open;
    logger.open = false;
    pthread_cond_signal(&logger.more);
    pthread_mutex_unlock(&logger.lock);
    if (was)
        pthread_join(logger.thread, NULL);
}

/* ---- guests must not fill the journal ------------------------------------ */

enum { BURST = 10 };
#define SECOND_NS UINT64_C(1000000000)

/* A bucket of ten tokens that gets one a second.  dropped is what was refused
 * since the last line that was allowed: the caller says so and clears it. */
bool
log_allowed(struct log_limit *l, uint64_t now_ns)
{
    uint64_t gained;

    if (!l->at_ns) {
        l->tokens = BURST;
        l->at_ns = now_ns ? now_ns : 1;
    }
    gained = now_ns > l->at_ns ? (now_ns - l->at_ns) / SECOND_NS : 0;
    l->at_ns += gained * SECOND_NS;
    l->tokens =
        gained > BURST - l->tokens ? BURST : l->tokens + (uint32_t)gained;
    if (!l->tokens) {
        l->dropped++;
        return false;
    }
    l->tokens--;
    return true;
}
