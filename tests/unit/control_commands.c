/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control_commands.c: the daemon's commands on the real control socket, with
 * disks and a XenStore that are only pretended.
 */
#include "config.h"

#include <errno.h>

#include "control/commands.h"
#include "disk/local.h"
#include "tests/unit/control_loop.h"

/* ---- the daemon ---------------------------------------------------------- */

struct disk {
    const struct conf_disk *conf;
    bool open;
    void (*shown)(void *, struct json_object *);
    disk_fn *stepped;
    void *ctx;
};

static struct blk_conf layers[2] = {
    { .plugin = "trace", .name = "watcher" },
    { .plugin = "file", .name = "file" },
};
static struct conf_disk conf_disks[2] = {
    { .name = "web",
      .file = "f",
      .line = 3,
      .chain = { .layer = layers, .n = 2 } },
    { .name = "db",
      .file = "f",
      .line = 9,
      .chain = { .layer = layers, .n = 1 } },
};
static const char *const kinds[] = { "vbd3", "vbd", NULL };
static struct conf conf = { .disk = conf_disks, .disks = 2, .kinds = kinds };
static struct disk disk[2] = { { .conf = &conf_disks[0] },
                               { .conf = &conf_disks[1] } };
static struct {
    char text[256]; /* what was done last */
    int status;     /* and how it ended */
    const char *why;
    struct json_object *out;
    int level;
} did;

const struct conf_disk *
conf_disk(const struct conf *c, const char *name)
{
    unsigned i;

    for (i = 0; i < c->disks; i++) {
        if (!strcmp(c->disk[i].name, name))
            return &c->disk[i];
    }
    return NULL;
}

void
conf_print(const struct conf *c, FILE *f)
{
    fprintf(f, "# %u disks\n", c->disks);
}

void
conf_print_chain(FILE *f, const struct chain_spec *chain, const char *indent)
{
    fprintf(f, "%s%u layers\n", indent, chain->n);
}

const char *
conf_mode_name(enum conf_mode mode)
{
    static const char *const names[] = { "intercept", "interpose",
                                         "passthrough" };

    return names[mode];
}

int
conf_mode_parse(const char *word, enum conf_mode *mode)
{
    *mode = CONF_PASSTHROUGH;
    return strcmp(word, "passthrough") ? -EINVAL : 0;
}

struct chain_spec
conf_running(const struct conf_disk *d)
{
    struct chain_spec spec = d->chain;

    if (d->mode == CONF_PASSTHROUGH) {
        spec.layer++;
        spec.n--;
    }
    return spec;
}

struct disk *
disks_find(struct disks *ds, const char *name)
{
    int i;

    (void)ds;
    for (i = 0; i < 2; i++) {
        if (disk[i].open && !strcmp(disk[i].conf->name, name))
            return &disk[i];
    }
    return NULL;
}

void
disks_each(struct disks *ds, void (*cb)(void *, struct disk *), void *ctx)
{
    int i;

    (void)ds;
    for (i = 0; i < 2; i++) {
        if (disk[i].open)
            cb(ctx, &disk[i]);
    }
}

unsigned
disks_count(const struct disks *ds)
{
    (void)ds;
    return (unsigned)disk[0].open + disk[1].open;
}

const struct conf_disk *
disk_conf(const struct disk *d)
{
    return d->conf;
}

struct json_object *
disk_brief(const struct disk *d)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "disk", json_object_new_string(d->conf->name));
    json_object_object_add(o, "state", json_object_new_string("connected"));
    return o;
}

void
disk_show(struct disk *d, void (*done)(void *, struct json_object *), void *ctx)
{
    d->shown = done;
    d->ctx = ctx;
}

static void
show_end(struct disk *d)
{
    struct json_object *o = disk_brief(d);

    json_object_object_add(o, "channel", json_object_new_int(7));
    json_object_object_add(o, "secret", json_object_new_int(8));
    d->shown(d->ctx, o);
}

void
disk_pause(struct disk *d, disk_fn *done, void *ctx)
{
    snprintf(did.text, sizeof(did.text), "pause %s", d->conf->name);
    done(ctx, d, did.status, did.why);
}

void
disk_resume(struct disk *d, disk_fn *done, void *ctx)
{
    snprintf(did.text, sizeof(did.text), "resume %s", d->conf->name);
    done(ctx, d, did.status, did.why);
}

void
disk_recover(struct disk *d, disk_fn *done, void *ctx)
{
    snprintf(did.text, sizeof(did.text), "recover %s", d->conf->name);
    done(ctx, d, did.status, did.why);
}

void
disk_command(struct disk *d, const char *layer, int argc,
             const char *const *argv,
             void (*done)(void *, int, struct json_object *), void *ctx)
{
    snprintf(did.text, sizeof(did.text), "%s %s %d %s%s%s", d->conf->name,
             layer, argc, argv[0], argc > 1 ? " " : "",
             argc > 1 ? argv[1] : "");
    done(ctx, did.status, did.out);
}

void
disk_map(struct disk *d, const struct disk_range *r, disk_map_fn *done,
         void *ctx)
{
    snprintf(did.text, sizeof(did.text), "map %s %" PRIu64 " %" PRIu64 " %u",
             d->conf->name, r->off, r->len, r->extents);
    done(ctx, did.status, did.why,
         did.status ? NULL : json_object_new_string("here"));
}

struct json_object *
xenbus_list(struct xenbus *x)
{
    (void)x;
    return json_object_new_array();
}

int
xenbus_attach(struct store *s, const struct xenbus_attach *a, char *why,
              size_t n)
{
    (void)s;
    snprintf(did.text, sizeof(did.text), "%s %s %s %s %s", a->params, a->vm,
             a->vdev, a->kind, a->readonly ? "ro" : "rw");
    snprintf(why, n, "no such guest");
    return did.status;
}

int
xenbus_detach(struct store *s, const char *vm, const char *vdev, bool force,
              char *why, size_t n)
{
    (void)s;
    snprintf(did.text, sizeof(did.text), "%s %s %s", vm, vdev,
             force ? "force" : "ask");
    snprintf(why, n, "no such device");
    return did.status;
}

static bool sized; /* the file can be given a size */

const struct blk_plugin *
plugin_find(const char *name, char *why, size_t n)
{
    static const struct blk_plugin plugin = { .can = BLK_CAN_RESIZE };

    snprintf(why, n, "no such plugin");
    return sized && !strcmp(name, "file") ? &plugin : NULL;
}

int
plugin_each(void (*cb)(void *, const struct blk_plugin *), void *ctx)
{
    static const char *const choices[] = { "a", "b", NULL };
    static const struct blk_option options[] = {
        { .name = "size",
          .type = BLK_SIZE,
          .required = true,
          .min = 1,
          .max = 9,
          .help = "how large" },
        { .name = "how",
          .type = BLK_CHOICE,
          .fallback = "a",
          .choices = choices,
          .help = "how" },
        { 0 },
    };
    static const struct blk_counter counters[] = {
        { .name = "hits", .unit = "requests", .help = "found" }, { 0 }
    };
    static const struct blk_plugin p = { .name = "thing",
                                         .help = "a thing",
                                         .ops = BLK_BIT(BLK_READ),
                                         .tail = BLK_TAIL,
                                         .options = options,
                                         .counters = counters };

    if (did.status)
        return did.status;
    cb(ctx, &p);
    return 1;
}

void
local_front(struct disks *ds, struct conf *c, const struct conf_disk *cd,
            struct control_call *call, int argc, const char *const *argv)
{
    (void)ds;
    (void)c;
    snprintf(did.text, sizeof(did.text), "front %s %d %s", cd->name, argc,
             argc ? argv[0] : "");
    control_answer(call, NULL);
}

static struct conf *
view_conf_now(void *ctx)
{
    (void)ctx;
    return &conf;
}

static void
view_reload(void *ctx, void (*done)(void *, int, const char *), void *arg)
{
    (void)ctx;
    done(arg, did.status, did.why);
}

static void
view_level(void *ctx, int level)
{
    (void)ctx;
    did.level = level;
}

static void
view_chain(void *ctx, const char *name, const struct conf_edit *edit,
           enum chain_force force, chain_done *done, void *arg)
{
    (void)ctx;
    snprintf(did.text, sizeof(did.text), "%s %d %s [%s]%s", name, edit->kind,
             edit->at ? edit->at : "-", edit->layer ? edit->layer : "-",
             force == CHAIN_FORCE ? " force" : "");
    done(arg, did.status, did.why, 1234);
}

static void
view_snapshot(void *ctx, const char *name, const char *file, chain_done *done,
              void *arg)
{
    (void)ctx;
    snprintf(did.text, sizeof(did.text), "snapshot %s %s", name, file);
    done(arg, did.status, did.why, 1234);
}

/* ---- asking -------------------------------------------------------------- */

static char dir[] = "/tmp/control_commands.XXXXXX", path[64];
static struct daemon_view view = { .loop = &test_loop,
                                   .conf = view_conf_now,
                                   .reload = view_reload,
                                   .log_level = view_level,
                                   .chain = view_chain,
                                   .snapshot = view_snapshot };
static struct test_client a;

static void
start(bool xen)
{
    char why[256];

    memset(&did, 0, sizeof(did));
    disk[0].open = disk[1].open = false;
    loop_init(&test_loop, &test_loop_ops, "test");
    REQUIRE(!control_open(&view.control, &test_loop, path, why, sizeof(why)));
    view.store = xen ? (struct store *)&did : NULL;
    view.xenbus = xen ? (struct xenbus *)&did : NULL;
    REQUIRE(!commands_register(&view));
    REQUIRE(test_connect(&a, path));
}

static void
stop(void)
{
    close(a.fd);
    REQUIRE(test_turn());
    control_close(view.control);
}

/* words: parted by one space. */
static void
ask(const char *words)
{
    char line[512] = "{\"command\":\"", *p = line + strlen(line);
    const char *w;
    int n = 0;

    for (w = words; *w; w++) {
        if (*w != ' ')
            *p++ = *w;
        else
            p = stpcpy(p, n++ ? "\",\"" : "\",\"args\":[\"");
    }
    stpcpy(p, n ? "\"]}\n" : "\"}\n");
    test_say(&a, line);
}

#define SAYS(words, answer)               \
    do {                                  \
        ask(words);                       \
        CHECK_STR(test_line(&a), answer); \
    } while (0)

/* ---- tests --------------------------------------------------------------- */

static void
lists_open_and_free_disks(void)
{
    start(true);
    disk[1].open = true;
    SAYS("list", "{\"result\":{\"disks\":[{\"disk\":\"db\",\"state\":"
                 "\"connected\"},{\"disk\":\"web\",\"state\":\"free\","
                 "\"mode\":\"intercept\",\"readonly\":false}],\"vbds\":[]}}");
    stop();
    start(false);
    ask("list");
    CHECK(!strstr(test_line(&a), "vbds"));
    stop();
}

static void
shows_what_was_true_when_asked(void)
{
    const char *line;

    start(false);
    ask("show web");
    CHECK(strstr(test_line(&a),
                 "\"chain\":[{\"name\":\"watcher\",\"plugin\":"
                 "\"trace\",\"options\":{}},{\"name\":\"file\""));
    disk[0].open = true;
    ask("show web");
    CHECK(!test_line(&a));
    disk[0].open = false; /* closed before it was shown */
    show_end(&disk[0]);
    line = test_line(&a);
    CHECK(line && strstr(line, "\"channel\":7"));
    CHECK(line && strstr(line, "\"configured-at\":\"f:3\""));
    SAYS("show wbe", "{\"error\":\"there is no disk \\\"wbe\\\"; did you mean "
                     "\\\"web\\\"?\"}");
    stop();
}

static void
gathers_stats(void)
{
    const char *line;

    start(false);
    test_now = 99;
    SAYS("stats", "{\"result\":{\"at_ns\":99,\"disks\":[]}}");
    disk[0].open = disk[1].open = true;
    ask("stats");
    show_end(&disk[1]);
    CHECK(!test_line(&a));
    show_end(&disk[0]);
    line = test_line(&a);
    CHECK_STR(line, "{\"result\":{\"at_ns\":99,\"disks\":["
                    "{\"disk\":\"db\",\"state\":\"connected\",\"channel\":7},"
                    "{\"disk\":\"web\",\"state\":\"connected\","
                    "\"channel\":7}]}}");
    ask("stats db");
    show_end(&disk[1]);
    CHECK(!strstr(test_line(&a), "web"));
    stop();
}

static void
pauses_and_resumes(void)
{
    start(false);
    SAYS("pause web", "{\"error\":\"disk web: no front-end has it, so it is "
                      "not open\"}");
    disk[0].open = true;
    SAYS("pause web",
         "{\"result\":{\"disk\":\"web\",\"state\":\"connected\"}}");
    CHECK_STR(did.text, "pause web");
    did.status = -EBUSY;
    SAYS("resume web", "{\"error\":\"disk web: Device or resource busy\"}");
    did.why = "it is being closed";
    SAYS("resume web", "{\"error\":\"disk web: it is being closed\"}");
    CHECK_STR(did.text, "resume web");
    did.why = "it is not quarantined";
    SAYS("recover web", "{\"error\":\"disk web: it is not quarantined\"}");
    CHECK_STR(did.text, "recover web");
    did.status = 0;
    SAYS("recover web",
         "{\"result\":{\"disk\":\"web\",\"state\":\"connected\"}}");
    stop();
}

static void
reaches_layers(void)
{
    start(false);
    disk[0].open = true;
    did.out = json_tokener_parse("{\"text\":[\"one\\n\",\"two\\n\"]}");
    SAYS("layer web watcher start now",
         "{\"result\":{\"text\":[\"one\\n\",\"two\\n\"]}}");
    CHECK_STR(did.text, "web watcher 2 start now");
    did.out = json_tokener_parse("{\"text\":[\"one\\n\",\"two\\n\"]}");
    did.status = -EINVAL;
    SAYS("layer web watcher start", "{\"error\":\"one\\ntwo\"}");
    did.out = NULL;
    SAYS("resize web", "{\"error\":\"Invalid argument\"}");
    CHECK_STR(did.text, "web file 1 rescan");
    SAYS("resize web 2G", "{\"error\":\"disk web: expected a layer that has a "
                          "size of its own, found none: make its medium "
                          "larger, then say resize without a size\"}");
    sized = true;
    SAYS("resize web much", "{\"error\":\"resize: expected a size as 20G, "
                            "found \\\"much\\\"\"}");
    SAYS("resize web 2G", "{\"error\":\"Invalid argument\"}");
    CHECK_STR(did.text, "web file 2 resize 2147483648");
    SAYS("layer web fiel x", "{\"error\":\"disk web has no layer \\\"fiel\\\"; "
                             "did you mean \\\"file\\\"?\"}");
    stop();
}

static void
asks_where_data_are(void)
{
    start(false);
    SAYS("map web", "{\"error\":\"disk web: no front-end has it, so it is not "
                    "open\"}");
    disk[0].open = true;
    SAYS("map web", "{\"result\":\"here\"}");
    CHECK_STR(did.text, "map web 0 18446744073709551615 1024");
    SAYS("map web 1k 2M 3", "{\"result\":\"here\"}");
    CHECK_STR(did.text, "map web 1024 2097152 3");
    did.text[0] = '\0';
    SAYS("map web x", "{\"error\":\"map: expected an offset as 1G, found "
                      "\\\"x\\\"\"}");
    SAYS("map web 0 0", "{\"error\":\"map: expected a length as 1G, found "
                        "\\\"0\\\"\"}");
    SAYS("map web 0 y", "{\"error\":\"map: expected a length as 1G, found "
                        "\\\"y\\\"\"}");
    SAYS("map web 0 1 0", "{\"error\":\"map: expected a number of extents, 1 "
                          "to 1024, found \\\"0\\\"\"}");
    SAYS("map web 0 1 1025", "{\"error\":\"map: expected a number of extents, "
                             "1 to 1024, found \\\"1025\\\"\"}");
    SAYS("map web 0 1 z", "{\"error\":\"map: expected a number of extents, 1 "
                          "to 1024, found \\\"z\\\"\"}");
    CHECK_STR(did.text, "");
    did.status = -EIO;
    did.why = "no answer";
    SAYS("map web", "{\"error\":\"map: no answer\"}");
    stop();
}

#define CHAIN_IS                                                              \
    "{\"result\":{\"disk\":\"web\",\"mode\":\"intercept\","                   \
    "\"chain\":[{\"name\":\"watcher\",\"plugin\":\"trace\",\"options\":{}},{" \
    "\"name\":\"file\","                                                      \
    "\"plugin\":\"file\",\"options\":{}}],"

static void
shows_chains(void)
{
    start(false);
    SAYS("chain web", CHAIN_IS "\"text\":\"chain = (\\n  2 layers\\n);\\n\"}}");
    disk[0].open = true;
    conf_disks[0].filed = &conf_disks[1].chain;
    SAYS("chain web show",
         CHAIN_IS "\"chain-in-files\":[{\"name\":\"watcher\",\"plugin\":"
                  "\"trace\",\"options\":{}}],\"text\":\"chain = (\\n  2 "
                  "layers\\n);\\n\"}}");
    ask("show web");
    show_end(&disk[0]);
    CHECK(strstr(test_line(&a), "\"chain-in-files\":[{\"name\":\"watcher\""));
    conf_disks[0].filed = NULL;
    SAYS("chain wex", "{\"error\":\"there is no disk \\\"wex\\\"; did you mean "
                      "\\\"web\\\"?\"}");
    stop();
}

static void
changes_chains(void)
{
    static const char done[] = "{\"result\":{\"waited_ns\":1234}}";
    static const char insert[] =
        "{\"command\":\"chain\",\"args\":[\"web\",\"insert\",\"0\",\"";
    char many[9000];

    start(false);
    disk[0].open = true;
    SAYS("chain web insert 0 plugin=1", done);
    CHECK_STR(did.text, "web 0 0 [plugin=1]");
    SAYS("chain web insert file {plugin=1}, force", done);
    CHECK_STR(did.text, "web 0 file [plugin=1] force");
    SAYS("chain web replace 1 {plugin=1", done);
    CHECK_STR(did.text, "web 2 1 [{plugin=1]");
    SAYS("chain db remove file force", done); /* it is not open */
    CHECK_STR(did.text, "db 1 file [-] force");
    SAYS("chain web reset", done);
    CHECK_STR(did.text, "web 4 - [-]");
    did.text[0] = '\0';
    SAYS("chain web insert 0",
         "{\"error\":\"usage: chain DISK insert AT LAYER [force]\"}");
    SAYS("chain web insert 0 force",
         done); /* a layer called so: the config code says what it thinks */
    CHECK_STR(did.text, "web 0 0 [force]");
    SAYS("chain web remove 0 forse",
         "{\"error\":\"usage: chain DISK remove AT [force]\"}");
    SAYS("chain web reset 0",
         "{\"error\":\"usage: chain DISK reset [force]\"}");
    SAYS("chain web shown",
         "{\"error\":\"chain: expected show, insert, replace, remove, reset, "
         "snapshot or commit, found \\\"shown\\\"; did you mean "
         "\\\"show\\\"?\"}");
    SAYS("chain web snapshot /new", done);
    CHECK_STR(did.text, "snapshot web /new");
    did.text[0] = '\0';
    SAYS("chain web snapshot",
         "{\"error\":\"usage: chain DISK snapshot FILE\"}");
    SAYS("chain web snapshot /new force",
         "{\"error\":\"usage: chain DISK snapshot FILE\"}");
    SAYS("chain db snapshot /new",
         "{\"error\":\"disk db: no front-end has it, so it is not open\"}");
    SAYS("chain web snapshut /new",
         "{\"error\":\"chain: expected show, insert, replace, remove, reset, "
         "snapshot or commit, found \\\"snapshut\\\"; did you mean "
         "\\\"snapshot\\\"?\"}");
    CHECK_STR(did.text, "");
    SAYS("chain wex reset",
         "{\"error\":\"there is no disk \\\"wex\\\"; did you mean "
         "\\\"web\\\"?\"}");
    memset(many, 'x', sizeof(many));
    snprintf(many + sizeof(many) - 8, 8, "\"]}\n");
    memcpy(many, insert, sizeof(insert) - 1);
    test_say(&a, many);
    CHECK_STR(test_line(&a),
              "{\"error\":\"chain: expected a layer of at most 8191 bytes\"}");
    did.status = -EINVAL;
    did.why = "layer:1: plugin: no";
    SAYS("chain web remove 0", "{\"error\":\"layer:1: plugin: no\"}");
    SAYS("chain web snapshot /b", "{\"error\":\"layer:1: plugin: no\"}");
    stop();
}

static void
changes_modes(void)
{
    start(false);
    SAYS("mode web", "{\"result\":{\"disk\":\"web\",\"mode\":\"intercept\"}}");
    SAYS("mode db passthrough", "{\"result\":{\"waited_ns\":1234}}");
    CHECK_STR(did.text, "db 3 - [-]");
    disk[0].open = true;
    SAYS("mode web passthrough", "{\"result\":{\"waited_ns\":1234}}");
    CHECK_STR(did.text, "web 3 - [-]");
    did.text[0] = '\0';
    SAYS("mode web passthru",
         "{\"error\":\"mode: expected passthrough, interpose or intercept, "
         "found \\\"passthru\\\"; did you mean \\\"passthrough\\\"?\"}");
    SAYS("mode wex", "{\"error\":\"there is no disk \\\"wex\\\"; did you mean "
                     "\\\"web\\\"?\"}");
    CHECK_STR(did.text, "");
    did.status = -EINVAL;
    did.why = "it can't be";
    SAYS("mode web passthrough", "{\"error\":\"it can't be\"}");
    /* What was changed by command, and what does not run then. */
    conf_disks[0].mode = CONF_PASSTHROUGH;
    conf_disks[0].filed = &conf_disks[0].chain;
    conf_disks[0].filed_mode = CONF_INTERPOSE;
    SAYS("mode web", "{\"result\":{\"disk\":\"web\",\"mode\":\"passthrough\","
                     "\"mode-in-files\":\"interpose\"}}");
    SAYS("layer web watcher x",
         "{\"error\":\"disk web: layer \\\"watcher\\\" does not run in mode "
         "passthrough\"}");
    conf_disks[0].mode = CONF_INTERCEPT;
    conf_disks[0].filed = NULL;
    stop();
}

static void
attaches_and_detaches(void)
{
    start(true);
    SAYS("attach web vm1 xvdb", "{\"result\":null}");
    CHECK_STR(did.text, "web vm1 xvdb vbd3 rw");
    SAYS("attach web vm1 xvdb vbd ro", "{\"result\":null}");
    CHECK_STR(did.text, "web vm1 xvdb vbd ro");
    SAYS("detach vm1 xvdb", "{\"result\":null}");
    CHECK_STR(did.text, "vm1 xvdb ask");
    SAYS("detach vm1 xvdb force", "{\"result\":null}");
    CHECK_STR(did.text, "vm1 xvdb force");
    SAYS("detach vm1 xvdb farce",
         "{\"error\":\"detach: expected force or nothing, found "
         "\\\"farce\\\"\"}");
    did.status = -ENOENT;
    did.text[0] = '\0';
    SAYS("attach wab vm1 xvdb", "{\"error\":\"there is no disk \\\"wab\\\"; "
                                "did you mean \\\"web\\\"?\"}");
    CHECK_STR(did.text, "");
    SAYS("attach web vm9 xvdb", "{\"error\":\"no such guest\"}");
    SAYS("detach vm9 xvdb", "{\"error\":\"no such device\"}");
    stop();
    start(false);
    ask("attach web vm1 xvdb");
    CHECK(strstr(test_line(&a), "runs without Xen"));
    CHECK_STR(did.text, "");
    stop();
}

static void
knows_the_daemon(void)
{
    start(true);
    disk[0].open = true;
    ask("version");
    CHECK(strstr(test_line(&a), "\"host\":\"xen\",\"disks\":1"));
    SAYS("config", "{\"result\":\"# 2 disks\\n\"}");
    SAYS("log warn", "{\"result\":null}");
    CHECK_EQ(did.level, BLK_WARN);
    SAYS("log loud", "{\"error\":\"log: expected err, warn, info or debug, "
                     "found \\\"loud\\\"\"}");
    SAYS("reload", "{\"result\":null}");
    did.status = -EINVAL;
    did.why = "f:1: x: expected y, found z";
    SAYS("reload", "{\"error\":\"f:1: x: expected y, found z\"}");
    SAYS("plugins", "{\"error\":\"the folder of plugins can't be read\"}");
    did.status = 0;
    SAYS("plugins",
         "{\"result\":[{\"name\":\"thing\",\"help\":\"a "
         "thing\",\"tail\":true,\"layer\":false,"
         "\"transparent\":false,\"ops\":[\"read\"],\"options\":["
         "{\"name\":\"size\",\"type\":\"size\",\"required\":true,\"min\":1,"
         "\"max\":9,\"help\":\"how large\"},{\"name\":\"how\",\"type\":"
         "\"choice\",\"default\":\"a\",\"choices\":[\"a\",\"b\"],\"help\":"
         "\"how\"}],\"counters\":[{\"name\":\"hits\",\"unit\":\"requests\","
         "\"help\":\"found\"}]}]}");
    SAYS("front web queues=2", "{\"result\":null}");
    CHECK_STR(did.text, "front web 1 queues=2");
    stop();
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control", dir);
    TEST(lists_open_and_free_disks);
    TEST(shows_what_was_true_when_asked);
    TEST(gathers_stats);
    TEST(pauses_and_resumes);
    TEST(reaches_layers);
    TEST(asks_where_data_are);
    TEST(shows_chains);
    TEST(changes_chains);
    TEST(changes_modes);
    TEST(attaches_and_detaches);
    TEST(knows_the_daemon);
    rmdir(dir);
    return test_end();
}
