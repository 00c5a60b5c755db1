/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_hold SOCKET DISK...: is the front-end of disks until its stdin ends.
 * Says "holding N" once it has them all.  When the daemon takes one away it
 * says "lost DISK" and ends with status 3.  With -w each disk gets a write, a
 * flush and a read first, and what was read must be what was written.  So it
 * does for each 'w' on stdin, and a read only for each 'r', and says how that
 * went.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blktap/app.h"

enum { DISKS_MAX = 1000 };

static struct blktap_disk *disk[DISKS_MAX];
static struct pollfd ready[DISKS_MAX + 1];

static void
over(struct blktap_req *r)
{
    *(int *)r->data = 1;
}

static int
one(struct blktap_disk *d, enum blktap_op op, void *buf)
{
    int done = 0, rc;
    struct blktap_req r = { .op = op,
                            .len = op == BLKTAP_FLUSH ? 0 : 4096,
                            .buf = buf,
                            .done = over,
                            .data = &done };

    rc = blktap_submit(d, &r);
    while (!rc && !done) {
        rc = blktap_wait(d, 100000);
        if (!rc && !done)
            return -ETIMEDOUT;
        rc = rc < 0 ? rc : 0;
    }
    return rc ? rc : r.error;
}

static int
write_and_read(struct blktap_disk *d, int n)
{
    char to[4096], from[4096];
    int rc;

    memset(to, 'a' + n % 26, sizeof(to));
    memset(from, 0, sizeof(from));
    rc = one(d, BLKTAP_WRITE, to);
    if (!rc)
        rc = one(d, BLKTAP_FLUSH, NULL);
    if (!rc)
        rc = one(d, BLKTAP_READ, from);
    return rc ? rc : memcmp(to, from, sizeof(to)) ? -EBADMSG : 0;
}

static void
told(char c, int n)
{
    char page[4096];
    int i, rc = 0;

    for (i = 0; i < n && !rc; i++) {
        if (c == 'w')
            rc = write_and_read(disk[i], i);
        else if (c == 'r')
            rc = one(disk[i], BLKTAP_READ, page);
        else
            return;
    }
    printf("%c: %s\n", c, rc ? strerror(-rc) : "done");
    fflush(stdout);
}

static int
hold(int n, char **names)
{
    char c;
    int i;

    for (;;) {
        if (poll(ready, (nfds_t)n + 1, -1) < 0 && errno != EINTR)
            return 1;
        if (ready[n].revents && read(STDIN_FILENO, &c, 1) <= 0)
            return 0;
        if (ready[n].revents)
            told(c, n);
        for (i = 0; i < n; i++) {
            if (ready[i].revents && blktap_reap(disk[i]) < 0) {
                printf("lost %s\n", names[i]);
                return 3;
            }
        }
    }
}

int
main(int argc, char **argv)
{
    int work = argc > 1 && !strcmp(argv[1], "-w"), i, n, rc;
    struct blktap_options o = { .socket = argv[1 + work] };

    n = argc - 2 - work;
    if (n < 1 || n > DISKS_MAX)
        return 1;
    for (i = 0; i < n; i++) {
        char *why;

        disk[i] = blktap_open(argv[2 + work + i], &o, &why);
        if (!disk[i]) {
            printf("%s\n", why);
            free(why);
            return 1;
        }
        rc = work ? write_and_read(disk[i], i) : 0;
        if (rc) {
            printf("%s: %s\n", argv[2 + work + i], strerror(-rc));
            return 1;
        }
        ready[i] =
            (struct pollfd){ .fd = blktap_fd(disk[i]), .events = POLLIN };
    }
    ready[n] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    printf("holding %d\n", n);
    fflush(stdout);
    rc = hold(n, argv + 2 + work);
    for (i = 0; i < n; i++)
        blktap_close(disk[i]);
    return rc;
}
