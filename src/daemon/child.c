/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/child.h"
#include "base/clock.h"
#include "base/sys.h"
#include "daemon/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EARLY_NS 10000000000ull
#define BACKOFF_NS_MIN 100000000ull
#define BACKOFF_NS_MAX 5000000000ull

/* In the child, between fork and exec: only async-signal-safe calls. */
_Noreturn static void exec_role(const char *role, int socket, const char *socket_text, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && fcntl(socket, F_SETFD, 0) == 0) {
        char *arguments[] = {(char *)(uintptr_t) "pilliond",  (char *)(uintptr_t) "--role",   (char *)(uintptr_t)role,
                             (char *)(uintptr_t) "--role-fd", (char *)(uintptr_t)socket_text, NULL};
        execv("/proc/self/exe", arguments);
    }
    _exit(127);
}

pil_status pil_child_start(struct pil_child *child, struct pil_error *ret_error) {
    int pair[2];
    char socket_text[16];
    PIL_TRY(pil_message_pair(pair, ret_error));
    snprintf(socket_text, sizeof socket_text, "%d", pair[1]);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        exec_role(child->role, pair[1], socket_text, parent);
    }
    int number = errno;
    pil_sys_close(&pair[1]);
    if (pid < 0) {
        pil_sys_close(&pair[0]);
        return pil_fail(ret_error, pil_status_from_errno(number), "fork: %s", strerror(number));
    }
    child->pid = pid;
    child->socket = pair[0];
    child->started_ns = pil_clock_monotonic_ns();
    child->restart_ns = 0;
    return PIL_STATUS_OK;
}

void pil_child_ended(struct pil_child *child) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool early = now_ns - child->started_ns < EARLY_NS;
    child->failures = early ? child->failures + 1 : 0;
    uint64_t backoff_ns = 0;
    if (child->failures > 1) {
        uint32_t doublings = child->failures - 2 < 6 ? child->failures - 2 : 6;
        backoff_ns = BACKOFF_NS_MIN << doublings;
        backoff_ns = backoff_ns < BACKOFF_NS_MAX ? backoff_ns : BACKOFF_NS_MAX;
    }
    child->restart_ns = now_ns + backoff_ns;
    child->restarts++;
    child->pid = 0;
    pil_sys_close(&child->socket);
}
