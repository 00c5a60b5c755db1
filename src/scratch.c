/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scratch.c: see scratch.h.
 *
 *           worker              control loop            worker
 *   sift ─► names in the ─► those of attachments ─► removed, but for
 *           folder          that are over           those in use
 *
 * A file that is in use is locked by whoever uses it, this process or another:
 * so none is removed under a layer, whatever XenStore says.  To free a large
 * file takes its time, hence the worker.
 */
#include "config.h"

#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"

enum { FILES_MAX = 4096 }; /* that are looked at in one go */

/* A file is closed on a worker, a little after its disk. */
#define LATER_NS     UINT64_C(100000000)
#define LATER_MAX_NS UINT64_C(30000000000)

struct scratch_name {
    struct scratch_name *next;
    bool removed, used;
    int error;
    char name[NAME_MAX + 1];
};

static void sift_later(struct blk_timer *);

/* ---- the folder ---------------------------------------------------------- */

void
scratch_open(struct scratch *s, const char *path, const char *user)
{
    int rc;

    memset(s, 0, sizeof *s);
    s->dir = -1;
    snprintf(s->path, sizeof s->path, "%s", path);
    if (!path[0]) {
        snprintf(s->why, sizeof s->why,
                 "expected daemon.scratch = \"FOLDER\" in a configuration that "
                 "is not the system's, found none");
        return;
    }
    rc = folder_make(path, user, &s->dir);
    if (rc)
        snprintf(s->why, sizeof s->why, "%s: %s", path, strerror(-rc));
}

/* What guests wrote is in it. */
void
scratch_begin(struct scratch *s, struct loop *control,
              bool (*over)(void *ctx, const char *attachment), void *ctx)
{
    s->loop = control;
    s->over = over;
    s->ctx = ctx;
    s->later.fire = sift_later;
    s->later.data = s;
    if (s->dir < 0 || folder_is_ours(s->dir))
        return;
    snprintf(
        s->why, sizeof s->why,
        "%s: expected a folder of our own that nobody else can open, found "
        "another",
        s->path);
    close(s->dir);
    s->dir = -1;
}

void
scratch_lend(const struct scratch *s, struct commons *commons)
{
    commons->scratch = s->dir < 0 ? NULL : s->path;
    commons->no_scratch = s->why;
}

/* ---- names --------------------------------------------------------------- */

/* Up to the second comma; false: this is no file of ours. */
static bool
attachment_of(char attachment[SCRATCH_NAME], const char *name)
{
    const char *comma = strchr(name, ',');

    comma = comma ? strchr(comma + 1, ',') : NULL;
    if (!comma || comma - name >= SCRATCH_NAME)
        return false;
    snprintf(attachment, SCRATCH_NAME, "%.*s", (int)(comma - name), name);
    return true;
}

static void
names_free(struct scratch *s)
{
    struct scratch_name *n;

    while ((n = s->first)) {
        s->first = n->next;
        free(n);
    }
}

static void
names_read(struct scratch *s)
{
    int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    char attachment[SCRATCH_NAME];
    struct scratch_name *n;
    struct dirent *entry;
    unsigned files = 0;

    if (!dir && fd >= 0)
        close(fd);
    while (dir && files++ < FILES_MAX && (entry = readdir(dir))) {
        if (!attachment_of(attachment, entry->d_name) ||
            !(n = calloc(1, sizeof *n)))
            continue;
        snprintf(n->name, sizeof n->name, "%s", entry->d_name);
        n->next = s->first;
        s->first = n;
    }
    if (dir)
        closedir(dir);
}

/* Only those of attachments that are over stay in the list. */
static void
names_judge(struct scratch *s, bool (*over)(void *, const char *), void *ctx)
{
    struct scratch_name **p = &s->first, *n;
    char attachment[SCRATCH_NAME];

    while ((n = *p)) {
        if (attachment_of(attachment, n->name) && over(ctx, attachment)) {
            p = &n->next;
            continue;
        }
        *p = n->next;
        free(n);
    }
}

/* ---- removed ------------------------------------------------------------- */

static void
name_remove(const struct scratch *s, struct scratch_name *n)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = openat(s->dir, n->name,
                    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock))
        n->used = true;
    else if (unlinkat(s->dir, n->name, 0))
        n->error = -errno;
    else
        n->removed = true;
    if (fd >= 0)
        close(fd);
}

static void
names_remove(struct scratch *s)
{
    struct scratch_name *n;

    for (n = s->first; n; n = n->next)
        name_remove(s, n);
}

/* Says whether one was in use. */
static bool
names_tell(struct scratch *s)
{
    struct scratch_name *n;
    bool used = false;

    for (n = s->first; n; n = n->next) {
        if (n->removed)
            log_line(BLK_INFO, NULL,
                     "%s/%s: removed: the attachment that it was for is over",
                     s->path, n->name);
        else if (n->used)
            used = true;
        else if (n->error != -ENOENT)
            log_line(BLK_WARN, NULL, "%s/%s: can't be removed: %s", s->path,
                     n->name, strerror(-n->error));
    }
    names_free(s);
    return used;
}

/* ---- sift ---------------------------------------------------------------- */

static void
sift_list(struct blk_work *w)
{
    names_read((struct scratch *)w);
}

static void
sift_remove(struct blk_work *w)
{
    names_remove((struct scratch *)w);
}

static void
sift_later(struct blk_timer *t)
{
    scratch_sift(t->data);
}

static void
sift_over(struct blk_work *w)
{
    struct scratch *s = (struct scratch *)w;
    struct loop *l = s->loop;
    bool used = names_tell(s);

    s->busy = false;
    l->ops->timer_stop(l, &s->later);
    s->later_ns = !used ? 0 : s->later_ns ? s->later_ns * 2 : LATER_NS;
    if (s->later_ns > LATER_MAX_NS)
        s->later_ns = LATER_MAX_NS;
    if (s->again)
        scratch_sift(s);
    else if (used)
        l->ops->timer_start(l, &s->later, s->later_ns);
}

static void
sift_listed(struct blk_work *w)
{
    struct scratch *s = (struct scratch *)w;

    names_judge(s, s->over, s->ctx);
    if (!s->first) {
        sift_over(w);
        return;
    }
    w->work = sift_remove;
    w->done = sift_over;
    s->loop->ops->work(s->loop, w);
}

void
scratch_sift(struct scratch *s)
{
    s->again = s->busy;
    if (s->busy || s->dir < 0)
        return;
    s->busy = true;
    s->work.work = sift_list;
    s->work.done = sift_listed;
    s->loop->ops->work(s->loop, &s->work);
}

/* Who talks to this process alone is gone with it. */
static bool
is_local(void *ctx, const char *attachment)
{
    (void)ctx;
    return !strncmp(attachment, "local,", 6);
}

void
scratch_close(struct scratch *s)
{
    if (!s->loop || s->dir < 0)
        return;
    names_free(s); /* of a sift that the loop's end broke off */
    names_read(s);
    names_judge(s, is_local, NULL);
    names_remove(s);
    names_free(s);
    close(s->dir);
    s->dir = -1;
}
