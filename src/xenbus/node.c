/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "xenbus/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRANSACTION_TRIES = 8, PRINTABLE_MAX = 40 };

int
node_path(char out[NODE_PATH], const char *dir, const char *leaf)
{
    int n = snprintf(out, NODE_PATH, "%s/%s", dir, leaf);

    return n < 0 || n >= NODE_PATH ? -ENAMETOOLONG : 0;
}

bool
number_parse(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned digit = (unsigned)(*s - '0');

        if (digit > 9 || digit > max || v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

void
printable(char *out, size_t n, const char *in, size_t len)
{
    size_t i, at = 0, most = len < PRINTABLE_MAX ? len : PRINTABLE_MAX;

    if (n < 8) {
        if (n)
            out[0] = '\0';
        return;
    }
    out[at++] = '"';
    for (i = 0; i < most && at + 6 < n; i++)
        out[at++] = in[i] >= ' ' && in[i] <= '~' && in[i] != '"' ? in[i] : '?';
    memcpy(out + at, i < len ? "...\"" : "\"", i < len ? 5 : 2);
}

char *
node_text(struct store *s, store_tx tx, const char *dir, const char *leaf)
{
    char path[NODE_PATH];
    size_t len;
    char *v;
    int rc = node_path(path, dir, leaf);

    if (rc) {
        errno = -rc;
        return NULL;
    }
    v = s->ops->read(s, tx, path, &len);
    if (!v)
        return NULL;
    if (!len || strlen(v) != len) {
        free(v);
        errno = len ? EINVAL : ENOENT;
        return NULL;
    }
    return v;
}

int
node_number(struct store *s, store_tx tx, const char *dir, const char *leaf,
            uint64_t max, uint64_t *out, char *found, size_t found_size)
{
    char path[NODE_PATH];
    size_t len;
    char *v;
    int rc = node_path(path, dir, leaf);

    if (rc)
        return rc;
    v = s->ops->read(s, tx, path, &len);
    if (!v)
        return -errno;
    if (found)
        printable(found, found_size, v, len);
    if (!len)
        rc = -ENOENT;
    else if (strlen(v) != len || !number_parse(v, max, out))
        rc = -EINVAL;
    free(v);
    return rc;
}

int
node_state(struct store *s, store_tx tx, const char *dir, enum bus_state *out)
{
    char path[NODE_PATH];
    size_t len;
    char *v;
    int rc = node_path(path, dir, "state");

    *out = BUS_GONE;
    if (rc)
        return -ENOENT;
    v = s->ops->read(s, tx, path, &len);
    if (!v)
        return -errno;
    *out = strlen(v) == len ? bus_parse(v) : BUS_UNKNOWN;
    free(v);
    return 0;
}

int
node_put(struct store *s, store_tx tx, const char *dir, const char *leaf,
         const char *value)
{
    char path[NODE_PATH];
    int rc = node_path(path, dir, leaf);
    char *old;

    if (rc)
        return rc;
    old = s->ops->read(s, tx, path, NULL);
    if (old && !strcmp(old, value))
        rc = 0;
    else
        rc = s->ops->write(s, tx, path, value);
    free(old);
    return rc;
}

int
node_put_u64(struct store *s, store_tx tx, const char *dir, const char *leaf,
             uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    return node_put(s, tx, dir, leaf, text);
}

int
node_drop(struct store *s, store_tx tx, const char *dir, const char *leaf)
{
    char path[NODE_PATH];
    int rc = node_path(path, dir, leaf);
    char *old;

    if (rc)
        return rc;
    /* Looking first: a removal of what is not there may fail, and would
     * fire watches. */
    old = s->ops->read(s, tx, path, NULL);
    if (!old)
        return errno == ENOENT ? 0 : -errno;
    free(old);
    rc = s->ops->rm(s, tx, path);
    return rc == -ENOENT ? 0 : rc;
}

int
node_own_domid(struct store *s, uint32_t *out)
{
    uint64_t id = 0;
    char *v = s->ops->read(s, 0, "domid", NULL);

    *out = 0;
    if (!v)
        return errno == ENOENT ? 0 : -errno;
    if (number_parse(v, UINT16_MAX, &id))
        *out = (uint32_t)id;
    free(v);
    return 0;
}

int
node_transact(struct store *s, node_tx_fn *fn, void *arg)
{
    int tries, rc;

    for (tries = 0; tries < TRANSACTION_TRIES; tries++) {
        store_tx tx;

        rc = s->ops->begin(s, &tx);
        if (rc)
            return rc;
        rc = fn(s, tx, arg);
        if (rc) {
            s->ops->end(s, tx, false);
            if (rc != -EAGAIN)
                return rc;
            continue;
        }
        rc = s->ops->end(s, tx, true);
        if (rc != -EAGAIN)
            return rc;
    }
    return -EAGAIN;
}
