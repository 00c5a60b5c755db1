/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"
#include <fcntl.h>
#include <unistd.h>

#include "plugins/qcow2/format.h"
#include "tests/unit/plugin_qcow2_image.h"

const struct image_format qcow2_plain = {
    3, 16, 4, false, false, QCOW2_DISK, 0
};
const struct image_format qcow2_fine = { 3, 9, 4, false, false, QCOW2_DISK, 0 };
const struct image_format qcow2_fine2 = {
    2, 12, 4, false, false, QCOW2_DISK, 3
};

void
qcow2_stamp(uint8_t *sector, uint64_t number)
{
    memset(sector, (int)(number % 251) + 1, 512);
}

const char *
qcow2_image(const struct image_format *f, size_t at, uint64_t value,
            unsigned bytes)
{
    const char *path = run_path("image");
    size_t len;
    uint8_t *p = image_make(f, &len, qcow2_stamp), v[8];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    q2_put64(v, value);
    memcpy(p + at, v + 8 - bytes, bytes);
    REQUIRE(fd >= 0);
    REQUIRE(write(fd, p, len) == (ssize_t)len);
    close(fd);
    free(p);
    return path;
}

void
qcow2_put(const char *path, uint64_t at, const void *data, size_t n)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    REQUIRE(fd >= 0);
    REQUIRE(pwrite(fd, data, n, (off_t)at) == (ssize_t)n);
    close(fd);
}

void
qcow2_put64(const char *path, uint64_t at, uint64_t v)
{
    uint8_t bytes[8];

    q2_put64(bytes, v);
    qcow2_put(path, at, bytes, 8);
}

uint64_t
qcow2_get64(const char *path, uint64_t at)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t bytes[8] = { 0 };

    REQUIRE(fd >= 0);
    CHECK(pread(fd, bytes, 8, (off_t)at) >= 0);
    close(fd);
    return q2_get64(bytes);
}

void
qcow2_judge(const char *path, bool closed)
{
    struct image_found found;
    uint8_t *p = calloc(1, 16 << 20);
    FILE *f = fopen(path, "re");
    size_t n, cluster;

    REQUIRE(f && p);
    n = fread(p, 1, 16 << 20, f);
    fclose(f);
    cluster = (size_t)1 << q2_get32(p + Q2_AT_CLUSTER_BITS);
    image_judge(p, (n + cluster - 1) / cluster * cluster, &found);
    free(p);
    CHECK_STR(found.wrong, "");
    CHECK_EQ(found.low, 0);
    CHECK_EQ(found.wrong_copied, 0);
    if (closed) {
        CHECK_EQ(found.high, 0);
        CHECK(!found.dirty);
    }
}
