/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nbd_fake.h: what the nbd plugin uses of libnbd, with a server in simulated
 * time behind it, whose export is the simulated file /server.  It executes what
 * it was sent in any order, after a while; what no flush has covered a crash of
 * it may undo.
 */
#ifndef TESTS_SIM_NBD_FAKE_H
#define TESTS_SIM_NBD_FAKE_H

#include "host/sim.h"

/* Of the world that there is now; nothing is under way. */
void nbd_fake_world(struct sim *);
/* All connections break: of what was under way each is executed, or is not.
 * For a while there are no new ones. */
void nbd_fake_break(void);
/* The machine of the server dies, too. */
void nbd_fake_die(void);
/* The client is gone, before sim_kill() or sim_crash(). */
void nbd_fake_client_gone(void);

#endif
