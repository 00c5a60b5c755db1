/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * peer.h: a tail whose disk is at the other end of a connection, as NBD's is.
 *
 * Requests are carried out late, in any order; the connection breaks, and with
 * it go requests of which nobody knows whether they were carried out; after a
 * while there is another, and all of them are sent again.  The server is one
 * that has ended all of a connection's requests before it takes the next.
 *
 * The medium behind the server is a file of the simulated world: what was not
 * flushed is lost when the power fails.  It takes no memory but the engine's,
 * so that a killed daemon leaves nothing of it.
 */
#ifndef TESTS_SIM_DAEMON_PEER_H
#define TESTS_SIM_DAEMON_PEER_H

#include "blktap/plugin.h"

struct sim;
extern const struct blk_plugin blk_plugin_peer;
/* What a program has besides, until a NULL; it need not have any. */
extern const struct blk_plugin *const peer_others[] __attribute__((weak));
/* The world that its files are in, and where it counts; set by the test. */
extern struct sim *peer_sim;
extern uint64_t *peer_tally;

#endif
