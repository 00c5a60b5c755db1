/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tally.h: how often the things happened that a simulation is about. */
#ifndef TESTS_SIM_DAEMON_TALLY_H
#define TESTS_SIM_DAEMON_TALLY_H

#include <stdint.h>

/* X(NAME, what is printed) */
#define TALLY(X)                                      \
    X(CONNECTIONS, "connections")                     \
    X(QUEUES, "with several queues")                  \
    X(PAGES, "with rings of several pages")           \
    X(ABI32, "of 32-bit guests")                      \
    X(INDIRECT, "indirect requests")                  \
    X(PERSISTENT, "in pages that stay granted")       \
    X(FRESH, "in pages granted for one request")      \
    X(FLUSH, "flushes")                               \
    X(BARRIER, "barriers")                            \
    X(DISCARD, "discards")                            \
    X(BESIDE, "beside a write of the same sector")    \
    X(ERRORS, "answered with an error")               \
    X(FILES, "file disks")                            \
    X(MEMORY, "memory disks")                         \
    X(PEERS, "remote disks")                          \
    X(SERVED, "disks of servers")                     \
    X(IMAGES, "images")                               \
    X(OVERLAYS, "images over a file")                 \
    X(APART, "images with a data file")               \
    X(FLEETING, "images that go with the attachment") \
    X(ENCRYPTED, "of these encrypted")                \
    X(SEALED, "encrypted disks")                      \
    X(RENEWED, "disks taken away and given back")     \
    X(BREAKS, "connections of servers lost")          \
    X(SERVERS, "deaths of servers")                   \
    X(LIMITED, "limited disks")                       \
    X(GROUPED, "disks limited as a group")            \
    X(LOST, "connections of remote disks lost")       \
    X(REPLAYED, "requests sent to them again")        \
    X(QUARANTINED, "quarantines by a layer or flush") \
    X(RECOVERED, "recoveries by command")             \
    X(RESIZED, "sizes changed")                       \
    X(RECHAINED, "chains changed by command")         \
    X(TAP, "runs with grant and port faults")

enum tally {
#define X(name, what) TALLY_##name,
    TALLY(X)
#undef X
        TALLY_COUNT
};

#endif
