/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel.c: what the kernel of this domain does by itself. */
#include "config.h"

#include <stdio.h>
#include <unistd.h>

#include "host/host.h"

/* A driver of the xen-backend bus is named by the kind that it binds to. */
bool
host_kernel_serves(const char *kind)
{
    char path[128];
    int n =
        snprintf(path, sizeof path, "/sys/bus/xen-backend/drivers/%s", kind);

    return n > 0 && (size_t)n < sizeof path && !access(path, F_OK);
}
