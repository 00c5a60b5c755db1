/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log_writes.h: what a simulated file's medium was told, as a log that the
 * public tools of dm-log-writes replay (Linux,
 * Documentation/admin-guide/device-mapper/log-writes.rst; xfstests'
 * replay-log).
 *
 * Little-endian.  A sector with the super block: magic, version, number of
 * entries, bytes per sector (64, 64, 64, 32 bits).  Then for each entry a
 * sector: where (in sectors), how many, flags, bytes of text (64 bits each),
 * and the text of a mark; and behind it the data of a write.  A discard has
 * none.
 *
 * Writes come in the order of their completion, before the flush that covered
 * them, as there; a FUA write keeps its place among them.  What was not covered
 * when the power fails comes next, in full; then the mark "power-failure",
 * and then, with FUA, each sector that the medium has otherwise: so the log up
 * to any entry is what a medium may hold, and up to any mark but that one it is
 * what it did.
 */
#ifndef TESTS_SIM_LOG_WRITES_H
#define TESTS_SIM_LOG_WRITES_H

#include "host/sim.h"

struct log_writes;

/* The log is PATH, and begins with what the file has; for each mark PATH.marks
 * has a line: entries before it, CRC-32 of the medium, its size, the mark. */
struct log_writes *log_writes_begin(struct sim *, const char *file,
                                    const char *path);
void log_writes_mark(struct log_writes *, const char *text);
/* What is not covered by a flush is, too; NULL: nothing. */
void log_writes_end(struct log_writes *);

#endif
