/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "disk/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/disk_private.h"

static const char *const state_names[] = {
    [DISK_OPENING] = "opening",     [DISK_WAITING] = "waiting",
    [DISK_CONNECTED] = "connected", [DISK_FAILED] = "failed",
    [DISK_CLOSING] = "closing",
};

static void
job_tell(struct job *j)
{
    if (j->fn)
        j->fn(j->ctx, j->disk, j->status, j->status ? j->why : NULL);
}

static void
disk_say(struct disk *d, enum blk_level level, const char *what,
         const char *detail)
{
    struct log_fields f = { .disk = d->name, .vm = d->vm };

    log_line(level, &f, "%s: %s%s%s", d->name, what, detail[0] ? ": " : "",
             detail);
    disks_event(d->disks, what, d->name, detail);
}

/* ---- open ---------------------------------------------------------------- */

static void
disk_open_answer(struct job *j)
{
    struct disk *d = j->disk;

    if (j->status) {
        snprintf(d->reason, sizeof d->reason, "%s", j->why);
        if (d->state != DISK_CLOSING)
            d->state = DISK_FAILED;
        disk_say(d, BLK_ERR, "can't be opened", j->why);
    } else {
        d->limits = j->limits;
        if (d->state != DISK_CLOSING)
            d->state = DISK_WAITING;
        disk_say(d, BLK_INFO, "opened", "");
    }
    job_tell(j);
    job_free(j);
}

static unsigned
disks_idlest(const struct disks *ds)
{
    unsigned i, best = 0;

    for (i = 1; i < ds->loops; i++) {
        if (ds->load[i] < ds->load[best])
            best = i;
    }
    return best;
}

static struct disk *
disk_new(struct disks *ds, struct conf *conf, const struct conf_disk *cd,
         const struct disk_front *front)
{
    struct disk *d = calloc(1, sizeof *d);
    struct unit_place place;

    if (!d)
        return NULL;
    d->disks = ds;
    snprintf(d->name, sizeof d->name, "%s", cd->name);
    d->conf = conf_ref(conf);
    d->conf_disk = cd;
    d->front = *front;
    snprintf(d->vm, sizeof d->vm, "%s", front->vm ? front->vm : "");
    snprintf(d->vdev, sizeof d->vdev, "%s", front->vdev ? front->vdev : "");
    d->front.vm = d->vm;
    d->front.vdev = d->vdev;
    table_key(d->key, d->front.path);
    d->loop = disks_idlest(ds);
    place.control = ds->control;
    place.data = ds->data[d->loop];
    place.sweep = ds->sweeps[d->loop];
    d->node = table_node();
    d->unit = d->node ? unit_new(d, d->name, &place) : NULL;
    if (!d->unit) {
        conf_unref(d->conf);
        free(d->node);
        free(d);
        return NULL;
    }
    ds->load[d->loop]++;
    d->next = ds->first;
    ds->first = d;
    ds->count++;
    return d;
}

int
disk_open(struct disk **out, struct disks *ds, struct conf *conf,
          const struct conf_disk *cd, bool readonly,
          const struct disk_front *front, const struct disk_owner *owner,
          void *ctx, disk_fn *opened, char *why, size_t n)
{
    struct disk *old = disks_find(ds, cd->name), *d;
    struct job *j;

    if (old && old->state != DISK_CLOSING) {
        bool local = !strcmp(old->front.kind, "local");

        snprintf(why, n, "disk %s is in use by %s %s%s%s", cd->name,
                 local ? "the process" : "guest", old->vm,
                 old->vdev[0] ? ", " : "", old->vdev);
        return -EBUSY;
    }
    d = disk_new(ds, conf, cd, front);
    if (!d) {
        snprintf(why, n, "disk %s: out of memory", cd->name);
        return -ENOMEM;
    }
    d->owner = owner;
    d->ctx = ctx;
    d->readonly = readonly || cd->readonly;
    unit_set_readonly(d->unit, d->readonly);
    unit_set_attachment(d->unit, d->front.attachment, d->front.used);
    j = disk_job(d, JOB_OPEN, disk_open_answer, opened, ctx);
    j->conf = cd;
    if (old)
        d->held = j; /* the image's lock is the old one's until it is gone */
    else
        unit_send(d->unit, j);
    *out = d;
    return 0;
}

/* ---- connect, disconnect ------------------------------------------------- */

static void
disk_quarantine(struct disk *d, const char *why, bool ring_broken)
{
    snprintf(d->reason, sizeof d->reason, "%s", why);
    if (d->state != DISK_CLOSING)
        d->state = DISK_FAILED;
    disk_say(d, BLK_ERR, "quarantined", why);
    if (d->owner && d->owner->stopped && !ring_broken)
        d->owner->stopped(d->ctx, d, d->reason);
    else if (d->owner)
        d->owner->failed(d->ctx, d, d->reason);
}

static void
disk_connect_answer(struct job *j)
{
    struct disk *d = j->disk;

    if (j->status) {
        if (strcmp(d->reason, j->why)) { /* it may be tried many times */
            snprintf(d->reason, sizeof d->reason, "%s", j->why);
            disk_say(d, BLK_ERR, "can't be connected", j->why);
        }
        if (j->inherit >= 0) { /* it may be needed yet */
            table_give(d->disks, &d->node, d->key, j->inherit);
            j->inherit = -1;
        }
    } else if (d->state != DISK_CLOSING) {
        d->state = DISK_CONNECTED;
        d->reason[0] = '\0';
        if (j->table_fd >= 0)
            table_keep(d->disks, d->key, j->table_fd);
        else if (j->inherit < 0) /* the one of that key is not this one's */
            table_forget(d->disks, d->key);
        snprintf(d->notice, sizeof d->notice, "%s", j->why);
        if (d->notice[0])
            disk_say(d, BLK_WARN, "recovered", d->notice);
        disk_say(d, BLK_INFO, "connected", "");
    }
    job_tell(j);
    if (j->failed && d->state == DISK_CONNECTED)
        disk_quarantine(d, unit_lossy, false);
    job_free(j);
}

void
disk_connect(struct disk *d, const struct chan_params *p,
             const struct local_share *share, disk_fn *connected)
{
    struct job *j =
        disk_job(d, JOB_CONNECT, disk_connect_answer, connected, d->ctx);

    j->params = *p;
    if (d->key[0])
        j->inherit = table_take(d->disks, d->key, &d->node);
    j->room = table_room(d->disks, d->key);
    j->params.room = j->room;
    if (share) {
        /* The share's descriptors go with the job: the caller has its own. */
        int rc = local_share_dup(&j->share, share);

        if (rc) {
            j->status = rc;
            snprintf(j->why, sizeof j->why, "no file descriptor for the disk");
            disk_connect_answer(j);
            return;
        }
        j->is_local = true;
    }
    unit_send(d->unit, j);
}

/* Nothing of the rings is left to be done; or what is stands in the table, for
 * whoever serves these rings next: this process, perhaps. */
static void
disk_table_over(struct disk *d, struct job *j)
{
    if (!j->late) {
        /* Also one without a request says which ones were answered. */
        if (!d->leaving && !table_waits(d->disks, d->key))
            table_forget(d->disks, d->key);
    } else if (d->key[0] && j->table_fd >= 0) {
        table_give(d->disks, &d->node, d->key, j->table_fd);
        j->table_fd = -1;
    }
}

static void
disk_disconnect_answer(struct job *j)
{
    struct disk *d = j->disk;

    disk_table_over(d, j);
    if (d->state == DISK_CONNECTED || d->state == DISK_FAILED) {
        d->state = DISK_WAITING;
        disk_say(d, BLK_INFO, "disconnected", "");
    }
    job_tell(j);
    job_free(j);
}

void
disk_disconnect(struct disk *d, disk_fn *disconnected)
{
    unit_send(d->unit, disk_job(d, JOB_DISCONNECT, disk_disconnect_answer,
                                disconnected, d->ctx));
}

/* ---- close --------------------------------------------------------------- */

static void
disk_unlink(struct disk *d)
{
    struct disks *ds = d->disks;
    struct disk **p = &ds->first;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    ds->count--;
    ds->load[d->loop]--;
}

static void
disk_close_answer(struct job *j)
{
    struct disk *d = j->disk;
    struct disks *ds = d->disks;

    disk_table_over(d, j);
    disk_say(d, BLK_INFO, "closed", "");
    disk_unlink(d);
    job_tell(j);
    job_free(j);
    unit_free(d->unit);
    disks_name_free(ds, d->name);
    conf_unref(d->conf);
    if (d->conf_old)
        conf_unref(d->conf_old);
    free(d->node);
    free(d);
    if (ds->events && ds->events->closed)
        ds->events->closed(ds->ctx);
    disks_gone(ds);
}

void
disk_close(struct disk *d, disk_fn *closed)
{
    struct job *j = disk_job(d, JOB_CLOSE, disk_close_answer, closed, d->ctx);

    d->state = DISK_CLOSING;
    d->owner = NULL;
    if (d->held) { /* it never opened */
        d->held->status = -ECANCELED;
        snprintf(d->held->why, sizeof d->held->why, "closed before it opened");
        disk_open_answer(d->held);
        d->held = NULL;
    }
    unit_send(d->unit, j);
}

void
disk_leave(struct disk *d, disk_fn *closed)
{
    d->leaving = true;
    disk_close(d, closed);
}

/* ---- unasked ------------------------------------------------------------- */

void
disk_news(struct unit_news *n)
{
    struct disk *d = n->disk;

    if (n->kind == NEWS_THROTTLED) {
        disk_say(d, BLK_WARN, "throttled",
                 "the front-end sends malformed requests, or events without "
                 "requests, faster than it may");
    } else if (n->kind == NEWS_FAILED) {
        disk_quarantine(d, n->why, n->ring_broken);
    } else {
        bool grown = d->limits.size != n->limits.size;
        char detail[64];

        d->limits = n->limits;
        snprintf(detail, sizeof detail, "%llu bytes",
                 (unsigned long long)d->limits.size);
        if (grown) {
            disk_say(d, BLK_INFO, "resized", detail);
            if (d->owner)
                d->owner->resized(d->ctx, d);
        }
    }
    free(n);
}

/* ---- what a person asks -------------------------------------------------- */

static void disk_send(struct disk *, struct job *);

static void
disk_pause_answer(struct job *j)
{
    struct disk *d = j->disk;

    if (!j->status) {
        d->paused = j->kind == JOB_PAUSE;
        disk_say(d, BLK_INFO, d->paused ? "paused" : "resumed", "");
    }
    job_tell(j);
    job_free(j);
}

static void
disk_step(struct disk *d, enum job_kind kind, void (*answer)(struct job *),
          disk_fn *done, void *ctx)
{
    struct job *j = disk_job(d, kind, answer, done, ctx);

    if (j)
        disk_send(d, j);
    else
        done(ctx, d, -ENOMEM, "out of memory");
}

void
disk_pause(struct disk *d, disk_fn *done, void *ctx)
{
    disk_step(d, JOB_PAUSE, disk_pause_answer, done, ctx);
}

void
disk_resume(struct disk *d, disk_fn *done, void *ctx)
{
    disk_step(d, JOB_RESUME, disk_pause_answer, done, ctx);
}

static void
disk_recover_answer(struct job *j)
{
    struct disk *d = j->disk;

    if (!j->status) {
        if (d->state == DISK_FAILED)
            d->state = DISK_CONNECTED;
        d->reason[0] = '\0';
        disk_say(d, BLK_INFO, "recovered", "");
        if (d->owner && d->owner->recovered)
            d->owner->recovered(d->ctx, d);
    } else if (j->tried) {
        snprintf(d->reason, sizeof d->reason, "%s", j->why);
        disk_say(d, BLK_ERR, "can't be recovered", j->why);
    }
    job_tell(j);
    job_free(j);
}

void
disk_recover(struct disk *d, disk_fn *done, void *ctx)
{
    disk_step(d, JOB_RECOVER, disk_recover_answer, done, ctx);
}

/* Nothing is sent to a disk that closes: its data half may be gone before the
 * job arrives.  The answer comes from the loop all the same, and does not touch
 * the disk, which may be gone by then too. */
static void
disk_answer_closing(struct loop_mail *m)
{
    struct job *j = (struct job *)((char *)m - offsetof(struct job, mail));

    if (j->json_fn)
        j->json_fn(j->ctx, json_object_get(j->json));
    else if (j->out_fn)
        j->out_fn(j->ctx, -ESHUTDOWN, json_object_get(j->json));
    else if (j->map_fn)
        j->map_fn(j->ctx, -ESHUTDOWN, "the disk is being closed", NULL);
    else
        j->fn(j->ctx, NULL, -ESHUTDOWN, "the disk is being closed");
    job_free(j);
}

static void
disk_send(struct disk *d, struct job *j)
{
    struct loop *control = d->disks->control;

    if (d->state != DISK_CLOSING) {
        unit_send(d->unit, j);
        return;
    }
    j->json = disk_brief(d);
    j->mail.run = disk_answer_closing;
    control->ops->post(control, &j->mail);
}

static void
disk_show_answer(struct job *j)
{
    struct json_object *o = disk_brief(j->disk);

    json_object_object_foreach(j->json, key, value)
    {
        json_object_object_add(o, key, json_object_get(value));
    }
    j->json_fn(j->ctx, o);
    job_free(j);
}

void
disk_show(struct disk *d, void (*done)(void *, struct json_object *), void *ctx)
{
    struct job *j = disk_job(d, JOB_SHOW, disk_show_answer, NULL, ctx);

    if (!j) { /* what the control half knows is better than nothing */
        done(ctx, disk_brief(d));
        return;
    }
    j->json_fn = done;
    disk_send(d, j);
}

static void
disk_command_answer(struct job *j)
{
    j->out_fn(j->ctx, j->status, j->json);
    j->json = NULL; /* the receiver's */
    job_free(j);
}

static bool
command_words(struct job *j, const char *layer, int argc,
              const char *const *argv)
{
    j->layer = strdup(layer);
    j->argv = calloc((size_t)argc + 1, sizeof *j->argv);
    for (; j->argv && j->argc < argc; j->argc++) {
        j->argv[j->argc] = strdup(argv[j->argc]);
        if (!j->argv[j->argc])
            return false;
    }
    return j->layer && j->argv;
}

void
disk_command(struct disk *d, const char *layer, int argc,
             const char *const *argv,
             void (*done)(void *, int, struct json_object *), void *ctx)
{
    struct job *j = disk_job(d, JOB_COMMAND, disk_command_answer, NULL, ctx);
    bool whole;

    if (j)
        j->out_fn = done;
    whole = j && command_words(j, layer, argc, argv);
    if (whole) {
        disk_send(d, j);
        return;
    }
    if (j)
        job_free(j);
    done(ctx, -ENOMEM, json_object_new_string("out of memory"));
}

static void
disk_map_answer(struct job *j)
{
    struct json_object *map = j->json;

    j->json = NULL; /* the receiver's */
    j->map_fn(j->ctx, j->status, j->status ? j->why : NULL, map);
    job_free(j);
}

void
disk_map(struct disk *d, const struct disk_range *range, disk_map_fn *done,
         void *ctx)
{
    struct job *j = disk_job(d, JOB_MAP, disk_map_answer, NULL, ctx);

    if (!j) {
        done(ctx, -ENOMEM, "out of memory", NULL);
        return;
    }
    j->range = *range;
    j->map_fn = done;
    disk_send(d, j);
}

static void
brief_str(struct json_object *o, const char *name, const char *v)
{
    json_object_object_add(o, name, json_object_new_string(v));
}

struct json_object *
disk_brief(const struct disk *d)
{
    struct json_object *o = json_object_new_object();
    struct json_object *front = json_object_new_object();

    brief_str(o, "disk", d->name);
    brief_str(o, "state",
              d->paused && d->state == DISK_CONNECTED ? "paused"
                                                      : state_names[d->state]);
    if (d->reason[0])
        brief_str(o, "reason", d->reason);
    if (d->notice[0])
        brief_str(o, "notice", d->notice);
    brief_str(o, "mode", conf_mode_name(d->conf_disk->mode));
    json_object_object_add(o, "size", json_object_new_uint64(d->limits.size));
    json_object_object_add(o, "readonly", json_object_new_boolean(d->readonly));
    brief_str(front, "kind", d->front.kind);
    brief_str(front, "vm", d->vm);
    brief_str(front, "vdev", d->vdev);
    json_object_object_add(front, "domid",
                           json_object_new_uint64(d->front.domid));
    brief_str(front, "path", d->front.path);
    json_object_object_add(o, "front", front);
    return o;
}

const struct blk_limits *
disk_limits(const struct disk *d)
{
    return &d->limits;
}

const struct conf_disk *
disk_conf(const struct disk *d)
{
    return d->conf_disk;
}

const struct disk_front *
disk_front(const struct disk *d)
{
    return &d->front;
}

bool
disk_readonly(const struct disk *d)
{
    return d->readonly;
}
