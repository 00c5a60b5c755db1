/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_xen_tap.c: what the Xen tap and the gate beside it ask of libxengnttab
 * and libxenevtchn, which this program replaces: a socket pair is the event
 * channel device.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "host/host.h"
#include "tests/test.h"

enum { MANY = 10000 };

static char handle[8];
static int device[2] = { -1, -1 }; /* ours, the tap's */
static int fail_errno;             /* of the next call; 0: none */
static unsigned calls, largest;
static xengnttab_grant_copy_segment_t last[MANY];
static unsigned segments;
static int16_t answer; /* status of every third segment */

/* ---- the libraries ------------------------------------------------------- */

static bool
failing(void)
{
    if (!fail_errno)
        return false;
    errno = fail_errno;
    return true;
}

xengnttab_handle *
xengnttab_open(struct xentoollog_logger *log, unsigned flags)
{
    (void)log;
    (void)flags;
    return failing() ? NULL : (xengnttab_handle *)(void *)handle;
}

int
xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

void *
xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t n,
                                uint32_t domid, uint32_t *refs, int prot)
{
    (void)xgt;
    CHECK_EQ(domid, 7);
    CHECK_EQ(prot, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < n; i++)
        CHECK_EQ(refs[i], 100 - i);
    return failing() ? NULL : handle;
}

int
xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    (void)xgt;
    CHECK(start == handle);
    CHECK_EQ(count, 4);
    return 0;
}

int
xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
                     xengnttab_grant_copy_segment_t *segs)
{
    (void)xgt;
    if (failing())
        return -1;
    calls++;
    largest = count > largest ? count : largest;
    for (uint32_t i = 0; i < count; i++) {
        segs[i].status = segments % 3 ? 0 : answer;
        last[segments++] = segs[i];
    }
    return 0;
}

xenevtchn_handle *
xenevtchn_open(struct xentoollog_logger *log, unsigned flags)
{
    (void)log;
    (void)flags;
    return (xenevtchn_handle *)(void *)handle;
}

int
xenevtchn_close(xenevtchn_handle *xce)
{
    (void)xce;
    return 0;
}

int
xenevtchn_fd(xenevtchn_handle *xce)
{
    (void)xce;
    return device[1];
}

xenevtchn_port_or_error_t
xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                           evtchn_port_t remote)
{
    (void)xce;
    CHECK_EQ(domid, 7);
    return failing() ? -1 : (int)remote + 1;
}

static evtchn_port_t notified, unbound;

int
xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    unbound = port;
    return 0;
}

int
xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    notified = port;
    return 0;
}

static evtchn_port_t next_port;

xenevtchn_port_or_error_t
xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
    (void)xce;
    CHECK_EQ(domid, 7);
    return failing() ? -1 : (int)next_port;
}

static char shared[2][4096];
static int unshared;

xengntshr_handle *
xengntshr_open(struct xentoollog_logger *log, unsigned flags)
{
    (void)log;
    (void)flags;
    return failing() ? NULL : (xengntshr_handle *)(void *)handle;
}

int
xengntshr_close(xengntshr_handle *xgs)
{
    (void)xgs;
    return 0;
}

void *
xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count,
                      uint32_t *refs, int writable)
{
    (void)xgs;
    CHECK_EQ(domid, 7);
    CHECK_EQ(writable, 1);
    for (int i = 0; i < count; i++)
        refs[i] = 50 + (uint32_t)i;
    return failing() ? NULL : shared;
}

int
xengntshr_unshare(xengntshr_handle *xgs, void *start, uint32_t count)
{
    (void)xgs;
    CHECK(start == shared);
    unshared += (int)count;
    return 0;
}

/* ---- the tests ----------------------------------------------------------- */

static struct loop *loop;
static struct tap *tap;
static uint32_t seen[2048];
static unsigned seen_n;
static int broken_with;

static void
fired(void *ctx, const uint32_t *ports, unsigned n)
{
    CHECK(ctx == &tap);
    memcpy(seen + seen_n, ports, n * sizeof *ports);
    seen_n += n;
    loop->ops->stop(loop);
}

static void
broken(void *ctx, int error)
{
    CHECK(ctx == &tap);
    broken_with = error;
    loop->ops->stop(loop);
}

static void
setup(void)
{
    struct loop_posix_options opt = { .workers = 1 };
    char why[200] = "";

    REQUIRE(!loop_posix_new(&loop, "data0", &opt, why, sizeof why));
    REQUIRE(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, device));
    REQUIRE(!tap_xen_open(&tap, loop, why, sizeof why));
    tap->fired = fired;
    tap->broken = broken;
    tap->ctx = &tap;
    calls = largest = segments = seen_n = 0;
    broken_with = 0;
    answer = 0;
}

static void
teardown(void)
{
    tap->ops->free(tap);
    loop->ops->free(loop);
    close(device[0]);
    close(device[1]);
}

static void
a_copy_is_a_segment(void)
{
    char a[512], b[512];
    struct tap_copy c[2] = {
        { .ref = 11,
          .offset = 512,
          .len = 500,
          .local = a,
          .to_guest = true,
          .domid = 7 },
        { .ref = 12, .offset = 1024, .len = 400, .local = b, .domid = 8 },
    };

    setup();
    CHECK_EQ(tap->ops->copy(tap, c, 2), 0);
    CHECK_EQ(calls, 1);
    CHECK_EQ(last[0].flags, 2); /* GNTCOPY_dest_gref */
    CHECK(last[0].source.virt == a);
    CHECK_EQ(last[0].dest.foreign.ref, 11);
    CHECK_EQ(last[0].dest.foreign.offset, 512);
    CHECK_EQ(last[0].dest.foreign.domid, 7);
    CHECK_EQ(last[0].len, 500);
    CHECK_EQ(last[1].flags, 1); /* GNTCOPY_source_gref */
    CHECK(last[1].dest.virt == b);
    CHECK_EQ(last[1].source.foreign.ref, 12);
    CHECK_EQ(last[1].source.foreign.offset, 1024);
    CHECK_EQ(last[1].source.foreign.domid, 8);
    CHECK_EQ(last[1].len, 400);
    teardown();
}

static void
a_large_batch_in_parts(void)
{
    static struct tap_copy c[MANY];

    setup();
    for (unsigned i = 0; i < MANY; i++)
        c[i] = (struct tap_copy){
            .ref = i, .len = 1, .local = handle, .status = 99
        };
    answer = -3;
    CHECK_EQ(tap->ops->copy(tap, c, MANY), 0);
    CHECK_EQ(calls, 3);
    CHECK(largest <= 4096);
    CHECK_EQ(segments, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        CHECK_EQ(last[i].source.foreign.ref, i);
        CHECK_EQ(c[i].status, i % 3 ? 0 : -3);
    }
    fail_errno = EFAULT;
    CHECK_EQ(tap->ops->copy(tap, c, 1), -EFAULT);
    fail_errno = 0;
    CHECK_EQ(tap->ops->copy(tap, c, 0), 0);
    teardown();
}

static void
mapping(void)
{
    uint32_t refs[4] = { 100, 99, 98, 97 };
    void *addr;

    setup();
    CHECK_EQ(tap->ops->map(tap, 7, refs, 4, &addr), 0);
    CHECK(addr == handle);
    tap->ops->unmap(tap, addr, 4);
    fail_errno = EINVAL;
    CHECK_EQ(tap->ops->map(tap, 7, refs, 4, &addr), -EINVAL);
    fail_errno = 0;
    teardown();
}

static void
ports(void)
{
    setup();
    CHECK_EQ(tap->ops->bind(tap, 7, 30), 31);
    fail_errno = EINVAL;
    CHECK_EQ(tap->ops->bind(tap, 7, 30), -EINVAL);
    fail_errno = 0;
    tap->ops->notify(tap, 31);
    CHECK_EQ(notified, 31);
    tap->ops->unbind(tap, 31);
    CHECK_EQ(unbound, 31);
    teardown();
}

/* What is queued is done, and nothing is waited for. */
static void
one_round(void)
{
    loop->ops->stop(loop);
    loop->ops->run(loop);
}

static void
many_ports_in_one_read_and_write(void)
{
    uint32_t p[1500], got[1024];

    setup();
    for (uint32_t i = 0; i < 1500; i++)
        p[i] = i * 3;
    CHECK_EQ(write(device[0], p, 1024 * 4), 1024 * 4);
    loop->ops->run(loop);
    CHECK_EQ(seen_n, 1024);
    CHECK(!memcmp(seen, p, 1024 * 4));
    CHECK_EQ(write(device[0], p, 4), 4);
    loop->ops->run(loop);
    CHECK_EQ(seen_n, 1025);
    /* The kernel takes a page of ports at a time; the rest, and all of a few,
     * when the round ends. */
    tap->ops->unmask(tap, p, 1500);
    one_round();
    CHECK_EQ(read(device[0], got, sizeof got), 1024 * 4);
    CHECK(!memcmp(got, p, 1024 * 4));
    CHECK_EQ(read(device[0], got, sizeof got), 476 * 4);
    CHECK(!memcmp(got, p + 1024, 476 * 4));
    tap->ops->unmask(tap, p, 0);
    one_round();
    CHECK_EQ(recv(device[0], got, sizeof got, MSG_DONTWAIT), -1);
    teardown();
}

static int
written(uint32_t *got, size_t n)
{
    return (int)recv(device[0], got, n * sizeof *got, MSG_DONTWAIT);
}

/* With what came before it in the round, and once. */
static void
unmasked_when_the_round_ends(void)
{
    uint32_t p[3] = { 5, 9, 6 }, got[8];

    setup();
    tap->ops->unmask(tap, p, 2);
    tap->ops->unmask(tap, p + 2, 1);
    CHECK_EQ(written(got, 8), -1);
    one_round();
    CHECK_EQ(written(got, 8), 3 * 4);
    CHECK(!memcmp(got, p, sizeof p));
    one_round();
    CHECK_EQ(written(got, 8), -1);
    teardown();
}

/* ---- the gate ------------------------------------------------------------ */

static struct gate *gate;
static unsigned heard[3];

static void
gate_fired(struct gate_port *p)
{
    ++*(unsigned *)p->data;
    gate->ops->unmask(gate, p);
    loop->ops->stop(loop);
}

static struct gate_port gate_port[3];

static void
gate_setup(void)
{
    char why[200] = "";

    setup();
    REQUIRE(!gate_xen_open(&gate, tap, why, sizeof why));
    for (unsigned i = 0; i < 3; i++) {
        heard[i] = 0;
        gate_port[i] =
            (struct gate_port){ .fired = gate_fired, .data = &heard[i] };
        next_port = 40 + 1000 * i;
        REQUIRE(!gate->ops->open(gate, 7, &gate_port[i]));
        CHECK_EQ(gate_port[i].number, next_port);
    }
}

static void
gate_teardown(void)
{
    gate->ops->free(gate);
    teardown();
}

/* Each hears of its own, and one call unmasks those of both. */
static void
a_gate_shares_the_ports_of_the_tap(void)
{
    uint32_t fire[5] = { 3, 1040, 2040, 4, 70000 }, p = 8, got[8];

    gate_setup();
    CHECK_EQ(write(device[0], fire, sizeof fire), (int)sizeof fire);
    loop->ops->run(loop);
    CHECK_EQ(heard[0], 0);
    CHECK_EQ(heard[1], 1);
    CHECK_EQ(heard[2], 1);
    CHECK_EQ(seen_n, 3);
    CHECK(seen[0] == 3 && seen[1] == 4 && seen[2] == 70000);
    CHECK_EQ(written(got, 8), 2 * 4);
    CHECK(got[0] == 1040 && got[1] == 2040);
    tap->ops->unmask(tap, &p, 1);
    gate->ops->unmask(gate, &gate_port[0]);
    one_round();
    CHECK_EQ(written(got, 8), 2 * 4);
    CHECK(got[0] == 8 && got[1] == 40);
    gate->ops->notify(gate, &gate_port[2]);
    CHECK_EQ(notified, 2040);
    gate_teardown();
}

/* Also by whom an event before it was for, in the same read. */
static void
close_the_other(struct gate_port *p)
{
    ++*(unsigned *)p->data;
    gate->ops->close(gate, &gate_port[1]);
    loop->ops->stop(loop);
}

static void
a_closed_port_is_not_heard(void)
{
    uint32_t fire[2] = { 40, 1040 };

    gate_setup();
    gate_port[0].fired = close_the_other;
    CHECK_EQ(write(device[0], fire, sizeof fire), (int)sizeof fire);
    loop->ops->run(loop);
    CHECK_EQ(heard[0], 1);
    CHECK_EQ(heard[1], 0);
    CHECK_EQ(unbound, 1040);
    CHECK_EQ(seen_n, 1); /* the tap has no such port, and knows it */
    gate_teardown();
}

static void
pages_and_ports_that_cannot_be_had(void)
{
    struct gate_port p = { .fired = gate_fired };
    char why[200] = "";
    uint32_t refs[2];
    void *addr;

    gate_setup();
    CHECK_EQ(gate->ops->grant(gate, 7, 2, refs, &addr, why, sizeof why), 0);
    CHECK(addr == shared);
    CHECK_EQ(refs[1], 51);
    gate->ops->ungrant(gate, addr, 2);
    CHECK_EQ(unshared, 2);
    fail_errno = ENOSPC;
    CHECK_EQ(gate->ops->open(gate, 7, &p), -ENOSPC);
    fail_errno = 0;
    gate->ops->free(gate);
    fail_errno = ENOENT;
    CHECK_EQ(gate_xen_open(&gate, tap, why, sizeof why), -ENOENT);
    CHECK(strstr(why, "/dev/xen/gntalloc"));
    fail_errno = 0;
    teardown();
}

static void
the_device_fails(void)
{
    setup();
    CHECK(fcntl(device[1], F_GETFL) & O_NONBLOCK);
    close(device[0]);
    loop->ops->run(loop);
    CHECK(broken_with < 0);
    CHECK_EQ(seen_n, 0);
    device[0] = -1;
    teardown();
}

static unsigned complaints;

static void
heard_line(void *data, enum blk_level level, const char *line)
{
    (void)data;
    complaints += level == BLK_ERR && strstr(line, "cannot unmask") != NULL;
}

/* It is said once, and nobody waits for it. */
static void
the_device_takes_no_ports(void)
{
    uint32_t p[2] = { 5, 9 };

    setup();
    complaints = 0;
    signal(SIGPIPE, SIG_IGN);
    log_tap(heard_line, NULL);
    close(device[0]);
    device[0] = -1;
    tap->ops->unmask(tap, p, 2);
    one_round();
    one_round();
    CHECK_EQ(complaints, 1);
    log_tap(NULL, NULL);
    teardown();
}

static void
not_on_xen(void)
{
    struct loop_posix_options opt = { .workers = 1 };
    char why[200] = "";

    REQUIRE(!loop_posix_new(&loop, "data0", &opt, why, sizeof why));
    fail_errno = ENOENT;
    CHECK_EQ(tap_xen_open(&tap, loop, why, sizeof why), -ENOENT);
    CHECK(strstr(why, "/dev/xen/gntdev"));
    fail_errno = 0;
    loop->ops->free(loop);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(a_copy_is_a_segment);
    TEST(a_large_batch_in_parts);
    TEST(mapping);
    TEST(ports);
    TEST(many_ports_in_one_read_and_write);
    TEST(unmasked_when_the_round_ends);
    TEST(a_gate_shares_the_ports_of_the_tap);
    TEST(a_closed_port_is_not_heard);
    TEST(pages_and_ports_that_cannot_be_had);
    TEST(the_device_fails);
    TEST(the_device_takes_no_ports);
    TEST(not_on_xen);
    return test_end();
}
