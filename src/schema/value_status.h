/* SPDX-License-Identifier: Apache-2.0
 * The status of one value in an answer. The numbers are those of Feast's FieldStatus, plus DENIED; they are sent as
 * bytes (schemas/wire.md) and returned to callers of libpillion (PILLION_PRESENT …). */
#pragma once

typedef enum __attribute__((packed)) pil_value_status {
    PIL_VALUE_PRESENT = 1,
    PIL_VALUE_NULL_VALUE = 2,
    PIL_VALUE_NOT_FOUND = 3,       /* there is no row with this key, or the listener hides it because it is too old */
    PIL_VALUE_OUTSIDE_MAX_AGE = 4, /* older than the view's ttl or the request's max_age; the value is there */
    PIL_VALUE_DENIED = 5,          /* the peer may not read the view */
    PIL_VALUE_STATUS_COUNT
} pil_value_status;
