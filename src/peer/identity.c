/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/identity.h"

#include "base/bytes.h"
#include "base/panic.h"
#include "base/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

enum { PROC_FILE_BYTES = 4096 };

void pil_peer_identity_init(struct pil_peer_identity *ret_identity) {
    memset(ret_identity, 0, sizeof *ret_identity);
    snprintf(ret_identity->address, sizeof ret_identity->address, "unknown");
}

/* ---- Unix sockets. */

static void take_groups(int fd, struct pil_peer_identity *identity) {
    socklen_t len = sizeof identity->groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, identity->groups, &len) == 0) {
        identity->group_count = (uint32_t)(len / sizeof identity->groups[0]);
        identity->known |= PIL_PEER_GROUPS;
    }
}

/* SO_PEERPIDFD refers to the process that connected, even after its end. Without it, the PID may have been reused since
 * the connect, which cannot be detected. Returns -1 on failure. */
static int open_pidfd(int fd, int32_t pid) {
    int pidfd = -1;
    socklen_t len = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) != 0) {
        return errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    }
    return pidfd;
}

/* Reads a whole file of /proc; returns false if it does not fit. */
static bool read_proc(const char *path, char ret_text[PROC_FILE_BYTES]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && len < PROC_FILE_BYTES - 1) {
        got = read(fd, ret_text + len, PROC_FILE_BYTES - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    pil_sys_close(&fd);
    ret_text[len] = '\0';
    return got == 0;
}

/* Copies the path of the unified hierarchy, the line "0::PATH". Returns false rather than cut a long path, because a
 * part of it is the path of another group. */
static bool copy_cgroup(const char *text, char ret_cgroup[PIL_PEER_CGROUP_BYTES]) {
    const char *line = text;
    while (strncmp(line, "0::", 3) != 0) {
        line = strchr(line, '\n');
        if (line == NULL) {
            return false;
        }
        line++;
    }
    const char *path = line + 3;
    size_t len = strcspn(path, "\n");
    if (len == 0 || len >= PIL_PEER_CGROUP_BYTES || path[len] != '\n') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (path[i] < ' ' || path[i] > '~') {
            return false;
        }
    }
    memcpy(ret_cgroup, path, len);
    ret_cgroup[len] = '\0';
    return true;
}

/* A PID is not reused before its process has ended and was waited for, so the file that was read is the peer's if the
 * peer has not ended afterwards. */
static void take_cgroup(int fd, struct pil_peer_identity *identity) {
    char path[64], text[PROC_FILE_BYTES];
    PIL_ASSERT((identity->known & PIL_PEER_PID) != 0);
    struct pollfd end = {.fd = open_pidfd(fd, identity->pid), .events = POLLIN};
    snprintf(path, sizeof path, "/proc/%d/cgroup", identity->pid);
    if (end.fd >= 0 && read_proc(path, text) && copy_cgroup(text, identity->cgroup)) {
        if (poll(&end, 1, 0) == 0) {
            identity->known |= PIL_PEER_CGROUP;
        } else {
            identity->cgroup[0] = '\0';
        }
    }
    pil_sys_close(&end.fd);
}

static void take_unix(int fd, uint32_t wanted, struct pil_peer_identity *identity) {
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.uid == (uid_t)-1) {
        return;
    }
    identity->uid = peer.uid;
    identity->gid = peer.gid;
    identity->known = PIL_PEER_UID | PIL_PEER_GID;
    if (peer.pid > 0) { /* 0: the peer is in a PID namespace that is not visible here */
        identity->pid = peer.pid;
        identity->known |= PIL_PEER_PID;
    }
    snprintf(identity->address, sizeof identity->address, "unix:pid=%d,uid=%u", peer.pid, peer.uid);
    if ((wanted & PIL_PEER_GROUPS) != 0) {
        take_groups(fd, identity);
    }
    if ((wanted & PIL_PEER_CGROUP) != 0 && (identity->known & PIL_PEER_PID) != 0) {
        take_cgroup(fd, identity);
    }
}

/* ---- TCP. */

static void describe_address(const struct sockaddr_storage *address, struct pil_peer_identity *identity) {
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(identity->address, sizeof identity->address, "%.15s:%u", host, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(identity->address, sizeof identity->address, "[%.39s]:%u", host, ntohs(in->sin6_port));
    }
}

static void take_tcp(int fd, const struct sockaddr_storage *peer, struct pil_peer_diag *diag,
                     struct pil_peer_identity *identity) {
    struct sockaddr_storage own = {0};
    struct pil_peer_socket socket;
    socklen_t len = sizeof own;
    if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 && pil_peer_diag_find(diag, &own, peer, &socket)) {
        identity->uid = socket.uid;
        identity->known = PIL_PEER_UID;
    }
}

/* ---- Either. */

void pil_peer_identity_take(int fd, uint32_t wanted, struct pil_peer_diag *diag,
                            struct pil_peer_identity *ret_identity) {
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    pil_peer_identity_init(ret_identity);
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        return;
    }
    if (peer.ss_family == AF_UNIX) {
        take_unix(fd, wanted, ret_identity);
    } else {
        describe_address(&peer, ret_identity);
        if (diag != NULL && (wanted & PIL_PEER_UID) != 0) {
            take_tcp(fd, &peer, diag, ret_identity);
        }
    }
    PIL_ASSERT((ret_identity->cgroup[0] != '\0') == ((ret_identity->known & PIL_PEER_CGROUP) != 0));
    PIL_ASSERT(ret_identity->group_count <= PIL_PEER_GROUPS_MAX);
}

static void describe_id(uint32_t id, bool is_known, char text[16]) {
    snprintf(text, 16, is_known ? "%u" : "unknown", id);
}

void pil_peer_identity_describe(const struct pil_peer_identity *identity, char ret_text[PIL_PEER_DESCRIPTION_BYTES]) {
    char uid[16], gid[16];
    describe_id(identity->uid, (identity->known & PIL_PEER_UID) != 0, uid);
    describe_id(identity->gid, (identity->known & PIL_PEER_GID) != 0, gid);
    snprintf(ret_text, PIL_PEER_DESCRIPTION_BYTES, "uid %s, gid %s, cgroup %s", uid, gid,
             (identity->known & PIL_PEER_CGROUP) != 0 ? identity->cgroup : "unknown");
}
