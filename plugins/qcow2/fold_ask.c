/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fold_ask.c: a commit is asked for, held, given up and looked at.
 *
 *   commit              begin
 *   commit pause        hold: guests' writes are only marked meanwhile
 *   commit resume       go on
 *   commit cancel       give up: what was copied stays below, unseen
 *   commit status       what `info' says of it
 *   commit end WORD     all is below: from now on a pause of the engine copies
 *                       what is left and flushes it, or fails, until
 *   commit again WORD   says, with the same word, that it need not
 *
 * The last two are the daemon's, which takes the layer out in between; without
 * that word nobody can take the promise back behind its back.
 */
#include "plugins/qcow2/fold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOLD_UNIT = 64 << 10,
    FOLD_UNITS = 1 << 23, /* most marks: a megabyte of bits */
    FOLD_MEMORY = 1 << 20
};

bool
q2_fold_running(const struct qcow2 *s)
{
    return s->folding && q2_fold_works(s->folding);
}

bool
q2_fold_told(const struct qcow2 *s)
{
    return s->folding && s->folding->state != Q2_FOLD_NONE;
}

/* ---- may it be ----------------------------------------------------------- */

static int
judge_image(const struct qcow2 *s, struct blk_out *out)
{
    if (blk_last(s->layer))
        blk_printf(out, "expected a layer below to commit to, found none: it "
                        "is the last of the chain\n");
    else if (s->ephemeral)
        blk_printf(out, "expected an overlay that stays, found one that is "
                        "ephemeral: what is below it is what every attachment "
                        "begins with\n");
    else if (s->image->readonly || s->image->failed || s->corrupt)
        blk_printf(out,
                   "expected an image that can be written, found one that "
                   "%s\n",
                   s->image->readonly ? "is read-only" : "failed");
    else if (s->h.snapshots)
        blk_printf(out,
                   "expected an image without internal snapshots, found "
                   "%" PRIu32 ", which would read as something else over a "
                   "layer that changed: delete them with qemu-img snapshot\n",
                   s->h.snapshots);
    else
        return 0;
    return -EINVAL;
}

static int
judge_below(const struct qcow2 *s, struct blk_out *out)
{
    const struct blk_limits *below = blk_below(s->layer);

    if (below->readonly || !(below->ops & BLK_BIT(BLK_WRITE)))
        blk_printf(out, "expected a layer below that takes writes, found one "
                        "that is read-only\n");
    else if (below->volatile_cache && !(below->ops & BLK_BIT(BLK_FLUSH)))
        blk_printf(out, "expected a layer below that can be flushed, found one "
                        "that may lose what is written\n");
    else if (s->size != below->size)
        blk_printf(out,
                   "expected a layer below of the %" PRIu64
                   " bytes of this one, found %" PRIu64 "\n",
                   s->size, below->size);
    else
        return 0;
    return -EINVAL;
}

static int
fold_judge(const struct qcow2 *s, struct blk_out *out)
{
    int error = judge_image(s, out);

    return error ? error : judge_below(s, out);
}

/* ---- asked for ----------------------------------------------------------- */

static int
fold_memory(struct q2_fold *f)
{
    struct qcow2 *s = f->s;

    f->size = s->size;
    f->unit = FOLD_UNIT;
    while (f->unit < s->cluster || f->unit < s->align ||
           f->size / f->unit >= FOLD_UNITS)
        f->unit *= 2;
    f->units = (f->size + f->unit - 1) / f->unit;
    f->again = calloc((size_t)(f->units / 64 + 1), sizeof(*f->again));
    f->memory = q2_alloc_memory(FOLD_MEMORY);
    if (f->again && f->memory)
        return 0;
    free(f->again);
    free(f->memory);
    f->again = NULL;
    f->memory = NULL;
    return -ENOMEM;
}

static int
ask_begin(struct q2_fold *f, struct blk_out *out)
{
    struct qcow2 *s = f->s;
    int error;

    if (q2_fold_works(f) || f->busy || q2_resize_wanted(s)) {
        blk_printf(out, "%s\n",
                   q2_fold_works(f) ? "it is being committed already"
                   : f->busy        ? "an earlier commit is at its end"
                                    : "it is being resized");
        return -EBUSY;
    }
    error = fold_judge(s, out);
    if (error)
        return error;
    error = fold_memory(f);
    if (error) {
        blk_printf(out, "no memory\n");
        return error;
    }
    f->state = Q2_FOLD_COPYING;
    f->held = f->no_zero = false;
    f->end_word[0] = f->why[0] = '\0';
    f->passed = f->begin = f->at = f->dirty = f->cursor = f->copied = 0;
    f->sure = UINT64_MAX;
    f->passes = 0;
    f->end = f->size;
    q2_fold_kick(f);
    blk_printf(out, "committing\n");
    return 0;
}

/* A guest's write waits for no copy that nobody makes. */
static int
ask_hold(struct q2_fold *f)
{
    f->held = true;
    if (f->state != Q2_FOLD_COPYING)
        f->state = Q2_FOLD_COPYING;
    q2_queue_wake(&f->waiters, 0);
    return 0;
}

static int
ask_running(struct q2_fold *f, const char *word, struct blk_out *out)
{
    if (!q2_fold_works(f)) {
        blk_printf(out, "no commit is at work\n");
        return -EINVAL;
    }
    if (f->end_word[0]) {
        blk_printf(out, "the commit is at its end\n");
        return -EBUSY;
    }
    if (!strcmp(word, "pause"))
        return ask_hold(f);
    if (!strcmp(word, "cancel")) {
        q2_fold_stop(f, Q2_FOLD_NONE);
        return 0;
    }
    f->held = false;
    q2_fold_kick(f);
    return 0;
}

static int
ask_end(struct q2_fold *f, const char *word, struct blk_out *out)
{
    int error = fold_judge(f->s, out);

    if (error)
        return error;
    if (f->state != Q2_FOLD_READY || f->held || f->end_word[0] || !word[0] ||
        strlen(word) >= sizeof(f->end_word)) {
        blk_printf(out, "its commit is not complete\n");
        return -EBUSY;
    }
    snprintf(f->end_word, sizeof(f->end_word), "%s", word);
    return 0;
}

static int
ask_again(struct q2_fold *f, const char *word, struct blk_out *out)
{
    if (!f->end_word[0] || strcmp(f->end_word, word)) {
        blk_printf(out, "expected the word that was said at the end\n");
        return -EINVAL;
    }
    f->end_word[0] = '\0';
    return 0;
}

int
q2_fold_command(struct qcow2 *s, int argc, char **argv, struct blk_out *out)
{
    struct q2_fold *f = s->folding;

    if (!argc)
        return ask_begin(f, out);
    if (argc == 1 && !strcmp(argv[0], "status")) {
        q2_fold_show(s, out);
        return 0;
    }
    if (argc == 1 && (!strcmp(argv[0], "pause") || !strcmp(argv[0], "resume") ||
                      !strcmp(argv[0], "cancel")))
        return ask_running(f, argv[0], out);
    if (argc == 2 && !strcmp(argv[0], "end"))
        return ask_end(f, argv[1], out);
    if (argc == 2 && !strcmp(argv[0], "again"))
        return ask_again(f, argv[1], out);
    blk_printf(out,
               "commit: expected pause, resume, cancel, status or nothing, "
               "found %s\n",
               argv[0]);
    return -EINVAL;
}

/* ---- told ---------------------------------------------------------------- */

void
q2_fold_show(const struct qcow2 *s, struct blk_out *out)
{
    static const char *const names[] = {
        [Q2_FOLD_NONE] = "none",     [Q2_FOLD_COPYING] = "copying",
        [Q2_FOLD_LAST] = "last",     [Q2_FOLD_READY] = "ready",
        [Q2_FOLD_FAILED] = "failed",
    };
    const struct q2_fold *f = s->folding;

    blk_put_str(out, "commit",
                f->held                        ? "paused"
                : !q2_fold_works(f) && f->busy ? "ending"
                                               : names[f->state]);
    if (f->why[0])
        blk_put_str(out, "commit_failed", f->why);
    if (f->state == Q2_FOLD_NONE)
        return;
    blk_put_u64(out, "commit_done", f->passed);
    blk_put_u64(out, "commit_of", f->size);
    blk_put_u64(out, "commit_copied", f->copied);
    blk_put_u64(out, "commit_again", f->dirty * f->unit);
}

int
q2_fold_init(struct qcow2 *s)
{
    s->folding = calloc(1, sizeof(*s->folding));
    if (!s->folding)
        return -ENOMEM;
    s->folding->s = s;
    q2_queue_init(&s->folding->waiters);
    return 0;
}

void
q2_fold_free(struct qcow2 *s)
{
    if (s->folding) {
        free(s->folding->again);
        free(s->folding->memory);
    }
    free(s->folding);
    s->folding = NULL;
}
