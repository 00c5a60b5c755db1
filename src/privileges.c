/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * privileges.c: what root was needed for is open; go on as a user.
 *
 * The unit starts us as that user already; this is for a start by hand.
 * Changing all three user ids clears every capability (capabilities(7)).
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon.h"

int
privileges_drop(const char *user, char *why, size_t n)
{
    struct passwd *pw;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        snprintf(why, n, "no_new_privs: %s", strerror(errno));
        return -errno;
    }
    if (geteuid() || !user)
        return 0;
    pw = getpwnam(user);
    if (!pw) {
        snprintf(why, n, "daemon.user: expected a user, found \"%s\"", user);
        return -ENOENT;
    }
    if (initgroups(pw->pw_name, pw->pw_gid) ||
        setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid)) {
        int rc = -errno;

        snprintf(why, n, "can't become %s: %s", user, strerror(-rc));
        return rc;
    }
    return 0;
}
