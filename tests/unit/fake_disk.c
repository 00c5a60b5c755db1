/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/unit/fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { OPEN, CONNECT, DISCONNECT, CLOSE };

struct step {
    struct step *next;
    struct disk *disk;
    enum kind kind;
    disk_fn *fn;
    void *ctx;
};

struct disk {
    const struct conf_disk *conf;
    char name[64];
    const struct disk_owner *owner;
    void *ctx;
    bool readonly, open, connected, closing;
    struct blk_limits limits;
};

struct fake_disks fd;
static struct step *first, **last = &first;

void
fake_disk_reset(void)
{
    while (fake_disk_step())
        ;
    memset(&fd, 0, sizeof fd);
    fd.limits = (struct blk_limits){ .size = 8ull << 20,
                                     .ops = BLK_ALL_OPS,
                                     .align = 512,
                                     .block = 4096,
                                     .discard_align = 65536 };
}

static void
step_add(struct disk *d, enum kind kind, disk_fn *fn)
{
    struct step *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->disk = d;
    s->kind = kind;
    s->fn = fn;
    s->ctx = d->ctx;
    *last = s;
    last = &s->next;
    fd.expected += fn != NULL;
}

int
disk_open(struct disk **out, struct disks *ds, struct conf *conf,
          const struct conf_disk *cd, bool readonly,
          const struct disk_front *front, const struct disk_owner *owner,
          void *ctx, disk_fn *opened, char *why, size_t n)
{
    struct disk *d;

    (void)ds;
    (void)conf;
    snprintf(fd.attachment, sizeof fd.attachment, "%s", front->attachment);
    fd.used = front->used;
    fd.opens++;
    if (fd.busy) {
        snprintf(why, n, "disk %s: expected to be free, found in use",
                 cd->name);
        return -EBUSY;
    }
    d = calloc(1, sizeof *d);
    if (!d)
        abort();
    d->conf = cd;
    d->owner = owner;
    d->ctx = ctx;
    d->readonly = readonly || cd->readonly;
    *out = fd.last = d;
    fd.open_now++;
    step_add(d, OPEN, opened);
    return 0;
}

const struct blk_limits *
disk_limits(const struct disk *d)
{
    fd.misuses += !d->open;
    return &d->limits;
}

const struct conf_disk *
disk_conf(const struct disk *d)
{
    return d->conf;
}

bool
disk_readonly(const struct disk *d)
{
    return d->readonly;
}

void
disk_connect(struct disk *d, const struct chan_params *p,
             const struct local_share *share, disk_fn *connected)
{
    (void)share;
    fd.misuses += !d->open || d->connected || d->closing;
    fd.params = *p;
    fd.connects++;
    step_add(d, CONNECT, connected);
}

void
disk_disconnect(struct disk *d, disk_fn *disconnected)
{
    fd.misuses += d->closing || !d->connected;
    fd.disconnects++;
    step_add(d, DISCONNECT, disconnected);
}

void
disk_close(struct disk *d, disk_fn *closed)
{
    fd.misuses += d->closing;
    fd.closes++;
    d->closing = true;
    d->owner = NULL;
    step_add(d, CLOSE, closed);
}

void
disk_leave(struct disk *d, disk_fn *closed)
{
    disk_close(d, closed);
}

static void
step_connected(struct disk *d, bool on)
{
    if (d->connected != on)
        fd.connected_now += on ? 1u : -1u;
    d->connected = on;
}

bool
fake_disk_step(void)
{
    struct step *s = first;
    struct disk *d;
    int status = 0;
    const char *why = NULL;

    if (!s)
        return false;
    first = s->next;
    if (!first)
        last = &first;
    d = s->disk;
    if (s->kind == OPEN) {
        status = fd.open_status;
        why = fd.open_why;
        d->open = !status;
        d->limits = fd.limits;
    } else if (s->kind == CONNECT) {
        status = fd.connect_status;
        why = fd.connect_why;
        step_connected(d, !status);
    } else {
        step_connected(d, false);
        fd.open_now -= s->kind == CLOSE;
    }
    if (s->fn) {
        fd.callbacks++;
        s->fn(s->ctx, d, status, status ? why : NULL);
    }
    if (s->kind == CONNECT && !status && fd.stopped && d->owner)
        d->owner->stopped(d->ctx, d, fd.stopped);
    if (s->kind == CLOSE) {
        if (fd.last == d)
            fd.last = NULL;
        free(d);
    }
    free(s);
    return true;
}

bool
fake_disk_run(void)
{
    bool any = false;

    while (!fd.hold && fake_disk_step())
        any = true;
    return any;
}

unsigned
fake_disk_pending(void)
{
    struct step *s;
    unsigned n = 0;

    for (s = first; s; s = s->next)
        n++;
    return n;
}

void
fake_disk_resize(struct disk *d, uint64_t size)
{
    d->limits.size = size;
    if (d->owner)
        d->owner->resized(d->ctx, d);
}

void
fake_disk_fail(struct disk *d, const char *why)
{
    if (d->owner)
        d->owner->failed(d->ctx, d, why);
}

void
fake_disk_recover(struct disk *d)
{
    if (d->owner)
        d->owner->recovered(d->ctx, d);
}
