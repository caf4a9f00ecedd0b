/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static pil_status become(const char *name, struct pil_error *ret_error) {
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "user: there is no user '%s'", name);
    }
    if (geteuid() != 0) {
        return geteuid() == user->pw_uid
                   ? PIL_STATUS_OK
                   : pil_fail(ret_error, PIL_STATUS_DENIED, "user: only root can become '%s'", name);
    }
    if (initgroups(name, user->pw_gid) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "user: become '%s': %s", name, strerror(errno));
    }
    return PIL_STATUS_OK;
}

pil_status pil_privilege_drop(const char *user, struct pil_error *ret_error) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    struct rlimit no_core = {0};
    if (user[0] != '\0') {
        PIL_TRY(become(user, ret_error));
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1; capability++) {
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* fails without CAP_SETPCAP, but no_new_privs is set below */
    }
    if (syscall(SYS_capset, &header, none) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "give up privileges: %s", strerror(errno));
    }
    setrlimit(RLIMIT_CORE, &no_core); /* feature values must not get into core files */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return PIL_STATUS_OK;
}
