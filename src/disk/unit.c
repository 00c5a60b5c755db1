/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "disk/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/unit_private.h"

static void unit_next(struct unit *);

const char unit_lossy[] =
    "data that was acknowledged may be lost: a flush or a layer failed before "
    "the daemon was started again";

/* ---- answers and news ---------------------------------------------------- */

static void
job_answered(struct loop_mail *m)
{
    struct job *j = (struct job *)((char *)m - offsetof(struct job, mail));

    j->answer(j);
}

void
unit_answer(struct unit *u, struct job *j)
{
    j->mail.run = job_answered;
    u->place.control->ops->post(u->place.control, &j->mail);
}

/* The job at work is over; the next may begin. */
void
unit_job_over(struct unit *u, int status, const char *why)
{
    struct job *j = u->now;
    bool gone = u->state == UNIT_GONE;

    assert(j);
    j->status = status;
    if (status && why != j->why)
        snprintf(j->why, sizeof j->why, "%s", why ? why : strerror(-status));
    u->now = NULL;
    if (gone)
        unit_maps_end(u);
    unit_answer(u, j);
    /* With the answer to CLOSE the control loop frees the unit, which may have
     * happened by now. */
    if (!gone)
        unit_next(u);
}

void
unit_fail(struct unit *u, const char *why)
{
    if (u->failed)
        return;
    u->failed = true;
    snprintf(u->reason, sizeof u->reason, "%s", why);
    unit_tell(u, NEWS_FAILED, NULL);
}

void
unit_fail_for_good(struct unit *u, struct chan *c, const char *why)
{
    if (c)
        chan_lossy(c);
    unit_fail(u, why);
}

static void
unit_relimit(void *ctx, const struct blk_limits *l)
{
    struct unit *u = ctx;

    if (u->chan)
        chan_resize(u->chan, l->size);
    unit_tell(u, NEWS_LIMITS, l);
}

static void
unit_chain_fatal(void *ctx, int error, const char *why)
{
    struct unit *u = ctx;

    (void)error;
    u->chain_failed = true;
    unit_fail_for_good(u, u->chan, why);
}

static const struct chain_events unit_events = {
    .relimit = unit_relimit,
    .fatal = unit_chain_fatal,
    .accept = unit_accept,
};

/* ---- open ---------------------------------------------------------------- */

int
unit_chain_new(struct unit *u, char *why, size_t n)
{
    struct chain_spec spec = conf_running(u->conf);

    spec.readonly = u->readonly;
    spec.attachment = u->attachment;
    spec.resumed = u->used;
    return chain_new(&u->chain, u->place.data, &spec, &unit_events, u, why, n);
}

static void
unit_opened(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    if (error) {
        chain_free(u->chain);
        u->chain = NULL;
    } else {
        u->state = UNIT_IDLE;
        u->used = true;
        u->now->limits = *chain_limits(u->chain);
    }
    unit_job_over(u, error, op->why);
}

static void
unit_open(struct unit *u, struct job *j)
{
    char why[256] = "";
    int rc;

    u->conf = j->conf;
    rc = unit_chain_new(u, why, sizeof why);
    if (rc) {
        unit_job_over(u, rc, why);
        return;
    }
    u->op.done = unit_opened;
    chain_start(u->chain, &u->op);
}

/* ---- connect ------------------------------------------------------------- */

static void
unit_params(struct unit *u, struct chan_params *p)
{
    const struct blk_limits *l = chain_limits(u->chain);

    p->size = l->size;
    p->align = 512;
    p->readonly = u->readonly || l->readonly;
    /* What a front-end was promised before a restart holds. */
    if (!p->resumed || p->max_indirect < u->conf->indirect)
        p->max_indirect = u->conf->indirect;
    p->discard = u->conf->discard && (l->ops & BLK_BIT(BLK_DISCARD));
    p->barrier = u->conf->barrier || (p->resumed && p->barrier);
    p->buffer_max = (size_t)u->conf->buffers;
}

static void
unit_local_close(struct unit *u)
{
    if (u->local_sweep)
        sweep_free(u->local_sweep);
    if (u->local_tap)
        u->local_tap->ops->free(u->local_tap);
    u->local_sweep = NULL;
    u->local_tap = NULL;
}

static int
unit_local_open(struct unit *u, struct job *j)
{
    int rc;

    rc = tap_local_open(&u->local_tap, u->place.data, &j->share);
    if (rc) {
        u->local_tap = NULL;
        return rc;
    }
    rc = sweep_new(&u->local_sweep, u->local_tap);
    if (rc) {
        u->local_sweep = NULL;
        unit_local_close(u);
    }
    return rc;
}

static int
unit_channel_open(struct unit *u, struct job *j)
{
    struct sweep *s = j->is_local ? u->local_sweep : u->place.sweep;
    int rc;

    if (!s) {
        snprintf(j->why, sizeof j->why,
                 "expected a Xen host, found none: /dev/xen is not open");
        return -ENODEV;
    }
    unit_params(u, &j->params);
    if (j->inherit >= 0 && !j->params.resumed)
        j->params.resumed = chan_table_of(j->inherit, j->params.nonce);
    if (j->inherit >= 0 && !j->params.resumed) {
        close(j->inherit); /* of an earlier connection: it is over */
        j->inherit = -1;
    }
    rc = chan_open(&u->chan, s, &j->params, &head_ops, u, j->inherit, j->why,
                   sizeof j->why);
    if (rc) {
        u->chan = NULL;
        return rc;
    }
    if (j->inherit >= 0 && !chan_adopted(u->chan)) {
        close(j->inherit); /* of no use: j->why says so */
        j->inherit = -1;
    }
    rc = chain_reserve(u->chain, chan_depth(u->chan));
    if (rc) {
        chan_close(u->chan);
        u->chan = NULL;
    } else if (chan_table_fd(u->chan) >= 0) {
        j->table_fd = fcntl(chan_table_fd(u->chan), F_DUPFD_CLOEXEC, 3);
    }
    return rc;
}

/* A new connection begins with nothing that could have been lost.  One that is
 * gone on with has what it had, whoever served it before. */
static void
unit_connected(struct unit *u, struct job *j)
{
    u->state = UNIT_CONNECTED;
    j->failed = chan_is_lossy(u->chan);
    u->failed = j->failed;
    snprintf(u->reason, sizeof u->reason, "%s", j->failed ? unit_lossy : "");
}

/* What an earlier connection left in the chain must end first: an old write
 * must not overtake a new one. */
void
unit_connect_go(struct unit *u)
{
    struct job *j = u->now;
    int rc = 0;

    if (u->in_chain)
        return; /* unit_request_over() comes back */
    u->ring_broken = false;
    if (j->is_local)
        rc = unit_local_open(u, j);
    if (!rc)
        rc = unit_channel_open(u, j);
    if (rc)
        unit_local_close(u);
    else
        unit_connected(u, j);
    unit_job_over(u, rc, j->why[0] ? j->why : NULL); /* set in place */
}

static void
unit_connect(struct unit *u, struct job *j)
{
    (void)j;
    if (u->state != UNIT_IDLE) {
        unit_job_over(u, -EBUSY, "the disk has a front-end already");
        return;
    }
    if (!u->chain) {
        unit_rechain(u);
        return;
    }
    if (u->chain_failed && !u->in_chain) {
        unit_rechain(u);
        return;
    }
    unit_connect_go(u);
}

/* ---- disconnect ---------------------------------------------------------- */

static void
unit_disconnected(struct unit *u)
{
    u->draining = false;
    u->place.data->ops->timer_stop(u->place.data, &u->deadline);
    chan_close(u->chan);
    u->chan = NULL;
    unit_local_close(u);
    u->state = UNIT_IDLE;
    if (u->now->kind == JOB_CLOSE) {
        /* go on with it: see unit_close() */
        struct job *j = u->now;

        u->now = NULL;
        j->next = u->queue;
        u->queue = j;
        if (!j->next)
            u->queue_tail = &j->next;
        unit_next(u);
    } else {
        unit_job_over(u, 0, NULL);
    }
}

static void
unit_drained(void *arg)
{
    struct unit *u = arg;

    if (u->draining)
        unit_disconnected(u);
}

static void
unit_drain_late(struct blk_timer *t)
{
    struct unit *u = t->data;
    struct log_fields f = { .disk = u->name };

    log_line(BLK_WARN, &f,
             "%s: %u requests did not end in %u s; their answers are lost with "
             "the ring",
             u->name, u->in_chain, (unsigned)(UNIT_DRAIN_NS / 1000000000));
    if (u->draining) {
        u->now->late = true;
        if (chan_table_fd(u->chan) >= 0)
            u->now->table_fd =
                fcntl(chan_table_fd(u->chan), F_DUPFD_CLOEXEC, 3);
        unit_disconnected(u);
    }
}

static void
unit_disconnect(struct unit *u)
{
    if (!u->chan) {
        unit_job_over(u, 0, NULL);
        return;
    }
    u->draining = true;
    u->deadline.fire = unit_drain_late;
    u->deadline.data = u;
    u->place.data->ops->timer_start(u->place.data, &u->deadline, UNIT_DRAIN_NS);
    chan_drain(u->chan, unit_drained, u);
}

/* ---- close --------------------------------------------------------------- */

static void
unit_chain_stopped(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    chain_free(u->chain);
    u->chain = NULL;
    unit_news_end(u);
    u->state = UNIT_GONE;
    unit_job_over(u, error, op->why);
}

static void unit_close(struct unit *u);

static void
unit_close_resumed(struct chain_op *op, int error)
{
    struct unit *u = op->data;

    (void)error;
    u->paused = false;
    unit_close(u);
}

static void
unit_close(struct unit *u)
{
    if (u->paused) {
        u->op.done = unit_close_resumed;
        chain_resume(u->chain, &u->op);
    } else if (u->chan) {
        unit_disconnect(u); /* comes back through unit_disconnected() */
    } else if (!u->chain) {
        unit_news_end(u);
        u->state = UNIT_GONE;
        unit_job_over(u, 0, NULL);
    } else if (!u->in_chain) { /* else: unit_request_over() comes back */
        u->op.done = unit_chain_stopped;
        chain_stop(u->chain, &u->op);
    }
}

void
unit_request_over(struct unit *u)
{
    assert(u->in_chain);
    if (--u->in_chain || !u->now)
        return;
    if (u->now->kind == JOB_CONNECT)
        unit_connect(u, u->now);
    else if (u->now->kind == JOB_RECOVER)
        unit_recover(u);
    else if (u->now->kind == JOB_CLOSE && !u->chan && !u->paused)
        unit_close(u);
}

/* ---- jobs ---------------------------------------------------------------- */

static void
unit_next(struct unit *u)
{
    struct job *j = u->queue;

    if (u->now)
        return;
    if (!j) {
        unit_map_next(u);
        return;
    }
    u->queue = j->next;
    if (!u->queue)
        u->queue_tail = &u->queue;
    j->next = NULL;
    u->now = j;
    u->op.data = u;
    u->op.why[0] = '\0';
    switch (j->kind) {
    case JOB_OPEN:
        unit_open(u, j);
        break;
    case JOB_CONNECT:
        unit_connect(u, j);
        break;
    case JOB_DISCONNECT:
        unit_disconnect(u);
        break;
    case JOB_CLOSE:
        unit_close(u);
        break;
    case JOB_PAUSE:
        unit_pause(u);
        break;
    case JOB_RESUME:
        unit_resume(u);
        break;
    case JOB_REPLACE:
        unit_replace(u, j);
        break;
    case JOB_RECOVER:
        unit_recover(u);
        break;
    case JOB_SHOW:
    case JOB_COMMAND:
    case JOB_MAP:
        break; /* looks are not queued: job_arrived() */
    }
}

static void
job_arrived(struct loop_mail *m)
{
    struct job *j = (struct job *)((char *)m - offsetof(struct job, mail));
    struct unit *u = j->unit;

    if (j->kind == JOB_SHOW) {
        j->json = unit_show(u);
        unit_answer(u, j);
    } else if (j->kind == JOB_COMMAND) {
        j->status = unit_command(u, j->layer, j->argc, j->argv, &j->json);
        unit_answer(u, j);
    } else if (j->kind == JOB_MAP) {
        unit_map(u, j);
    } else {
        j->next = NULL;
        *u->queue_tail = j;
        u->queue_tail = &j->next;
        unit_next(u);
    }
}

void
unit_send(struct unit *u, struct job *j)
{
    j->unit = u;
    j->mail.run = job_arrived;
    u->place.data->ops->post(u->place.data, &j->mail);
}

struct unit *
unit_new(struct disk *d, const char *name, const struct unit_place *place)
{
    struct unit *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->disk = d;
    u->name = name;
    u->place = *place;
    u->queue_tail = &u->queue;
    u->maps_tail = &u->maps;
    return u;
}

void
unit_set_readonly(struct unit *u, bool readonly)
{
    u->readonly = readonly;
}

void
unit_set_attachment(struct unit *u, const char *name, bool used)
{
    u->attachment = name[0] ? name : NULL;
    u->used = used;
}

void
unit_free(struct unit *u)
{
    free(u);
}
