/* SPDX-License-Identifier: Apache-2.0
 * The result of a fetch, by the names that metrics and reports use. */
#pragma once

#include "base/status.h"

typedef enum pil_fetch_result {
    PIL_FETCH_OK,
    PIL_FETCH_CORRUPT,
    PIL_FETCH_WILL_NOT_FIT, /* into the memory budget */
    PIL_FETCH_NOT_FOUND,    /* no such channel, or it points to a release that is not there */
    PIL_FETCH_SHORTAGE,     /* of memory, descriptors or space at that moment: this says nothing about the release */
    PIL_FETCH_ERROR,        /* of the store or the machine */
} pil_fetch_result;

const char *pil_fetch_result_text(pil_fetch_result result);
pil_fetch_result pil_fetch_result_of(pil_status status);
