/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault_rig.h: the daemon's rooms on a simulated host, a toolstack and two
 * guests.  Guest 7 is the one whose disk meets faults; guest 9 the neighbour,
 * who shall notice nothing.
 */
#ifndef TESTS_SIM_FAULT_RIG_H
#define TESTS_SIM_FAULT_RIG_H

#include "control/commands.h"
#include "tests/sim/fault_host.h"

enum { QUEUES = 2, ASKED_MAX = 64, DATA_PAGES = 48, RIG_TABLES = 8 };
#define SECOND UINT64_C(1000000000)

struct guest {
    struct sim *sim;
    uint32_t domid, port[QUEUES];
    const char *disk;
    char back[96], front[96];
    uint8_t *ring[QUEUES];
    uint32_t prod[QUEUES], cons[QUEUES];
    unsigned asked, answered, errors, twice;
    uint8_t seen[ASKED_MAX];
    bool leaves; /* does not come back after the back-end has closed */
};

struct rig_table {
    char key[64]; /* "": none */
    int fd;
};

struct rig {
    struct sim *sim;
    struct loop *control, *data;
    struct tap *tap;
    struct sweep *sweep;
    struct store *store;
    struct disks *disks;
    struct xenbus *xenbus;
    struct control *socket;
    char dir[40], path[56]; /* of the socket */
    struct conf *conf;
    struct daemon_view view;
    struct guest guest, neighbour;
    struct rig_table table[RIG_TABLES]; /* kept by the service manager */
    bool stopped, over;
    int fds; /* that were open before */
};

/* Disk a in a file, b of the neighbour and c of nobody in memory. */
#define RIG_CONF(chain)                                                 \
    "daemon = { kinds = ( \"vbd\" ); log = \"info\"; };\n"              \
    "disks = ( { name = \"a\"; chain = ( " chain " ); },\n"             \
    "  { name = \"b\"; chain = ( { plugin = \"memory\"; size = \"1M\";" \
    " } ); }, { name = \"c\"; chain = ( { plugin = \"memory\";"         \
    " size = \"1M\"; } ); } );\n"
#define RIG_FILE "{ plugin = \"file\"; path = \"/a.img\"; }"
extern const char rig_plain[];

/* The world, and the daemon in it, with the neighbour connected. */
void rig_new(struct rig *, const char *conf);
/* The daemon's start; 0, or as it says. */
int rig_start(struct rig *);
/* Killed; the world goes on.  Then rig_start(). */
void rig_kill(struct rig *);
/* The configuration, read anew. */
void rig_conf(struct rig *, const char *conf);
/* The control socket, in a new folder; told to nobody else. */
void rig_socket(struct rig *);
/* One turn of what a client waits for: descriptors, and 100 us. */
void rig_turn(struct rig *);
/* Stops, frees, and checks that nothing is left. */
void rig_end(struct rig *);

/* The toolstack makes the vbd and the guest its half of it. */
void guest_attach(struct guest *);
/* The toolstack wants it away, and the guest goes along. */
void guest_detach(struct guest *);
/* Both directories. */
void guest_forget(struct guest *);
/* Reads, writes, a flush, a discard; direct and indirect; both queues. */
void guest_work(struct guest *);
/* What that moves, made before it; and whether it is where it should be. */
void guest_fill(struct guest *, const char *file);
bool guest_right(struct guest *, const char *file);
/* Both states, for a person. */
void guest_print(const struct guest *);
/* One read. */
void guest_read(struct guest *, unsigned queue);
bool guest_connected(const struct guest *);
bool guest_refused(const struct guest *);
bool guest_closed(const struct guest *);
bool guest_answered(const struct guest *);

/* The guests act on what they see; until cond or that long. */
bool rig_until(struct rig *, bool (*cond)(const struct guest *),
               const struct guest *, uint64_t ns);
void rig_run(struct rig *, uint64_t ns);

/* Warnings and errors that the log has since the last rig_new(). */
extern unsigned rig_sentences;
extern char rig_sentence[256];

#endif
