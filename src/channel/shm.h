/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm.h: memory that a guest can write at any time.  Each byte is read once,
 * through volatile, so that no compiler can read it again (XSA-155).
 *
 * With CHANNEL_SCRAMBLE (a test's build) what was read is spoilt at once: code
 * that reads twice then behaves differently, and is found.
 */
#ifndef CHANNEL_SHM_H
#define CHANNEL_SHM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef CHANNEL_SCRAMBLE
void shm_scramble(void *addr, size_t len);
#else
static inline void
shm_scramble(void *addr, size_t len)
{
    (void)addr;
    (void)len;
}
#endif

static inline uint32_t
shm_load(const uint8_t *at)
{
    return *(const volatile uint32_t *)(const void *)at;
}

static inline void
shm_store(uint8_t *at, uint32_t v)
{
    *(volatile uint32_t *)(void *)at = v;
}

/* len is a multiple of 4, from is aligned to 4. */
static inline void
shm_copy(void *to, uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i += 4) {
        uint32_t v = shm_load(from + i);

        memcpy((uint8_t *)to + i, &v, sizeof(v));
    }
    shm_scramble(from, len);
}

/* Before: what was read decides; after: what it speaks of may be read. */
static inline void
shm_rmb(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void
shm_wmb(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void
shm_mb(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
