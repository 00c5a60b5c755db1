/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xenstored_shim.c: preloaded into a real xenstored, so that it runs where
 * there is no hypervisor.
 *
 * It stands in for the three libraries and the two files by which xenstored
 * knows Xen.  Domains 0 to 31 exist; the page of domain 0 is anonymous memory;
 * the page of any other is the file $SHIM_RINGS/<domid> when SHIM_RINGS is
 * set, so that a test may speak as that domain.  Nothing arrives on an event
 * channel: a request on the socket makes xenstored look at all rings.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

enum { PAGE = 4096, DOMAINS = 32, FIRST_PORT = 8 };

static char handle[16]; /* what all open calls return a pointer to */
static int event_fd = -1, ports = FIRST_PORT;

/* ---- libxenctrl ---------------------------------------------------------- */

xc_interface *
xc_interface_open(xentoollog_logger *log, xentoollog_logger *dom,
                  unsigned flags)
{
    (void)log;
    (void)dom;
    (void)flags;
    return (xc_interface *)(void *)handle;
}

int
xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int
xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max,
                  xc_dominfo_t *info)
{
    (void)xch;
    memset(info, 0, sizeof *info);
    if (!max || first >= DOMAINS)
        return 0;
    info->domid = first;
    info->running = 1;
    return 1;
}

/* ---- libxengnttab -------------------------------------------------------- */

xengnttab_handle *
xengnttab_open(struct xentoollog_logger *log, unsigned flags)
{
    (void)log;
    (void)flags;
    return (xengnttab_handle *)(void *)handle;
}

int
xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

int
xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t n)
{
    (void)xgt;
    (void)n;
    return 0;
}

static int
ring_file(uint32_t domid)
{
    const char *dir = getenv("SHIM_RINGS");
    char path[512];
    int fd;

    if (!dir || domid == 0)
        return memfd_create("ring", MFD_CLOEXEC);
    snprintf(path, sizeof path, "%s/%u", dir, domid);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd;
}

void *
xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref,
                        int prot)
{
    int fd = ring_file(domid);
    void *page = MAP_FAILED;

    (void)xgt;
    (void)ref;
    if (fd < 0)
        return NULL;
    if (!ftruncate(fd, PAGE))
        page = mmap(NULL, PAGE, prot, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

int
xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    (void)xgt;
    return munmap(start, (size_t)count * PAGE);
}

/* ---- libxenevtchn -------------------------------------------------------- */

xenevtchn_handle *
xenevtchn_open(struct xentoollog_logger *log, unsigned flags)
{
    (void)log;
    (void)flags;
    event_fd = eventfd(0, EFD_CLOEXEC);
    return (xenevtchn_handle *)(void *)handle;
}

xenevtchn_handle *
xenevtchn_fdopen(struct xentoollog_logger *log, int fd, unsigned flags)
{
    (void)log;
    (void)flags;
    event_fd = fd;
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
    return event_fd;
}

int
xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

xenevtchn_port_or_error_t
xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    (void)xce;
    (void)virq;
    return ports++;
}

xenevtchn_port_or_error_t
xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                           evtchn_port_t remote)
{
    (void)xce;
    (void)domid;
    (void)remote;
    return ports++;
}

int
xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

xenevtchn_port_or_error_t
xenevtchn_pending(xenevtchn_handle *xce)
{
    (void)xce;
    errno = EAGAIN;
    return -1;
}

int
xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

/* ---- the kernel's two files, and a limit that a container refuses -------- */

/* A descriptor in the place of the file, or -1 where the file is no concern
 * of ours. */
static int
stand_in(const char *path)
{
    const char *name = strrchr(path, '/');
    int fd = -1;

    if (strncmp(path, "/proc/xen/", 10) && strncmp(path, "/dev/xen/", 9))
        return -1;
    if (!strcmp(name, "/xsd_port")) {
        fd = memfd_create("xsd_port", MFD_CLOEXEC);
        if (dprintf(fd, "3") < 0 || lseek(fd, 0, SEEK_SET))
            return -1;
    } else if (!strcmp(name, "/xsd_kva")) {
        fd = memfd_create("xsd_kva", MFD_CLOEXEC);
        if (ftruncate(fd, PAGE))
            return -1;
    }
    return fd;
}

static int
open_as(const char *function, const char *path, int flags, mode_t mode)
{
    int (*real)(const char *, int, ...), fd = stand_in(path);

    if (fd >= 0)
        return fd;
    *(void **)&real = dlsym(RTLD_NEXT, function);
    return real(path, flags, mode);
}

static mode_t
mode_from(int flags, va_list ap)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int
open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_from(flags, ap);
    va_end(ap);
    return open_as("open", path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = mode_from(flags, ap);
    va_end(ap);
    return open_as("open64", path, flags, mode);
}

/* What a fortified program calls. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int
__open_2(const char *path, int flags)
{
    return open_as("open", path, flags, 0);
}

int
__open64_2(const char *path, int flags)
{
    return open_as("open64", path, flags, 0);
}

int
setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
    (void)what;
    (void)limit;
    return 0;
}
