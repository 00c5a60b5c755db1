/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fio replays a trace of ours, and counts what we counted; trims are left out,
 * because fio before 3.34 can't replay them.  Skipped without fio. */
#include "config.h"
#include <json-c/json.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

static uint8_t buf[65536];
static uint64_t ops[BLK_OPS], bytes[BLK_OPS];

/* Some hundred requests, over a live change of the chain. */
static void
work(const char *trace, const char *disk)
{
    static const uint8_t kind[] = { BLK_READ,  BLK_WRITE, BLK_WRITE,
                                    BLK_FLUSH, BLK_READ,  BLK_DISCARD };
    struct run r = { .seed = 21 };
    unsigned i;

    RUN(r, "trace format=iolog mode=truncate file=%s | file path=%s", trace,
        disk);
    for (i = 0; i < 300; i++) {
        uint8_t op = kind[run_random(&r) % sizeof(kind)];
        uint64_t off = run_random(&r) % 240 * 4096;
        uint32_t len = (uint32_t)(1 + run_random(&r) % 16) * 4096;

        if (op == BLK_FLUSH)
            off = len = 0;
        CHECK_EQ(run_io(&r, op, 0, off, buf, len), 0);
        ops[op]++;
        bytes[op] += len;
        if (i == 150)
            CHECK_EQ(run_replace(&r,
                                 "trace format=iolog mode=truncate "
                                 "buffer=8k file=%s | file path=%s",
                                 trace, disk),
                     0);
    }
    run_close(&r);
}

static int64_t
number(struct json_object *o, const char *section, const char *name)
{
    struct json_object *part = NULL, *value = NULL;

    REQUIRE(json_object_object_get_ex(o, section, &part));
    REQUIRE(json_object_object_get_ex(part, name, &value));
    return json_object_get_int64(value);
}

static void
fio_replays_a_trace(void)
{
    const char *disk = run_file("disk", 1 << 20), *log = run_path("iolog");
    const char *target = run_file("target", 1 << 20), *out = run_path("json");
    struct json_object *all, *jobs, *job;
    char command[2000];

    work(log, disk);
    snprintf(command, sizeof(command),
             "cd '%s' && fio --name=replay --read_iolog='%s' "
             "--replay_redirect='%s' --ioengine=psync --replay_no_stall=1 "
             "--output-format=json --output='%s' >fio.out 2>&1",
             run_dir(), log, target, out);
    CHECK_EQ(system(command), 0);
    all = json_object_from_file(out);
    REQUIRE(all && json_object_object_get_ex(all, "jobs", &jobs));
    job = json_object_array_get_idx(jobs, 0);
    CHECK_EQ(number(job, "read", "total_ios"), ops[BLK_READ]);
    CHECK_EQ(number(job, "read", "io_bytes"), bytes[BLK_READ]);
    CHECK_EQ(number(job, "write", "total_ios"), ops[BLK_WRITE]);
    CHECK_EQ(number(job, "write", "io_bytes"), bytes[BLK_WRITE]);
    /* "sync" counts no I/Os, but has a latency of each. */
    REQUIRE(json_object_object_get_ex(job, "sync", &job));
    CHECK_EQ(number(job, "lat_ns", "N"), ops[BLK_FLUSH]);
    json_object_put(all);
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    if (system("fio --version >/dev/null 2>&1")) {
        printf("skipped: no fio here\n");
        return 77;
    }
    TEST(fio_replays_a_trace);
    return test_end();
}
