/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/preflight.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

static pil_status try_memfd(struct pil_error *error) {
    struct pil_error why;
    int fd = -1;
    pil_status status = pil_sys_memfd_create("preflight", &fd, &why);
    if (status == PIL_STATUS_OK) {
        status = pil_sys_write_all(fd, pil_bytes_from_text("x"), &why);
    }
    if (status == PIL_STATUS_OK) {
        status = pil_sys_memfd_seal(fd, &why);
    }
    pil_sys_close(&fd);
    return status == PIL_STATUS_OK
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_UNSUPPORTED,
                          "%s; releases are held in sealed memory: allow memfd_create and fcntl(F_ADD_SEALS), and give "
                          "the cgroup memory",
                          why.text);
}

static pil_status try_random(struct pil_error *error) {
    uint8_t byte;
    return getrandom(&byte, sizeof byte, GRND_NONBLOCK) == sizeof byte || errno == EAGAIN
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_UNSUPPORTED, "getrandom: %s; allow this system call", strerror(errno));
}

static pil_status try_proc(struct pil_error *error) {
    return access("/proc/self/exe", X_OK) == 0
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_UNSUPPORTED,
                          "/proc/self/exe: %s; the server and the fetcher are started from it: mount /proc",
                          strerror(errno));
}

pil_status pil_preflight(struct pil_error *ret_error) {
    PIL_TRY(try_proc(ret_error));
    PIL_TRY(try_memfd(ret_error));
    return try_random(ret_error);
}

static bool ask_for_cgroups(const struct pil_settings *settings) {
    uint32_t facts = 0;
    for (uint32_t i = 0; i < settings->view_count; i++) {
        facts |= pil_peer_rule_facts(&settings->views[i].read) | pil_peer_rule_facts(&settings->views[i].map);
    }
    return (facts & PIL_PEER_CGROUP) != 0;
}

const char *pil_preflight_lacks(const struct pil_settings *settings) {
    if (!ask_for_cgroups(settings) || access("/proc/1/cgroup", R_OK) == 0) {
        return "";
    }
    return "/proc hides other processes (hidepid): rules that name cgroups admit nobody; mount it without, or with "
           "gid= of this user's group";
}
