/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plugin_options: what the manual pages of plugins must speak of, a line each:
 *
 *     PLUGIN option NAME
 *     PLUGIN counter NAME
 *     PLUGIN command NAME
 *     PLUGIN plugin NAME
 */
#include <stdio.h>
#include <string.h>

#include "chain/chain.h"

/* commands: one line of usage each; its first word is the command. */
static void
print_commands(const char *plugin, const char *commands)
{
    const char *line;

    for (line = commands; line && *line; line += strspn(line, "\n")) {
        printf("%s command %.*s\n", plugin, (int)strcspn(line, " \n"), line);
        line += strcspn(line, "\n");
    }
}

static void
print_plugin(void *count, const struct blk_plugin *p)
{
    const struct blk_option *o;
    const struct blk_counter *c;

    ++*(unsigned *)count;
    printf("%s plugin %s\n", p->name, p->name);
    for (o = p->options; o && o->name; o++)
        printf("%s option %s\n", p->name, o->name);
    for (c = p->counters; c && c->name; c++)
        printf("%s counter %s\n", p->name, c->name);
    print_commands(p->name, p->commands);
}

int
main(void)
{
    unsigned count = 0;

    plugin_each(print_plugin, &count);
    return count ? 0 : 1;
}
