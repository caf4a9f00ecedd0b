/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fdpass.h"

#include "base/panic.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor more than is accepted, so that a datagram with too many is recognised. */
union control {
    struct cmsghdr header; /* for its alignment */
    uint8_t bytes[CMSG_SPACE((PIL_FDPASS_MAX + 1) * sizeof(int))];
};

pil_status pil_fdpass_send(int socket, struct pil_bytes data, const int *fds, uint32_t fd_count, bool block) {
    union control control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data.data, .iov_len = data.len};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    PIL_ASSERT(fd_count <= PIL_FDPASS_MAX);
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *at = CMSG_FIRSTHDR(&head);
        at->cmsg_level = SOL_SOCKET;
        at->cmsg_type = SCM_RIGHTS;
        at->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(at), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &head, MSG_NOSIGNAL | (block ? 0 : MSG_DONTWAIT));
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return PIL_STATUS_OK;
    }
    if (errno == ETOOMANYREFS && !block) {
        return PIL_STATUS_AGAIN;
    }
    return errno == EAGAIN ? (block ? PIL_STATUS_TIMEOUT : PIL_STATUS_AGAIN) : pil_status_from_errno(errno);
}

/* Takes at most PIL_FDPASS_MAX descriptors and closes the others; returns whether there were no others. */
static bool take_fds(struct msghdr *head, struct pil_fdpass_received *received) {
    bool all = true;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(head); at != NULL; at = CMSG_NXTHDR(head, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t offset = 0; CMSG_LEN(offset + sizeof(int)) <= at->cmsg_len; offset += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(at) + offset, sizeof fd);
            if (received->fd_count < PIL_FDPASS_MAX) {
                received->fds[received->fd_count++] = fd;
            } else {
                close(fd);
                all = false;
            }
        }
    }
    return all;
}

pil_status pil_fdpass_receive(int socket, bool block, void *buffer, size_t capacity,
                              struct pil_fdpass_received *ret_received) {
    union control control;
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do {
        got = recvmsg(socket, &head, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN ? PIL_STATUS_AGAIN : pil_status_from_errno(errno);
    }
    struct pil_fdpass_received received = {.bytes = (size_t)got};
    bool all = take_fds(&head, &received);
    pil_status status = !all || (head.msg_flags & MSG_TRUNC) ? PIL_STATUS_TOO_LARGE
                        : head.msg_flags & MSG_CTRUNC        ? PIL_STATUS_SYSTEM
                        : got == 0                           ? PIL_STATUS_CLOSED
                                                             : PIL_STATUS_OK;
    if (status != PIL_STATUS_OK) {
        pil_fdpass_close(&received);
    }
    if (status == PIL_STATUS_OK || status == PIL_STATUS_SYSTEM) {
        *ret_received = received;
    }
    return status;
}

void pil_fdpass_close(struct pil_fdpass_received *received) {
    for (uint32_t i = 0; i < received->fd_count; i++) {
        close(received->fds[i]);
    }
    received->fd_count = 0;
}
