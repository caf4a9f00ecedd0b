/* SPDX-License-Identifier: Apache-2.0 */
#include "client/result.h"
#include "base/panic.h"

#include <stdarg.h>
#include <stdio.h>

const char *pillion_version(void) {
    return PIL_VERSION;
}

const char *pillion_result_text(pillion_result result) {
    static const char *const texts[] = {
        [PILLION_OK] = "ok",
        [PILLION_INVALID] = "invalid call",
        [PILLION_NOT_FOUND] = "not found",
        [PILLION_DENIED] = "permission denied",
        [PILLION_UNSUPPORTED] = "unsupported type or version",
        [PILLION_TOO_LARGE] = "over a limit",
        [PILLION_NOT_READY] = "not ready yet",
        [PILLION_UNAVAILABLE] = "unavailable",
        [PILLION_CORRUPT] = "corrupt data",
        [PILLION_SYSTEM] = "system call failed",
        [PILLION_NO_MEMORY] = "no memory",
    };
    return (size_t)result < sizeof texts / sizeof texts[0] ? texts[result] : "?";
}

pillion_result pil_result_from_status(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PILLION_OK;
    case PIL_STATUS_INVALID: return PILLION_INVALID;
    case PIL_STATUS_NOT_FOUND: return PILLION_NOT_FOUND;
    case PIL_STATUS_DENIED: return PILLION_DENIED;
    case PIL_STATUS_UNSUPPORTED: return PILLION_UNSUPPORTED;
    case PIL_STATUS_TOO_LARGE: return PILLION_TOO_LARGE;
    case PIL_STATUS_NO_MEMORY: return PILLION_NO_MEMORY;
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_BUSY: return PILLION_NOT_READY;
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO: return PILLION_UNAVAILABLE;
    case PIL_STATUS_CORRUPT: return PILLION_CORRUPT;
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: break;
    }
    return PILLION_SYSTEM;
}

pillion_result pil_result_fail(struct pillion_error *error, pillion_result result, const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return result;
}

pillion_result pil_result_fail_status(struct pillion_error *error, pil_status status, const struct pil_error *why) {
    PIL_ASSERT(status != PIL_STATUS_OK);
    return pil_result_fail(error, pil_result_from_status(status), "%s", why->text);
}

void pil_result_copy_sentence(struct pil_bytes sentence, pil_status status, char *ret_text, size_t bytes) {
    size_t len = sentence.len < bytes ? sentence.len : bytes - 1;
    PIL_ASSERT(bytes > 0);
    for (size_t i = 0; i < len; i++) {
        bool is_control = sentence.data[i] < ' ' || sentence.data[i] == 127;
        ret_text[i] = is_control ? '?' : (char)sentence.data[i];
    }
    ret_text[len] = '\0';
    if (len == 0) {
        snprintf(ret_text, bytes, "the server refuses without a sentence: %s", pil_status_text(status));
    }
}
