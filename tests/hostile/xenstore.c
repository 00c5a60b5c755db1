/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Source of facts: xen/io/xs_wire.h. */
#include "xenstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { XS_READ = 2, XS_WRITE = 11, XS_RM = 13, XS_ERROR = 16, PAYLOAD = 4096 };

struct message {
    uint32_t type, request, transaction, len;
};

int
xenstore_open(void)
{
    int fd = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int
get(int fd, void *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, (char *)to + at, n - at);

        if (got <= 0)
            return -EIO;
        at += (size_t)got;
    }
    return 0;
}

static int
reason(const char *name)
{
    return !strcmp(name, "ENOENT")   ? -ENOENT
           : !strcmp(name, "EACCES") ? -EACCES
           : !strcmp(name, "EINVAL") ? -EINVAL
           : !strcmp(name, "ENOSPC") ? -ENOSPC
                                     : -EIO;
}

/* Path, NUL and value; the answer, NUL-terminated, is left in `answer`. */
static int
call(int fd, uint32_t type, const char *path, const char *value, size_t len,
     char answer[PAYLOAD + 1])
{
    static char out[sizeof(struct message) + PAYLOAD];
    struct message m = { .type = type, .request = 1 };
    size_t n = strlen(path) + 1;

    if (n + len > PAYLOAD)
        return -E2BIG;
    m.len = (uint32_t)(n + len);
    memcpy(out, &m, sizeof(m));
    memcpy(out + sizeof(m), path, n);
    if (len)
        memcpy(out + sizeof(m) + n, value, len);
    n += sizeof(m) + len;
    if (write(fd, out, n) != (ssize_t)n)
        return -EIO;
    if (get(fd, &m, sizeof(m)) || m.len > PAYLOAD || get(fd, answer, m.len))
        return -EIO;
    answer[m.len] = 0;
    return m.type == XS_ERROR ? reason(answer) : (int)m.len;
}

int
xenstore_read(int fd, const char *path, char *value, size_t size)
{
    static char answer[PAYLOAD + 1];
    int n = call(fd, XS_READ, path, NULL, 0, answer);

    if (n < 0)
        return n;
    if ((size_t)n >= size)
        return -E2BIG;
    memcpy(value, answer, (size_t)n + 1);
    return n;
}

int
xenstore_write(int fd, const char *path, const char *value, size_t len)
{
    static char answer[PAYLOAD + 1];
    int n = call(fd, XS_WRITE, path, value, len, answer);

    return n < 0 ? n : 0;
}

int
xenstore_rm(int fd, const char *path)
{
    static char answer[PAYLOAD + 1];
    int n = call(fd, XS_RM, path, NULL, 0, answer);

    return n < 0 ? n : 0;
}
