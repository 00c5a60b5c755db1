/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_server.h: a server of somebody else's for a test: nbdkit or qemu-nbd, on
 * a socket in the folder of the test.
 */
#ifndef TESTS_FUNCTIONAL_NBD_SERVER_H
#define TESTS_FUNCTIONAL_NBD_SERVER_H

#include <stdint.h>
#include <sys/types.h>

struct server {
    pid_t pid;
    char socket[200];
    char *words[24];
    /* Of server_keeper(): kills so far; shared with the child. */
    volatile unsigned *kills;
};

/* Starts it and waits until it listens: words as in a shell, without quotes;
 * "%S" is where the socket is named. */
void server_start(struct server *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same again, after server_kill(). */
void server_again(struct server *);
/* Kills it and waits until it is gone. */
void server_kill(struct server *, int signal);
void server_signal(struct server *, int signal);
void server_stop(struct server *); /* kills it, frees all */

/* A child that kills it n times, after up to longest_us each, and starts it
 * again each time; the last one stays. */
void server_keeper(struct server *, unsigned n, unsigned longest_us,
                   uint64_t seed);
/* Ends the child and its server, and starts one of ours. */
void server_keeper_end(struct server *);

#endif
