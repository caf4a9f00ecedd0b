/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listener.h"
#include "base/address.h"
#include "protocol/protocols.h"
#include "base/sys.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, HOLDER_BYTES = 96 };

/* Formats "redis-server (pid 123)". */
static void describe_process(long pid, char text[HOLDER_BYTES]) {
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(name, sizeof name, file) != NULL) {
            name[strcspn(name, "\n")] = '\0';
        }
        fclose(file);
    }
    snprintf(text, HOLDER_BYTES, "%s (pid %ld)", name[0] != '\0' ? name : "a process", pid);
}

/* Whether one of the descriptors of a process is the socket with this inode. */
static bool process_has_socket(long pid, unsigned long inode) {
    char path[64], wanted[64], link[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    DIR *folder = opendir(path);
    for (struct dirent *entry; !found && folder != NULL && (entry = readdir(folder)) != NULL;) {
        ssize_t len = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        link[len > 0 ? len : 0] = '\0';
        found = strcmp(link, wanted) == 0;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return found;
}

/* The inode of the listening socket on a TCP port, from the kernel's table; 0: there is none. */
static unsigned long listening_inode(const char *table, unsigned port) {
    char line[512];
    unsigned long inode = 0;
    FILE *file = fopen(table, "re");
    while (inode == 0 && file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned local_port = 0, state = 0;
        unsigned long found = 0;
        if (sscanf(line, "%*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*d %*d %lu", &local_port, &state, &found) ==
                3 &&
            local_port == port && state == 10) {
            inode = found;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return inode;
}

static void find_tcp_holder(unsigned port, char text[HOLDER_BYTES]) {
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    if (inode == 0) {
        inode = listening_inode("/proc/net/tcp6", port);
    }
    snprintf(text, HOLDER_BYTES, "a process that this user cannot see");
    DIR *folder = inode != 0 ? opendir("/proc") : NULL;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid > 0 && process_has_socket(pid, inode)) {
            describe_process(pid, text);
            break;
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

static pil_status fail(int fd, const char *address, const char *what, struct pil_error *ret_error) {
    int number = errno;
    pil_sys_close(&fd);
    return pil_fail(ret_error, pil_status_from_errno(number), "%s: %s: %s", address, what, strerror(number));
}

/* Describes the process that listens on a Unix socket, if the kernel reports it. */
static void find_unix_holder(int connected, char text[HOLDER_BYTES]) {
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    snprintf(text, HOLDER_BYTES, "a process that cannot be asked");
    if (getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0) {
        describe_process(peer.pid, text);
    }
}

/* Whether the path is free, or has a stale socket file: one that refuses connections, because no process listens. After
 * any other error (full, not permitted, another kind of socket) a process may be listening. */
static pil_status check_unix_path(const char *path, const struct sockaddr_un *address, int type,
                                  struct pil_error *ret_error) {
    struct stat info;
    char holder[HOLDER_BYTES];
    if (lstat(path, &info) != 0) {
        return PIL_STATUS_OK; /* if the path is wrong, bind reports it */
    }
    if (!S_ISSOCK(info.st_mode)) {
        return pil_fail(ret_error, PIL_STATUS_EXISTS, "%s exists and is not a socket; name another path", path);
    }
    int probe = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_left_over =
        probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    find_unix_holder(probe, holder);
    pil_sys_close(&probe);
    return is_left_over
               ? PIL_STATUS_OK
               : pil_fail(ret_error, PIL_STATUS_BUSY, "%s is held by %s; stop it or name another path", path, holder);
}

/* ---- The lock of a path. */

static pil_status fail_locked(int fd, const char *path, struct pil_error *error) {
    char text[32] = "", holder[HOLDER_BYTES] = "another daemon";
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    long pid = len > 0 ? strtol(text, NULL, 10) : 0;
    if (pid > 0) {
        describe_process(pid, holder);
    }
    return pil_fail(error, PIL_STATUS_BUSY, "%s is held by %s; stop it or name another path", path, holder);
}

static bool is_same_file(int fd, const char *path) {
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

/* The file is removed by its last holder: a lock of a file that is not there any more is none, and is tried again. */
static pil_status take_lock(const char *path, int *ret_fd, struct pil_error *error) {
    char name[PATH_MAX], text[32];
    snprintf(name, sizeof name, "%s.lock", path);
    for (;;) {
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return pil_fail(error, pil_status_from_errno(errno), "%s: %s", name, strerror(errno));
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            pil_status status = fail_locked(fd, path, error);
            pil_sys_close(&fd);
            return status;
        }
        if (is_same_file(fd, name)) {
            int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
            pil_ignore(ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len ? PIL_STATUS_OK : PIL_STATUS_IO,
                       "the pid is for messages only");
            *ret_fd = fd;
            return PIL_STATUS_OK;
        }
        pil_sys_close(&fd);
    }
}

static void give_lock(const char *path, int *fd) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s.lock", path);
    if (*fd >= 0 && is_same_file(*fd, name)) { /* the janitor, or the supervisor, may have removed it already */
        unlink(name);
    }
    pil_sys_close(fd);
}

static pil_status set_group(const struct pil_listener_settings *settings, const char *path,
                            struct pil_error *ret_error) {
    if (settings->group[0] == '\0') {
        return PIL_STATUS_OK;
    }
    const struct group *group = getgrnam(settings->group);
    if (group == NULL) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: there is no group '%s'", settings->address,
                        settings->group);
    }
    return chown(path, (uid_t)-1, group->gr_gid) == 0
               ? PIL_STATUS_OK
               : pil_fail(ret_error, pil_status_from_errno(errno), "%s: give it to group '%s': %s", settings->address,
                          settings->group, strerror(errno));
}

/* A name in the same folder, by which nobody looks for a socket. It is that of the path's lock, not of the process:
 * daemons of different PID namespaces may share the folder, and each of them may have PID 1. */
static pil_status name_for_now(const char *path, int lock_fd, struct sockaddr_un *address, struct pil_error *error) {
    const char *slash = strrchr(path, '/');
    int folder = slash != NULL ? (int)(slash - path) + 1 : 0;
    struct stat lock = {0};
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (fstat(lock_fd, &lock) != 0) {
        return pil_fail(error, pil_status_from_errno(errno), "%s.lock: %s", path, strerror(errno));
    }
    int len = snprintf(address->sun_path, sizeof address->sun_path, "%.*s.pil-%llx", folder, path,
                       (unsigned long long)lock.st_ino);
    return (size_t)len < sizeof address->sun_path
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_INVALID, "%s: the name of its folder is too long, by %zu bytes", path,
                          (size_t)len + 1 - sizeof address->sun_path);
}

/* Makes the listening socket under another name, closed to others until its group is set; then gives it its path in one
 * step, so that no client and no other daemon finds a socket there that does not listen. */
static pil_status listen_unix(const struct pil_listener_settings *settings, const char *path, int fd,
                              struct pil_listener_file *file, struct pil_error *error) {
    struct sockaddr_un address;
    struct stat info;
    PIL_TRY(name_for_now(path, file->lock_fd, &address, error));
    unlink(address.sun_path); /* of an earlier holder of the lock, which was killed */
    mode_t before = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound != 0) {
        return pil_fail(error, pil_status_from_errno(errno), "%s: bind: %s", settings->address, strerror(errno));
    }
    pil_status status = set_group(settings, address.sun_path, error);
    if (status == PIL_STATUS_OK &&
        (chmod(address.sun_path, settings->mode) != 0 || lstat(address.sun_path, &info) != 0 ||
         listen(fd, BACKLOG) != 0 || rename(address.sun_path, path) != 0)) {
        status = pil_fail(error, pil_status_from_errno(errno), "%s: set its mode and listen: %s", settings->address,
                          strerror(errno));
    }
    if (status != PIL_STATUS_OK) {
        unlink(address.sun_path);
        return status;
    }
    file->device = info.st_dev;
    file->inode = info.st_ino;
    return PIL_STATUS_OK;
}

static pil_status open_unix(const struct pil_listener_settings *settings, const char *path, int *ret_fd,
                            struct pil_listener_file *ret_file, struct pil_error *ret_error) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1); /* pil_address_parse has checked the length */
    int type = settings->protocol == PIL_PROTOCOL_MAPPED ? SOCK_SEQPACKET : SOCK_STREAM;
    struct pil_listener_file file = {.lock_fd = -1};
    PIL_TRY(take_lock(path, &file.lock_fd, ret_error));
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    pil_status status = fd >= 0 ? check_unix_path(path, &address, type, ret_error)
                                : pil_fail(ret_error, pil_status_from_errno(errno), "%s: socket: %s", settings->address,
                                           strerror(errno));
    if (status == PIL_STATUS_OK) {
        status = listen_unix(settings, path, fd, &file, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        give_lock(path, &file.lock_fd);
        return status;
    }
    *ret_fd = fd;
    *ret_file = file;
    return PIL_STATUS_OK;
}

static bool is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    }
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static pil_status listen_tcp(const struct pil_listener_settings *settings, const struct addrinfo *info,
                             const char *port, int *ret_fd, struct pil_error *ret_error) {
    int on = 1;
    if (!settings->is_public && !is_loopback(info->ai_addr)) {
        return pil_fail(ret_error, PIL_STATUS_DENIED,
                        "%s is not a loopback address; anybody who reaches it could read: use 127.0.0.1, or say "
                        "`public: true` for this listener in the file",
                        settings->address);
    }
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fail(fd, settings->address, "socket", ret_error);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        if (errno != EADDRINUSE) {
            return fail(fd, settings->address, "bind", ret_error);
        }
        char holder[HOLDER_BYTES];
        pil_sys_close(&fd);
        find_tcp_holder((unsigned)strtoul(port, NULL, 10), holder);
        return pil_fail(ret_error, PIL_STATUS_BUSY, "%s is held by %s; stop it or choose another port",
                        settings->address, holder);
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

static pil_status open_tcp(const struct pil_listener_settings *settings, const struct pil_address *address, int *ret_fd,
                           struct pil_error *ret_error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *info = NULL;
    int number = getaddrinfo(address->host, address->port, &hints, &info);
    if (number != 0) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: %s", settings->address, gai_strerror(number));
    }
    pil_status status = listen_tcp(settings, info, address->port, ret_fd, ret_error);
    freeaddrinfo(info);
    return status;
}

pil_status pil_listener_open(const struct pil_listener_settings *settings, int *ret_fd,
                             struct pil_listener_file *ret_file, struct pil_error *ret_error) {
    struct pil_address address;
    *ret_file = (struct pil_listener_file){.lock_fd = -1};
    PIL_TRY(pil_address_parse(settings->address, &address, ret_error));
    return address.kind == PIL_ADDRESS_UNIX ? open_unix(settings, address.path, ret_fd, ret_file, ret_error)
                                            : open_tcp(settings, &address, ret_fd, ret_error);
}

void pil_listener_remove(const struct pil_listener_settings *settings, struct pil_listener_file *file) {
    struct pil_address address;
    struct stat there;
    if (file->lock_fd < 0 || pil_address_parse(settings->address, &address, NULL) != PIL_STATUS_OK) {
        return;
    }
    if (lstat(address.path, &there) == 0 && there.st_dev == file->device && there.st_ino == file->inode) {
        unlink(address.path);
    }
    give_lock(address.path, &file->lock_fd);
}
