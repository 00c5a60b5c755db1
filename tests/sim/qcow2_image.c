/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/qcow2_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/qcow2/format.h"

/* ---- make ---------------------------------------------------------------- */

struct maker {
    const struct image_format *f;
    uint8_t *p;
    size_t cluster, used; /* used: clusters */
    uint64_t refblocks, refblock;
};

static uint8_t *
at(struct maker *m, uint64_t cluster)
{
    return m->p + cluster * m->cluster;
}

static uint64_t
take(struct maker *m, uint64_t n)
{
    uint64_t first = m->used;

    m->used += n;
    return first;
}

static void
count(struct maker *m, uint64_t cluster, unsigned n)
{
    q2_ref_set(at(m, m->refblock), m->f->refcount_order, cluster, n);
}

static void
make_header(struct maker *m, uint64_t l1, uint64_t l1_n, uint64_t snapshots)
{
    const struct image_format *f = m->f;
    uint8_t *p = m->p;

    q2_put32(p, Q2_MAGIC);
    q2_put32(p + Q2_AT_VERSION, f->version);
    q2_put32(p + Q2_AT_CLUSTER_BITS, f->cluster_bits);
    q2_put64(p + Q2_AT_SIZE, f->size);
    q2_put32(p + Q2_AT_L1_ENTRIES, (uint32_t)l1_n);
    q2_put64(p + Q2_AT_L1, l1 * m->cluster);
    q2_put64(p + Q2_AT_REFTABLE, m->cluster);
    q2_put32(p + Q2_AT_REFTABLE_CLUSTERS, 1);
    if (snapshots) {
        q2_put32(p + Q2_AT_SNAPSHOTS, 1);
        q2_put64(p + Q2_AT_SNAPSHOT_TABLE, snapshots * m->cluster);
    }
    if (f->version < 3)
        return;
    q2_put64(p + Q2_AT_INCOMPATIBLE, f->extended ? Q2_EXTENDED : 0);
    q2_put32(p + Q2_AT_REFCOUNT_ORDER, f->refcount_order);
    q2_put32(p + Q2_AT_HEADER_LEN, Q2_V3_LEN);
}

/* A guest cluster with data. */
static void
make_data(struct maker *m, uint64_t l1, uint64_t guest,
          void (*stamp)(uint8_t *, uint64_t))
{
    const size_t entry = m->f->extended ? 16 : 8;
    const uint64_t per = m->cluster / entry,
                   copied = m->f->snapshot ? 0 : Q2_COPIED;
    uint8_t *p = at(m, l1) + guest / per * 8;
    uint64_t data;

    if (!q2_get64(p)) {
        q2_put64(p, take(m, 1) * m->cluster | copied);
        count(m, m->used - 1, m->f->snapshot ? 2 : 1);
    }
    data = take(m, 1);
    count(m, data, m->f->snapshot ? 2 : 1);
    p = m->p + (q2_get64(p) & Q2_OFFSET) + guest % per * entry;
    q2_put64(p, data * m->cluster | copied);
    if (entry == 16)
        q2_put64(p + 8, Q2_SUB_DATA);
    for (uint64_t i = 0; i < m->cluster; i += 512)
        stamp(at(m, data) + i, (guest * m->cluster + i) / 512);
}

/* The snapshot is the disk as it is: what both use was counted twice. */
static uint64_t
make_snapshot(struct maker *m, uint64_t l1, uint64_t l1_n, uint64_t clusters)
{
    uint64_t copy = take(m, clusters), table = take(m, 1);
    uint8_t *p = at(m, table);

    memcpy(at(m, copy), at(m, l1), l1_n * 8);
    for (uint64_t i = 0; i < clusters; i++)
        count(m, copy + i, 1);
    count(m, table, 1);
    q2_put64(p, copy * m->cluster);
    q2_put32(p + 8, (uint32_t)l1_n);
    p[13] = 1; /* of its id, "1" */
    q2_put32(p + 36, 16);
    q2_put64(p + 48, m->f->size);
    p[56] = '1';
    return table;
}

uint8_t *
image_make(const struct image_format *f, size_t *len,
           void (*stamp)(uint8_t *, uint64_t))
{
    const size_t cluster = (size_t)1 << f->cluster_bits;
    const uint64_t guests = (f->size + cluster - 1) / cluster;
    const uint64_t reach = cluster / (f->extended ? 16 : 8);
    const uint64_t l1_n = (guests + reach - 1) / reach;
    const uint64_t l1_clusters = (l1_n * 8 + cluster - 1) / cluster;
    struct maker m = { .f = f, .cluster = cluster };
    uint64_t l1, snapshots = 0;

    m.p = calloc(guests * 2 + 64, cluster);
    take(&m, 2);
    m.refblock = take(&m, 1);
    q2_put64(at(&m, 1), m.refblock * cluster);
    l1 = take(&m, l1_clusters);
    for (uint64_t i = 0; i < m.used; i++)
        count(&m, i, 1);
    for (uint64_t g = 0; f->filled && g < guests; g += f->filled)
        make_data(&m, l1, g, stamp);
    if (f->snapshot)
        snapshots = make_snapshot(&m, l1, l1_n, l1_clusters);
    make_header(&m, l1, l1_n, snapshots);
    *len = m.used * cluster;
    return m.p;
}

/* ---- read ---------------------------------------------------------------- */

struct reader {
    const struct image_bytes *b;
    uint64_t cluster, entry, size;
    bool v3, extended;
};

/* A cluster's entries; zeroes when there is no table. */
static bool
reader_entry(const struct reader *r, uint64_t guest, uint64_t *e, uint64_t *sub)
{
    const uint8_t *p = r->b->image;
    const uint64_t per = r->cluster / r->entry;
    uint64_t l2 = q2_get64(p + q2_get64(p + Q2_AT_L1) + guest / per * 8);

    *e = *sub = 0;
    l2 &= Q2_OFFSET;
    if (!l2)
        return true;
    if (l2 + r->cluster > r->b->image_len)
        return false;
    *e = q2_get64(p + l2 + guest % per * r->entry);
    if (r->extended)
        *sub = q2_get64(p + l2 + guest % per * r->entry + 8);
    else if (!(r->v3 && *e & 1)) /* a cluster of zeroes */
        *sub = *e ? 1 : 0;
    else
        *sub = UINT64_C(1) << 32;
    return true;
}

/* Bytes that may be behind the end of it: zeroes. */
static void
reader_copy(uint8_t *to, const uint8_t *from, size_t from_len, uint64_t at,
            uint64_t n)
{
    if (at < from_len)
        memcpy(to, from + at, at + n < from_len ? n : from_len - at);
}

static bool
reader_cluster(const struct reader *r, uint64_t guest, uint8_t *out)
{
    const struct image_bytes *b = r->b;
    const uint64_t step = r->cluster / (r->extended ? 32 : 1);
    uint64_t e, sub;

    if (!reader_entry(r, guest, &e, &sub))
        return false;
    for (uint64_t i = 0; i < r->cluster; i += step) {
        const uint64_t at = guest * r->cluster + i, bit = i / step,
                       n = at + step > r->size ? r->size - at : step;

        if (at >= r->size || sub >> (32 + bit) & 1)
            continue;
        if (!(sub >> bit & 1))
            reader_copy(out + at, b->below, b->below_len, at, n);
        else if (b->data)
            reader_copy(out + at, b->data, b->data_len, at, n);
        else
            reader_copy(out + at, b->image, b->image_len, (e & Q2_OFFSET) + i,
                        n);
    }
    return true;
}

uint64_t
image_read(const struct image_bytes *b, uint8_t *out, uint64_t room)
{
    const uint8_t *p = b->image;
    struct reader r = { .b = b,
                        .cluster = UINT64_C(1)
                                   << q2_get32(p + Q2_AT_CLUSTER_BITS),
                        .size = q2_get64(p + Q2_AT_SIZE),
                        .v3 = q2_get32(p + Q2_AT_VERSION) >= 3 };

    r.extended = r.v3 && q2_get64(p + Q2_AT_INCOMPATIBLE) & Q2_EXTENDED;
    r.entry = r.extended ? 16 : 8;
    if (r.size > room)
        return 0;
    memset(out, 0, r.size);
    for (uint64_t g = 0; g * r.cluster < r.size; g++) {
        if (!reader_cluster(&r, g, out))
            return 0;
    }
    return r.size;
}

/* ---- judge --------------------------------------------------------------- */

struct judge {
    const uint8_t *p;
    size_t len;
    uint64_t cluster, clusters, reftable, reftable_n;
    unsigned order, entry;
    uint32_t *refs;
    bool apart; /* data are in a file of their own, and not counted */
    struct image_found *found;
};

/* A counter as it is stored. */
static uint64_t
stored(const struct judge *j, uint64_t cluster)
{
    const uint64_t per = (j->cluster * 8) >> j->order;
    uint64_t block;

    if (cluster / per >= j->reftable_n)
        return 0;
    block = q2_get64(j->p + j->reftable + cluster / per * 8);
    if (!block || block + j->cluster > j->clusters * j->cluster)
        return 0;
    return q2_ref_get(j->p + block, j->order, cluster % per);
}

static bool
refer(struct judge *j, uint64_t where, uint64_t bytes, const char *what)
{
    uint64_t a = where / j->cluster;
    uint64_t b = (where + bytes + j->cluster - 1) / j->cluster;

    if (b > j->clusters) {
        snprintf(j->found->wrong, sizeof(j->found->wrong),
                 "%s at %llu is behind the end", what,
                 (unsigned long long)where);
        return false;
    }
    for (; a < b; a++)
        j->refs[a]++;
    return true;
}

static void
check_copied(struct judge *j, uint64_t entry, bool active)
{
    uint64_t cluster = (entry & Q2_OFFSET) / j->cluster;

    if (active && (stored(j, cluster) == 1) != !!(entry & Q2_COPIED))
        j->found->wrong_copied++;
}

static void
judge_l2(struct judge *j, uint64_t table, bool active)
{
    for (uint64_t i = 0; !j->apart && i < j->cluster; i += j->entry) {
        uint64_t e = q2_get64(j->p + table + i);

        if (!(e & Q2_OFFSET))
            continue;
        if (!refer(j, e & Q2_OFFSET, 1, "data"))
            continue;
        check_copied(j, e, active);
        for (uint64_t b = 0; !active && b < j->cluster; b += 8)
            j->found->snapshot =
                (j->found->snapshot ^ q2_get64(j->p + (e & Q2_OFFSET) + b)) *
                    0x100000001b3 +
                i;
    }
}

static void
judge_l1(struct judge *j, uint64_t l1, uint32_t n, bool active)
{
    refer(j, l1, n * 8ull, "L1");
    for (uint32_t i = 0; i < n; i++) {
        uint64_t e = q2_get64(j->p + l1 + i * 8ull);

        if (!(e & Q2_OFFSET) || !refer(j, e & Q2_OFFSET, 1, "an L2 table"))
            continue;
        check_copied(j, e, active);
        judge_l2(j, e & Q2_OFFSET, active);
    }
}

void
image_judge(const uint8_t *p, size_t len, struct image_found *found)
{
    struct judge j = { .p = p, .len = len, .found = found, .order = 4 };
    uint64_t table = q2_get64(p + Q2_AT_SNAPSHOT_TABLE);

    memset(found, 0, sizeof(*found));
    j.cluster = (uint64_t)1 << q2_get32(p + Q2_AT_CLUSTER_BITS);
    j.clusters = len / j.cluster;
    j.reftable = q2_get64(p + Q2_AT_REFTABLE);
    j.reftable_n = q2_get32(p + Q2_AT_REFTABLE_CLUSTERS) * j.cluster / 8;
    j.entry = 8;
    if (q2_get32(p + Q2_AT_VERSION) >= 3) {
        uint64_t bits = q2_get64(p + Q2_AT_INCOMPATIBLE);

        j.order = q2_get32(p + Q2_AT_REFCOUNT_ORDER);
        j.entry = bits & Q2_EXTENDED ? 16 : 8;
        j.apart = bits & Q2_DATA_FILE;
        found->dirty = bits & Q2_DIRTY;
    }
    j.refs = calloc(j.clusters + 1, sizeof(*j.refs));
    refer(&j, 0, 1, "the header");
    refer(&j, j.reftable, j.reftable_n * 8, "the refcount table");
    for (uint64_t i = 0; i < j.reftable_n; i++) {
        uint64_t block = q2_get64(p + j.reftable + i * 8);

        if (block)
            refer(&j, block, 1, "a refcount block");
    }
    if (q2_get32(p + Q2_AT_SNAPSHOTS)) {
        refer(&j, table, 1, "the snapshots");
        judge_l1(&j, q2_get64(p + table), q2_get32(p + table + 8), false);
    }
    judge_l1(&j, q2_get64(p + Q2_AT_L1), q2_get32(p + Q2_AT_L1_ENTRIES), true);
    for (uint64_t b = 0; b < j.reftable_n; b++) {
        const uint64_t per = (j.cluster * 8) >> j.order;

        if (!q2_get64(p + j.reftable + b * 8) && b * per >= j.clusters)
            continue;
        for (uint64_t i = b * per; i < (b + 1) * per; i++) {
            uint64_t is = stored(&j, i), want = i < j.clusters ? j.refs[i] : 0;

            if (is < want && getenv("VERBOSE"))
                printf("cluster %llu: %llu references, counted %llu of %llu\n",
                       (unsigned long long)i, (unsigned long long)want,
                       (unsigned long long)is, (unsigned long long)j.clusters);
            found->low += is < want;
            found->high += is > want;
        }
    }
    free(j.refs);
}
