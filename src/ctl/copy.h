/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy.h: one side of a copy: a disk of the daemon, or a file.
 */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "blktap/app.h"
#include "ctl/ctl.h"
#include "ctl/map.h"

enum copy_kind { COPY_FILE, COPY_DISK };

struct copy_end {
    const char *name; /* without "disk:" */
    enum copy_kind kind;
    int fd;                   /* of a file */
    struct blktap_disk *disk; /* of a disk */
    struct map map;           /* of a source that is a disk */
    bool mute;     /* that it does not tell where data are was said */
    uint64_t size; /* bytes; of a new file, once it is known */
    bool is_new;   /* a file that is empty now */
    bool zeroed;   /* what is not written reads as zeroes */
};

/* How the disks of a copy are opened. */
struct copy_depth {
    unsigned requests; /* at a time */
    uint64_t piece;    /* bytes of each */
};

enum copy_kind copy_kind_of(const char *word);
/* 0, or 1 after a sentence on stderr. */
int copy_end_source(struct copy_end *, const struct ctl *, const char *word,
                    const struct copy_depth *);
int copy_end_target(struct copy_end *, const struct ctl *, const char *word,
                    const struct copy_depth *);
/* Gives a new file its size; 0 or -errno. */
int copy_end_resize(struct copy_end *, uint64_t size);
void copy_end_close(struct copy_end *);

/* What begins at off of a source: a hole, which reads as zeroes, or data; *end
 * is where it ends.  A disk that can't tell is data all over. */
bool copy_end_is_hole(struct copy_end *, uint64_t off, uint64_t *end);
/* Of a file; bytes past its end are zeroes.  0 or -errno. */
int copy_file_read(const struct copy_end *, void *buf, uint32_t len,
                   uint64_t off);
/* Leaves out blocks of zeroes where they are there already; *skipped counts
 * their bytes. */
int copy_file_write(const struct copy_end *, const void *buf, uint32_t len,
                    uint64_t off, uint64_t *skipped);
/* What was written is durable; 0 or -errno. */
int copy_end_flush(struct copy_end *);
bool is_zero(const void *buf, uint32_t len);

#endif
