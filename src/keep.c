/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keep.c: where in-flight tables outlive the daemon; see keep.h.
 *
 * A file is made under a name with a dot (room), becomes a table (src/channel)
 * and gets its own name in one step (table).  So a file that has its own name
 * is whole, and one with a dot is nobody's after a kill.
 */
#include "config.h"

#include "keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "folder.h"
#include "host/host.h"

enum {
    KEY_MAX = 96,
    NAME_MAX_ = KEY_MAX + 8,
    FILES_MAX = 4096 /* that are read at a start */
};

static const char key_letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

struct kept {
    struct kept *next;
    char key[KEY_MAX];
    bool in_store;
    dev_t dev; /* which file it is */
    ino_t ino;
};

static bool
key_good(const char *key)
{
    size_t n = strlen(key);

    return n && n < KEY_MAX && key[0] != '.' && strspn(key, key_letters) == n;
}

static void
new_name(char name[NAME_MAX_], const char *key)
{
    snprintf(name, NAME_MAX_, ".new.%s", key);
}

/* ---- the list ------------------------------------------------------------ */

static struct kept *
find(const struct keep *k, const char *key)
{
    struct kept *e = k->first;

    while (e && strcmp(e->key, key))
        e = e->next;
    return e;
}

static void
drop(struct keep *k, const char *key)
{
    struct kept **p = &k->first, *e;

    while ((e = *p) && strcmp(e->key, key))
        p = &e->next;
    if (!e)
        return;
    *p = e->next;
    k->in_store -= e->in_store;
    free(e);
}

/* Without memory nothing is counted, and a table is sent to the manager again
 * when it is kept there already: no harm. */
static void
add(struct keep *k, const char *key, const struct stat *st, bool in_store)
{
    struct kept *e = calloc(1, sizeof *e);

    drop(k, key);
    if (!e)
        return;
    snprintf(e->key, sizeof e->key, "%s", key);
    e->in_store = in_store;
    e->dev = st->st_dev;
    e->ino = st->st_ino;
    e->next = k->first;
    k->first = e;
    k->in_store += in_store;
}

/* ---- the folder ---------------------------------------------------------- */

static unsigned
number_of(const char *text)
{
    unsigned long n = strtoul(text, NULL, 10);

    return n > FILES_MAX ? FILES_MAX : (unsigned)n;
}

unsigned
keep_store_max(void)
{
    const char *said = getenv("FDSTORE");

    if (!getenv("NOTIFY_SOCKET"))
        return 0;
    if (!said)
        said = getenv("BLKTAPD_FDSTORE");
    return said ? number_of(said) : 0;
}

static void
no_folder(struct keep *k, const char *why)
{
    log_line(BLK_WARN, NULL, "%s: no in-flight tables are kept in files: %s%s",
             k->path, why,
             k->store_max ? ""
                          : "; a kill of the daemon leaves disks with requests "
                            "in flight waiting for their guests");
    if (k->dir >= 0)
        close(k->dir);
    k->dir = -1;
}

void
keep_open(struct keep *k, const char *path, const char *user,
          unsigned store_max)
{
    int rc;

    memset(k, 0, sizeof *k);
    k->dir = -1;
    k->store_max = store_max;
    snprintf(k->path, sizeof k->path, "%s", path);
    if (!path[0])
        return;
    rc = folder_make(path, user, &k->dir);
    if (rc)
        no_folder(k, strerror(-rc));
}

static void
folder_judge(struct keep *k)
{
    struct stat st;

    if (k->dir < 0)
        return;
    if (fstat(k->dir, &st)) {
        no_folder(k, strerror(errno));
        return;
    }
    k->dev = st.st_dev;
    k->volatile_dir = folder_is_volatile(k->dir);
    if (!folder_is_ours(k->dir))
        no_folder(k, "expected a folder of our own that nobody else can open, "
                     "found another");
}

/* ---- what was left ------------------------------------------------------- */

static const char *
file_differs(int fd, struct stat *st)
{
    if (fd < 0)
        return strerror(errno);
    if (fstat(fd, st) || !S_ISREG(st->st_mode))
        return "not a file";
    if (st->st_uid != geteuid() || st->st_nlink != 1 || st->st_mode & 077)
        return "one that is not ours, or that others can open";
    return NULL;
}

struct loading {
    struct keep *keep;
    void (*cb)(void *ctx, const char *key, int fd);
    void *ctx;
};

static void
load_file(struct loading *l, const char *name)
{
    struct keep *k = l->keep;
    const char *differs;
    struct stat st;
    int fd;

    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return;
    if (!strncmp(name, ".new.", 5)) { /* of a life that ended here */
        unlinkat(k->dir, name, 0);
        return;
    }
    fd = openat(k->dir, name,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    differs = key_good(name) ? file_differs(fd, &st) : "no disk's by its name";
    if (!differs && find(k, name))
        differs = "a second one: the service manager has one, too";
    if (!differs) {
        add(k, name, &st, false);
        l->cb(l->ctx, name, fd);
        return;
    }
    log_line(BLK_WARN, NULL,
             "%s/%s: expected an in-flight table, found %s: it is not used",
             k->path, name, differs);
    if (fd >= 0)
        close(fd);
}

static void
load_folder(struct loading *l)
{
    int fd = l->keep->dir < 0 ? -1 : fcntl(l->keep->dir, F_DUPFD_CLOEXEC, 3);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    unsigned n = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while (n++ < FILES_MAX && (entry = readdir(dir)))
        load_file(l, entry->d_name);
    closedir(dir);
}

/* Also what is no table takes room there. */
static void
load_stored(void *ctx, const char *key, int fd)
{
    struct loading *l = ctx;
    struct stat st;

    if (!key_good(key) || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        log_line(BLK_WARN, NULL,
                 "the service manager kept \"%.64s\": expected an in-flight "
                 "table, found something else: it is given up",
                 key);
        notify_forget(key);
        close(fd);
        return;
    }
    add(l->keep, key, &st, true);
    l->cb(l->ctx, key, fd);
}

void
keep_load(struct keep *k, void (*cb)(void *ctx, const char *key, int fd),
          void *ctx)
{
    struct loading l = { k, cb, ctx };

    folder_judge(k);
    notify_kept(load_stored, &l);
    load_folder(&l);
}

/* ---- a disk's table ------------------------------------------------------ */

static bool
store_has_room(const struct keep *k, const char *key)
{
    const struct kept *e = find(k, key);

    return k->in_store < k->store_max || (e && e->in_store);
}

bool
keep_in_memory(const struct keep *k, const char *key)
{
    return store_has_room(k, key) || (k->dir >= 0 && k->volatile_dir);
}

static void
tell_full(struct keep *k)
{
    if (!k->store_max || k->full_told)
        return;
    k->full_told = true;
    log_line(BLK_WARN, NULL,
             "the service manager keeps %u in-flight tables, which is all that "
             "it may (FileDescriptorStoreMax): those of further disks are kept "
             "in %s",
             k->store_max, k->dir < 0 ? "no place" : k->path);
}

int
keep_room(struct keep *k, const char *key)
{
    char name[NAME_MAX_];
    int fd;

    if (!key_good(key) || store_has_room(k, key))
        return -1;
    tell_full(k);
    if (k->dir < 0)
        return -1;
    new_name(name, key);
    unlinkat(k->dir, name, 0);
    fd = openat(k->dir, name,
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        log_line(BLK_WARN, NULL, "%s/%s: can't be made: %s", k->path, key,
                 strerror(errno));
    return fd;
}

/* Whether the file of this name is the open one. */
static bool
is_named(const struct keep *k, const char *name, const struct stat *st)
{
    struct stat named;

    return k->dir >= 0 && !fstatat(k->dir, name, &named, AT_SYMLINK_NOFOLLOW) &&
           named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}

static void
keep_in_store(struct keep *k, const char *key, int fd, const struct stat *st)
{
    if (k->in_store >= k->store_max)
        log_line(BLK_WARN, NULL,
                 "the in-flight table of %s is in no place that outlives the "
                 "daemon: if it is killed with requests in flight, the disk "
                 "will wait for its guest to connect anew",
                 key);
    notify_keep(key, fd);
    add(k, key, st, true);
}

void
keep_table(struct keep *k, const char *key, int fd)
{
    const struct kept *e = find(k, key);
    char name[NAME_MAX_];
    struct stat st;

    if (!key_good(key) || fstat(fd, &st))
        return;
    if (e && e->dev == st.st_dev && e->ino == st.st_ino)
        return; /* it went on from the one that was kept */
    new_name(name, key);
    /* The old one goes first: of two, the next process can't know which. */
    if (e && e->in_store) {
        notify_forget(key);
        drop(k, key);
    }
    if (is_named(k, key, &st)) {
        add(k, key, &st, false);
        return;
    }
    if (is_named(k, name, &st)) {
        if (!renameat(k->dir, name, k->dir, key)) {
            add(k, key, &st, false);
            return;
        }
        log_line(BLK_WARN, NULL, "%s/%s: can't be renamed: %s", k->path, name,
                 strerror(errno));
    }
    if (k->dir >= 0) {
        unlinkat(k->dir, name, 0); /* there was no place for it */
        unlinkat(k->dir, key, 0);
    }
    keep_in_store(k, key, fd, &st);
}

void
keep_forget(struct keep *k, const char *key)
{
    char name[NAME_MAX_];

    if (!key_good(key))
        return;
    notify_forget(key);
    drop(k, key);
    if (k->dir < 0)
        return;
    new_name(name, key);
    unlinkat(k->dir, name, 0);
    unlinkat(k->dir, key, 0);
}

void
keep_close(struct keep *k)
{
    while (k->first)
        drop(k, k->first->key);
    if (k->dir >= 0)
        close(k->dir);
    k->dir = -1;
}
