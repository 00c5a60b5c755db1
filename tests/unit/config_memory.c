/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory ends at the first, second, third ... allocation of ours: each time
 * there is no tree, a line that says so, and nothing left over (which the
 * sanitizer sees).
 */
#include <stdlib.h>

static void *short_calloc(size_t, size_t);
static void *short_malloc(size_t);

#define calloc short_calloc
#define malloc short_malloc
#include "config/check.c"
#include "config/load.c"
#include "config/text.c"
#include "config/tree.c"
#undef calloc
#undef malloc

#include "config_fake.h"

static unsigned left; /* allocations that still succeed */

static void *
short_calloc(size_t n, size_t size)
{
    return left && left-- ? calloc(n, size) : NULL;
}

static void *
short_malloc(size_t size)
{
    return left && left-- ? malloc(size) : NULL;
}

static const char text[] =
    "daemon = { control = \"/x\"; user = \"u\"; kinds = ( \"a\", \"b\" ); };"
    "disks = ( { name = \"a\"; vm = \"v\"; vdev = \"xvda\"; chain = ("
    "  { plugin = \"p\"; name = \"q\"; s = \"x\"; i = 1; f = 0.5; b = true; },"
    "  { plugin = \"tail\"; } ); }, " DISK("b", "") ");";

/* How many allocations a load takes; every smaller number fails. */
static unsigned
grow(struct conf *(*load)(void))
{
    struct conf *conf;
    unsigned n;

    for (n = 0; n < 1000; n++) {
        left = n;
        conf = load();
        if (conf) {
            CHECK_STR(fake_errors, "");
            CHECK_EQ(conf->disks, 2);
            conf_unref(conf);
            return n;
        }
        if (!strstr(fake_errors, "no memory"))
            test_fail(__FILE__, __LINE__, "with %u: \"%s\"", n, fake_errors);
    }
    return 0;
}

static struct conf *
from_text(void)
{
    return load_text(text);
}

static char path[] = "/tmp/config_memory.XXXXXX";

static struct conf *
from_file(void)
{
    return conf_load(path, NULL, fake_errors, sizeof(fake_errors));
}

static void
every_allocation_of_a_text(void)
{
    CHECK(grow(from_text) > 20);
}

static void
every_allocation_of_a_file(void)
{
    int fd = mkstemp(path);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
    close(fd);
    CHECK(grow(from_file) > 20);
    unlink(path);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(every_allocation_of_a_text);
    TEST(every_allocation_of_a_file);
    return test_end();
}
