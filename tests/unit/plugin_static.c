/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plugins as parts of a program; and that their manual pages, which
 * nobody generates, name all that they declare. */
#include "config.h"
#include <ctype.h>
#include <errno.h>

#include "chain/chain.h"
#include "tests/test.h"

static char page[65536], seen[300];

/* A manual page as plain words: without escapes and quotes. */
static void
page_read(const char *name)
{
    char path[400];
    size_t n = 0;
    FILE *f;
    int c;

    snprintf(path, sizeof(path), "%s/plugins/%s/blktap-%s.7", SOURCE_DIR, name,
             name);
    f = fopen(path, "re");
    if (!f)
        test_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    while (f && (c = getc(f)) != EOF && n < sizeof(page) - 1) {
        if (c != '\\')
            page[n++] = (char)c;
    }
    page[n] = '\0';
    if (f)
        fclose(f);
}

/* A line of the page that begins an item with this word: ".BR word ...". */
static bool
page_item(const char *word)
{
    const char *at = page;
    size_t n = strlen(word);

    for (; (at = strstr(at, "\n.B")); at += 2) {
        const char *start = strchr(at, ' ');

        if (start && !strncmp(start + 1, word, n) &&
            !isalnum((unsigned char)start[1 + n]) && start[1 + n] != '_' &&
            start[1 + n] != '-')
            return true;
    }
    return false;
}

static void
expect_item(const char *plugin, const char *kind, const char *word)
{
    if (!page_item(word))
        test_fail(__FILE__, __LINE__, "blktap-%s.7 has no %s %s", plugin, kind,
                  word);
}

static void
check_page(void *ctx, const struct blk_plugin *p)
{
    const struct blk_option *o;
    const struct blk_counter *k;
    char word[64];
    const char *at;

    (void)ctx;
    page_read(p->name);
    for (o = p->options; o && o->name; o++)
        expect_item(p->name, "option", o->name);
    for (k = p->counters; k && k->name; k++)
        expect_item(p->name, "counter", k->name);
    /* One line of usage each; its first word is the command. */
    for (at = p->commands; at && sscanf(at, "%63s", word) == 1;
         at += strcspn(at, "\n"), at += *at == '\n')
        expect_item(p->name, "command", word);
    CHECK(strstr(page, "\n.SH CAVEATS") < strstr(page, "\n.SH DESCRIPTION"));
}

static void
pages_are_complete(void)
{
    CHECK(plugin_each(check_page, NULL) >= 0);
}

static void
check_plugin(void *ctx, const struct blk_plugin *p)
{
    const struct blk_option *o;
    const struct blk_counter *k;

    (void)ctx;
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s ", p->name);
    CHECK_EQ(p->abi, BLK_ABI);
    CHECK(p->help && p->help[strlen(p->help) - 1] != '.');
    for (o = p->options; o && o->name; o++) {
        CHECK(o->help && *o->help && o->help[strlen(o->help) - 1] != '.');
        CHECK(o->at + 1 <= p->self_size);
        CHECK((o->type == BLK_CHOICE) == (o->choices != NULL));
    }
    for (k = p->counters; k && k->name; k++) {
        CHECK(k->unit && k->help);
        CHECK(k->at + sizeof(uint64_t) <= p->self_size);
    }
}

static void
all_are_there(void)
{
    char why[200] = "";

    CHECK(blk_plugins_static[0] != NULL);
    setenv("BLKTAPD_PLUGINDIR", "/nonexistent", 1); /* modules come as well */
    plugin_each(check_plugin, NULL);
    CHECK_STR(seen, "delay error file limit memory null trace ");
    CHECK(plugin_find("file", why, sizeof(why)) != NULL);
    CHECK(!plugin_find("nothing", why, sizeof(why)));
}

static void
checks_run_without_a_loop(void)
{
    struct blk_kv kv[] = { { "size", "1M", "f", 1 } };
    struct blk_conf layer[] = { { "trace", "trace", "f", 1, NULL, 0 },
                                { "memory", "memory", "f", 1, kv, 1 } };
    struct chain_spec spec = { .disk = "d", .layer = layer, .n = 2 };
    char why[200] = "";

    CHECK_EQ(chain_check(&spec, why, sizeof(why)), 0);
    CHECK_STR(why, "");
    kv[0].value = "1000";
    CHECK(chain_check(&spec, why, sizeof(why)) < 0);
    spec.n = 1;
    CHECK(chain_check(&spec, why, sizeof(why)) < 0);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(all_are_there);
    TEST(pages_are_complete);
    TEST(checks_run_without_a_loop);
    return test_end();
}
