/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel.c: what the kernel of this domain does by itself. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/host.h"

/* A driver of the xen-backend bus is named by the kind that it binds to. */
static int
driver_path(char *out, size_t size, const char *kind, const char *leaf)
{
    int n =
        snprintf(out, size, "/sys/bus/xen-backend/drivers/%s%s", kind, leaf);

    return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

bool
host_kernel_serves(const char *kind)
{
    char path[128];

    return !driver_path(path, sizeof path, kind, "") && !access(path, F_OK);
}

int
host_kernel_release(const char *kind, const char *device)
{
    char path[128];
    int fd, rc = driver_path(path, sizeof path, kind, "/unbind");

    if (rc)
        return rc;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    /* The kernel waits for a probe that is under way. */
    if (write(fd, device, strlen(device)) < 0 && errno != ENODEV)
        rc = -errno;
    close(fd);
    return rc;
}
