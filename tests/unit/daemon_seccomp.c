/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The filter of system calls: what it refuses, in every thread, and what it
 * does not. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/seccomp_table.h"
#include "tests/test.h"

/* Arguments such that the kernel would say something else than EPERM, or do it
 * without harm. */
static const struct {
    const char *name;
    long number, arg[3];
} forbidden[] = {
    { "execve", SYS_execve, { 0 } },
    { "execveat", SYS_execveat, { -1 } },
    { "fork by clone's elders", SYS_vfork, { 0 } },
    { "ptrace", SYS_ptrace, { -1 } },
    { "process_vm_readv", SYS_process_vm_readv, { 0 } },
    { "process_vm_writev", SYS_process_vm_writev, { 0 } },
    { "pidfd_open", SYS_pidfd_open, { -1 } },
    { "kill", SYS_kill, { 0x7ffffff0, 0 } },
    { "mount", SYS_mount, { 0 } },
    { "umount2", SYS_umount2, { 0 } },
    { "pivot_root", SYS_pivot_root, { 0 } },
    { "chroot", SYS_chroot, { 0 } },
    { "open_tree", SYS_open_tree, { -1 } },
    { "socket(AF_NETLINK)", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 } },
    { "socket(AF_PACKET)", SYS_socket, { AF_PACKET, SOCK_RAW, 0 } },
    { "socket(AF_VSOCK)", SYS_socket, { AF_VSOCK, SOCK_STREAM, 0 } },
    { "bind", SYS_bind, { -1 } },
    { "listen", SYS_listen, { -1 } },
    { "bpf", SYS_bpf, { -1 } },
    { "perf_event_open", SYS_perf_event_open, { 0 } },
    { "userfaultfd", SYS_userfaultfd, { -1 } },
    { "kexec_load", SYS_kexec_load, { 0 } },
    { "init_module", SYS_init_module, { 0 } },
    { "finit_module", SYS_finit_module, { -1 } },
    { "reboot", SYS_reboot, { 0 } },
    { "setuid", SYS_setuid, { -1 } },
    { "setresuid", SYS_setresuid, { -1, -1, -1 } },
    { "setgroups", SYS_setgroups, { -1 } },
    { "capset", SYS_capset, { 0 } },
    { "unshare", SYS_unshare, { 0 } },
    { "setns", SYS_setns, { -1 } },
    { "personality", SYS_personality, { 0xffffffff } },
    { "keyctl", SYS_keyctl, { -1 } },
    { "keyctl(KEYCTL_SETPERM)", SYS_keyctl, { 5, -1 } },
    { "add_key", SYS_add_key, { 0 } },
    { "io_uring_setup", SYS_io_uring_setup, { 0 } },
    { "prctl(PR_SET_DUMPABLE)", SYS_prctl, { 4, 9 } },
    { "clock_settime", SYS_clock_settime, { -1 } },
    { "sethostname", SYS_sethostname, { 0, -1 } },
    { "mknodat", SYS_mknodat, { -1 } },
    { "fchownat", SYS_fchownat, { -1 } },
    { "symlinkat", SYS_symlinkat, { 0, -1, 0 } },
    { "open_by_handle_at", SYS_open_by_handle_at, { -1 } },
    { "seccomp", SYS_seccomp, { 99 } },
};

static int begun[2];

/* Bits: 1 something was not refused. */
static int
all_refused(void)
{
    int bad = 0;

    for (unsigned i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        errno = 0;
        if (syscall(forbidden[i].number, forbidden[i].arg[0],
                    forbidden[i].arg[1], forbidden[i].arg[2], 0, 0, 0) != -1 ||
            errno != EPERM) {
            fprintf(stderr, "%s is not refused: %s\n", forbidden[i].name,
                    strerror(errno));
            bad = 1;
        }
    }
    return bad;
}

/* Began before the filter was there. */
static void *
older_thread(void *arg)
{
    char c;

    (void)arg;
    return read(begun[0], &c, 1) != 1 || all_refused() ? begun : NULL;
}

static void *
newer_thread(void *arg)
{
    (void)arg;
    return all_refused() ? begun : NULL;
}

/* Arguments of nonsense: anything but EPERM means that it got through.  What
 * ends or stops the caller is not tried so. */
static int
all_allowed(void)
{
    static const char *const never[] = {
        "exit",        "exit_group", "rt_sigreturn",    "restart_syscall",
        "clone",       "clone3",     "futex",           "brk",
        "munmap",      "poll",       "ppoll",           "close",
        "close_range", "tgkill",     "nanosleep",       "rseq",
        "umask",       "mremap",     "clock_nanosleep", "set_robust_list",
    };
    int bad = 0;

    for (unsigned i = 0; i < seccomp_calls_n; i++) {
        bool skip = seccomp_calls[i].number < 0;

        for (unsigned k = 0; k < sizeof never / sizeof never[0]; k++)
            skip |= !strcmp(seccomp_calls[i].name, never[k]);
        errno = 0;
        if (!skip &&
            syscall(seccomp_calls[i].number, -1, -1, -1, -1, -1, -1) == -1 &&
            errno == EPERM) {
            fprintf(stderr, "%s is refused\n", seccomp_calls[i].name);
            bad = 1;
        }
    }
    if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 ||
        (socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM))
        bad = 1;
    if (syscall(SYS_keyctl, 11 /* KEYCTL_READ */, -1, 0, 0, 0) != -1 ||
        errno == EPERM)
        bad = 1;
    return bad;
}

static int
child(void)
{
    pthread_t older, newer;
    char why[200] = "";
    void *a, *b;

    if (pipe(begun) || pthread_create(&older, NULL, older_thread, NULL))
        return 10;
    if (syscall(SYS_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0) ||
        seccomp_filter(SECCOMP_EPERM, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return 11;
    }
    if (pthread_create(&newer, NULL, newer_thread, NULL) ||
        write(begun[1], "", 1) != 1)
        return 12;
    pthread_join(older, &a);
    pthread_join(newer, &b);
    if (all_refused())
        return 13;
    if (a || b)
        return 14;
    return all_allowed() ? 15 : 0;
}

static void
refuses_and_allows(void)
{
    int status = -1;
    pid_t pid = fork();

    if (!pid)
        _exit(child());
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void
every_call_has_its_reason(void)
{
    for (unsigned i = 0; i < seccomp_calls_n; i++) {
        CHECK(strlen(seccomp_calls[i].who) > 4);
        for (unsigned k = 0; k < i; k++)
            CHECK(strcmp(seccomp_calls[i].name, seccomp_calls[k].name));
    }
}

int
main(void)
{
    TEST(refuses_and_allows);
    TEST(every_call_has_its_reason);
    return test_end();
}
