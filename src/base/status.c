/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *pil_status_text(pil_status status) {
    static const char *const texts[] = {
#define X(name, text) text,
        PIL_STATUS_TABLE(X)
#undef X
    };
    return status < PIL_STATUS_COUNT ? texts[status] : "unknown status";
}

pil_status pil_status_from_errno(int error_number) {
    switch (error_number) {
    case 0: return PIL_STATUS_OK;
    case ENOENT:
    case ENOTDIR: return PIL_STATUS_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY: return PIL_STATUS_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return PIL_STATUS_DENIED;
    case ENOMEM: return PIL_STATUS_NO_MEMORY;
    case ENOSPC:
    case EDQUOT: return PIL_STATUS_NO_SPACE;
    case EADDRINUSE:
    case EBUSY: return PIL_STATUS_BUSY;
    case EAGAIN:
    case EINTR: return PIL_STATUS_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED: return PIL_STATUS_CLOSED;
    case ETIMEDOUT: return PIL_STATUS_TIMEOUT;
    case EIO: return PIL_STATUS_IO;
    case EFBIG:
    case ENAMETOOLONG:
    case E2BIG:
    case EMSGSIZE: return PIL_STATUS_TOO_LARGE;
    default: return PIL_STATUS_SYSTEM;
    }
}

bool pil_status_may_pass(pil_status status) {
    switch (status) {
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_BUSY:
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM: return true;
    case PIL_STATUS_OK:
    case PIL_STATUS_INVALID:
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_UNSUPPORTED:
    case PIL_STATUS_NOT_FOUND:
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_DENIED:
    case PIL_STATUS_TOO_LARGE:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_COUNT: break;
    }
    return false;
}

pil_status pil_fail(struct pil_error *error, pil_status status, const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status;
}

pil_status pil_fail_in(struct pil_error *error, pil_status status, const char *format, ...) {
    if (error == NULL) {
        return status;
    }
    char inner[PIL_ERROR_TEXT_BYTES];
    memcpy(inner, error->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof error->text) {
        snprintf(error->text + used, sizeof error->text - (size_t)used, ": %.*s",
                 (int)(sizeof inner - (size_t)used - 3 > sizeof inner ? 0 : sizeof inner - (size_t)used - 3), inner);
    }
    return status;
}
