/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_info.c: what a file or a block device demands and offers.  Asked of
 * the kernel with statx, ioctls and sysfs; may block.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/posix.h"

/* A number of the queue of a disk, or of the disk that a partition is on;
 * false: there is none, as with network and stacked file systems. */
static bool
queue_value(dev_t dev, const char *name, uint64_t *value)
{
    static const char *const at[] = { "queue", "../queue" };
    char path[128], text[32];

    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        ssize_t n;
        int fd;

        snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s/%s", major(dev),
                 minor(dev), at[i], name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0)
            continue;
        text[n] = '\0';
        return sscanf(text, "%" SCNu64, value) == 1;
    }
    return false;
}

static bool
power_of_two(uint64_t n)
{
    return n && !(n & (n - 1)) && n <= 1u << 20;
}

/* 0 when the kernel does not tell (before 6.1, and many file systems). */
static void
ask_dioalign(int fd, uint32_t *offset, uint32_t *mem)
{
    *offset = *mem = 0;
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) &&
        sx.stx_mask & STATX_DIOALIGN) {
        *offset = sx.stx_dio_offset_align;
        *mem = sx.stx_dio_mem_align;
    }
#else
    (void)fd;
#endif
}

static int
device_info(int fd, dev_t dev, struct blk_file_info *info)
{
    int logical = 0;
    unsigned physical = 0;
    uint64_t n;

    if (ioctl(fd, BLKGETSIZE64, &info->size) || ioctl(fd, BLKSSZGET, &logical))
        return -errno;
    if (ioctl(fd, BLKPBSZGET, &physical) || physical < (unsigned)logical)
        physical = (unsigned)logical;
    info->device = true;
    info->block = (uint32_t)logical;
    info->physical = physical;
    info->mem_align = info->direct ? (uint32_t)logical : 1;
    if (queue_value(dev, "discard_max_bytes", &n) && n &&
        queue_value(dev, "discard_granularity", &n) && n <= UINT32_MAX)
        info->discard_align = (uint32_t)n;
    return 0;
}

/* Behind the end there is nothing to lose: so this only asks. */
static bool
can_punch(int fd, uint64_t size, uint64_t block)
{
    uint64_t behind = (size + block - 1) / block * block + block;

    return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)behind, (off_t)block);
}

static void
regular_info(int fd, uint32_t flags, const struct stat *st,
             struct blk_file_info *info)
{
    uint64_t fs = power_of_two((uint64_t)st->st_blksize)
                      ? (uint64_t)st->st_blksize
                      : 4096,
             n;

    info->size = (uint64_t)st->st_size;
    info->device = false;
    info->block = 512;
    info->mem_align = 1;
    info->physical = fs < 4096 ? (uint32_t)fs : 4096;
    if (info->direct) {
        /* Unknown: 4096 suits every file system there is. */
        info->block = info->mem_align = 4096;
        if (queue_value(st->st_dev, "logical_block_size", &n) &&
            power_of_two(n))
            info->block = info->mem_align = (uint32_t)n;
    }
    if (!(flags & BLK_FILE_RDONLY) && can_punch(fd, info->size, fs))
        info->discard_align = (uint32_t)fs;
}

int
posix_file_info(int fd, uint32_t flags, struct blk_file_info *info)
{
    uint32_t offset, mem;
    struct stat st;
    int fl = fcntl(fd, F_GETFL), err = 0;

    *info = (struct blk_file_info){ 0 };
    if (fl < 0 || fstat(fd, &st))
        return -errno;
    info->direct = fl & O_DIRECT;
    if (S_ISBLK(st.st_mode))
        err = device_info(fd, st.st_rdev, info);
    else
        regular_info(fd, flags, &st, info);
    if (err || !info->direct)
        return err;
    ask_dioalign(fd, &offset, &mem);
    if (power_of_two(offset) && power_of_two(mem)) {
        info->block = offset < 512 ? 512 : offset;
        /* What is said of memory holds for one range of it.  A registered
         * buffer is a list of pages to the kernel, and Linux 6.1 wants each
         * piece to be whole blocks (iov_iter_aligned_bvec): one that begins
         * at byte 512 of a page is refused on a medium of 4096. */
        info->mem_align = mem > info->block ? mem : info->block;
    }
    if (info->physical < info->block)
        info->physical = info->block;
    return 0;
}
