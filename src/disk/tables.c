/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tables.c: in-flight tables that outlive the process.
 *
 * A table goes to the service manager when its front-end is connected, and
 * comes back to the next process, under a key: the vbd's.  It is forgotten
 * when the front-end has left.  Whether a table is that of the connection which
 * is there now is not decided here: chan_open() compares the connection's
 * number, ring and ports.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/disk_private.h"

struct table {
    struct table *next;
    char key[TABLE_KEY];
    int fd;
};

/* ".../backend/vbd/3/51712" -> "vbd.3.51712"; "" for what has no vbd. */
void
table_key(char key[TABLE_KEY], const char *back)
{
    const char *at = strstr(back, "/backend/");
    char *p;

    key[0] = '\0';
    if (!at)
        return;
    snprintf(key, TABLE_KEY, "%s", at + strlen("/backend/"));
    for (p = key; *p; p++) {
        if (*p == '/')
            *p = '.';
    }
}

struct table *
table_node(void)
{
    return calloc(1, sizeof(struct table));
}

void
table_give(struct disks *ds, struct table **node, const char *key, int fd)
{
    struct table *t = *node;

    if (!t || table_waits(ds, key)) {
        /* Which of two is right can't be known; chan_open() judges the one,
         * and a wrong one does no harm. */
        log_line(BLK_WARN, NULL, "two in-flight tables of %s: one is left",
                 key);
        close(fd);
        return;
    }
    *node = NULL;
    snprintf(t->key, sizeof t->key, "%s", key);
    t->fd = fd;
    t->next = ds->tables;
    ds->tables = t;
}

int
disks_inherit(struct disks *ds, const char *key, int fd)
{
    struct table *node;

    if (!strcmp(key, DISKS_KEYS))
        return keys_inherit(ds, fd);
    node = table_node();
    if (!node) {
        close(fd);
        return -ENOMEM;
    }
    table_give(ds, &node, key, fd);
    free(node);
    return 0;
}

int
table_take(struct disks *ds, const char *key, struct table **node)
{
    struct table **p, *t;
    int fd = -1;

    for (p = &ds->tables; *p; p = &(*p)->next) {
        t = *p;
        if (strcmp(t->key, key))
            continue;
        fd = t->fd;
        *p = t->next;
        free(*node);
        *node = t;
        break;
    }
    return fd;
}

/* An earlier process's table that nobody has gone on from yet: what it says is
 * owed to the guest still is, also when we end before we come to it. */
bool
table_waits(const struct disks *ds, const char *key)
{
    const struct table *t = ds->tables;

    while (t && strcmp(t->key, key))
        t = t->next;
    return t;
}

/* One that nobody came for, and never will: its vbd went while there was no
 * process of ours. */
void
disks_sift_tables(struct disks *ds, bool (*gone)(void *ctx, const char *key),
                  void *ctx)
{
    struct table **p = &ds->tables, *t;

    while ((t = *p)) {
        if (!gone(ctx, t->key)) {
            p = &t->next;
            continue;
        }
        *p = t->next;
        log_line(BLK_INFO, NULL,
                 "the in-flight table of %s is given up: there is no such vbd "
                 "any longer",
                 t->key);
        table_forget(ds, t->key);
        close(t->fd);
        free(t);
    }
}

int
table_room(struct disks *ds, const char *key)
{
    if (!key[0] || !ds->events || !ds->events->room)
        return -1;
    return ds->events->room(ds->ctx, key);
}

void
table_keep(struct disks *ds, const char *key, int fd)
{
    if (key[0] && fd >= 0 && ds->events && ds->events->table)
        ds->events->table(ds->ctx, key, fd);
}

void
table_forget(struct disks *ds, const char *key)
{
    if (key[0] && ds->events && ds->events->table)
        ds->events->table(ds->ctx, key, -1);
}

void
tables_free(struct disks *ds)
{
    struct table *t;

    while ((t = ds->tables)) {
        ds->tables = t->next;
        close(t->fd);
        free(t);
    }
}
