/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lastconf.c: the configuration that was in force last; see lastconf.h. */
#include "config.h"

#include "lastconf.h"

#include <string.h>

#include "conffile.h"
#include "host/host.h"

static const char head[] =
    "# Made by blktapd: the configuration that is in force, or was when it\n"
    "# ended.  Used at a restart when the files in " BLKTAPD_SYSCONFDIR
    " can't be read.\n";

void
lastconf_path(char path[LASTCONF_PATH], const char *conf_path, const char *name)
{
    conffile_path(path, conf_path, "RUNTIME_DIRECTORY", BLKTAPD_RUNDIR, name);
}

void
lastconf_save(const char *path, const struct conf *conf)
{
    int rc;

    if (!path[0])
        return;
    rc = conffile_prepare(path, head, conf, conf_print);
    if (!rc)
        rc = conffile_commit(path);
    if (!rc)
        return;
    log_line(BLK_WARN, NULL,
             "%s: the configuration in force can't be kept for a restart: %s",
             path, strerror(-rc));
    lastconf_drop(path);
}

struct conf *
lastconf_load(const char *path, char *errors, size_t n)
{
    if (conffile_ours(path, errors, n) != 1)
        return NULL;
    return conf_load(path, NULL, errors, n);
}

void
lastconf_drop(const char *path)
{
    conffile_drop(path);
}
