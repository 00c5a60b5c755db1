/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/log_writes.h"

#include <endian.h>
#include <zlib.h>

#include "tests/test.h"

enum { SECTOR = 512, VERSION = 1, SUPER_BYTES = 28, ENTRY_BYTES = 32 };
static const uint64_t magic = 0x6a736677736872;
enum { FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8 };

struct log_writes {
    struct sim_watcher watcher; /* first */
    struct sim *sim;
    const char *file;
    FILE *out, *marks;
    uint64_t entries;
    uint8_t *replayed; /* what the log up to now makes; size bytes */
    size_t size;
};

/* ---- the format ---------------------------------------------------------- */

static void
put_sectors(struct log_writes *l, const void *data, size_t len)
{
    REQUIRE(len % SECTOR == 0);
    REQUIRE(!len || fwrite(data, len, 1, l->out) == 1);
}

static void
put_super(struct log_writes *l)
{
    uint8_t sector[SECTOR] = { 0 };
    const uint64_t words[] = { htole64(magic), htole64(VERSION),
                               htole64(l->entries), htole64(SECTOR) };

    memcpy(sector, words, SUPER_BYTES);
    rewind(l->out);
    put_sectors(l, sector, SECTOR);
}

static void
put_entry(struct log_writes *l, uint64_t off, uint64_t len, uint64_t flags,
          const char *text)
{
    uint8_t sector[SECTOR] = { 0 };
    const uint64_t words[] = { htole64(off / SECTOR), htole64(len / SECTOR),
                               htole64(flags), htole64(strlen(text)) };

    REQUIRE(off % SECTOR == 0 && len % SECTOR == 0);
    REQUIRE(strlen(text) <= SECTOR - ENTRY_BYTES);
    memcpy(sector, words, ENTRY_BYTES);
    memcpy(sector + ENTRY_BYTES, text, strlen(text));
    put_sectors(l, sector, SECTOR);
    l->entries++;
}

/* ---- what is told -------------------------------------------------------- */

static void
replay(struct log_writes *l, uint64_t off, const void *data, uint64_t len)
{
    const size_t end = (size_t)(off + len);

    if (end > l->size) {
        l->replayed = realloc(l->replayed, end);
        REQUIRE(l->replayed);
        memset(l->replayed + l->size, 0, end - l->size);
        l->size = end;
    }
    if (data)
        memcpy(l->replayed + off, data, (size_t)len);
    else
        memset(l->replayed + off, 0, (size_t)len);
}

static void
told_write(struct sim_watcher *w, uint64_t off, const void *data, size_t len,
           bool fua)
{
    struct log_writes *l = (struct log_writes *)w;

    put_entry(l, off, len, fua ? FUA : 0, "");
    put_sectors(l, data, len);
    replay(l, off, data, len);
}

static void
told_discard(struct sim_watcher *w, uint64_t off, uint64_t len)
{
    struct log_writes *l = (struct log_writes *)w;

    put_entry(l, off, len, DISCARD, "");
    replay(l, off, NULL, len);
}

static void
told_flush(struct sim_watcher *w)
{
    put_entry((struct log_writes *)w, 0, 0, FLUSH, "");
}

/* A device has one size; the end of a file is told by a mark. */
static void
told_resize(struct sim_watcher *w, uint64_t size)
{
    char text[40];

    snprintf(text, sizeof(text), "size %" PRIu64, size);
    put_entry((struct log_writes *)w, 0, 0, MARK, text);
}

static uint8_t *
medium(const struct log_writes *l, size_t *size)
{
    uint8_t *p;

    *size = (size_t)sim_file_size_durable(l->sim, l->file);
    p = calloc(1, *size + SECTOR);
    REQUIRE(p);
    sim_file_get_durable(l->sim, l->file, 0, p, *size);
    return p;
}

void
log_writes_mark(struct log_writes *l, const char *text)
{
    size_t size;
    uint8_t *p;

    if (!l)
        return;
    p = medium(l, &size);
    put_entry(l, 0, 0, MARK, text);
    fprintf(l->marks, "%" PRIu64 " %08lx %zu %s\n", l->entries,
            crc32(0, p, (uInt)size), size, text);
    free(p);
}

static void
told_lost(struct sim_watcher *w, const char *why)
{
    struct log_writes *l = (struct log_writes *)w;
    size_t size;
    uint8_t *p = medium(l, &size);

    put_entry(l, 0, 0, MARK, why);
    told_resize(w, size);
    if (l->size > size)
        told_discard(w, (size + SECTOR - 1) / SECTOR * SECTOR,
                     (l->size - size) / SECTOR * SECTOR);
    for (size_t at = 0; at < size; at += SECTOR) {
        if (at >= l->size || memcmp(p + at, l->replayed + at, SECTOR) != 0)
            told_write(w, at, p + at, SECTOR, true);
    }
    free(p);
    log_writes_mark(l, "survived");
}

/* ---- for the test -------------------------------------------------------- */

struct log_writes *
log_writes_begin(struct sim *sim, const char *file, const char *path)
{
    static const struct sim_watcher watcher = { .write = told_write,
                                                .discard = told_discard,
                                                .flush = told_flush,
                                                .resize = told_resize,
                                                .lost = told_lost };
    struct log_writes *l = calloc(1, sizeof(*l));
    char marks[500];
    size_t size;
    uint8_t *p;

    REQUIRE(l);
    l->watcher = watcher;
    l->sim = sim;
    l->file = file;
    l->out = fopen(path, "wb");
    snprintf(marks, sizeof(marks), "%s.marks", path);
    l->marks = fopen(marks, "w");
    REQUIRE(l->out && l->marks);
    put_super(l);
    sim_file_sync(sim, file);
    p = medium(l, &size);
    told_resize(&l->watcher, size);
    told_write(&l->watcher, 0, p, (size + SECTOR - 1) / SECTOR * SECTOR, false);
    told_flush(&l->watcher);
    free(p);
    log_writes_mark(l, "begin");
    sim_file_watch(sim, file, &l->watcher);
    return l;
}

void
log_writes_end(struct log_writes *l)
{
    if (!l)
        return;
    sim_file_sync(l->sim, l->file);
    log_writes_mark(l, "end");
    put_super(l);
    REQUIRE(!fclose(l->out) && !fclose(l->marks));
    sim_file_watch(l->sim, l->file, NULL);
    free(l->replayed);
    free(l);
}
