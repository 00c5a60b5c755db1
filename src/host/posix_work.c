/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix_work.c: the threads of a loop that may block.
 *
 * The queue is the only thing they share with the loop; it is guarded by one
 * mutex, held for a few instructions.  Threads are made as they are needed, up
 * to the limit; the first at once, so that there always is one.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/posix.h"

enum { THREADS_MAX = 64 };

struct posix_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct loop_mail *head, **tail;
    unsigned queued, idle, threads, max;
    bool stopping;
    char name[16];
    pthread_t thread[THREADS_MAX];
};

static struct posix_job *
take(struct posix_pool *pool)
{
    struct loop_mail *m;

    pthread_mutex_lock(&pool->lock);
    pool->idle++;
    while (!pool->head && !pool->stopping)
        pthread_cond_wait(&pool->more, &pool->lock);
    pool->idle--;
    m = pool->head;
    if (m) {
        pool->queued--;
        pool->head = m->next;
        if (!m->next)
            pool->tail = &pool->head;
    }
    pthread_mutex_unlock(&pool->lock);
    return m ? posix_container(m, struct posix_job, mail) : NULL;
}

static void *
worker(void *arg)
{
    struct posix_pool *pool = arg;
    struct posix_job *job;

    while ((job = take(pool))) {
        /* Without mail the job may be gone once work() returns. */
        struct posix_loop *loop = job->mail.run ? job->loop : NULL;

        job->work(job);
        if (loop)
            posix_post(loop, &job->mail);
    }
    return NULL;
}

/* Called with the lock held; signals are the business of the loops. */
static int
add_thread(struct posix_pool *pool)
{
    sigset_t all, old;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&pool->thread[pool->threads], NULL, worker, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err)
        return -err;
    pthread_setname_np(pool->thread[pool->threads], pool->name);
    pool->threads++;
    return 0;
}

/* Two at least: a job may take seconds (a key that is derived), and what is
 * behind it in the queue may be the I/O of another disk. */
static unsigned
threads_most(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 2 ? (unsigned)n : 2;
}

int
posix_pool_new(struct posix_pool **out, const char *name, unsigned threads)
{
    struct posix_pool *pool = calloc(1, sizeof *pool);
    int err;

    if (!pool)
        return -ENOMEM;
    pool->max = threads ? threads : threads_most();
    if (pool->max > THREADS_MAX)
        pool->max = THREADS_MAX;
    snprintf(pool->name, sizeof pool->name, "%.12s-w", name);
    pool->tail = &pool->head;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    pthread_mutex_lock(&pool->lock);
    err = add_thread(pool);
    pthread_mutex_unlock(&pool->lock);
    if (err) {
        posix_pool_free(pool);
        return err;
    }
    *out = pool;
    return 0;
}

/* A thread that was woken counts as idle until it runs: so there have to be as
 * many as there are jobs, lest two that were queued at once wait for one.  If
 * another thread can't be made, those that there are will come to it. */
void
posix_pool_put(struct posix_pool *pool, struct posix_job *job)
{
    job->mail.next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->tail = &job->mail;
    pool->tail = &job->mail.next;
    pool->queued++;
    pthread_cond_signal(&pool->more);
    if (pool->queued > pool->idle && pool->threads < pool->max)
        (void)add_thread(pool);
    pthread_mutex_unlock(&pool->lock);
}

void
posix_pool_free(struct posix_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* ---- blk_work ------------------------------------------------------------ */

_Static_assert(sizeof(struct posix_job) <=
                   sizeof(((struct blk_work *)0)->private_),
               "a job lives in blk_work.private_");

static struct blk_work *
work_of(void *job)
{
    return posix_container(job, struct blk_work, private_);
}

static void
work_do(struct posix_job *job)
{
    struct blk_work *w = work_of(job);

    w->work(w);
}

static void
work_done(struct loop_mail *m)
{
    struct blk_work *w = work_of(m);

    w->done(w);
}

void
posix_work(struct posix_loop *loop, struct blk_work *w)
{
    struct posix_job *job = (struct posix_job *)w->private_;

    *job = (struct posix_job){ .mail.run = work_done,
                               .work = work_do,
                               .loop = loop };
    posix_pool_put(posix_loop_pool(loop), job);
}
