/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/connect.h"
#include "base/address.h"
#include "base/sys.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { TIMEOUT_SECONDS = 5 };

static int open_socket(int family) {
    struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    return fd;
}

static pil_status finish(const char *address, int fd, int result, int *ret_fd, struct pil_error *ret_error) {
    if (fd >= 0 && result == 0) {
        *ret_fd = fd;
        return PIL_STATUS_OK;
    }
    int number = errno;
    pil_sys_close(&fd);
    /* A socket that nobody has made is a server that cannot be read, not something that the server did not find. */
    return pil_fail(ret_error, number == ENOENT ? PIL_STATUS_CLOSED : pil_status_from_errno(number),
                    "%s: %s; is pilliond running there?", address, strerror(number));
}

static pil_status connect_tcp(const char *text, const struct pil_address *address, int *ret_fd,
                              struct pil_error *ret_error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *info = NULL;
    int number = getaddrinfo(address->host, address->port, &hints, &info);
    if (number != 0) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: %s", text, gai_strerror(number));
    }
    int fd = open_socket(info->ai_family);
    int result = fd >= 0 ? connect(fd, info->ai_addr, info->ai_addrlen) : -1;
    freeaddrinfo(info);
    return finish(text, fd, result, ret_fd, ret_error);
}

pil_status pil_connect(const char *address, int *ret_fd, struct pil_error *ret_error) {
    struct pil_address parsed;
    PIL_TRY(pil_address_parse(address, &parsed, ret_error));
    if (parsed.kind == PIL_ADDRESS_TCP) {
        return connect_tcp(address, &parsed, ret_fd, ret_error);
    }
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    memcpy(path.sun_path, parsed.path, sizeof path.sun_path);
    int fd = open_socket(AF_UNIX);
    return finish(address, fd, fd >= 0 ? connect(fd, (const struct sockaddr *)&path, sizeof path) : -1, ret_fd,
                  ret_error);
}
