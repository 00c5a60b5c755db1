/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crash_main.c: seed after seed, each in a process of its own, until there are
 * as many states as are wanted.
 */
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/crash_world.h"
#include "tests/test.h"

struct wish {
    uint64_t states, seed, every;
    bool one, commits, garbage;
    const char *record;
};

static void
read_wish(struct wish *wish, int argc, char **argv)
{
    *wish = (struct wish){ .states = 50000, .seed = 1 };
    if (getenv("CHECK_LONG"))
        wish->states = 1000000;
    else if (getenv("SANITIZED"))
        wish->states = 2000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed")) {
            wish->seed = strtoull(argv[i + 1], NULL, 0);
            wish->one = true;
        } else if (!strcmp(argv[i], "--states")) {
            wish->states = strtoull(argv[i + 1], NULL, 0);
        } else if (!strcmp(argv[i], "--record")) {
            wish->record = argv[i + 1];
        } else if (!strcmp(argv[i], "--commits")) {
            wish->commits = strtoull(argv[i + 1], NULL, 0) != 0;
        } else if (!strcmp(argv[i], "--enumerate")) {
            wish->every = strtoull(argv[i + 1], NULL, 0);
        } else if (!strcmp(argv[i], "--garbage")) {
            wish->garbage = strtoull(argv[i + 1], NULL, 0) != 0;
        }
    }
    crash_enum_set(wish->every, wish->garbage);
}

static void
seed_in_child(uint64_t seed, crash_pick pick, const struct wish *wish)
{
    pid_t child = fork();
    int status = 0;

    REQUIRE(child >= 0);
    if (!child) {
        /* ./check has all memory filled, which would be most of the time: a
         * few seeds with that are enough. */
        if (seed % 17)
            mallopt(M_PERTURB, 0);
        crash_seed(seed, pick, wish->one ? wish->record : NULL, wish->commits);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (status && !shared->failed) {
        printf("FAILED seed %" PRIu64 ": status %#x\n", seed, status);
        shared->failed = 1;
    }
}

int
crash_main(int argc, char **argv, crash_pick pick)
{
    struct wish wish;

    read_wish(&wish, argc, argv);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    shared->wanted = wish.states;
    log_level(0); /* no thread: a fork would take the locks that it holds */
    for (uint64_t seed = wish.seed;
         !shared->failed && shared->states < wish.states; seed++) {
        seed_in_child(seed, pick, &wish);
        if (wish.one)
            break;
    }
    printf("%" PRIu64 " crash states: %" PRIu64 " kills, %" PRIu64
           " while opening, %" PRIu64 " with leaks; %" PRIu64
           " clean ends, %" PRIu64 " resized, %" PRIu64 " commits, %" PRIu64
           " to the end, %" PRIu64 " with a data file, %" PRIu64
           " flushes, %" PRIu64 " errors\n",
           shared->states, shared->kills, shared->recovering, shared->leaked,
           shared->clean, shared->grown, shared->commits, shared->folded,
           shared->apart, shared->flushes, shared->errors);
    if (crash_enumerates())
        crash_enum_print();
    return shared->failed;
}
