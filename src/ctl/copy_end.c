/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy_end.c: one side of a copy.
 *
 * A word is a file when it has a '/' in it or begins with '.'; else it is the
 * name of a disk, as it is with "disk:" before it.
 */
#include "config.h"

#include "ctl/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ZERO_BLOCK = 64 * 1024, BUFFERS_MAX = 1 << 30 };

bool
is_zero(const void *buf, uint32_t len)
{
    const char *p = buf;

    return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

enum copy_kind
copy_kind_of(const char *word)
{
    if (!strncmp(word, "disk:", 5))
        return COPY_DISK;
    return strchr(word, '/') || word[0] == '.' ? COPY_FILE : COPY_DISK;
}

static void
end_init(struct copy_end *e, const char *word)
{
    memset(e, 0, sizeof(*e));
    e->fd = -1;
    e->kind = copy_kind_of(word);
    e->name = strncmp(word, "disk:", 5) ? word : word + 5;
}

static int
disk_open(struct copy_end *e, const struct ctl *ctl, bool readonly,
          const struct copy_depth *depth)
{
    struct blktap_options o = { .socket = ctl->socket, .readonly = readonly };
    uint64_t bytes = depth->requests * depth->piece;
    char *why = NULL;

    while (o.ring_order < 4 && 32u << o.ring_order < depth->requests)
        o.ring_order++;
    o.buffers = bytes > BUFFERS_MAX ? BUFFERS_MAX : (unsigned)bytes;
    o.buffers = o.buffers < 1 << 20 ? 1 << 20 : o.buffers;
    e->disk = blktap_open(e->name, &o, &why);
    if (!e->disk) {
        ctl_error("%s", why ? why : "out of memory");
        free(why);
        return 1;
    }
    e->size = blktap_info(e->disk)->size;
    if (!readonly && blktap_info(e->disk)->readonly)
        return ctl_error("disk %s: expected one to write to, found it "
                         "read-only",
                         e->name);
    return 0;
}

static int
file_size(struct copy_end *e)
{
    off_t end = lseek(e->fd, 0, SEEK_END);

    if (end < 0)
        return ctl_error("%s: %s", e->name, strerror(errno));
    e->size = (uint64_t)end;
    return 0;
}

static int
file_open(struct copy_end *e, int flags)
{
    struct stat st;

    e->fd = open(e->name, flags | O_CLOEXEC, 0666);
    if (e->fd < 0 || fstat(e->fd, &st))
        return ctl_error("%s: %s", e->name, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return ctl_error("%s: expected a file or a block device", e->name);
    e->is_new = flags & O_CREAT && S_ISREG(st.st_mode);
    e->zeroed = e->is_new;
    return e->is_new ? 0 : file_size(e);
}

int
copy_end_source(struct copy_end *e, const struct ctl *ctl, const char *word,
                const struct copy_depth *depth)
{
    end_init(e, word);
    e->map = (struct map){ .ctl = ctl, .disk = e->name };
    return e->kind == COPY_DISK ? disk_open(e, ctl, true, depth)
                                : file_open(e, O_RDONLY);
}

int
copy_end_target(struct copy_end *e, const struct ctl *ctl, const char *word,
                const struct copy_depth *depth)
{
    end_init(e, word);
    return e->kind == COPY_DISK ? disk_open(e, ctl, false, depth)
                                : file_open(e, O_RDWR | O_CREAT);
}

int
copy_end_resize(struct copy_end *e, uint64_t size)
{
    /* To nothing first: what was there must not shine through the holes. */
    if (ftruncate(e->fd, 0) || ftruncate(e->fd, (off_t)size))
        return -errno;
    e->size = size;
    return 0;
}

void
copy_end_close(struct copy_end *e)
{
    map_close(&e->map);
    blktap_close(e->disk);
    e->disk = NULL;
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

/* What can't be told can still be read. */
static bool
disk_is_hole(struct copy_end *e, uint64_t off, uint64_t *end)
{
    struct map_extent extent;
    char *why = NULL;

    if (e->mute)
        return false;
    if (map_find(&e->map, off, &extent, &why)) {
        ctl_error("%s: all of it is read", why ? why : "out of memory");
        free(why);
        e->mute = true;
        return false;
    }
    if (extent.len < *end - off)
        *end = off + extent.len;
    return extent.zero;
}

bool
copy_end_is_hole(struct copy_end *e, uint64_t off, uint64_t *end)
{
    off_t data, hole;

    *end = e->size;
    if (e->kind == COPY_DISK)
        return disk_is_hole(e, off, end);
    data = lseek(e->fd, (off_t)off, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO; /* a hole up to the end; else: can't tell */
    if ((uint64_t)data > off) {
        *end = (uint64_t)data;
        return true;
    }
    hole = lseek(e->fd, (off_t)off, SEEK_HOLE);
    if (hole > (off_t)off)
        *end = (uint64_t)hole;
    return false;
}

int
copy_file_read(const struct copy_end *e, void *buf, uint32_t len, uint64_t off)
{
    char *p = buf;

    while (len) {
        ssize_t n = pread(e->fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n) {
            memset(p, 0, len);
            return 0;
        }
        p += n;
        off += (uint64_t)n;
        len -= (uint32_t)n;
    }
    return 0;
}

static int
file_put(int fd, const char *p, uint32_t len, uint64_t off)
{
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        p += n;
        off += (uint64_t)n;
        len -= (uint32_t)n;
    }
    return 0;
}

int
copy_file_write(const struct copy_end *e, const void *buf, uint32_t len,
                uint64_t off, uint64_t *skipped)
{
    const char *p = buf;
    int rc = 0;

    while (len && !rc) {
        uint32_t n = ZERO_BLOCK - (uint32_t)(off % ZERO_BLOCK);

        n = n < len ? n : len;
        if (e->zeroed && is_zero(p, n))
            *skipped += n;
        else
            rc = file_put(e->fd, p, n, off);
        p += n;
        off += n;
        len -= n;
    }
    return rc;
}

static void
flushed(struct blktap_req *r)
{
    *(bool *)r->data = true;
}

static int
disk_flush(struct copy_end *e)
{
    bool done = false;
    struct blktap_req r = { .op = BLKTAP_FLUSH,
                            .done = flushed,
                            .data = &done };
    int rc;

    if (!blktap_info(e->disk)->flush)
        return 0;
    rc = blktap_submit(e->disk, &r);
    while (!rc && !done) {
        rc = blktap_wait(e->disk, -1);
        rc = rc < 0 ? rc : 0;
    }
    return rc ? rc : r.error;
}

int
copy_end_flush(struct copy_end *e)
{
    if (e->kind == COPY_DISK)
        return disk_flush(e);
    return fsync(e->fd) ? -errno : 0;
}
