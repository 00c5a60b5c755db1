/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory.c: memory with a descriptor, to be shared with another process.
 *
 * Sealed: whoever gets the descriptor can't change its size, and so can't have
 * us die of SIGBUS.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/host.h"

int
host_memory(const char *name, size_t len, void **addr, int *fd)
{
    int f = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

    if (f < 0)
        return -errno;
    if (ftruncate(f, (off_t)len) ||
        fcntl(f, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        goto fail;
    *addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    if (*addr == MAP_FAILED)
        goto fail;
    if (fd)
        *fd = f;
    else
        close(f);
    return 0;
fail:
    err = -errno;
    close(f);
    *addr = NULL;
    return err;
}

/* All of it is allocated now: a full tmpfs would be a SIGBUS later. */
int
host_memory_in(int file, size_t len, void **addr, int *fd)
{
    int f = fcntl(file, F_DUPFD_CLOEXEC, 3), err;

    *addr = NULL;
    if (f < 0)
        return -errno;
    err = ftruncate(f, 0) ? errno : posix_fallocate(f, 0, (off_t)len);
    if (!err) {
        *addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
        err = *addr == MAP_FAILED ? errno : 0;
    }
    if (err) {
        *addr = NULL;
        close(f);
        return -err;
    }
    *fd = f;
    return 0;
}

/* Only whole pages can go; what is left at the ends is cleared. */
void
host_memory_release(void *addr, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)addr, end = from + len;
    uintptr_t first = (from + page - 1) & ~(page - 1), last = end & ~(page - 1);
    char *p = addr;

    if (last <= first ||
        madvise(p + (first - from), last - first, MADV_REMOVE)) {
        memset(p, 0, len);
        return;
    }
    memset(p, 0, first - from);
    memset(p + (last - from), 0, end - last);
}

void
host_memory_free(void *addr, size_t len, int fd)
{
    if (addr)
        munmap(addr, len);
    if (fd >= 0)
        close(fd);
}
