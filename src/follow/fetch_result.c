/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/fetch_result.h"

#include "base/panic.h"

const char *pil_fetch_result_text(pil_fetch_result result) {
    static const char *const texts[] = {"ok", "corrupt", "will_not_fit", "not_found", "shortage", "error"};
    return texts[result];
}

pil_fetch_result pil_fetch_result_of(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PIL_FETCH_OK;
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_UNSUPPORTED:
    case PIL_STATUS_INVALID: return PIL_FETCH_CORRUPT;
    case PIL_STATUS_TOO_LARGE: return PIL_FETCH_WILL_NOT_FIT;
    case PIL_STATUS_NOT_FOUND: return PIL_FETCH_NOT_FOUND;
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE: return PIL_FETCH_SHORTAGE;
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_DENIED:
    case PIL_STATUS_BUSY:
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: return PIL_FETCH_ERROR;
    }
    PIL_UNREACHABLE("status");
}
