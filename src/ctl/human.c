/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * human.c: numbers as people write them, and the clock.
 */
#include "config.h"

#include "ctl/human.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const char *
human_bytes(char *to, uint64_t bytes)
{
    static const char *const units[] = { "B",   "KiB", "MiB", "GiB",
                                         "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    unsigned i = 0;

    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    if (v - (double)(uint64_t)v < 0.05)
        snprintf(to, HUMAN_SIZE, "%" PRIu64 " %s", (uint64_t)v, units[i]);
    else
        snprintf(to, HUMAN_SIZE, "%.1f %s", v, units[i]);
    return to;
}

const char *
human_ns(char *to, uint64_t ns)
{
    double v = (double)ns;

    if (ns < 1000)
        snprintf(to, HUMAN_SIZE, "%" PRIu64 " ns", ns);
    else if (ns < 1000000)
        snprintf(to, HUMAN_SIZE, "%.1f us", v / 1e3);
    else if (ns < 1000000000)
        snprintf(to, HUMAN_SIZE, "%.2f ms", v / 1e6);
    else
        snprintf(to, HUMAN_SIZE, "%.2f s", v / 1e9);
    return to;
}

const char *
human_clock(char *to, uint64_t s)
{
    if (s >= 3600)
        snprintf(to, HUMAN_SIZE, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
                 s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(to, HUMAN_SIZE, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
    return to;
}

bool
human_parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *to)
{
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    *to = strtoull(s, &end, 10);
    return !errno && !*end && *to >= min && *to <= max;
}

bool
human_parse_bytes(const char *s, uint64_t *to)
{
    static const char units[] = "kmgtpe";
    unsigned shift = 0;
    const char *unit;
    char *end;
    uint64_t v;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    v = strtoull(s, &end, 10);
    if (errno)
        return false;
    if (*end) {
        unit = strchr(units, *end | 0x20);
        if (!unit ||
            (end[1] && strcasecmp(end + 1, "b") && strcasecmp(end + 1, "ib")))
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    *to = v << shift;
    return *to >> shift == v;
}

static uint64_t
clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

const char *
human_when(char *to, uint64_t at_ns)
{
    uint64_t wall = clock_ns(CLOCK_REALTIME) - (now_ns() - at_ns);
    time_t s = (time_t)(wall / 1000000000u);
    struct tm tm;
    size_t n;

    localtime_r(&s, &tm);
    n = strftime(to, HUMAN_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(to + n, HUMAN_SIZE - n, ".%03u",
             (unsigned)(wall / 1000000u % 1000u));
    return to;
}
