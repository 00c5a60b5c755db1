/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vbd.c: one vbd: a look at its levels, and the act that follows.
 *
 *     vbd_look() ─► vbd_see() ─► bus_decide() ─► vbd_do() ─┐
 *         ▲                                                 │ again while
 *         └─────────────────────────────────────────────────┘ it moved
 *
 * Whatever takes time (the disk opens, connects, disconnects, closes) ends in
 * a callback that changes a level and makes the vbd dirty.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xenbus/vbd.h"

/* What an act came to. */
enum result { WAITS, MOVED };

/* Most moves of one look: new to connected takes four. */
enum { MOVES_MAX = 6 };

void
vbd_log(struct vbd *v, enum blk_level level, const char *fmt, ...)
{
    struct log_fields f = { .disk = v->disk_name[0] ? v->disk_name : NULL,
                            .vm = v->vm[0] ? v->vm : NULL };
    char line[VBD_WHY + 64];
    va_list ap;

    if (!log_allowed(&v->limit, xenbus_now(v->x)))
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    log_line(level, &f, "%s: %s/%" PRIu32 "/%" PRIu32 ": %s",
             v->disk_name[0] ? v->disk_name : "-", v->kind, v->domid, v->devid,
             line);
}

void
vbd_store_failed(struct vbd *v, int rc, const char *what)
{
    if (rc != -EAGAIN && rc != -ESTALE && rc != -ENOENT)
        vbd_log(v, BLK_WARN, "%s: XenStore: %s", what, strerror(-rc));
    vbd_later(v, rc == -EAGAIN || rc == -ESTALE || rc == -ENOENT
                     ? CONFLICT_RETRY_NS
                     : STORE_RETRY_NS);
}

/* ---- acts ---------------------------------------------------------------- */

static enum result
vbd_move(struct vbd *v, enum bus_state to)
{
    char detail[96];
    int rc = vbd_publish_state(v, v->own, to);

    if (rc) {
        vbd_store_failed(v, rc, "state");
        return WAITS;
    }
    snprintf(detail, sizeof detail, "%d (%s) -> %d (%s), front-end %s%s",
             (int)v->own, bus_name(v->own), (int)to, bus_name(to),
             bus_name(v->front_state), v->online ? "" : ", going offline");
    v->own = to;
    vbd_log(v, BLK_INFO, "%s", detail);
    xenbus_event(v, "state", detail);
    return MOVED;
}

/* When the medium can't be opened: where a script of xl looks, it is better
 * to go on and let the script fail with our sentence than to let xl time out
 * without one.  Elsewhere nobody would look, and a guest would start without
 * its disk: stay. */
static bool
vbd_offer_failed(const struct vbd *v)
{
    return v->open_failed && v->scripted && v->told_script &&
           v->own == BUS_INITIALISING;
}

/* A medium that takes its time (a server far away) must not make the toolstack
 * give up: guests wait longer than it does. */
static bool
vbd_offer_early(struct vbd *v)
{
    uint64_t waited = xenbus_now(v->x) - v->opening_at;

    if (v->medium != MEDIUM_OPENING)
        return false;
    if (waited >= OFFER_AFTER_NS)
        return true;
    vbd_later(v, OFFER_AFTER_NS - waited);
    return false;
}

static enum result
vbd_offer(struct vbd *v)
{
    bool ready = vbd_medium(v);
    int rc;

    if (!ready && !vbd_offer_failed(v) && !vbd_offer_early(v))
        return WAITS;
    rc = vbd_publish_limits(v);
    if (!rc && ready)
        rc = vbd_publish_geometry(v);
    if (rc) {
        vbd_store_failed(v, rc, "limits");
        return WAITS;
    }
    return vbd_move(v, BUS_INIT_WAIT);
}

static enum result
vbd_join(struct vbd *v, enum bus_act act)
{
    int rc;

    if (vbd_held(v) || !vbd_medium(v))
        return WAITS;
    if (v->link == LINK_DOWN)
        return vbd_connect(v, act) ? MOVED : WAITS;
    /* A disk that grew while nobody served it: the front-end has to look. */
    rc = v->own == BUS_CONNECTED ? vbd_publish_resize(v) : 0;
    if (!rc)
        rc = vbd_publish_geometry(v);
    if (rc) {
        vbd_store_failed(v, rc, "geometry");
        return WAITS;
    }
    if (!v->stopped)
        vbd_error_clear(v);
    return vbd_move(v, BUS_CONNECTED);
}

static enum result
vbd_do(struct vbd *v, enum bus_act act)
{
    switch (act) {
    case ACT_OFFER:
        return vbd_offer(v);
    case ACT_JOIN:
    case ACT_RESUME:
        return vbd_join(v, act);
    case ACT_SHOW:
    case ACT_REFUSE:
        return vbd_move(v, BUS_CLOSING);
    case ACT_END:
        if (v->link == LINK_DOWN)
            return vbd_move(v, BUS_CLOSED);
        vbd_disconnect(v);
        return WAITS;
    case ACT_CUT:
        vbd_disconnect(v);
        return WAITS;
    case ACT_NONE:
    case ACT_COUNT:
        break;
    }
    return WAITS;
}

/* ---- a look -------------------------------------------------------------- */

static void
vbd_watch_front(struct vbd *v)
{
    struct store *s = v->x->store;
    char path[NODE_PATH];

    if (v->token[0] && strcmp(v->watched, v->front)) {
        if (!node_path(path, v->watched, "state"))
            s->ops->unwatch(s, path, v->token);
        v->token[0] = '\0';
    }
    if (v->token[0] || !v->claimed || node_path(path, v->front, "state"))
        return;
    snprintf(v->token, sizeof v->token, "f%u", ++v->x->tokens);
    snprintf(v->watched, sizeof v->watched, "%s", v->front);
    if (s->ops->watch(s, path, v->token)) {
        v->token[0] = '\0';
        vbd_later(v, STORE_RETRY_NS);
    }
}

/* By an earlier process, as far as states say: one that was shown 4 is about to
 * be there, and the toolstack may have written 5 over that 4. */
static bool
vbd_is_served(const struct vbd *v)
{
    switch (v->front_state) {
    case BUS_CONNECTED:
    case BUS_CLOSING:
        return true;
    case BUS_INITIALISED:
        return v->own == BUS_CONNECTED || v->own == BUS_CLOSING;
    default:
        return false;
    }
}

/* The levels that bus_decide() needs; 0 or -errno of XenStore. */
static int
vbd_see(struct vbd *v)
{
    enum bus_state before = v->front_state;
    uint64_t online = 0;
    int rc;

    rc = node_number(v->x->store, 0, v->back, "online", 1, &online, NULL, 0);
    if (rc && rc != -ENOENT && rc != -EINVAL)
        return rc;
    v->online = !rc && online;
    rc = node_state(v->x->store, 0, v->front, &v->front_state);
    /* The guest may take our permission away: it is gone for us. */
    if (rc && rc != -ENOENT && rc != -EACCES) {
        v->front_state = before;
        return rc;
    }
    if (v->front_state != BUS_INITIALISED && v->front_state != BUS_CONNECTED)
        v->refused = false;
    if (before != v->front_state)
        v->hold_after = 0; /* it moves: see what can be done */
    if (!vbd_is_served(v))
        v->inherited = false;
    if (v->link == LINK_UP && v->front_state == BUS_CONNECTED)
        v->connected_seen = v->same = true;
    if (v->front_state != BUS_CONNECTED)
        v->same = false;
    v->restarted = v->connected_seen && v->front_state == BUS_INITIALISED;
    if (before != v->front_state)
        vbd_log(v, BLK_DEBUG, "front-end: %s -> %s", bus_name(before),
                bus_name(v->front_state));
    return 0;
}

/* A device that we claim no longer, or as something else, and a directory
 * that is gone: the disk is let go. */
static bool
vbd_claim_holds(struct vbd *v)
{
    const struct disk *d = v->disk;

    if (!v->claimed)
        return false;
    return vbd_same_attachment(v) &&
           !strcmp(disk_conf(d)->name, v->disk_name) &&
           disk_readonly(d) == (v->readonly || disk_conf(d)->readonly);
}

/* Nobody but us will remove the nodes: we made them, or this is a driver
 * domain, where the toolstack leaves that to the domain. */
static bool
vbd_abandoned(struct vbd *v)
{
    char path[NODE_PATH];
    char *found;

    if (!v->online)
        return v->ours || v->x->domid;
    if (!v->ours)
        return false;
    snprintf(path, sizeof path, "/local/domain/%" PRIu32, v->domid);
    found = v->x->store->ops->read(v->x->store, 0, path, NULL);
    free(found);
    return !found && errno == ENOENT;
}

/* Finished, or nearly: the medium is given back as soon as nobody can come
 * back for it; and nodes that nobody else removes are removed. */
static void
vbd_settle(struct vbd *v)
{
    bool over = v->own == BUS_CLOSED && v->link == LINK_DOWN &&
                (!v->online || v->front_state == BUS_GONE);
    uint64_t now = xenbus_now(v->x);

    if (!over) {
        v->remove_at = 0;
        return;
    }
    vbd_medium_release(v);
    if (v->medium != MEDIUM_NONE || !vbd_abandoned(v))
        return;
    if (!v->remove_at)
        v->remove_at = now + (v->ours ? 0 : REMOVE_AFTER_NS);
    if (now < v->remove_at) {
        vbd_later(v, v->remove_at - now);
        return;
    }
    if (vbd_remove_nodes(v))
        vbd_later(v, STORE_RETRY_NS);
    else
        xenbus_dirty(v);
}

/* Made by us, or handed to us, and never served: it can still be taken away.
 * What was handed to us has no other back-end that would show 6. */
static void
vbd_settle_unclaimed(struct vbd *v)
{
    uint64_t online = 1;

    if (v->disk || !(v->ours || v->handed) ||
        node_number(v->x->store, 0, v->back, "online", 1, &online, NULL, 0) ||
        online)
        return;
    if (v->ours && vbd_remove_nodes(v))
        vbd_later(v, STORE_RETRY_NS);
    else if (v->handed && v->own == BUS_CLOSING)
        vbd_move(v, BUS_CLOSED);
}

static void
vbd_catch_up(struct vbd *v)
{
    int rc;

    if (!v->resized || v->link != LINK_UP || v->own != BUS_CONNECTED)
        return;
    rc = vbd_publish_resize(v);
    if (rc)
        vbd_store_failed(v, rc, "sectors");
    else
        v->resized = false;
}

static enum result
vbd_step(struct vbd *v)
{
    struct bus_view view;
    enum bus_act act;
    int rc = vbd_see(v);

    if (rc) {
        vbd_store_failed(v, rc, "levels");
        return WAITS;
    }
    view = (struct bus_view){
        .front = v->front_state,
        .own = v->own,
        .link = v->link,
        .online = v->online,
        .refused = v->refused,
        .inherited = v->inherited,
        .restarted = v->restarted,
    };
    act = bus_decide(&view);
    if (act == ACT_NONE) {
        if (v->own == BUS_INIT_WAIT)
            vbd_medium(v); /* ready when the front-end comes */
        vbd_catch_up(v);
        vbd_settle(v);
        return WAITS;
    }
    return vbd_do(v, act);
}

/* Who is connected stays what it was, unless the toolstack starts over. */
static bool
vbd_must_identify(const struct vbd *v)
{
    if (v->own == BUS_INITIALISING)
        return true;
    return v->link == LINK_DOWN && (!v->known || !v->claimed || v->stale);
}

/* A xenstored that starts with an empty store is no reason to take the disks
 * from guests that run on. */
static const char served_on[] =
    "its nodes are missing since xenstored came back: it is served as it was";

/* True when there is a directory, and it is ours to serve. */
static bool
vbd_own(struct vbd *v)
{
    int rc = node_state(v->x->store, 0, v->back, &v->own);

    v->gone = rc == -ENOENT;
    if (v->gone && v->renewed) {
        if (strcmp(v->why, served_on))
            vbd_error_say(v, rc, served_on);
        return false;
    }
    v->renewed = v->renewed && rc;
    if (v->gone) {
        v->claimed = v->known = false;
        vbd_medium_release(v);
        if (!v->disk)
            xenbus_drop(v);
        return false;
    }
    if (!rc && vbd_must_identify(v)) {
        rc = vbd_identify(v);
        if (!rc) {
            /* Until it was served, or moved, it stays the earlier process's,
             * however often the config is another. */
            v->inherited = v->inherited || !v->known;
            v->known = true;
            v->stale = false;
        }
    }
    if (rc) {
        vbd_store_failed(v, rc, "back-end nodes");
        return false;
    }
    vbd_watch_front(v);
    return true;
}

void
vbd_look(struct vbd *v)
{
    int moves;

    for (moves = 0; moves < MOVES_MAX; moves++) {
        if (!vbd_own(v))
            return;
        if (v->disk && v->link != LINK_BUSY && !vbd_claim_holds(v))
            vbd_medium_release(v);
        if (!v->claimed) {
            vbd_settle_unclaimed(v);
            return;
        }
        if (vbd_step(v) == WAITS)
            return;
    }
    vbd_later(v, CONFLICT_RETRY_NS);
}

void
vbd_front_wrote(struct vbd *v)
{
    uint64_t now = xenbus_now(v->x);

    if (now - v->window_at >= LOOKS_WINDOW_NS) {
        v->window_at = now;
        v->looks = 0;
    }
    if (v->looks < LOOKS_PER_WINDOW) {
        v->looks++;
        xenbus_dirty(v);
    } else {
        vbd_later(v, v->window_at + LOOKS_WINDOW_NS - now);
    }
}
