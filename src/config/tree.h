/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tree.h: what the files of config/ share while a tree is being made.
 *
 *   text.c   bytes of a file -> text that libconfig may see
 *   parse.c  libconfig's settings -> typed fields, by tables of keys
 *   disk.c   the tables of daemon, disk and layer
 *   check.c  what can only be told when the whole is there
 *   load.c   the files in their order; the tree, or lines of errors
 *   tree.c   memory, look-ups; match.c, diff.c, print.c: what readers ask
 *   copy.c   a tree, or a part of it, once more
 *   live.c   chains that a command changed
 *   mode.c   which layers of a chain run
 *
 * Everything in a tree is the tree's: it is freed with it.
 */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include <libconfig.h>

#include "config/config.h"

enum {
    CONF_ERRORS = 20,        /* lines at most */
    CONF_FILE_MAX = 1 << 20, /* bytes of one file */
    CONF_DEPTH = 16,         /* of brackets */
    CONF_DISKS = 4096,
    CONF_LAYERS = 32,
    CONF_KINDS = 16,
    CONF_NAME_MAX = 63
};

/* ---- memory (tree.c) ----------------------------------------------------- */

/* A tree with the defaults and no disk; one reference.  NULL: no memory. */
struct conf *conf_new(void);
/* Zeroed memory that lives as long as the tree; NULL: no memory. */
void *conf_alloc(struct conf *, size_t);
char *conf_strdup(struct conf *, const char *);

/* ---- one reading (load.c) ------------------------------------------------ */

/* A tree in the making, and what was found wrong so far. */
struct reader {
    struct conf *conf;
    const char *file; /* being read; the tree's */
    const char *daemon_file;
    int daemon_line; /* where the daemon group stood */
    char *errors;
    size_t size, used;
    unsigned count; /* errors, also those that found no room */
};

/* A line "FILE:LINE: KEY: ..." of the file being read; line 0 and key NULL are
 * left out.  Control characters are shown as "?".  Always -EINVAL. */
int reader_fail(struct reader *, int line, const char *key, const char *fmt,
                ...) __attribute__((format(printf, 4, 5)));
/* The same about a place in any file. */
int reader_fail_at(struct reader *, const char *file, int line, const char *key,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int reader_oom(struct reader *);

/* A tree from text in memory, as if it were the file called path. */
struct conf *conf_load_text(const char *path, const char *text, size_t len,
                            char *errors, size_t n);

/* ---- text again (print.c) ------------------------------------------------ */

/* name = "text"; */
void print_key(FILE *, const char *indent, const char *key, const char *text);

/* ---- text (text.c) ------------------------------------------------------- */

/* The bytes of a regular file and a NUL after them, malloc'd; NULL: the
 * reader knows why. */
char *text_read(struct reader *, const char *path, size_t *len);
/* 0 when libconfig may see it: UTF-8, brackets that match, strings that end,
 * numbers that fit, no @include. */
int text_check(struct reader *, const char *text, size_t len);
/* Line number line of text (from 1), trimmed, at most n - 1 bytes. */
void text_line(const char *text, int line, char *to, size_t n);

/* ---- settings (parse.c) -------------------------------------------------- */

/* One key of a group: how it is read, and to where in a struct. */
struct conf_key {
    const char *name;
    int (*read)(struct reader *, const config_setting_t *,
                const struct conf_key *, void *to);
    size_t at;
    uint64_t min, max;
    const char *const *choices; /* NULL-ended */
    const int *values;          /* of the choices; NULL: 0, 1, 2 ... */
};

/* Reads every member of a group by its key; all errors are told. */
int group_read(struct reader *, const config_setting_t *,
               const struct conf_key *, void *base);
int key_string(struct reader *, const config_setting_t *,
               const struct conf_key *, void *); /* const char * */
int key_name(struct reader *, const config_setting_t *, const struct conf_key *,
             void *); /* const char * */
int key_bool(struct reader *, const config_setting_t *, const struct conf_key *,
             void *); /* bool */
int key_unsigned(struct reader *, const config_setting_t *,
                 const struct conf_key *, void *); /* unsigned */
int key_size(struct reader *, const config_setting_t *, const struct conf_key *,
             void *); /* uint64_t */
/* In ns; 0 is always good. */
int key_time(struct reader *, const config_setting_t *, const struct conf_key *,
             void *to);
int key_choice(struct reader *, const config_setting_t *,
               const struct conf_key *, void *); /* int */

/* 1 to 63 of [A-Za-z0-9._-], not beginning with a dot or a hyphen. */
bool name_valid(const char *);
/* "the string "x"", "the number 5", "a list" ... in to. */
const char *setting_tell(const config_setting_t *, char *to, size_t n);
/* ": did you mean "y"?" when a key looks like word; else "". */
const char *key_hint(const struct conf_key *, const char *word, char *to,
                     size_t n);
/* A scalar as text that the tree owns; NULL: told. */
const char *setting_text(struct reader *, const config_setting_t *);

/* 0 or -ENOMEM. */
int reader_begin(struct reader *, char *errors, size_t n);

/* ---- copies, the tree's (copy.c); NULL or -ENOMEM: no memory ------------- */

struct conf *conf_copy_tree(const struct conf *);
int chain_copy(struct conf *, struct chain_spec *to, const struct chain_spec *);
const struct chain_spec *chain_dup(struct conf *, const struct chain_spec *);

/* ---- modes (mode.c); of disks whose chain was checked -------------------- */

/* Of a disk that was not told its mode. */
#define MODE_ANY ((enum conf_mode) - 1)
extern const char *const conf_mode_names[]; /* NULL-ended */
/* One that fits the last layer, when the disk's does not. */
void mode_follow(struct conf_disk *);
/* 0, or -EINVAL with what was expected. */
int mode_check(const struct conf_disk *, char *why, size_t n);

/* ---- sections (disk.c), rules (check.c) ---------------------------------- */

int daemon_read(struct reader *, const config_setting_t *);
/* Appends to conf->disk, which has room. */
int disks_read(struct reader *, const config_setting_t *);
int layer_read(struct reader *, const config_setting_t *, struct blk_conf *);
/* Layers are told apart by name. */
int layer_names(struct reader *, const struct chain_spec *);
int disks_check(struct reader *);
/* One layer from text in memory, as if it were the file called path. */
int layer_load_text(struct reader *, const char *path, const char *text,
                    struct blk_conf *);

#endif
