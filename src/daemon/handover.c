/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/handover.h"
#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct pil_message pil_message_make(pil_message_kind kind, uint32_t view_index, const char *release) {
    struct pil_message message = {.magic = PIL_MESSAGE_MAGIC, .kind = kind, .view_index = view_index};
    snprintf(message.release, sizeof message.release, "%s", release != NULL ? release : "");
    return message;
}

pil_status pil_message_pair(int ret_fds[2], struct pil_error *ret_error) {
    struct timeval timeout = {.tv_sec = 1};
    int bytes = 1 << 20;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "socketpair: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    return PIL_STATUS_OK;
}

pil_status pil_message_send(int socket, const struct pil_message *message, int fd) {
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr envelope = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        envelope.msg_control = control.bytes;
        envelope.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&envelope);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &envelope, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == EAGAIN ? PIL_STATUS_TIMEOUT : pil_status_from_errno(errno);
    }
    return PIL_STATUS_OK;
}

/* Takes the first descriptor; more than one is not ours and is closed. */
static int take_fd(struct msghdr *envelope) {
    int fd = -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(envelope); header != NULL; header = CMSG_NXTHDR(envelope, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
            int got;
            memcpy(&got, CMSG_DATA(header) + at, sizeof got);
            if (fd < 0) {
                fd = got;
            } else {
                close(got);
            }
        }
    }
    return fd;
}

pil_status pil_message_receive(int socket, bool block, struct pil_message *ret_message, int *ret_fd) {
    struct pil_message message;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct msghdr envelope = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do {
        got = recvmsg(socket, &envelope, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return pil_status_from_errno(errno);
    }
    int fd = take_fd(&envelope);
    message.release[sizeof message.release - 1] = '\0';
    message.text[sizeof message.text - 1] = '\0';
    if (got != sizeof message || message.magic != PIL_MESSAGE_MAGIC) {
        pil_sys_close(&fd);
        return got == 0 ? PIL_STATUS_CLOSED : PIL_STATUS_CORRUPT;
    }
    *ret_message = message;
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

pil_status pil_message_blob(const void *data, size_t bytes, int *ret_fd, struct pil_error *ret_error) {
    int fd = -1;
    PIL_TRY(pil_sys_memfd_create("pillion-blob", &fd, ret_error));
    pil_status status = pil_sys_write_all(fd, pil_bytes_from(data, bytes), ret_error);
    if (status == PIL_STATUS_OK) {
        status = pil_sys_memfd_seal(fd, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        return status;
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}
