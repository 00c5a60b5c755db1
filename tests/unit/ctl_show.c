/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ctl_show.c: answers of the daemon that take a Xen host, or a disk that went
 * wrong, as people see them.
 */
#include "config.h"

#include "src/ctl/look.c"

#include <stdlib.h>

#include "tests/test.h"

static char *text;

/* What print says of the JSON text. */
static const char *
said(void (*print)(struct json_object *), const char *json)
{
    struct json_object *o = json_tokener_parse(json);
    FILE *out = stdout;
    size_t n;

    REQUIRE(o);
    free(text);
    text = NULL;
    stdout = open_memstream(&text, &n);
    print(o);
    fclose(stdout);
    stdout = out;
    json_object_put(o);
    return text;
}

static void
lists_what_nobody_serves(void)
{
    CHECK_STR(
        said(vbds_print,
             "[{\"path\":\"/b/1\",\"vm\":\"web\",\"vdev\":\"xvda\","
             "\"state\":\"connected\",\"claimed\":true,\"disk\":\"a\"},"
             "{\"path\":\"/b/2\",\"vm\":\"db\",\"vdev\":\"xvdb\","
             "\"state\":\"init-wait\",\"claimed\":false,\"params\":\"x\"},"
             "{\"path\":\"/b/3\",\"vm\":\"db\",\"vdev\":\"xvdc\","
             "\"state\":\"closed\",\"claimed\":true,\"disk\":\"c\","
             "\"why\":\"no such file\"}]"),
        "\n"
        "BACK-END  GUEST     STATE      DISK  PARAMS  WHY\n"
        "/b/2      db, xvdb  init-wait  -     x       -\n"
        "/b/3      db, xvdc  closed     c     -       no such file\n");
    CHECK_STR(said(vbds_print, "[]"), "");
}

static void
shows_a_guests_disk_that_failed(void)
{
    CHECK_STR(
        said(show_head,
             "{\"disk\":\"web\",\"state\":\"failed\",\"reason\":\"ring: bad\","
             "\"mode\":\"intercept\",\"size\":1048576,\"readonly\":true,"
             "\"front\":{\"kind\":\"xen\",\"vm\":\"web\",\"vdev\":\"xvda\","
             "\"domid\":5,\"path\":\"/b/5\"},"
             "\"chain\":[{\"name\":\"t\",\"plugin\":\"trace\"},"
             "{\"name\":\"file\",\"plugin\":\"file\"}],"
             "\"configured-at\":\"f:3\"}"),
        "disk web\n"
        "  state        failed\n"
        "  reason       ring: bad\n"
        "  mode         intercept\n"
        "  size         1 MiB (1048576 bytes)\n"
        "  read-only    yes\n"
        "  front-end    guest web, xvda (domain 5, /b/5)\n"
        "  chain        t (trace) -> file\n"
        "  configured   f:3\n");
}

static void
shows_latency(void)
{
    CHECK_STR(
        said(show_ops,
             "{\"layers\":[{\"name\":\"file\",\"requests\":{\"read\":100},"
             "\"bytes\":{\"read\":4096},\"errors\":{\"read\":2},"
             "\"latency\":{\"read\":{\"mean-us\":12,"
             "\"under-2^i-us\":[0,0,10,85,4,0,1]}}}]}"),
        "\n"
        "  WHERE  OPERATION  REQUESTS  BYTES  ERRORS     MEAN       99 %\n"
        "  file   read            100  4 KiB       2  12.0 us  < 16.0 us\n");
    CHECK_STR(said(show_ops, "{}"), "");
}

static void
shows_options_of_a_plugin(void)
{
    CHECK_STR(said(plugin_print,
                   "{\"name\":\"file\",\"help\":\"a disk in a file\","
                   "\"tail\":true,\"options\":[{\"name\":\"path\","
                   "\"type\":\"path\",\"required\":true,\"help\":\"where\"},"
                   "{\"name\":\"direct\",\"type\":\"choice\","
                   "\"default\":\"on\",\"choices\":[\"on\",\"off\"],"
                   "\"help\":\"no cache\"}]}"),
              "file: a disk in a file\n"
              "  a tail\n"
              "  OPTION  TYPE    DEFAULT   HELP\n"
              "  path    path    required  where\n"
              "  direct  on|off  on        no cache\n");
}

/* Nothing that is missing makes it stumble. */
static void
bears_an_empty_answer(void)
{
    said(show_head, "{}");
    said(plugin_print, "{}");
    said(vbds_print, "[{}]");
    said(show_ops, "{\"layers\":[{}],\"channel\":7}");
    CHECK_EQ(percentile_ns(NULL, 0.99), 1000);
    CHECK_EQ(count(NULL), 0);
    CHECK(!at(NULL, 0));
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(lists_what_nobody_serves);
    TEST(shows_a_guests_disk_that_failed);
    TEST(shows_latency);
    TEST(shows_options_of_a_plugin);
    TEST(bears_an_empty_answer);
    free(text);
    return test_end();
}
