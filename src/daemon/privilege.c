/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Root gets no capabilities by exec, and nobody raises ambient ones; neither can be undone. */
enum {
    SECURE_BITS =
        SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
};

static pil_status find_user(const char *name, const struct passwd **ret_user, struct pil_error *error) {
    errno = 0;
    *ret_user = getpwnam(name);
    if (*ret_user == NULL) {
        return pil_fail(error, PIL_STATUS_INVALID, "user: there is no user '%s'%s%s", name, errno != 0 ? ": " : "",
                        errno != 0 ? strerror(errno) : "");
    }
    if (geteuid() != 0 && geteuid() != (*ret_user)->pw_uid) {
        return pil_fail(error, PIL_STATUS_DENIED, "user: only root can become '%s'", name);
    }
    return PIL_STATUS_OK;
}

static pil_status become(const struct passwd *user, struct pil_error *error) {
    if (geteuid() == 0 &&
        (initgroups(user->pw_name, user->pw_gid) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
         setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)) {
        return pil_fail(error, pil_status_from_errno(errno), "user: become '%s': %s", user->pw_name, strerror(errno));
    }
    return PIL_STATUS_OK;
}

/* Both need CAP_SETPCAP, which a process that was not started by root lacks: there no_new_privs has the same effect, as
 * no exec gives a capability of the bounding set. So failures are ignored. */
static void empty_bounding_set(void) {
    prctl(PR_SET_SECUREBITS, SECURE_BITS, 0, 0, 0);
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
}

pil_status pil_privilege_drop(const char *name, struct pil_error *ret_error) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    struct rlimit no_core = {0};
    const struct passwd *user = NULL;
    if (name[0] != '\0') {
        PIL_TRY(find_user(name, &user, ret_error));
    }
    empty_bounding_set(); /* before `become`, which takes CAP_SETPCAP away */
    if (user != NULL) {
        PIL_TRY(become(user, ret_error));
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "give up privileges: %s", strerror(errno));
    }
    setrlimit(RLIMIT_CORE, &no_core); /* feature values must not get into core files */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return PIL_STATUS_OK;
}
