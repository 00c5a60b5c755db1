/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * alloc.c: a table of what the daemon has.  Open addressing; a key is an
 * address, or a descriptor shifted and made odd (no address is odd).
 */
#include "config.h"

#include "tests/sim/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/host.h"

/* What objcopy makes of the daemon's references. */
void *alloc_malloc(size_t);
void *alloc_calloc(size_t, size_t);
void *alloc_realloc(void *, size_t);
int alloc_posix_memalign(void **, size_t, size_t);
void *alloc_aligned_alloc(size_t, size_t);
char *alloc_strdup(const char *);
int alloc_asprintf(char **, const char *, ...)
    __attribute__((format(printf, 2, 3)));
void alloc_free(void *);
int alloc_host_memory(const char *, size_t, void **, int *);
void alloc_host_memory_free(void *, size_t, int);
void *alloc_mmap(void *, size_t, int, int, int, off_t);
int alloc_munmap(void *, size_t);
int alloc_fcntl(int, int, ...);
int alloc_close(int);
int alloc_local_share_make(struct local_share *, uint32_t, uint32_t);
int alloc_local_share_dup(struct local_share *, const struct local_share *);
void alloc_local_share_close(struct local_share *);

struct had {
    uintptr_t key; /* 0: free */
    size_t len;    /* of a mapping; 0: a block of the heap */
    void *from;    /* who asked for it */
};

static struct {
    struct had *slot;
    size_t room, used;
    bool on, fails;
    unsigned long count, nth, failed;
    enum fault_times times;
} a;

/* ---- the table ----------------------------------------------------------- */

static size_t
home(uintptr_t key)
{
    return (size_t)(((uint64_t)key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) &
           (a.room - 1);
}

static struct had *
find(uintptr_t key)
{
    size_t i;

    if (!a.room)
        return NULL;
    for (i = home(key); a.slot[i].key; i = (i + 1) & (a.room - 1)) {
        if (a.slot[i].key == key)
            return &a.slot[i];
    }
    return NULL;
}

static void
insert(struct had had)
{
    size_t i = home(had.key);

    while (a.slot[i].key)
        i = (i + 1) & (a.room - 1);
    a.slot[i] = had;
    a.used++;
}

static void
grow(void)
{
    struct had *old = a.slot;
    size_t room = a.room;

    a.room = room ? 2 * room : 1024;
    a.slot = calloc(a.room, sizeof *a.slot);
    if (!a.slot)
        abort();
    a.used = 0;
    for (size_t i = 0; i < room; i++) {
        if (old[i].key)
            insert(old[i]);
    }
    free(old);
}

static void
have(uintptr_t key, size_t len, void *from)
{
    if (!a.on || !key)
        return;
    if (2 * (a.used + 1) > a.room)
        grow();
    insert((struct had){ key, len, from });
}

/* What follows in the same run of slots must still be found. */
static void
lose(uintptr_t key)
{
    struct had *h = find(key), later;
    size_t i;

    if (!h)
        return;
    h->key = 0;
    a.used--;
    i = ((size_t)(h - a.slot) + 1) & (a.room - 1);
    for (; a.slot[i].key; i = (i + 1) & (a.room - 1)) {
        later = a.slot[i];
        a.slot[i].key = 0;
        a.used--;
        insert(later);
    }
}

static uintptr_t
fd_key(int fd)
{
    return ((uintptr_t)(unsigned)fd << 1) | 1;
}

static bool
refused(void)
{
    if (!a.on || !a.fails)
        return false;
    a.count++;
    if (!a.nth || a.count < a.nth || (a.times == FAULT_ONCE && a.count > a.nth))
        return false;
    a.failed++;
    errno = ENOMEM;
    return true;
}

#define FROM __builtin_return_address(0)

/* ---- what the daemon calls ----------------------------------------------- */

void *
alloc_malloc(size_t n)
{
    void *p = refused() ? NULL : malloc(n);

    have((uintptr_t)p, 0, FROM);
    return p;
}

void *
alloc_calloc(size_t n, size_t size)
{
    void *p = refused() ? NULL : calloc(n, size);

    have((uintptr_t)p, 0, FROM);
    return p;
}

void *
alloc_realloc(void *old, size_t n)
{
    void *p;

    if (refused())
        return NULL;
    if (old)
        lose((uintptr_t)old);
    p = realloc(old, n);
    have((uintptr_t)(p ? p : old), 0, FROM);
    return p;
}

int
alloc_posix_memalign(void **out, size_t align, size_t n)
{
    int rc = refused() ? ENOMEM : posix_memalign(out, align, n);

    if (!rc)
        have((uintptr_t)*out, 0, FROM);
    return rc;
}

void *
alloc_aligned_alloc(size_t align, size_t n)
{
    void *p = refused() ? NULL : aligned_alloc(align, n);

    have((uintptr_t)p, 0, FROM);
    return p;
}

char *
alloc_strdup(const char *s)
{
    char *p = refused() ? NULL : strdup(s);

    have((uintptr_t)p, 0, FROM);
    return p;
}

int
alloc_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;
    int n = -1;

    va_start(ap, fmt);
    if (!refused())
        n = vasprintf(out, fmt, ap);
    va_end(ap);
    if (n >= 0)
        have((uintptr_t)*out, 0, FROM);
    return n;
}

void
alloc_free(void *p)
{
    if (p)
        lose((uintptr_t)p);
    free(p);
}

int
alloc_host_memory(const char *name, size_t len, void **addr, int *fd)
{
    int rc = refused() ? -ENOMEM : host_memory(name, len, addr, fd);

    if (rc)
        return rc;
    have((uintptr_t)*addr, len, FROM);
    if (fd)
        have(fd_key(*fd), 0, FROM);
    return 0;
}

void
alloc_host_memory_free(void *addr, size_t len, int fd)
{
    if (addr)
        lose((uintptr_t)addr);
    if (fd >= 0)
        lose(fd_key(fd));
    host_memory_free(addr, len, fd);
}

void *
alloc_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    void *p = refused() ? MAP_FAILED : mmap(at, len, prot, flags, fd, off);

    if (p != MAP_FAILED)
        have((uintptr_t)p, len, FROM);
    return p;
}

int
alloc_munmap(void *at, size_t len)
{
    lose((uintptr_t)at);
    return munmap(at, len);
}

/* Copies of a descriptor are descriptors. */
int
alloc_fcntl(int fd, int cmd, ...)
{
    va_list ap;
    long arg;
    int rc;

    va_start(ap, cmd);
    arg = cmd == F_GET_SEALS ? 0 : va_arg(ap, int);
    va_end(ap);
    if (cmd != F_DUPFD_CLOEXEC)
        return fcntl(fd, cmd, arg);
    rc = refused() ? -1 : fcntl(fd, cmd, arg);
    if (rc >= 0)
        have(fd_key(rc), 0, FROM);
    return rc;
}

int
alloc_close(int fd)
{
    if (fd >= 0)
        lose(fd_key(fd));
    return close(fd);
}

static void
share_have(const struct local_share *s, void *from)
{
    have(fd_key(s->memfd), 0, from);
    for (uint32_t i = 0; i < s->queues; i++) {
        have(fd_key(s->to_back[i]), 0, from);
        have(fd_key(s->to_front[i]), 0, from);
    }
}

int
alloc_local_share_make(struct local_share *s, uint32_t pages, uint32_t queues)
{
    int rc = local_share_make(s, pages, queues);

    if (!rc)
        share_have(s, FROM);
    return rc;
}

int
alloc_local_share_dup(struct local_share *to, const struct local_share *from)
{
    int rc = local_share_dup(to, from);

    if (!rc)
        share_have(to, FROM);
    return rc;
}

void
alloc_local_share_close(struct local_share *s)
{
    if (s->memfd >= 0)
        lose(fd_key(s->memfd));
    for (uint32_t i = 0; i < s->queues; i++) {
        if (s->to_back[i] >= 0)
            lose(fd_key(s->to_back[i]));
        if (s->to_front[i] >= 0)
            lose(fd_key(s->to_front[i]));
    }
    local_share_close(s);
}

/* ---- what the test calls ------------------------------------------------- */

void
alloc_begin(void)
{
    a.on = true;
}

void
alloc_end(void)
{
    a.on = false;
}

bool
alloc_pause(void)
{
    bool was = a.on;

    a.on = false;
    return was;
}

void
alloc_resume(bool was)
{
    a.on = was;
}

size_t
alloc_live(void)
{
    return a.used;
}

void
alloc_print(void)
{
    for (size_t i = 0; i < a.room; i++) {
        const struct had *h = &a.slot[i];

        if (h->key & 1)
            printf("not closed: %d, asked for at %p\n", (int)(h->key >> 1),
                   h->from);
        else if (h->key)
            printf("not freed: a %s, asked for at %p\n",
                   h->len ? "mapping" : "block", h->from);
    }
}

void
alloc_fail(unsigned long nth, enum fault_times times)
{
    a.fails = true;
    a.count = a.failed = 0;
    a.nth = nth;
    a.times = times;
}

unsigned long
alloc_fail_end(void)
{
    a.fails = false;
    return a.count;
}

unsigned long
alloc_failed(void)
{
    return a.failed;
}

void
alloc_adopt(void *p)
{
    have((uintptr_t)p, 0, FROM);
}

void
alloc_adopt_fd(int fd)
{
    have(fd_key(fd), 0, FROM);
}

void
alloc_free_all(void)
{
    for (size_t i = 0; i < a.room; i++) {
        struct had *h = &a.slot[i];

        if (h->key & 1)
            close((int)(h->key >> 1));
        else if (h->key && h->len)
            munmap((void *)h->key, h->len);
        else if (h->key)
            free((void *)h->key);
        h->key = 0;
    }
    a.used = 0;
}
