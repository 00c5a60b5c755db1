/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_fake.h: what the nbd plugin uses of libnbd, with servers in simulated
 * time behind it: nbd://server has the simulated file /server, nbd://server/X
 * the file /X.  They execute what they were sent in any order, after a while;
 * what no flush has covered a crash of theirs may undo.
 */
#ifndef TESTS_SIM_NBD_FAKE_H
#define TESTS_SIM_NBD_FAKE_H

#include "host/sim.h"

/* Of the world that there is now; nothing is under way. */
void nbd_fake_world(struct sim *);
/* All connections to a file's server break: of what was under way each is
 * executed, or is not.  For a while there are no new ones. */
void nbd_fake_break(const char *file);
/* The machine of the server dies, too. */
void nbd_fake_die(const char *file);
/* The client is gone, before sim_kill() or sim_crash(). */
void nbd_fake_client_gone(void);
/* Of what is executed next, the write that begins with these bytes is not, but
 * fails. */
void nbd_fake_refuse(uint64_t word);
/* The next flush fails. */
void nbd_fake_refuse_flush(void);
/* Whether this server has flushed for a client that it has been connected with
 * since then: that one has all that the server may forget. */
bool nbd_fake_has_flushed(const char *file);
/* Whether this server, or any (NULL), has died, and its client has not sent
 * again what went with it: that is in the client's memory alone. */
bool nbd_fake_has_lost(const char *file);
/* How many connections have broken, and servers died, in this world. */
struct nbd_fake_count {
    uint64_t breaks, deaths;
};
struct nbd_fake_count nbd_fake_count(void);

#endif
