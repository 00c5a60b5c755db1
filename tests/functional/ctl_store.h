/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_store.h: `blktapctl interpose` with a real xenstored, and no daemon: what
 * its tests begin with.  For one file of a program.
 */
#ifndef TESTS_FUNCTIONAL_CTL_STORE_H
#define TESTS_FUNCTIONAL_CTL_STORE_H

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "host/host.h"
#include "tests/functional/xenstored.h"
#include "tests/test.h"

#define FRONT  "/local/domain/7/device/vbd/51712"
#define HOOKED "/local/domain/0/backend/vbd/7/51712"

static struct xenstored xenstored;
static struct loop *loop;
static struct store *store;
static char device[128]; /* a block device, 7:200 */
static char said[4096];

static void
put(const char *path, const char *value)
{
    CHECK_EQ(store->ops->write(store, 0, path, value), 0);
}

static bool
is(const char *path, const char *value)
{
    char *v = store->ops->read(store, 0, path, NULL);
    bool same = v ? value && !strcmp(v, value) : !value;

    free(v);
    return same;
}

/* Its status; what it said, on either stream, is in said. */
static int
ctl(const char *words)
{
    char cmd[512];
    size_t n;
    FILE *f;

    /* libxenstore leaves to the end of the process what it reads with. */
    snprintf(cmd, sizeof cmd,
             "LSAN_OPTIONS=detect_leaks=0 ./blktapctl interpose %s 2>&1",
             words);
    f = popen(cmd, "r");
    REQUIRE(f);
    n = fread(said, 1, sizeof said - 1, f);
    said[n] = '\0';
    return pclose(f);
}

static void
hosts(void)
{
    put("/local/domain/0/name", "Domain-0");
    put("/local/domain/3/name", "store");
    put("/local/domain/7/name", "web");
}

/* As libxl and xen-blkback leave it to the script. */
static void
vbd_made(const char *params)
{
    store->ops->rm(store, 0, HOOKED);
    put(HOOKED "/params", params);
    put(HOOKED "/dev", "xvda");
    put(HOOKED "/mode", "w");
    put(HOOKED "/online", "1");
    put(HOOKED "/state", "2");
    put(HOOKED "/frontend", FRONT);
    put(FRONT "/state", "1");
    put("/libxl/7/device/vbd/51712/backend", HOOKED);
}

/* It need not be there: only what it says of itself counts. */
static bool
device_make(void)
{
    snprintf(device, sizeof device, "%s/device", xenstored.dir);
    return !mknod(device, S_IFBLK | 0600, makedev(7, 200));
}

/* 0; or the exit status of a program that can't begin. */
static int
ctl_store_start(void)
{
    const struct loop_posix_options o = { 0 };
    char why[400] = "";
    int status = 77;

    if (!xenstored_start(&xenstored))
        printf("no xenstored is installed: skipped\n");
    else if (!device_make())
        printf("no block device can be made here: skipped\n");
    else if (loop_posix_new(&loop, "test", &o, why, sizeof why) ||
             store_xen_open(&store, loop, why, sizeof why))
        status = 1;
    else
        return 0;
    printf("%s\n", why);
    xenstored_remove(&xenstored);
    return status;
}

static int
ctl_store_end(void)
{
    store->ops->free(store);
    loop->ops->free(loop);
    xenstored_remove(&xenstored);
    return test_end();
}

#endif
