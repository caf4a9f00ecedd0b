/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/janitor.h"
#include "base/sys.h"
#include "daemon/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The smallest descriptor of at least `from` that this process needs; INT_MAX: none. */
static int next_needed(int from, int pipe_fd, const struct pil_listener_file *files, uint32_t count) {
    int next = pipe_fd >= from ? pipe_fd : INT_MAX;
    for (uint32_t i = 0; i < count; i++) {
        next = files[i].lock_fd >= from && files[i].lock_fd < next ? files[i].lock_fd : next;
    }
    return next;
}

static void close_from_to(int from, int to) {
    if (from <= to && close_range((unsigned)from, (unsigned)to, 0) != 0) { /* Linux before 5.9 */
        long max = sysconf(_SC_OPEN_MAX);
        for (int fd = from; fd <= to && fd < max; fd++) {
            close(fd);
        }
    }
}

/* The listening sockets above all: while this process had them, they would take connections that nobody accepts. */
static void close_others(int pipe_fd, const struct pil_listener_file *files, uint32_t count) {
    int from = STDERR_FILENO + 1, next;
    while ((next = next_needed(from, pipe_fd, files, count)) != INT_MAX) {
        close_from_to(from, next - 1);
        from = next + 1;
    }
    close_from_to(from, INT_MAX);
}

_Noreturn static void work(int pipe_fd, const struct pil_listener_settings *listeners, struct pil_listener_file *files,
                           uint32_t count) {
    sigset_t none;
    char byte;
    sigemptyset(&none);
    signal(SIGTERM, SIG_IGN); /* of a whole process group: the daemon ends first */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "pil-janitor");
    close_others(pipe_fd, files, count);
    if (pil_privilege_drop("", NULL) != PIL_STATUS_OK) {
        _exit(1);
    }
    while (read(pipe_fd, &byte, 1) < 0 && errno == EINTR) {
    }
    for (uint32_t i = 0; i < count; i++) {
        pil_listener_remove(&listeners[i], &files[i]);
    }
    _exit(0);
}

pil_status pil_janitor_start(const struct pil_listener_settings *listeners, const struct pil_listener_file *files,
                             uint32_t count, struct pil_janitor *ret_janitor, struct pil_error *ret_error) {
    struct pil_listener_file copies[PIL_SETTINGS_LISTENERS_MAX];
    int ends[2];
    memcpy(copies, files, count * sizeof copies[0]);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    int number = errno;
    if (pid == 0) {
        work(ends[0], listeners, copies, count);
    }
    pil_sys_close(&ends[0]);
    if (pid < 0) {
        pil_sys_close(&ends[1]);
        return pil_fail(ret_error, pil_status_from_errno(number), "fork: %s", strerror(number));
    }
    *ret_janitor = (struct pil_janitor){.pid = pid, .pipe = ends[1]};
    return PIL_STATUS_OK;
}

void pil_janitor_finish(struct pil_janitor *janitor) {
    pil_sys_close(&janitor->pipe);
    if (janitor->pid > 0) {
        waitpid(janitor->pid, NULL, 0);
        janitor->pid = 0;
    }
}
