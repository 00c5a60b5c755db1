/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front_rig.h: a front in a simulated world, and at its other end a back-end:
 * our own channel code over a disk in memory, with the states of xen-blkback.
 *
 * Like that one it goes by what stands in the nodes, left over or not, refuses
 * to connect while anything of an earlier connection is on its way, and comes
 * back to 2 when the front-end shows 1.
 */
#ifndef TESTS_SIM_FRONT_RIG_H
#define TESTS_SIM_FRONT_RIG_H

#include "channel/chan.h"
#include "front/front.h"
#include "host/sim.h"
#include "tests/test.h"

#define FRONT     "/local/domain/0/data/blktapd-vbd/51712"
#define BACK      "/local/domain/0/backend/vbd/0/51712"
#define MS        UINT64_C(1000000)
#define DISK_SIZE ((uint64_t)4 << 20)

enum { OURS = 0 };

struct rig {
    struct sim *sim;
    /* The back-end's. */
    struct loop *back_loop;
    struct tap *tap;
    struct sweep *sweep;
    struct store *back_store;
    struct chan *chan;
    int state;
    uint8_t *disk, *medium;         /* medium: what a power failure leaves */
    uint8_t dirty[DISK_SIZE / 512]; /* sectors that it does not have */
    uint64_t size;
    unsigned sector; /* as its node says; 0: 512 */
    unsigned order, segments, queues, connected /* queues */, pending, served,
        flushes, refused, unable;
    uint64_t delay_ns; /* most that an answer takes */
    bool no_flush, mute, readonly, late;
    struct chan_params late_nodes;
    char shown[256]; /* the states that we showed, a digit each */
    /* Called in place of connecting: a back-end that lies. */
    void (*instead)(struct rig *);
    /* Ours. */
    struct loop *control, *data;
    struct store *store;
    struct gate *gate;
    struct front_links *links;
    struct fronts fronts;
    struct front *front;
    bool opened, closed;
    int error; /* of opened() or fatal() */
    bool lazy; /* requests go out when the test kicks */
    unsigned changes, fatals, logs;
    char why[400], last_log[400];
};

/* The back-end takes 1 to 4 queues, by the seed. */
void rig_new(struct rig *, uint64_t seed);
void rig_end(struct rig *);
/* With nothing special. */
extern const struct front_conf rig_conf;
/* Opens, and runs the world until it is opened; 0 or the error. */
int rig_open(struct rig *, const struct front_conf *);
void rig_close(struct rig *);
void rig_run(struct rig *, uint64_t ns);
/* Until *flag; fails the test after a minute of the world. */
void rig_until(struct rig *, const bool *flag);
bool rig_connected(struct rig *);

/* The back-end's hands. */
void back_nodes(struct rig *);
void back_state(struct rig *, int state);
/* It goes: what was on its way is lost (never done) or done, not answered. */
void back_drop(struct rig *);
/* Its driver is loaded anew, and soon looks at what state we are in. */
void back_reload(struct rig *);
/* The same, but it looked at our nodes at once, and only gets to the ring that
 * they told it of after so long. */
void back_reload_late(struct rig *, uint64_t ns);
int front_state(struct rig *);
uint32_t front_node(struct rig *, const char *leaf);

/* One request in a buffer of its own; or in memory that the front lends, whose
 * bytes are copied from the buffer when it is started, and to it when it is
 * given back. */
struct rig_io {
    struct front_io io;
    struct blk_sg sg;
    struct iovec v[3];
    uint8_t buf[64 << 10];
    bool busy, done; /* busy: it is the front's */
    int error;
    struct blk_lender *lender;
    uint8_t *lent;
};
void rig_start(struct rig *, struct rig_io *, int op, uint64_t off,
               uint32_t len);
int rig_do(struct rig *, struct rig_io *, int op, uint64_t off, uint32_t len);
/* With the v, and n and skip of sg, that it has. */
void rig_submit(struct rig *, struct rig_io *, int op, uint64_t off,
                uint32_t len);
/* With all of sg as it is. */
void rig_submit_at(struct rig *, struct rig_io *, int op, uint64_t off,
                   uint32_t len);
/* False: nothing is lent just now, and nothing is started. */
bool rig_start_lent(struct rig *, struct rig_io *, int op, uint64_t off,
                    uint32_t len);
/* Does nothing with other memory. */
void rig_give_back(struct rig_io *);
int rig_do_lent(struct rig *, struct rig_io *, int op, uint64_t off,
                uint32_t len);

#endif
