/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lastconf.h: the configuration that was in force last, kept for a restart.
 *
 * Somebody leaves a mistake in the files; nothing happens, as a reload refuses
 * it.  Then the daemon dies, and with nothing but the files its next process
 * could not start: every guest's disk would hang until a person comes.  So
 * what is in force lies in the runtime folder, and is used when the files
 * can't be read at a restart.  It is taken away when the daemon ends with no
 * disk open: then nobody waits for it, and a mistake is to be seen at once.
 */
#ifndef LASTCONF_H
#define LASTCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "conffile.h"

enum { LASTCONF_PATH = CONFFILE_PATH };

/* Where a file is that outlives a restart: in the folder that the service
 * manager gives us, or, for the system's own configuration, in its place; "":
 * nothing is kept. */
void lastconf_path(char path[LASTCONF_PATH], const char *conf_path,
                   const char *name);
/* The file follows in one step.  When it can't, none is left: an older one
 * would be wrong. */
void lastconf_save(const char *path, const struct conf *);
/* NULL: there is none (errors is ""), or it can't be used (errors says why, a
 * line each).  Only a file that nobody but us can have written is. */
struct conf *lastconf_load(const char *path, char *errors, size_t n);
void lastconf_drop(const char *path);

#endif
