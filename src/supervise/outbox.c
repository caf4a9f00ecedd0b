/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/outbox.h"
#include "base/fdpass.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

struct letter {
    struct pil_list_link link;
    int fd; /* a duplicate; -1: the message has none */
    uint32_t len;
    uint8_t bytes[];
};

void pil_outbox_init(struct pil_outbox *outbox) {
    pil_list_init(&outbox->waiting);
    outbox->count = 0;
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

pil_status pil_outbox_send(struct pil_outbox *outbox, int socket, const struct pil_message *message) {
    uint8_t buffer[PIL_MESSAGE_BYTES_MAX];
    struct pil_bytes bytes = pil_bytes_from(buffer, pil_message_encode(message, buffer));
    bool has_fd = pil_message_has_fd(message->kind);
    pil_status status = pil_outbox_flush(outbox, socket);
    if (status == PIL_STATUS_OK) {
        status = pil_fdpass_send(socket, bytes, &message->fd, has_fd, false);
    }
    return status == PIL_STATUS_AGAIN ? enqueue(outbox, bytes, has_fd ? message->fd : -1) : status;
}

pil_status pil_outbox_flush(struct pil_outbox *outbox, int socket) {
    PIL_LIST_EACH(struct letter, link, letter, &outbox->waiting) {
        PIL_TRY(
            pil_fdpass_send(socket, pil_bytes_from(letter->bytes, letter->len), &letter->fd, letter->fd >= 0, false));
        destroy(outbox, letter);
    }
    return PIL_STATUS_OK;
}
