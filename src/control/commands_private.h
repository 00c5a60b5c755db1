/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* commands_private.h: what the files of the daemon's commands share. */
#ifndef CONTROL_COMMANDS_PRIVATE_H
#define CONTROL_COMMANDS_PRIVATE_H

#include "control/commands.h"

/* v NULL: null. */
void put_str(struct json_object *, const char *key, const char *v);
void put_u64(struct json_object *, const char *key, uint64_t v);
void put_bool(struct json_object *, const char *key, bool v);

/* commands.c */
struct conf *view_conf(const struct daemon_view *);
/* NULL: the call was failed. */
const struct conf_disk *disk_configured(const struct daemon_view *,
                                        struct control_call *,
                                        const char *name);
/* A disk with a chain that runs.  NULL: the call was failed. */
struct disk *disk_running(const struct daemon_view *, struct control_call *,
                          const char *name);

/* commands_look.c */
struct json_object *chain_describe(const struct chain_spec *);
control_fn list_command, show_command, stats_command;

/* chain.c */
control_fn layers_command, mode_command;

/* map.c */
control_fn map_command;

/* plugins.c */
control_fn plugins_command;

#endif
