/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * secret.c: memory for keys: it is never swapped out, it is in no core dump,
 * and it is wiped before it goes.
 *
 * A library's part is a range of addresses of which more and more is made
 * usable, in slots of one size; so an address tells to whom it belongs.  It is
 * never given back: a slot that was freed serves the next disk.
 */
#include "host/host.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SECRET_SLOT = 2048,      /* a cipher's context has less than 1 KiB */
    SECRET_CHUNK = 64 << 10, /* made usable at a time */
};
#define SECRET_RANGE ((size_t)256 << 20)

struct secret_slot {
    struct secret_slot *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *range; /* SECRET_RANGE bytes, of which used are usable */
static size_t used;
static struct secret_slot *unused; /* wiped, but for next */
static __thread bool wanted;

/* ---- pages --------------------------------------------------------------- */

int
host_secret_protect(void *p, size_t n)
{
    return mlock(p, n) || madvise(p, n, MADV_DONTDUMP) ? -errno : 0;
}

void *
host_secret_map(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (host_secret_protect(p, n)) {
        munmap(p, n);
        errno = ENOMEM;
        return NULL;
    }
    return p;
}

void
host_secret_unmap(void *p, size_t n)
{
    if (!p)
        return;
    explicit_bzero(p, n);
    munmap(p, n);
}

/* ---- slots --------------------------------------------------------------- */

static bool
slot_owned(const void *p)
{
    const uintptr_t at = (uintptr_t)p, begin = (uintptr_t)range;

    return range && at >= begin && at - begin < SECRET_RANGE;
}

/* Called with the lock. */
static void
slots_more(void)
{
    uint8_t *chunk;
    void *p;

    if (!range) {
        p = mmap(NULL, SECRET_RANGE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return;
        range = p;
    }
    chunk = range + used;
    if (used == SECRET_RANGE ||
        mprotect(chunk, SECRET_CHUNK, PROT_READ | PROT_WRITE) ||
        host_secret_protect(chunk, SECRET_CHUNK))
        return;
    used += SECRET_CHUNK;
    for (size_t at = SECRET_CHUNK; at > 0; at -= SECRET_SLOT) {
        struct secret_slot *s = (void *)(chunk + at - SECRET_SLOT);

        s->next = unused;
        unused = s;
    }
}

static void *
slot_get(void)
{
    struct secret_slot *s;

    pthread_mutex_lock(&lock);
    if (!unused)
        slots_more();
    s = unused;
    if (s)
        unused = s->next;
    pthread_mutex_unlock(&lock);
    if (s)
        s->next = NULL;
    return s;
}

static void
slot_put(void *p)
{
    struct secret_slot *s = p;

    explicit_bzero(p, SECRET_SLOT);
    pthread_mutex_lock(&lock);
    s->next = unused;
    unused = s;
    pthread_mutex_unlock(&lock);
}

/* ---- what a library calls ----------------------------------------------- */

void *
host_secret_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (!wanted)
        return malloc(n);
    return n <= SECRET_SLOT ? slot_get() : NULL;
}

void
host_secret_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (slot_owned(p))
        slot_put(p);
    else
        free(p);
}

void *
host_secret_realloc(void *p, size_t n, const char *file, int line)
{
    void *to;

    if (!slot_owned(p))
        return p || !wanted ? realloc(p, n) : host_secret_malloc(n, file, line);
    if (n <= SECRET_SLOT)
        return p;
    to = malloc(n);
    if (to) {
        memcpy(to, p, SECRET_SLOT);
        slot_put(p);
    }
    return to;
}

void
host_secret_begin(void)
{
    wanted = true;
}

void
host_secret_end(void)
{
    wanted = false;
}
