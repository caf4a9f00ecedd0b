/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/outbox.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/fdpass.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

enum { RETRY_MS_MIN = 1, RETRY_MS_MAX = 100 };

struct letter {
    struct pil_list_link link;
    int fd; /* a duplicate; -1: the message has none */
    uint32_t len;
    uint8_t bytes[];
};

void pil_outbox_init(struct pil_outbox *outbox) {
    pil_list_init(&outbox->waiting);
    outbox->count = 0;
    outbox->wait_ms = PIL_OUTBOX_WAIT_MS;
}

static void destroy(struct pil_outbox *outbox, struct letter *letter) {
    PIL_ASSERT(outbox->count > 0);
    outbox->count--;
    pil_list_remove(&letter->link);
    pil_sys_close(&letter->fd);
    free(letter);
}

void pil_outbox_clear(struct pil_outbox *outbox) {
    PIL_LIST_EACH(struct letter, link, letter, &outbox->waiting) {
        destroy(outbox, letter);
    }
    PIL_ASSERT(outbox->count == 0);
}

static pil_status enqueue(struct pil_outbox *outbox, struct pil_bytes bytes, int fd) {
    struct letter *letter = outbox->count < PIL_OUTBOX_MAX ? malloc(sizeof *letter + bytes.len) : NULL;
    if (letter == NULL) {
        return outbox->count < PIL_OUTBOX_MAX ? PIL_STATUS_NO_MEMORY : PIL_STATUS_TOO_LARGE;
    }
    *letter = (struct letter){.fd = -1, .len = (uint32_t)bytes.len};
    memcpy(letter->bytes, bytes.data, bytes.len);
    if (fd >= 0) {
        letter->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (letter->fd < 0) {
            free(letter);
            return pil_status_from_errno(errno);
        }
    }
    pil_list_append(&outbox->waiting, &letter->link);
    outbox->count++;
    return PIL_STATUS_OK;
}

/* AGAIN: it has to wait, be it for room or because the kernel is short of something. */
static pil_status send_now(int socket, struct pil_bytes bytes, int fd) {
    pil_status status = pil_fdpass_send(socket, bytes, &fd, fd >= 0, false);
    return pil_status_may_pass(status) ? PIL_STATUS_AGAIN : status;
}

static pil_status send_or_enqueue(struct pil_outbox *outbox, int socket, struct pil_bytes bytes, int fd) {
    pil_status status = pil_outbox_flush(outbox, socket);
    if (status == PIL_STATUS_OK) {
        status = send_now(socket, bytes, fd);
    }
    return status == PIL_STATUS_AGAIN ? enqueue(outbox, bytes, fd) : status;
}

pil_status pil_outbox_send(struct pil_outbox *outbox, int socket, const struct pil_message *message) {
    uint8_t buffer[PIL_MESSAGE_BYTES_MAX];
    struct pil_bytes bytes = pil_bytes_from(buffer, pil_message_encode(message, buffer));
    int fd = pil_message_has_fd(message->kind) ? message->fd : -1;
    struct pil_backoff backoff = pil_backoff_make(RETRY_MS_MIN, RETRY_MS_MAX);
    pil_status status = send_or_enqueue(outbox, socket, bytes, fd);
    uint64_t now_ns = pil_clock_monotonic_ns(), end_ns = now_ns + outbox->wait_ms * 1000000ull;
    while (pil_status_may_pass(status) && now_ns < end_ns) {
        pil_backoff_fail(&backoff, now_ns);
        nanosleep(&(struct timespec){.tv_nsec = (long)backoff.wait_ms * 1000000}, NULL);
        status = send_or_enqueue(outbox, socket, bytes, fd);
        now_ns = pil_clock_monotonic_ns();
    }
    return status;
}

pil_status pil_outbox_flush(struct pil_outbox *outbox, int socket) {
    PIL_LIST_EACH(struct letter, link, letter, &outbox->waiting) {
        PIL_TRY(send_now(socket, pil_bytes_from(letter->bytes, letter->len), letter->fd));
        destroy(outbox, letter);
    }
    return PIL_STATUS_OK;
}
