/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenstore.c: a front-end's directory, made of any bytes, as read.c reads it.
 *
 * Input: first byte: queues and order offered; then nodes, each a byte that
 * picks the name, a byte of length, and the value.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xenbus/node.h"
#include "xenbus/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define FRONT "/local/domain/7/device/vbd/51712"
#define BACK  "/local/domain/0/backend/vbd3/7/51712"

enum { NODES = 64 };

static const uint8_t *bytes;
static size_t left;

/* The names that matter; the byte above them is a queue's or a ref's number. */
static bool
name_matches(const char *leaf, uint8_t pick)
{
    static const char *const names[] = {
        "backend",           "protocol",
        "ring-page-order",   "multi-queue-num-queues",
        "ring-ref",          "event-channel",
        "ring-ref0",         "ring-ref1",
        "queue-0/ring-ref",  "queue-0/event-channel",
        "queue-1/ring-ref",  "queue-1/event-channel",
        "queue-0/ring-ref0", "queue-0/ring-ref1"
    };
    const unsigned n = sizeof names / sizeof names[0];

    /* 14: every ref; 15: every port: deep inputs stay short. */
    if (pick % 16 == 14)
        return strstr(leaf, "ring-ref") != NULL;
    if (pick % 16 == 15)
        return strstr(leaf, "event-channel") != NULL;
    return pick % 16 < n && !strcmp(leaf, names[pick % 16]);
}

static char *
fuzz_read(struct store *s, store_tx tx, const char *path, size_t *len)
{
    const char *leaf = path + sizeof FRONT;
    size_t at = 0;

    (void)s;
    (void)tx;
    if (strncmp(path, FRONT "/", sizeof FRONT))
        abort(); /* it looks elsewhere */
    while (at + 2 <= left) {
        size_t n = bytes[at + 1];
        char *v;

        if (n > left - at - 2)
            n = left - at - 2;
        if (!name_matches(leaf, bytes[at])) {
            at += 2 + n;
            continue;
        }
        v = malloc(n + 1);
        if (!v)
            abort();
        memcpy(v, bytes + at + 2, n);
        v[n] = '\0';
        if (len)
            *len = n;
        return v;
    }
    if (!strcmp(leaf, "backend")) {
        if (len)
            *len = strlen(BACK);
        return strdup(BACK);
    }
    errno = ENOENT;
    return NULL;
}

static int
fuzz_begin(struct store *s, store_tx *tx)
{
    (void)s;
    *tx = 1;
    return 0;
}

static int
fuzz_end(struct store *s, store_tx tx, bool commit)
{
    (void)s;
    (void)tx;
    (void)commit;
    return 0;
}

static const struct store_ops ops = { .read = fuzz_read,
                                      .begin = fuzz_begin,
                                      .end = fuzz_end };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store store = { .ops = &ops };
    struct front_ask ask = { .front = FRONT, .back = BACK };
    struct chan_params p;
    char why[300];
    size_t i;
    int rc;

    if (!size)
        return 0;
    ask.queues_max = 1u + data[0] % 17;
    ask.order_max = data[0] / 32;
    bytes = data + 1;
    left = size - 1;
    memset(&p, 0, sizeof p);
    memset(why, 0, sizeof why);
    rc = front_read(&store, &ask, &p, why, sizeof why);
    if (rc && rc != -EPROTO)
        abort();
    if (rc && (!why[0] || strlen(why) > 250))
        abort();
    for (i = 0; rc && why[i]; i++) {
        if (why[i] < ' ' || why[i] > '~')
            abort(); /* a guest's byte in a line of the log */
    }
    if (!rc && (p.queues < 1 || p.queues > ask.queues_max ||
                p.queues > CHAN_QUEUES_MAX || p.order > ask.order_max ||
                p.order > CHAN_ORDER_MAX || p.abi > CHAN_ABI_X86_32))
        abort();
    return 0;
}
