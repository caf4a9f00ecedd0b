/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/child.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"

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

void pil_child_init(struct pil_child *child, const char *role) {
    *child = (struct pil_child){.role = role, .socket = -1};
    pil_outbox_init(&child->outbox);
}

/* Runs in the child between fork and exec: only async-signal-safe calls. */
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

pil_status pil_child_start(struct pil_child *child, uint64_t now_ns, struct pil_error *ret_error) {
    int pair[2];
    char socket_text[16];
    PIL_ASSERT(child->pid == 0 && child->socket < 0 && child->outbox.count == 0);
    /* Set before anything can fail: pil_child_ended needs both after a failed start, too. */
    child->started_ns = now_ns;
    child->is_replaced = false;
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
    child->restart_ns = 0;
    return PIL_STATUS_OK;
}

uint64_t pil_child_backoff_ns(uint32_t failures) {
    if (failures < 2) {
        return 0;
    }
    uint32_t doublings = failures - 2 < 6 ? failures - 2 : 6;
    uint64_t backoff_ns = BACKOFF_NS_MIN << doublings;
    return backoff_ns < BACKOFF_NS_MAX ? backoff_ns : BACKOFF_NS_MAX;
}

void pil_child_ended(struct pil_child *child, uint64_t now_ns) {
    PIL_ASSERT(now_ns >= child->started_ns);
    bool is_early = now_ns - child->started_ns < EARLY_NS;
    child->failures = child->is_replaced || !is_early ? 0 : child->failures + 1;
    child->restart_ns = now_ns + pil_child_backoff_ns(child->failures);
    child->restarts += !child->is_replaced;
    child->pid = 0;
    pil_sys_close(&child->socket);
    pil_outbox_clear(&child->outbox);
}

/* Handles the result of a send or a flush: clears the outbox after an error, and kills a child that lost a message. */
static void settle(struct pil_child *child, pil_status status) {
    if (status == PIL_STATUS_OK || status == PIL_STATUS_AGAIN) {
        return;
    }
    pil_outbox_clear(&child->outbox);
    if (status != PIL_STATUS_CLOSED && child->pid > 0) {
        pil_log(PIL_LOG_ERROR, "child takes no messages, killed", "child", child->role, "status",
                pil_status_text(status), NULL);
        kill(child->pid, SIGKILL);
    }
}

void pil_child_send(struct pil_child *child, const struct pil_message *message) {
    if (child->socket >= 0) {
        settle(child, pil_outbox_send(&child->outbox, child->socket, message));
    }
}

void pil_child_flush(struct pil_child *child) {
    uint32_t before = child->outbox.count;
    if (child->socket >= 0 && before > 0) {
        settle(child, pil_outbox_flush(&child->outbox, child->socket));
    }
    child->is_stuck = before > 0 && child->outbox.count == before;
}

bool pil_child_has_mail(const struct pil_child *child) {
    return child->socket >= 0 && child->outbox.count > 0;
}
