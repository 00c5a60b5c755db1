/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A commit, step by step, and what becomes of it when a step goes wrong, the
 * disk or the daemon goes away, or a person says something in between.
 * Everything around src/commit.c is made up here: a layer's answers come when
 * the test gives them, and time when it says so.
 */
#include "tests/unit/daemon_commit.h"

/* ---- tests --------------------------------------------------------------- */

static void
takes_the_layer_out(void)
{
    begin();
    for (unsigned i = 0; i < 3; i++)
        look(COPYING);
    look(STATE("last"));
    CHECK_EQ(chained.n, 0);
    look(STATE("ready"));
    CHECK_EQ(chained.n, 0); /* not before the layer has heard of it */
    answers("commit end abcdef", 0, "{}");
    CHECK_STR(chained.at, "snap2");
    web.chain = (struct chain_spec){ .layer = layers + 2, .n = 2 };
    changed(0, NULL);
    says("status", "snap2");
    CHECK_EQ(json_object_get_int(json_object_object_get(told.o, "waited_ns")),
             77);
    is_over(0, NULL);
}

static void
tells_how_far_it_is(void)
{
    begin();
    says("status", NULL);
    answers("commit status", 0, COPYING);
    CHECK_STR(told_word("disk"), "web");
    CHECK_STR(told_word("layer"), "snap2");
    CHECK_STR(told_word("commit"), "copying");
    CHECK_STR(told_word("commit_done"), "3");
    CHECK_STR(told_word("commit_of"), "8");
    CHECK_STR(told_word("commit_copied"), "2");
    CHECK_STR(told_word("over"), "");
    /* Its layer goes while somebody asks: the end is not told yet. */
    look(STATE("ready"));
    answers("commit end abcdef", 0, "{}");
    says("status", NULL);
    answers("commit status", -ENOENT, "{}");
    CHECK_EQ(told.status, 0);
    CHECK_STR(told_word("over"), "");
    changed(0, NULL);
    is_over(0, NULL);
}

static void
hears_a_person(void)
{
    static const char *const verbs[] = { "pause", "resume", "cancel" };

    begin();
    for (unsigned i = 0; i < 3; i++) {
        char words[30];

        snprintf(words, sizeof words, "commit %s", verbs[i]);
        says(verbs[i], NULL);
        answers(words, 0, "{}");
        CHECK_EQ(told.status, 0);
        CHECK_STR(told_word("layer"), "snap2");
        look(i ? COPYING : STATE("paused"));
    }
    says("pause", NULL);
    answers("commit pause", -EBUSY, "{\"text\":[\"at its end\\n\"]}");
    refused(-EBUSY, "at its end");
    look(STATE("none"));
    is_over(-ECANCELED, "it was cancelled");
}

static void
one_at_a_time(void)
{
    begin();
    says(NULL, NULL);
    refused(-EBUSY, "a commit is at work on this disk");
    says(NULL, "snap1"); /* of another layer neither */
    refused(-EBUSY, "a commit is at work on this disk");
    CHECK(!is_asked("commit"));
    /* Another disk's is its own. */
    daemon_commit(&d, "db", NULL, NULL, person_told, &told);
    answers("commit", 0, "{}");
    CHECK_EQ(told.status, 0);
    CHECK_STR(told_word("disk"), "db");
    CHECK_EQ(tick(), 2);
    answers("commit status", 0, STATE("failed"));
    answers("commit status", 0, STATE("failed"));
    CHECK_EQ(tick(), 0);
    /* And when that is over the next may begin. */
    says(NULL, NULL);
    answers("commit", 0, "{}");
    CHECK_EQ(told.status, 0);
    look(COPYING);
    CHECK_EQ(tick(), 1);
    answers("commit status", -ENOENT, "{}");
    end();
}

static void
fails_at_the_beginning(void)
{
    fresh();
    says(NULL, NULL);
    answers("commit", -EINVAL, "{\"text\":[\"expected this\\n\",\"x\"]}");
    refused(-EINVAL, "expected this");
    is_over(-EINVAL, "expected this");
    fresh();
    says(NULL, NULL);
    answers("commit", -EIO, "{}");
    refused(-EIO, "Input/output error");
    end();
    fresh();
    says(NULL, "b");
    refused(-EINVAL, "layer \"b\" (plugin base) can't be committed");
    says(NULL, "c");
    refused(-EINVAL, "there is no layer \"c\" that runs");
    says("pause", "t");
    refused(-EINVAL, "layer \"t\" (plugin none) can't be committed");
    web.chain = (struct chain_spec){ .layer = layers + 4, .n = 1 };
    says(NULL, NULL); /* with nothing below */
    refused(-EINVAL, "expected a layer that can be committed");
    is_open = false;
    says(NULL, NULL);
    refused(-ENOTCONN, "the disk is not open");
    CHECK(!d.commits);
    end();
}

static void
fails_at_work(void)
{
    begin();
    look("{\"commit\":\"failed\",\"commit_failed\":\"no space below\"}");
    is_over(-EIO, "no space below");
    begin();
    CHECK_EQ(tick(), 1);
    answers("commit status", -ENOTCONN, "{}");
    is_over(-ENOTCONN, "its layer does not answer");
    begin();
    look(STATE("none"));
    is_over(-ECANCELED, "or its layer was opened anew");
}

/* It is ready, and something is in the way. */
static void
waits_for_its_turn(void)
{
    begin();
    d.reload = (struct daemon_reload *)&told;
    look(STATE("ready"));
    d.reload = NULL;
    d.change = (struct daemon_change *)&told;
    look(STATE("ready"));
    d.change = NULL;
    look(STATE("ready"));
    /* A person was faster: it is held. */
    answers("commit end abcdef", -EBUSY, "{}");
    CHECK_EQ(chained.n, 0);
    look(STATE("paused"));
    look(STATE("ready"));
    answers("commit end abcdef", 0, "{}");
    /* And so was another change. */
    changed(-EBUSY, "an earlier change is at work");
    answers("commit again abcdef", 0, "{}");
    look(STATE("ready"));
    answers("commit end abcdef", 0, "{}");
    changed(0, NULL);
    CHECK_EQ(chained.n, 2);
    is_over(0, NULL);
}

static void
sees_what_changed_below(void)
{
    begin();
    /* Above it may change. */
    web.chain = (struct chain_spec){ .layer = layers + 1, .n = 3 };
    look(COPYING);
    web.chain.n = 2;
    look(STATE("ready"));
    CHECK_EQ(chained.n, 0);
    answers("commit cancel", 0, "{}");
    is_over(-EBUSY, "the layers below were changed meanwhile");
}

static void
fails_at_the_change(void)
{
    to_the_change();
    changed(-ETIMEDOUT, "a request did not end");
    /* The word is taken back first. */
    CHECK(!is_asked("commit cancel"));
    answers("commit again abcdef", 0, "{}");
    answers("commit cancel", 0, "{}");
    is_over(-ETIMEDOUT, "a request did not end");
    /* It was made, but a restart will not know it: the layer is out. */
    to_the_change();
    web.chain = (struct chain_spec){ .layer = layers + 2, .n = 2 };
    changed(-EIO, "that can't be kept");
    CHECK(!is_asked("commit again abcdef"));
    is_over(-EIO, "that can't be kept");
}

/* At each moment. */
static void
the_disk_goes(void)
{
    begin();
    is_open = false;
    CHECK_EQ(tick(), 1); /* the next look */
    CHECK(!is_asked("commit status"));
    CHECK_EQ(d.commits->status, -ESHUTDOWN);
    CHECK_STR(d.commits->why, "the disk was closed");
    end();
    begin();
    CHECK_EQ(tick(), 1);
    is_open = false; /* while the layer is asked */
    answers("commit status", 0, STATE("ready"));
    CHECK_EQ(d.commits->status, -ESHUTDOWN);
    end();
    begin();
    look(STATE("ready"));
    is_open = false; /* it was to hear of the end */
    answers("commit end abcdef", -ESHUTDOWN, "{}");
    CHECK_EQ(tick(), 1);
    CHECK_EQ(d.commits->status, -ESHUTDOWN);
    end();
    to_the_change();
    is_open = false;
    changed(-ESHUTDOWN, "the disk was closed meanwhile");
    CHECK_EQ(d.commits->status, -ESHUTDOWN);
    CHECK_EQ(tick(), 0);
    end();
    to_the_change();
    changed(-EINVAL, "no");
    is_open = false; /* while the word is taken back */
    answers("commit again abcdef", -ESHUTDOWN, "{}");
    CHECK(!is_asked("commit cancel"));
    CHECK_EQ(d.commits->status, -EINVAL);
    end();
}

/* A stop closes the disks, and leaves no timer; the next process knows of
 * none, and asks the layer. */
static void
the_daemon_goes(void)
{
    begin();
    end();
    begin();
    look(COPYING);
    end();
    begin();
    look(STATE("ready"));
    answers("commit end abcdef", -ESHUTDOWN, "{}");
    end();
    to_the_change();
    is_open = false;
    changed(-ESHUTDOWN, "the disk was closed meanwhile");
    end();
    fresh();
    says("status", NULL);
    answers("commit status", 0, STATE("none"));
    CHECK_EQ(told.status, 0);
    CHECK_STR(told_word("commit"), "none");
    CHECK_STR(told_word("over"), "");
    CHECK(!d.commits);
    end();
}

/* What a layer tells is no promise. */
static void
survives_odd_answers(void)
{
    static const char *const odd[] = { "[]", "7",         "null",
                                       "{}", "\"ready\"", "{\"commit\":[]}" };

    begin();
    for (unsigned i = 0; i < sizeof odd / sizeof odd[0]; i++)
        look(odd[i]);
    CHECK_EQ(chained.n, 0);
    CHECK_EQ(tick(), 1);
    answers("commit status", -EIO, "[]");
    is_over(-EIO, "its layer does not answer");
}

static void
without_memory(void)
{
    unsigned n, ok = 0;

    for (n = 1; n < 10 && !ok; n++) {
        fresh();
        fails_at = (int)n;
        says(NULL, NULL);
        ok = fails_at != 0;
        fails_at = 0;
        if (!ok) {
            CHECK_EQ(told.n, 1);
            refused(-ENOMEM, "out of memory");
        } else {
            answers("commit", 0, "{}");
        }
        end();
    }
    CHECK(n > 3 && ok);
    /* At its end it can't be told whether the layers are the same. */
    begin();
    CHECK_EQ(tick(), 1);
    fails_at = 1;
    answers("commit status", 0, STATE("ready"));
    answers("commit cancel", 0, "{}");
    is_over(-EBUSY, "the layers below were changed");
}

int
main(int argc, char **argv)
{
    test_args(argc, argv);
    TEST(takes_the_layer_out);
    TEST(tells_how_far_it_is);
    TEST(hears_a_person);
    TEST(one_at_a_time);
    TEST(fails_at_the_beginning);
    TEST(fails_at_work);
    TEST(waits_for_its_turn);
    TEST(sees_what_changed_below);
    TEST(fails_at_the_change);
    TEST(the_disk_goes);
    TEST(the_daemon_goes);
    TEST(survives_odd_answers);
    TEST(without_memory);
    return test_end();
}
