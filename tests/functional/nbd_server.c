/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"
#include "tests/functional/nbd_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/plugin_run.h"

static int
listens(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", path);
    rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    close(fd);
    return !rc;
}

static void
run_server(struct server *s)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(null, 0);
    if (!getenv("NBD_SERVER_LOG")) {
        dup2(null, 1);
        dup2(null, 2);
    }
    execvp(s->words[0], s->words);
    _exit(127);
}

static int
came_up(struct server *s)
{
    unsigned left = 3000;

    while (!listens(s->socket)) {
        if (!--left || waitpid(s->pid, NULL, WNOHANG) == s->pid)
            return 0;
        usleep(10000);
    }
    return 1;
}

static void
spawn(struct server *s)
{
    unlink(s->socket);
    fflush(NULL);
    s->pid = fork();
    if (!s->pid)
        run_server(s);
}

void
server_again(struct server *s)
{
    spawn(s);
    if (came_up(s))
        return;
    s->pid = 0;
    test_fail(__FILE__, __LINE__, "%s does not listen", s->words[0]);
    exit(1);
}

void
server_start(struct server *s, const char *fmt, ...)
{
    char text[2000], *word, *save = NULL, *at;
    unsigned n = 0;
    va_list ap;

    memset(s, 0, sizeof *s);
    snprintf(s->socket, sizeof s->socket, "%s", run_path("nbd.sock"));
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        REQUIRE(n < 23);
        at = strstr(word, "%S");
        if (at)
            REQUIRE(asprintf(&s->words[n++], "%.*s%s%s", (int)(at - word), word,
                             s->socket, at + 2) > 0);
        else
            s->words[n++] = strdup(word);
    }
    server_again(s);
}

void
server_signal(struct server *s, int signal)
{
    kill(s->pid, signal);
    if (signal == SIGSTOP) /* which takes its time */
        waitpid(s->pid, NULL, WUNTRACED);
}

void
server_kill(struct server *s, int signal)
{
    if (!s->pid)
        return;
    kill(s->pid, signal);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

void
server_stop(struct server *s)
{
    unsigned n;

    server_kill(s, SIGKILL);
    for (n = 0; s->words[n]; n++)
        free(s->words[n]);
    memset(s->words, 0, sizeof s->words);
}

static void
keep(struct server *s, unsigned n, unsigned longest_us, uint64_t seed)
{
    struct run dice = { .seed = seed };

    while (*s->kills < n) {
        usleep((useconds_t)(1 + run_random(&dice) % longest_us));
        server_kill(s, SIGKILL);
        spawn(s);
        if (!came_up(s))
            _exit(1);
        ++*s->kills;
    }
    pause();
}

void
server_keeper(struct server *s, unsigned n, unsigned longest_us, uint64_t seed)
{
    pid_t pid;

    s->kills = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(s->kills != MAP_FAILED);
    server_kill(s, SIGKILL);
    fflush(NULL);
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        spawn(s);
        if (!came_up(s))
            _exit(1);
        keep(s, n, longest_us, seed);
    }
    s->pid = pid;
}

void
server_keeper_end(struct server *s)
{
    server_kill(s, SIGKILL); /* and its server with it */
    munmap((void *)(uintptr_t)s->kills, 4096);
    server_again(s);
}
