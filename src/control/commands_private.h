/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* commands_private.h: what the files of the daemon's commands share. */
#ifndef CONTROL_COMMANDS_PRIVATE_H
#define CONTROL_COMMANDS_PRIVATE_H

#include "control/control.h"

/* v NULL: null. */
void put_str(struct json_object *, const char *key, const char *v);
void put_u64(struct json_object *, const char *key, uint64_t v);
void put_bool(struct json_object *, const char *key, bool v);

/* plugins.c */
control_fn plugins_command;

#endif
