/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pace.c: see pace.h. */
#include "config.h"

#include "front/pace.h"

/* So many looks at once, and then one after each pause. */
enum { LOOKS_AT_ONCE = 6 };
#define PAUSE_NS UINT64_C(250000000)

/* A host may be so slow that a look takes longer than a pause: so that is
 * counted from its end. */
static void
look(struct pace *p)
{
    struct loop *loop = p->loop;

    p->looks++;
    p->at = loop->ops->now(loop);
    if (p->look(p->data))
        p->at = loop->ops->now(loop);
}

static void
late_fired(struct blk_timer *t)
{
    struct pace *p = t->data;

    p->put_off = false;
    look(p);
}

void
pace_init(struct pace *p, struct loop *loop, bool (*to_look)(void *),
          void *data)
{
    p->loop = loop;
    p->look = to_look;
    p->data = data;
    p->late.fire = late_fired;
    p->late.data = p;
}

void
pace_written(struct pace *p)
{
    if (p->put_off)
        return;
    if (p->loop->ops->now(p->loop) - p->at >= PAUSE_NS)
        p->looks = 0;
    if (p->looks < LOOKS_AT_ONCE) {
        look(p);
    } else {
        p->put_off = true;
        p->loop->ops->timer_start(p->loop, &p->late, PAUSE_NS);
    }
}

void
pace_stop(struct pace *p)
{
    p->loop->ops->timer_stop(p->loop, &p->late);
    p->put_off = false;
}
