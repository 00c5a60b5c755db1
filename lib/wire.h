/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wire.h: the client's end of the control socket (control/control.h has the
 * protocol).  Blocking.  Every sentence in *why is malloc'd; why may be NULL.
 */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

#include <json-c/json.h>
#include <stddef.h>

enum { WIRE_FDS_MAX = 64 };

struct wire {
    int fd;
    char *text; /* what came after the last line */
    size_t len, size;
    int fds[WIRE_FDS_MAX]; /* that came with lines; the taker's to close */
    unsigned n;
};

/* path NULL: the daemon's usual one.  0 or -errno. */
int wire_open(struct wire *, const char *path, char **why);
/* Closes the descriptors that nobody took as well. */
void wire_close(struct wire *);
/* The next line; 0, or -errno (-EPIPE: the daemon hung up). */
int wire_line(struct wire *, struct json_object **line, char **why);
/* Asks, and waits for the answer: 0 and the result; or -errno, -EREMOTEIO when
 * the daemon refused, and then why is what it said. */
int wire_call(struct wire *, const char *command, const char *const *argv,
              int argc, struct json_object **result, char **why);
/* *why = a sentence, if why is not NULL. */
void wire_why(char **why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
