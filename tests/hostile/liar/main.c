/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main.c: blkif-liar.  Links with libc alone.  What it does it is told on
 * standard input, a line each, and it says when it does:
 *
 *     NAME        lies so from now on     "lies NAME"
 *     offers R O  so many rings, of so    "offers R O"
 *                 many pages (1 << O),
 *                 from the next
 *                 connection on
 *     honest      is honest, and back     "honest after N"
 *     where       nothing                 "lied in rings ..."
 *     served      nothing                 "served N, W writes, F flushes"
 *
 * N: so often it lied, or requests.  Flushes are spared (liar.h).
 */
#include "liar.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const outcomes[] = {
    [LIE_SERVED] = "served",   [LIE_ERRORS] = "errors", [LIE_WAITS] = "waits",
    [LIE_REFUSED] = "refused", [LIE_ENDS] = "ends",
};

static int
list(void)
{
    for (const struct liar_case *c = liar_cases; c->name; c++)
        printf("%-20s %-8s %-52s %s\n", c->name, outcomes[c->outcome], c->about,
               c->why ? c->why : "");
    return 0;
}

static void
where(const struct liar *l)
{
    printf("lied in rings");
    for (unsigned i = 0; i < LIAR_RINGS; i++)
        if (l->told_in[i])
            printf(" %u", i);
    putchar('\n');
}

static void
command(struct liar *l, const char *line)
{
    const struct liar_case *c = liar_find(line);
    unsigned rings, order;

    if (!strcmp(line, "honest")) {
        printf("honest after %u\n", l->told);
        liar_tell(l, NULL);
    } else if (!strcmp(line, "where")) {
        where(l);
    } else if (!strcmp(line, "served")) {
        printf("served %llu, %llu writes, %llu flushes\n",
               (unsigned long long)l->served, (unsigned long long)l->writes,
               (unsigned long long)l->flushes);
    } else if (sscanf(line, "offers %u %u", &rings, &order) == 2 && rings &&
               rings <= LIAR_RINGS && order <= LIAR_ORDER) {
        liar_offer(l, rings, order);
        printf("%s\n", line);
    } else if (c) {
        liar_tell(l, c);
        printf("lies %s\n", c->name);
    } else {
        printf("no case %s\n", line);
    }
    fflush(stdout);
}

/* What is there of standard input; false: it ended. */
static bool
listen(struct liar *l)
{
    static char text[256];
    static size_t have;
    ssize_t n = read(STDIN_FILENO, text + have, sizeof(text) - 1 - have);
    char *end;

    if (!n)
        return false;
    if (n < 0)
        return true;
    have += (size_t)n;
    text[have] = 0;
    while ((end = strchr(text, '\n'))) {
        *end++ = 0;
        command(l, text);
        have -= (size_t)(end - text);
        memmove(text, end, have + 1);
    }
    return have + 1 < sizeof(text);
}

int
main(int argc, char **argv)
{
    static struct liar l = { .seed = 1, .spares_flushes = true };

    if (argc == 2 && !strcmp(argv[1], "--list"))
        return list();
    if (argc != 2 || argv[1][0] == '-') {
        puts(
            "usage: blkif-liar --list\n"
            "       blkif-liar FRONT    its directory in XenStore, whose node\n"
            "                           `backend' says where we are");
        return 2;
    }
    if (liar_xen_open(&l, argv[1]))
        return 1;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    liar_start(&l);
    puts("honest after 0");
    fflush(stdout);
    while (listen(&l)) {
        liar_step(&l);
        liar_xen_wait(&l, STDIN_FILENO, l.lie ? 5 : 20);
    }
    liar_die(&l, BY_VANISHING);
    return 0;
}
