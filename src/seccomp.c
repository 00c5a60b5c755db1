/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seccomp.c: what the process may ask of the kernel once it is started.
 *
 * Everything that needs a privilege is open by then.  What is not in the table
 * fails with EPERM, in all threads: to be killed would take the disks of all
 * guests with us.  The unit's own filter (systemd/blktapd.service.in) holds,
 * too, and is wider, as it must let the start pass.
 *
 * With a process of its own for opening files, openat and what goes with it
 * (newfstatat, statx, flock, unlink, chmod) could go; socket and connect, when
 * XenStore came by its device only.
 */
#include "config.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "seccomp_table.h"

#define CALL(name, who)            \
    {                              \
        SCMP_SYS(name), #name, who \
    }

const struct seccomp_call seccomp_calls[] = {
    /* The loops. */
    CALL(epoll_wait, "libev: to sleep"),
    CALL(epoll_pwait, "libev: to sleep"),
    CALL(epoll_pwait2, "libev: to sleep"),
    CALL(epoll_create1, "libev: another loop's descriptor after a fork"),
    CALL(epoll_ctl, "libev: descriptors come and go"),
    CALL(poll, "libxenstore, libsystemd: to wait for an answer"),
    CALL(ppoll, "the same, where poll is not a call"),
    CALL(eventfd2, "local front-ends: their event channels"),
    CALL(timerfd_create, "libev: jumps of the clock"),
    CALL(timerfd_settime, "libev: jumps of the clock"),
    CALL(clock_gettime, "the clock, where the vDSO can't read it"),
    CALL(clock_nanosleep, "a worker's pause"),
    CALL(nanosleep, "a worker's pause"),
    CALL(gettimeofday, "libraries: the clock"),
    CALL(getrandom, "nonces; libc: its allocator"),
    /* I/O. */
    CALL(io_uring_enter, "all file I/O; the rings are restricted"),
    CALL(io_uring_register, "buffers come and go with front-ends"),
    CALL(read, "control socket's clients, event channels, XenStore"),
    CALL(write, "event channels, eventfds, log"),
    CALL(readv, "libraries"),
    CALL(writev, "libraries: the log"),
    CALL(pread64, "workers: I/O that the io_uring can't do"),
    CALL(pwrite64, "the same"),
    CALL(preadv, "the same"),
    CALL(pwritev, "the same"),
    CALL(preadv2, "the same; plugins ask without waiting"),
    CALL(pwritev2, "the same; durable writes"),
    CALL(fsync, "the same"),
    CALL(fdatasync, "the same"),
    CALL(fallocate, "discards and zeroes"),
    CALL(ftruncate, "images that grow; memfds"),
    CALL(copy_file_range, "workers: copies inside an image"),
    CALL(lseek, "where an image has holes; sizes of devices"),
    CALL(ioctl, "sizes of devices, grants, event channels"),
    /* Files: images are opened at attach, the configuration at reload. */
    CALL(openat, "images, configuration, plugins"),
    CALL(open, "the same, in older libraries"),
    CALL(close, "the same"),
    CALL(close_range, "libraries"),
    CALL(fcntl, "locks, flags, copies of descriptors, seals"),
    CALL(flock, "locks of images"),
    CALL(dup, "descriptors that go elsewhere"),
    CALL(dup3, "the same"),
    CALL(newfstatat, "what kind of file it is"),
    CALL(fstat, "the same"),
    CALL(stat, "the same"),
    CALL(lstat, "the same"),
    CALL(statx, "the same, and its alignment"),
    CALL(fstatfs, "the same"),
    CALL(statfs, "the same"),
    CALL(access, "the same"),
    CALL(faccessat, "the same"),
    CALL(faccessat2, "the same"),
    CALL(readlink, "names in messages"),
    CALL(readlinkat, "the same"),
    CALL(getcwd, "the same"),
    CALL(getdents64, "the folders of configuration and plugins"),
    CALL(unlink, "the control socket at the end; kept tables"),
    CALL(unlinkat, "the same"),
    CALL(rename, "kept tables"),
    CALL(renameat, "the same"),
    CALL(renameat2, "the same"),
    CALL(mkdir, "the folder of kept tables"),
    CALL(mkdirat, "the same"),
    CALL(fchmod, "modes of what we made"),
    CALL(umask, "the same"),
    /* Sockets; which ones, see seccomp_filter(). */
    CALL(connect, "XenStore, the journal, servers"),
    CALL(accept4, "the control socket"),
    CALL(accept, "the same"),
    CALL(sendto, "the service manager, the journal, clients"),
    CALL(sendmsg, "the same, with descriptors"),
    CALL(sendmmsg, "name look-ups"),
    CALL(recvfrom, "clients, servers"),
    CALL(recvmsg, "the same"),
    CALL(recvmmsg, "name look-ups"),
    CALL(getsockopt, "who a client is"),
    CALL(setsockopt, "buffers, delays"),
    CALL(getsockname, "libraries"),
    CALL(getpeername, "libraries"),
    CALL(shutdown, "clients that are sent away"),
    CALL(socketpair, "libraries"),
    CALL(pipe2, "libxenstore: what wakes its reader"),
    /* Memory and threads. */
    CALL(mmap, "memory, rings, modules"),
    CALL(munmap, "the same"),
    CALL(mremap, "the same"),
    CALL(mprotect, "stacks of threads; modules"),
    CALL(madvise, "memory that went cold; keys that no dump shall have"),
    CALL(brk, "libc: its allocator"),
    CALL(mlock, "buffers, keys"),
    CALL(munlock, "the same"),
    CALL(memfd_create, "buffers, in-flight tables, local rings"),
    CALL(futex, "locks"),
    CALL(clone3, "workers are started when they are needed"),
    CALL(clone, "the same, where clone3 is not known"),
    CALL(set_robust_list, "the same"),
    CALL(rseq, "the same"),
    CALL(gettid, "the same"),
    CALL(getpid, "libraries"),
    CALL(getuid, "libraries"),
    CALL(geteuid, "libraries"),
    CALL(getgid, "libraries"),
    CALL(getegid, "libraries"),
    CALL(getppid, "libsystemd"),
    CALL(sched_yield, "locks"),
    CALL(sched_getaffinity, "how many cores there are"),
    CALL(getcpu, "libc: its allocator"),
    CALL(membarrier, "libraries"),
    CALL(uname, "libraries"),
    CALL(sysinfo, "libraries"),
    CALL(getrusage, "statistics"),
    CALL(exit, "a worker's end"),
    CALL(exit_group, "the end"),
    CALL(restart_syscall, "the kernel, after a stop"),
    /* Signals. */
    CALL(rt_sigaction, "handlers are put back"),
    CALL(rt_sigprocmask, "threads take none"),
    CALL(rt_sigreturn, "a handler's end"),
    CALL(rt_sigtimedwait, "libraries"),
    CALL(sigaltstack, "libraries"),
    CALL(tgkill, "abort()"),
};
const unsigned seccomp_calls_n =
    sizeof(seccomp_calls) / sizeof(seccomp_calls[0]);

/* Those of whose arguments some are allowed. */
static int
add_arguments(scmp_filter_ctx c)
{
    static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
    /* Only to find a key and to read it: what crypt is opened with. */
    static const unsigned keys[] = { 8 /* KEYCTL_LINK */, 9 /* _UNLINK */,
                                     10 /* _SEARCH */, 11 /* _READ */ };
    static const unsigned controls[] = { 15 /* PR_SET_NAME */,
                                         16 /* PR_GET_NAME */,
                                         0x53564d41 /* PR_SET_VMA */ };
    unsigned i;
    int rc = 0;

    for (i = 0; !rc && i < 3; i++)
        rc = seccomp_rule_add(
            c, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    for (i = 0; !rc && i < 3; i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, controls[i], 0));
    for (i = 0; !rc && i < 4; i++)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(keyctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, keys[i], 0));
    /* Only to look, and of oneself. */
    if (!rc)
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                              SCMP_A0(SCMP_CMP_EQ, 0, 0),
                              SCMP_A2(SCMP_CMP_EQ, 0, 0));
    return rc;
}

static int
fill(scmp_filter_ctx c)
{
    unsigned i;
    int rc;

    for (i = 0; i < seccomp_calls_n; i++) {
        /* Numbers below 0: this architecture has no such call. */
        if (seccomp_calls[i].number < 0)
            continue;
        rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, seccomp_calls[i].number, 0);
        if (rc)
            return rc;
    }
    rc = add_arguments(c);
    if (!rc)
        rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc)
        rc =
            seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    if (!rc)
        rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return rc;
}

int
seccomp_filter(enum seccomp_refusal refusal, char *why, size_t n)
{
    scmp_filter_ctx c = seccomp_init(
        refusal == SECCOMP_TRAP ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(EPERM));
    int rc = c ? fill(c) : -ENOMEM;

    if (!rc)
        rc = seccomp_load(c);
    if (rc)
        snprintf(why, n, "no filter of system calls: %s", strerror(-rc));
    if (c)
        seccomp_release(c);
    return rc;
}
