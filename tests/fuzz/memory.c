/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory.c: src/host/memory.c for a fuzz target: the same promises without a
 * system call per execution.  What is freed is kept for the next that asks for
 * as much: only the in-flight table is read before
 * it is written, and cleared for that; nothing is given back to the system.
 *
 * A mapping that others made of our descriptors (an adopted table) is not
 * ours, and is unmapped as in the original.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/host.h"

enum { PIECES = 64 };
struct piece {
    void *addr;
    size_t len;
    int fd;
    bool used;
};

static struct piece piece[PIECES];

static int
make(struct piece *p, const char *name, size_t len)
{
    p->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (p->fd < 0 || ftruncate(p->fd, (off_t)len) ||
        fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return -errno;
    p->addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (p->addr == MAP_FAILED)
        return -errno;
    p->len = len;
    return 0;
}

int
host_memory(const char *name, size_t len, void **addr, int *fd)
{
    for (int i = 0; i < PIECES; i++) {
        struct piece *p = &piece[i];
        int error = p->len ? 0 : make(p, name, len);

        if (error)
            return error;
        if (p->used || p->len != len)
            continue;
        p->used = true;
        if (!strcmp(name, "blktapd-inflight"))
            memset(p->addr, 0, len);
        *addr = p->addr;
        if (fd)
            *fd = p->fd;
        return 0;
    }
    return -ENOMEM;
}

/* No fuzz target keeps a table in a file. */
int
host_memory_in(int file, size_t len, void **addr, int *fd)
{
    (void)file;
    return host_memory("blktapd-inflight", len, addr, fd);
}

void
host_memory_release(void *addr, size_t len)
{
    (void)addr;
    (void)len;
}

void
host_memory_free(void *addr, size_t len, int fd)
{
    for (int i = 0; i < PIECES; i++) {
        if (addr && piece[i].addr == addr) {
            piece[i].used = false;
            return;
        }
    }
    if (addr)
        munmap(addr, len);
    if (fd >= 0)
        close(fd);
}
