/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * services.c: what a plugin gets of the host, and how it speaks to people.
 */
#include "config.h"
#include "chain/engine.h"

#include <errno.h>
#include <stdio.h>

uint64_t
blk_now(struct blk_layer *l)
{
    struct loop *loop = l->chain->loop;

    return loop->ops->now(loop);
}

uint64_t
blk_random(struct blk_layer *l)
{
    struct loop *loop = l->chain->loop;

    return loop->ops->random(loop);
}

void
blk_timer_start(struct blk_layer *l, struct blk_timer *t, uint64_t after_ns)
{
    struct loop *loop = l->chain->loop;

    loop->ops->timer_start(loop, t, after_ns);
}

void
blk_timer_stop(struct blk_layer *l, struct blk_timer *t)
{
    struct loop *loop = l->chain->loop;

    loop->ops->timer_stop(loop, t);
}

void
blk_file_open(struct blk_layer *l, struct blk_open *open)
{
    struct loop *loop = l->chain->loop;

    loop->ops->file_open(loop, open);
}

void
blk_file_stat(struct blk_layer *l, struct blk_open *open)
{
    struct loop *loop = l->chain->loop;

    loop->ops->file_stat(loop, open);
}

void
blk_file_close(struct blk_layer *l, struct blk_file *file)
{
    struct loop *loop = l->chain->loop;

    loop->ops->file_close(loop, file);
}

void
blk_io_start(struct blk_layer *l, struct blk_io *io)
{
    struct loop *loop = l->chain->loop;

    loop->ops->io(loop, io);
}

void
blk_work_start(struct blk_layer *l, struct blk_work *work)
{
    struct loop *loop = l->chain->loop;

    loop->ops->work(loop, work);
}

int
blk_memory(struct blk_layer *l, size_t len, void **addr, int *fd)
{
    return host_memory(l->name, len, addr, fd);
}

void
blk_memory_free(struct blk_layer *l, void *addr, size_t len, int fd)
{
    (void)l;
    host_memory_free(addr, len, fd);
}

static const char no_attachment[] =
    "which attachment of the disk this is can't be told, so neither can a file "
    "be found that goes with it: detach the disk and attach it again";

int
blk_scratch(struct blk_layer *l, char *path, size_t n, enum blk_scratch *what)
{
    const struct chain *c = l->chain;
    const struct commons *commons = c->loop->commons;
    int length;

    if (!commons->scratch) {
        blk_why(l, "no folder for files that go with the attachment: %s",
                commons->no_scratch ? commons->no_scratch
                                    : "the daemon was given none");
        return -ENOENT;
    }
    if (!c->attachment) {
        blk_why(l, "%s", no_attachment);
        return -ESTALE;
    }
    length = snprintf(path, n, "%s/%s,%s,%s", commons->scratch, c->attachment,
                      c->disk, conf_name(l->conf));
    if (length < 0 || (size_t)length >= n) {
        blk_why(l, "%s: its name would be too long", commons->scratch);
        return -ENAMETOOLONG;
    }
    *what = c->state == CHAIN_STARTED ? BLK_SCRATCH_NEW
            : c->resumed              ? BLK_SCRATCH_OLD
                                      : BLK_SCRATCH_ANY;
    return 0;
}

int
blk_keep(struct blk_layer *l, struct blk_keep *k)
{
    const struct chain *c = l->chain;
    struct keeper *keeper = c->loop->commons->keeper;
    char name[400];
    int rc = 0;

    k->bytes = NULL;
    k->made = false;
    if (!keeper || !c->attachment) {
        snprintf(k->why, sizeof(k->why), "%s",
                 keeper ? no_attachment
                        : "this daemon keeps no keys for layers");
        return keeper ? -ESTALE : -ENOENT;
    }
    snprintf(name, sizeof(name), "%s,%s,%s", c->attachment, c->disk,
             conf_name(l->conf));
    rc = keeper->ask(keeper, c->loop, name, k);
    if (rc)
        snprintf(k->why, sizeof(k->why), "no memory");
    return rc;
}

/* ---- memory for keys ----------------------------------------------------- */

void *
blk_secret_map(size_t n)
{
    return host_secret_map(n);
}

void
blk_secret_unmap(void *p, size_t n)
{
    host_secret_unmap(p, n);
}

void
blk_secret_begin(void)
{
    host_secret_begin();
}

void
blk_secret_end(void)
{
    host_secret_end();
}

void *
blk_secret_malloc(size_t n, const char *file, int line)
{
    return host_secret_malloc(n, file, line);
}

void *
blk_secret_realloc(void *p, size_t n, const char *file, int line)
{
    return host_secret_realloc(p, n, file, line);
}

void
blk_secret_free(void *p, const char *file, int line)
{
    host_secret_free(p, file, line);
}

/* ---- descriptors and fronts ---------------------------------------------- */

void
blk_watch_start(struct blk_layer *l, struct blk_watch *w)
{
    struct loop *loop = l->chain->loop;

    loop->ops->watch_start(loop, w);
}

void
blk_watch_stop(struct blk_layer *l, struct blk_watch *w)
{
    struct loop *loop = l->chain->loop;

    loop->ops->watch_stop(loop, w);
}

struct fronts *
blk_fronts(struct blk_layer *l)
{
    return l->chain->loop->fronts;
}

void
blk_lend(struct blk_layer *l, struct blk_lender *lender)
{
    l->lender = lender;
}

/* ---- sentences ----------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void
say(struct blk_layer *l, enum blk_level level, const char *fmt, va_list ap)
{
    struct log_fields fields = {
        .disk = l->chain->disk,
        .layer = l->conf ? conf_name(l->conf) : "head",
    };
    char line[600];

    vsnprintf(line, sizeof(line), fmt, ap);
    log_line(level, &fields, "%s: %s", l->name, line);
}

void
blk_log(struct blk_layer *l, enum blk_level level, const char *fmt, ...)
{
    struct log_limit *limit = &l->log_limit;
    va_list ap;

    if (level != BLK_DEBUG && !log_allowed(limit, blk_now(l)))
        return;
    if (limit->dropped) {
        log_line(BLK_WARN, NULL, "%s: %u lines were left out", l->name,
                 limit->dropped);
        limit->dropped = 0;
    }
    va_start(ap, fmt);
    say(l, level, fmt, ap);
    va_end(ap);
}

void
blk_trace(struct blk_layer *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(l, BLK_INFO, fmt, ap);
    va_end(ap);
}

void
blk_why(struct blk_layer *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(l->why, sizeof(l->why), fmt, ap);
    va_end(ap);
}

void
blk_fatal(struct blk_layer *l, int error, const char *fmt, ...)
{
    char why[200], line[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    snprintf(line, sizeof(line), "%s: %s", l->name, why);
    engine_fatal(l->chain, error, line);
}
