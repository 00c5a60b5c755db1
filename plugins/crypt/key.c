/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/crypt/key.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blktap/plugin.h"

__attribute__((format(printf, 4, 5))) static int
fail(int error, char *why, size_t n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, n, fmt, ap);
    va_end(ap);
    return error;
}

static int
key_room(struct key *k, size_t room, char *why, size_t n)
{
    k->bytes = blk_secret_map(room);
    if (!k->bytes)
        return fail(-ENOMEM, why, n,
                    "can't lock memory for the key: raise the limit of locked "
                    "memory (LimitMEMLOCK= of the unit)");
    k->room = room;
    return 0;
}

/* ---- a file -------------------------------------------------------------- */

/* Also from something that has no size, as a pipe in /dev/fd. */
static int
read_all(int fd, struct key *k)
{
    while (k->len < k->room) {
        ssize_t got = read(fd, k->bytes + k->len, k->room - k->len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got)
            return 0;
        k->len += (size_t)got;
    }
    return -EFBIG;
}

static int
key_file(struct key *k, const char *path, char *why, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc;
    size_t room = 4096;
    struct stat st = { 0 };

    if (fd < 0)
        return fail(-errno, why, n, "%s: can't open it: %s", k->name,
                    strerror(errno));
    if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
        /* One byte more tells that it did not end where it should. */
        room = st.st_size < (off_t)KEY_MAX ? (size_t)st.st_size + 1 : 0;
    }
    rc = room ? key_room(k, room, why, n) : -EFBIG;
    if (!rc && (rc = read_all(fd, k)))
        fail(rc, why, n, "%s: can't read it: %s", k->name, strerror(-rc));
    close(fd);
    if (rc == -EFBIG)
        return fail(rc, why, n, "%s: a key has at most %u bytes", k->name,
                    S_ISREG(st.st_mode) ? KEY_MAX - 1 : 4095);
    return rc;
}

/* ---- a credential of the service manager --------------------------------- */

static int
key_credential(struct key *k, const char *name, char *why, size_t n)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];

    if (!folder)
        return fail(-ENOENT, why, n,
                    "%s: the service has no credentials: give it one by "
                    "LoadCredential=%s:/path/to/key in its unit",
                    k->name, name);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >=
        sizeof(path))
        return fail(-ENAMETOOLONG, why, n, "%s: the name is too long", k->name);
    return key_file(k, path, why, n);
}

/* ---- the kernel's keyring ------------------------------------------------ */

static long
keyctl(int op, long a, long b, long c, long d)
{
    return syscall(SYS_keyctl, op, a, b, c, d);
}

/* The user's keyring becomes part of this thread's while we look: what it has
 * is then ours to read, as the owner of the key meant.  (A service's session
 * keyring is empty: KeyringMode=private.) */
static int
key_keyring(struct key *k, const char *description, char *why, size_t n)
{
    long id, len;
    int rc = 0;

    keyctl(KEYCTL_LINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_THREAD_KEYRING, 0, 0);
    id = keyctl(KEYCTL_SEARCH, KEY_SPEC_THREAD_KEYRING, (long)"user",
                (long)description, 0);
    if (id < 0)
        id = keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, (long)"user",
                    (long)description, 0);
    len = id < 0 ? -1 : keyctl(KEYCTL_READ, id, 0, 0, 0);
    if (len < 0) {
        rc = fail(-errno, why, n,
                  "%s: can't be read: %s; add it as the daemon's user: keyctl "
                  "padd user %s @u",
                  k->name, strerror(errno), description);
    } else if (len > 0 && !(rc = key_room(k, (size_t)len, why, n))) {
        len = keyctl(KEYCTL_READ, id, (long)k->bytes, len, 0);
        k->len = len < 0 || (size_t)len > k->room ? 0 : (size_t)len;
    }
    keyctl(KEYCTL_UNLINK, KEY_SPEC_USER_KEYRING, KEY_SPEC_THREAD_KEYRING, 0, 0);
    return rc;
}

/* ---- any ----------------------------------------------------------------- */

int
key_get(struct key *k, const struct key_from *from, char *why, size_t n)
{
    int rc;

    memset(k, 0, sizeof(*k));
    if (from->file) {
        snprintf(k->name, sizeof(k->name), "key-file %s", from->file);
        rc = key_file(k, from->file, why, n);
    } else if (from->credential) {
        snprintf(k->name, sizeof(k->name), "key-credential %s",
                 from->credential);
        rc = key_credential(k, from->credential, why, n);
    } else {
        snprintf(k->name, sizeof(k->name), "key-keyring %s", from->keyring);
        rc = key_keyring(k, from->keyring, why, n);
    }
    if (!rc && !k->len)
        rc = fail(-EINVAL, why, n, "%s: expected a key, found nothing in it",
                  k->name);
    if (rc)
        key_drop(k);
    return rc;
}

void
key_drop(struct key *k)
{
    blk_secret_unmap(k->bytes, k->room);
    k->bytes = NULL;
    k->len = k->room = 0;
}
