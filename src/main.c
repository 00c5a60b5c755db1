/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* main.c: the command line of blktapd. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

enum { ERRORS_MAX = 8192 };

static const char usage[] =
    "usage: blktapd [-t] [-f] [-c FILE] [-d DIR] [--host=auto|xen|local]\n"
    "\n"
    "  -c, --config FILE    the configuration (" BLKTAPD_SYSCONFDIR
    "/blktapd.conf)\n"
    "  -d, --config-dir DIR more of it, *.conf by name (" BLKTAPD_SYSCONFDIR
    "/blktapd.d)\n"
    "  -t, --test           check the configuration, say what it means, exit\n"
    "  -f, --foreground     log to stderr (blktapd never goes to the "
    "background)\n"
    "      --host HOST      auto: Xen where there is one; xen; local\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "config-dir", required_argument, NULL, 'd' },
    { "test", no_argument, NULL, 't' },
    { "foreground", no_argument, NULL, 'f' },
    { "host", required_argument, NULL, 'H' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

struct command_line {
    struct daemon *daemon;
    bool test, foreground, dir_given;
};

static int
host_parse(const char *s, enum daemon_host *host)
{
    static const char *const names[] = { "auto", "xen", "local" };
    unsigned i;

    for (i = 0; i < 3; i++) {
        if (!strcmp(s, names[i])) {
            *host = (enum daemon_host)i;
            return 0;
        }
    }
    fprintf(stderr, "blktapd: --host: expected auto, xen or local, found %s\n",
            s);
    return -1;
}

/* -1: go on; else the exit status. */
static int
command_line_parse(struct command_line *cl, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "c:d:tfhV", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            cl->daemon->conf_path = optarg;
            break;
        case 'd':
            cl->daemon->conf_dir = optarg;
            cl->dir_given = true;
            break;
        case 't':
            cl->test = true;
            break;
        case 'f':
            cl->foreground = true;
            break;
        case 'H':
            if (host_parse(optarg, &cl->daemon->host))
                return 2;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'V':
            puts(PACKAGE_STRING);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "blktapd: expected no more words, found %s\n",
                argv[optind]);
        return 2;
    }
    return -1;
}

static int
test_config(const struct daemon *d)
{
    char errors[ERRORS_MAX] = "";
    struct conf *conf =
        conf_load(d->conf_path, d->conf_dir, errors, sizeof errors);
    unsigned i;

    if (!conf) {
        fputs(errors, stderr);
        return 1;
    }
    printf("%s: good; %u disks\n", d->conf_path, conf->disks);
    for (i = 0; i < conf->disks; i++) {
        const struct conf_disk *cd = &conf->disk[i];
        unsigned l;

        printf("  %s:", cd->name);
        for (l = 0; l < cd->chain.n; l++)
            printf(" %s", cd->chain.layer[l].plugin);
        if (cd->vm)
            printf(" for %s %s", cd->vm, cd->vdev);
        printf("\n");
    }
    conf_unref(conf);
    return 0;
}

int
main(int argc, char **argv)
{
    static struct daemon daemon;
    struct command_line cl = { .daemon = &daemon };
    char why[ERRORS_MAX] = "";
    int rc;

    daemon.conf_path = BLKTAPD_SYSCONFDIR "/blktapd.conf";
    daemon.conf_dir = BLKTAPD_SYSCONFDIR "/blktapd.d";
    rc = command_line_parse(&cl, argc, argv);
    if (rc >= 0)
        return rc;
    if (strcmp(daemon.conf_path, BLKTAPD_SYSCONFDIR "/blktapd.conf") &&
        !cl.dir_given) {
        daemon.conf_dir = NULL; /* another file: not the system's folder */
    }
    if (cl.test)
        return test_config(&daemon);
    log_open(BLK_INFO, !cl.foreground && getenv("JOURNAL_STREAM"));
    rc = daemon_start(&daemon, why, sizeof why);
    if (rc)
        reload_log_lines(why);
    else
        daemon_run(&daemon);
    daemon_free(&daemon);
    log_close();
    return rc ? 1 : 0;
}
