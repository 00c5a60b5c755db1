/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sim/fault_alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/sim_world.h"

/* The names are the linker's: --wrap. */
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__real_reallocarray(void *, size_t, size_t);
int __real_posix_memalign(void **, size_t, size_t);
char *__real_strdup(const char *);
void __real_free(void *);
void *__real_sim_memory(size_t, size_t);
void *__real_sim_memory_grow(void *, size_t, size_t);
char *__real_sim_text(const char *);
struct sim_event *__real_sim_event(struct sim *, struct sim_loop *, uint64_t,
                                   const char *, void (*)(struct sim_event *),
                                   void *);
void __real_sim_after(struct sim *, uint64_t, void (*)(void *), void *);

void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
void *__wrap_reallocarray(void *, size_t, size_t);
int __wrap_posix_memalign(void **, size_t, size_t);
char *__wrap_strdup(const char *);
int __wrap_asprintf(char **, const char *, ...)
    __attribute__((format(printf, 2, 3)));
void __wrap_free(void *);
void *__wrap_sim_memory(size_t, size_t);
void *__wrap_sim_memory_grow(void *, size_t, size_t);
char *__wrap_sim_text(const char *);
struct sim_event *__wrap_sim_event(struct sim *, struct sim_loop *, uint64_t,
                                   const char *, void (*)(struct sim_event *),
                                   void *);
void __wrap_sim_after(struct sim *, uint64_t, void (*)(void *), void *);

/* ---- which fail ---------------------------------------------------------- */

static struct {
    bool counts;
    unsigned off;
    unsigned long n, at, failed;
    enum fault_times times;
} section;

void
alloc_begin(unsigned long at, enum fault_times times)
{
    section.counts = true;
    section.n = section.failed = 0;
    section.at = at;
    section.times = times;
}

unsigned long
alloc_end(void)
{
    section.counts = false;
    return section.n;
}

unsigned long
alloc_failed(void)
{
    return section.failed;
}

void
alloc_off(void)
{
    section.off++;
}

void
alloc_on(void)
{
    section.off--;
}

static bool
fails(void)
{
    if (!section.counts || section.off)
        return false;
    section.n++;
    if (!section.at || section.n < section.at ||
        (section.times == FAULT_ONCE && section.n > section.at))
        return false;
    section.failed++;
    errno = ENOMEM;
    return true;
}

/* ---- which there are ----------------------------------------------------- */

/* Open addressing; a block that is gone leaves GRAVE. */
enum { BLOCKS = 1 << 17 };
#define GRAVE ((void *)1)

static struct {
    void *at;
    void *from; /* who asked for it */
    size_t size;
    bool world; /* the simulated world's own */
} block[BLOCKS];
static unsigned blocks, graves;

static unsigned
slot_of(const void *p)
{
    return (unsigned)(((uintptr_t)p >> 4) * 2654435761u) % BLOCKS;
}

static void *
known(void *p, size_t size, void *from)
{
    unsigned i;

    if (!p)
        return p;
    for (i = slot_of(p); block[i].at && block[i].at != GRAVE;)
        i = (i + 1) % BLOCKS;
    if (block[i].at == GRAVE)
        graves--;
    block[i].at = p;
    block[i].from = from;
    block[i].size = size;
    block[i].world = section.off > 0;
    blocks++;
    if (blocks + graves > BLOCKS / 4 * 3) {
        fputs("alloc: too many blocks\n", stderr);
        abort();
    }
    return p;
}

static void
forget(void *p)
{
    unsigned i;

    if (!p)
        return;
    for (i = slot_of(p); block[i].at; i = (i + 1) % BLOCKS) {
        if (block[i].at != p)
            continue;
        block[i].at = GRAVE;
        blocks--;
        graves++;
        if (!blocks) {
            memset(block, 0, sizeof block);
            graves = 0;
        }
        return;
    }
}

unsigned
alloc_left(bool say)
{
    unsigned i;

    for (i = 0; say && i < BLOCKS; i++) {
        if (block[i].at && block[i].at != GRAVE)
            printf("not freed: %zu bytes, asked for at %p\n", block[i].size,
                   block[i].from);
    }
    return blocks;
}

void
alloc_killed(void)
{
    unsigned i;

    for (i = 0; i < BLOCKS; i++) {
        void *p = block[i].at;

        if (!p || p == GRAVE || block[i].world)
            continue;
        block[i].at = GRAVE;
        blocks--;
        graves++;
        __real_free(p);
    }
}

/* ---- the calls ----------------------------------------------------------- */

#define FROM __builtin_return_address(0)

void *
__wrap_malloc(size_t n)
{
    return fails() ? NULL : known(__real_malloc(n), n, FROM);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : known(__real_calloc(n, size), n * size, FROM);
}

static void *
moved(void *old, void *new_, size_t size, void *from)
{
    if (new_)
        forget(old);
    return known(new_, size, from);
}

void *
__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : moved(p, __real_realloc(p, n), n, FROM);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return fails() ? NULL
                   : moved(p, __real_reallocarray(p, n, size), n * size, FROM);
}

int
__wrap_posix_memalign(void **p, size_t align, size_t n)
{
    int rc = fails() ? ENOMEM : __real_posix_memalign(p, align, n);

    if (!rc)
        known(*p, n, FROM);
    return rc;
}

char *
__wrap_strdup(const char *s)
{
    return fails() ? NULL : known(__real_strdup(s), strlen(s), FROM);
}

int
__wrap_asprintf(char **to, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (fails())
        return -1;
    va_start(ap, fmt);
    n = vasprintf(to, fmt, ap);
    va_end(ap);
    if (n >= 0)
        known(*to, (size_t)n + 1, FROM);
    return n;
}

void
__wrap_free(void *p)
{
    int saved = errno;

    forget(p);
    __real_free(p);
    errno = saved;
}

/* The world's own: they call the above. */

void *
__wrap_sim_memory(size_t n, size_t size)
{
    void *p;

    alloc_off();
    p = __real_sim_memory(n, size);
    alloc_on();
    return p;
}

void *
__wrap_sim_memory_grow(void *old, size_t n, size_t size)
{
    void *p;

    alloc_off();
    p = __real_sim_memory_grow(old, n, size);
    alloc_on();
    return p;
}

char *
__wrap_sim_text(const char *s)
{
    char *p;

    alloc_off();
    p = __real_sim_text(s);
    alloc_on();
    return p;
}

struct sim_event *
__wrap_sim_event(struct sim *sim, struct sim_loop *loop, uint64_t after_ns,
                 const char *what, void (*run)(struct sim_event *), void *data)
{
    struct sim_event *e;

    alloc_off();
    e = __real_sim_event(sim, loop, after_ns, what, run, data);
    alloc_on();
    return e;
}

void
__wrap_sim_after(struct sim *sim, uint64_t ns, void (*fn)(void *), void *data)
{
    alloc_off();
    __real_sim_after(sim, ns, fn, data);
    alloc_on();
}

void
alloc_give(void *p)
{
    unsigned i;

    for (i = slot_of(p); p && block[i].at; i = (i + 1) % BLOCKS) {
        if (block[i].at == p)
            block[i].world = false;
    }
}
