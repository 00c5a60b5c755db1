/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error: makes requests fail, for tests of what is above: guests, file
 * systems, other layers.
 *
 * before: the request ends here and the layers below never see it.  after: the
 * layers below do their work, and the answer is replaced on the way up: a
 * write that "failed" has been written.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "blktap/plugin.h"
#include "plugins/common/match.h"

enum error_when { ERROR_BEFORE, ERROR_AFTER };

struct error {
    struct match match;
    uint64_t code; /* index in error_codes[] */
    uint64_t when; /* enum error_when */
    bool fatal;
    bool over; /* it was said */
};

/* Lives in the scratch of a request. */
struct error_req {
    bool fail; /* on the way up */
};

/* Names and numbers, in the same order. */
static const char *const error_names[] = { "EIO",       "ENOSPC", "EOPNOTSUPP",
                                           "ETIMEDOUT", "EROFS",  "EACCES",
                                           "ENODEV",    "ENOMEM", NULL };
static const int error_codes[] = { EIO,   ENOSPC, EOPNOTSUPP, ETIMEDOUT,
                                   EROFS, EACCES, ENODEV,     ENOMEM };
static const char *const error_whens[] = { "before", "after", NULL };

static const struct blk_option error_options[] = {
    { .name = "errno",
      .type = BLK_CHOICE,
      .at = offsetof(struct error, code),
      .fallback = "EIO",
      .choices = error_names,
      .help = "what the requests fail with" },
    { .name = "when",
      .type = BLK_CHOICE,
      .at = offsetof(struct error, when),
      .fallback = "before",
      .choices = error_whens,
      .help = "fail instead of the layers below, or after they did the work" },
    { .name = "fatal",
      .type = BLK_BOOL,
      .at = offsetof(struct error, fatal),
      .fallback = "no",
      .help = "the first of them also takes the disk out of service" },
    MATCH_PLACE_OPTIONS(struct error, match),
    MATCH_CHANCE_OPTIONS(struct error, match),
    { 0 }
};

static const struct blk_counter error_counters[] = {
    { "matched", offsetof(struct error, match.seen), "requests",
      "requests of the chosen kind and place" },
    { "failed", offsetof(struct error, match.hit), "requests",
      "requests that were made to fail" },
    { 0 }
};

static int
error_check(const void *self, char *why, size_t why_size)
{
    const struct error *e = self;

    return match_check(&e->match, why, why_size);
}

/* As a layer does whose medium is gone: once, and never again. */
static void
error_fatal(struct blk_layer *l)
{
    struct error *e = blk_self(l);

    if (!e->fatal || e->over)
        return;
    e->over = true;
    blk_fatal(l, error_codes[e->code], "told to fail for good (%s)",
              error_names[e->code]);
}

static void
error_submit(struct blk_layer *l, struct blk_req *r)
{
    struct error *e = blk_self(l);
    struct error_req *q = r->scratch;

    q->fail = match_hit(&e->match, l, r);
    if (q->fail)
        error_fatal(l);
    if (q->fail && e->when == ERROR_BEFORE)
        blk_end(l, r, -error_codes[e->code]);
    else
        blk_down(l, r);
}

static void
error_done(struct blk_layer *l, struct blk_req *r)
{
    struct error *e = blk_self(l);
    struct error_req *q = r->scratch;

    blk_end(l, r, q->fail ? -error_codes[e->code] : r->error);
}

BLK_PLUGIN(error) = {
    .abi = BLK_ABI,
    .self_size = sizeof(struct error),
    .req_size = sizeof(struct error_req),
    .ops = BLK_ALL_OPS,
    .transparent = true,
    .name = "error",
    .help = "makes requests fail, for tests",
    .options = error_options,
    .counters = error_counters,
    .check = error_check,
    .submit = error_submit,
    .done = error_done,
};
