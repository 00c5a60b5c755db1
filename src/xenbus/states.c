/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "xenbus/states.h"

#include <string.h>

/*
 * Our own state, as the front-end sees it, and what moves us (fe: the
 * front-end's state):
 *
 *                 medium open            fe 3 or 4: rings mapped
 *    ┌──────────┐  OFFER   ┌──────────┐  JOIN   ┌───────────┐
 *    │1 Initial.├─────────►│2 InitWait├────────►│4 Connected│◄─┐ resize
 *    └────┬─────┘          └─▲──┬──┬──┘         └─┬───────┬─┘──┘
 *         │         fe 1,    │  │  │ fe 5         │ fe 5  │ fe 6, 1, 0
 *         │ fe 5    online=1 │  │  ▼   SHOW       ▼       │ or gone
 *         │                  │  │ ┌─────────────────┐     │
 *         ├──────────────────┼──┼►│    5 Closing    │     │
 *         │                  │  │ └────────┬────────┘     │
 *         │ fe 6             │  │ fe 6     │ fe not 5     │
 *         ▼        END       │  ▼          ▼              ▼
 *    ┌───────────────────────┴──────────────────────────────┐
 *    │                       6 Closed                       │
 *    └──────────────────────────────────────────────────────┘
 *     online=0: the medium is closed, and the directory goes
 *
 * The toolstack writes 1 (a new device) and, with online=0, 5 (please leave).
 * With 5 a connected front-end is served on: a mounted disk stays in use until
 * the guest lets go.  For the same reason rings are given up at fe 6 and not
 * at fe 5: Linux shows 5 while a file system is still mounted.
 */

/* Columns: our own state.  UNKNOWN, 3, 7, 8 and what is no state count as
 * 1: nobody but a toolstack that starts over leaves these. */
enum column { NEW, WAIT, LIVE, LEAVING, LEFT, COLUMNS };

static const enum column column_of[BUS_STATES] = {
    [BUS_UNKNOWN] = NEW,      [BUS_INITIALISING] = NEW,
    [BUS_INIT_WAIT] = WAIT,   [BUS_INITIALISED] = NEW,
    [BUS_CONNECTED] = LIVE,   [BUS_CLOSING] = LEAVING,
    [BUS_CLOSED] = LEFT,      [BUS_RECONFIGURING] = NEW,
    [BUS_RECONFIGURED] = NEW, [BUS_GONE] = NEW,
};

#define NONE  ACT_NONE
#define OFFER ACT_OFFER
#define JOIN  ACT_JOIN
#define SHOW  ACT_SHOW
#define END   ACT_END
#define CUT   ACT_CUT

/* A table is read by its columns. */
/* clang-format off */

/* No ring is mapped.  OFFER and SHOW in the last column: if online=1. */
static const enum bus_act when_down[BUS_STATES][COLUMNS] = {
    /* front-end \ own */     /* NEW  WAIT    LIVE    LEAVING LEFT */
    [BUS_UNKNOWN] =         { NONE,   NONE,   END,    END,    NONE },
    [BUS_INITIALISING] =    { OFFER,  NONE,   END,    END,    OFFER },
    [BUS_INIT_WAIT] =       { NONE,   NONE,   END,    END,    NONE },
    [BUS_INITIALISED] =     { OFFER,  JOIN,   JOIN,   END,    OFFER },
    [BUS_CONNECTED] =       { OFFER,  JOIN,   JOIN,   END,    OFFER },
    [BUS_CLOSING] =         { SHOW,   SHOW,   SHOW,   NONE,   SHOW },
    [BUS_CLOSED] =          { END,    END,    END,    END,    NONE },
    [BUS_RECONFIGURING] =   { NONE,   NONE,   END,    END,    NONE },
    [BUS_RECONFIGURED] =    { NONE,   NONE,   END,    END,    NONE },
    [BUS_GONE] =            { NONE,   END,    END,    END,    NONE },
};

/* Rings are mapped.  NEW and LEFT: somebody else wrote our state, or the
 * directory was removed and made again: what we serve is not what it says. */
static const enum bus_act when_up[BUS_STATES][COLUMNS] = {
    /* front-end \ own */     /* NEW  WAIT    LIVE    LEAVING LEFT */
    [BUS_UNKNOWN] =         { CUT,    CUT,    END,    END,    CUT },
    [BUS_INITIALISING] =    { CUT,    CUT,    END,    END,    CUT },
    [BUS_INIT_WAIT] =       { CUT,    CUT,    NONE,   NONE,   CUT },
    [BUS_INITIALISED] =     { CUT,    JOIN,   NONE,   NONE,   CUT },
    [BUS_CONNECTED] =       { CUT,    JOIN,   NONE,   NONE,   CUT },
    [BUS_CLOSING] =         { CUT,    SHOW,   SHOW,   NONE,   CUT },
    [BUS_CLOSED] =          { CUT,    END,    END,    END,    CUT },
    [BUS_RECONFIGURING] =   { CUT,    CUT,    NONE,   NONE,   CUT },
    [BUS_RECONFIGURED] =    { CUT,    CUT,    NONE,   NONE,   CUT },
    [BUS_GONE] =            { CUT,    CUT,    END,    END,    CUT },
};

/* clang-format on */

#undef NONE
#undef OFFER
#undef JOIN
#undef SHOW
#undef END
#undef CUT

enum bus_state
bus_parse(const char *s)
{
    if (!s)
        return BUS_GONE;
    if (s[0] < '0' || s[0] > '8' || s[1])
        return BUS_UNKNOWN;
    return (enum bus_state)(s[0] - '0');
}

const char *
bus_name(enum bus_state s)
{
    static const char *const names[BUS_STATES] = {
        "unknown", "initialising", "waiting", "initialised", "connected",
        "closing", "closed",       "7",       "8",           "gone",
    };

    return names[s];
}

const char *
bus_act_name(enum bus_act a)
{
    static const char *const names[ACT_COUNT] = {
        "none", "offer", "join", "resume", "show", "end", "cut", "refuse",
    };

    return names[a];
}

/* The front-end waits for us to serve what we can't. */
static enum bus_act
decide_refused(const struct bus_view *v, enum column own)
{
    if (v->link == LINK_UP)
        return ACT_CUT;
    if (own == LEFT)
        return ACT_NONE;
    if (own == LEAVING)
        return v->online ? ACT_NONE : ACT_END;
    return ACT_REFUSE;
}

enum bus_act
bus_decide(const struct bus_view *v)
{
    bool wants = v->front == BUS_INITIALISED || v->front == BUS_CONNECTED;
    enum column own = column_of[v->own];
    enum bus_act act;

    if (v->link == LINK_BUSY)
        return ACT_NONE;
    if (v->refused && wants)
        return decide_refused(v, own);
    if (v->link == LINK_UP) {
        if (v->restarted && v->front == BUS_INITIALISED && own == LIVE)
            return ACT_CUT;
        return when_up[v->front][own];
    }
    if (v->inherited && (own == LIVE || own == LEAVING) &&
        (v->front == BUS_CONNECTED || v->front == BUS_CLOSING))
        return ACT_RESUME;
    /* Perhaps it was shown 4 before the toolstack wrote 5, and is on its way.
     */
    if (v->inherited && !v->online && own == LEAVING &&
        v->front == BUS_INITIALISED)
        return ACT_NONE;
    act = when_down[v->front][own];
    if (own == LEFT && !v->online)
        return ACT_NONE;
    return act;
}
