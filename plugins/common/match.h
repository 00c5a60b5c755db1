/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * match.h: which requests a layer means.  Shared by the plugins that act on
 * some requests only (trace, delay, error), so that their options have the
 * same names and the same meaning.
 *
 * Units: from and to are bytes; a request is meant when any part of it lies in
 * [from, to).  A flush has no place on the disk: it is meant when op names it,
 * or when op is any and no range is given.
 */
#ifndef PLUGINS_COMMON_MATCH_H
#define PLUGINS_COMMON_MATCH_H

#include "blktap/plugin.h"

/* What a person may write for op; [0] is any, [1 + op] the rest. */
extern const char *const match_ops[];

/* Filled by the options; zero means: every request. */
struct match {
    uint64_t op;        /* index in match_ops[] */
    uint64_t from, to;  /* to 0: the end of the disk */
    double probability; /* of a hit, for what is in place */
    uint64_t every;     /* 0 and 1: each; n: the n-th, 2n-th ... */
    uint64_t count;     /* most hits; 0: no limit */
    uint64_t seen, hit; /* requests in place, and those that were hits */
};

/* 0, or -EINVAL with a sentence in why. */
int match_check(const struct match *, char *why, size_t why_size);
/* True when op and range fit; changes nothing. */
bool match_place(const struct match *, const struct blk_req *);
/* match_place(), then every, probability and count; counts seen and hit.
 * Takes a random number of the layer only where probability is below 1. */
bool match_hit(struct match *, struct blk_layer *, const struct blk_req *);

/* Lines of a blk_option table; owner has a struct match called member. */
#define MATCH_PLACE_OPTIONS(owner, member)                                \
    { .name = "op",                                                       \
      .type = BLK_CHOICE,                                                 \
      .at = offsetof(owner, member.op),                                   \
      .fallback = "any",                                                  \
      .choices = match_ops,                                               \
      .help = "only requests that ask for this" },                        \
        { .name = "from",                                                 \
          .type = BLK_SIZE,                                               \
          .at = offsetof(owner, member.from),                             \
          .fallback = "0",                                                \
          .help = "only requests that reach this byte or a later one" },  \
    {                                                                     \
        .name = "to", .type = BLK_SIZE, .at = offsetof(owner, member.to), \
        .fallback = "0",                                                  \
        .help = "only requests that begin before this byte; 0: no bound"  \
    }
#define MATCH_CHANCE_OPTIONS(owner, member)                    \
    { .name = "probability",                                   \
      .type = BLK_RATIO,                                       \
      .at = offsetof(owner, member.probability),               \
      .fallback = "1",                                         \
      .help = "how likely it is for each of these requests" }, \
        { .name = "every",                                     \
          .type = BLK_UINT,                                    \
          .at = offsetof(owner, member.every),                 \
          .fallback = "1",                                     \
          .min = 1,                                            \
          .max = UINT64_MAX,                                   \
          .help = "only each n-th of these requests" },        \
    {                                                          \
        .name = "count", .type = BLK_UINT,                     \
        .at = offsetof(owner, member.count), .fallback = "0",  \
        .help = "stop after so many; 0: never"                 \
    }

#endif
