/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * match.c: which disk of the configuration a vbd is.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

/* Majors and shifts of the device numbers that guests' names stand for; the
 * numbers are those of Linux's devices.txt and of Xen's
 * docs/man/xen-vbd-interface.7. */
enum {
    XVD_MAJOR = 202,
    SD_MAJOR = 8,
    HD_MAJOR = 3,
    HD2_MAJOR = 22,
    EXTENDED_BIT = 28,
    EXTENDED_DISKS = 1 << 20
};

/* "a" is 0, "z" 25, "aa" 26 ...; p is left behind the letters. */
static int
letters_parse(const char **p, unsigned *disk)
{
    unsigned n = 0;

    if (!islower((unsigned char)**p))
        return -EINVAL;
    for (; islower((unsigned char)**p); (*p)++) {
        n = n * 26 + (unsigned)(**p - 'a') + 1;
        if (n > EXTENDED_DISKS)
            return -EINVAL;
    }
    *disk = n - 1;
    return 0;
}

/* Decimal digits up to max; p is left behind them. */
static int
digits_parse(const char **p, unsigned max, unsigned *to)
{
    unsigned long n;
    char *end;

    if (!isdigit((unsigned char)**p))
        return -EINVAL;
    errno = 0;
    n = strtoul(*p, &end, 10);
    if (errno || n > max)
        return -EINVAL;
    *p = end;
    *to = (unsigned)n;
    return 0;
}

/* A partition's number, from 1, or nothing (0), and the end of the name. */
static int
partition_parse(const char *p, unsigned max, unsigned *part)
{
    *part = 0;
    if (!*p)
        return 0;
    if (*p == '0' || digits_parse(&p, max, part) || *p)
        return -EINVAL;
    return 0;
}

static int
xvd_number(unsigned disk, unsigned part, uint32_t *devid)
{
    if (disk >= EXTENDED_DISKS || part > 255)
        return -EINVAL;
    if (disk < 16 && part < 16)
        *devid = XVD_MAJOR << 8 | disk << 4 | part;
    else
        *devid = 1u << EXTENDED_BIT | disk << 8 | part;
    return 0;
}

static int
xvd_parse(const char *p, uint32_t *devid)
{
    unsigned disk, part;

    if (letters_parse(&p, &disk) || partition_parse(p, 255, &part))
        return -EINVAL;
    return xvd_number(disk, part, devid);
}

static int
sd_parse(const char *p, uint32_t *devid)
{
    unsigned disk, part;

    if (letters_parse(&p, &disk) || disk > 15 || partition_parse(p, 15, &part))
        return -EINVAL;
    *devid = SD_MAJOR << 8 | disk << 4 | part;
    return 0;
}

static int
hd_parse(const char *p, uint32_t *devid)
{
    unsigned disk, part;

    if (letters_parse(&p, &disk) || disk > 3 || partition_parse(p, 63, &part))
        return -EINVAL;
    *devid =
        (disk < 2 ? HD_MAJOR << 8 : HD2_MAJOR << 8) | (disk & 1) << 6 | part;
    return 0;
}

/* "d0", "d0p1", of Xen's own naming; there, "p0" is the whole disk. */
static int
d_parse(const char *p, uint32_t *devid)
{
    unsigned disk, part = 0;

    if (digits_parse(&p, EXTENDED_DISKS - 1, &disk))
        return -EINVAL;
    if (*p == 'p') {
        p++;
        if ((p[0] == '0' && p[1]) || digits_parse(&p, 255, &part))
            return -EINVAL;
    }
    if (*p)
        return -EINVAL;
    return xvd_number(disk, part, devid);
}

static int
number_parse(const char *p, uint32_t *devid)
{
    unsigned long n;
    char *end;

    errno = 0;
    n = strtoul(p, &end, !strncmp(p, "0x", 2) ? 16 : 10);
    if (errno || *end || n > INT32_MAX)
        return -EINVAL;
    *devid = (uint32_t)n;
    return 0;
}

int
devid_parse(const char *text, uint32_t *devid)
{
    static const struct {
        const char *prefix;
        int (*parse)(const char *, uint32_t *);
    } forms[] = { { "xvd", xvd_parse },
                  { "sd", sd_parse },
                  { "hd", hd_parse },
                  { "d", d_parse } };
    size_t i, n;

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        n = strlen(forms[i].prefix);
        if (!strncmp(text, forms[i].prefix, n))
            return forms[i].parse(text + n, devid);
    }
    return isdigit((unsigned char)*text) ? number_parse(text, devid) : -EINVAL;
}

/* A toolstack puts "aio:", "vhd:", "tap2:aio:" ... before the target. */
static const char *
target_of(const char *params)
{
    size_t n;

    for (;;) {
        n = strspn(params, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (!n || params[n] != ':')
            return params;
        params += n + 1;
    }
}

const struct conf_disk *
conf_match(const struct conf *conf, const char *params, const char *vm,
           uint32_t devid)
{
    const struct conf_disk *d;
    unsigned i;

    d = params && *params ? conf_disk(conf, target_of(params)) : NULL;
    if (d || !vm)
        return d;
    for (i = 0; i < conf->disks; i++) {
        d = &conf->disk[i];
        if (d->vm && d->devid == devid && !strcmp(d->vm, vm))
            return d;
    }
    return NULL;
}
