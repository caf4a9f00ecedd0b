/* SPDX-License-Identifier: Apache-2.0
 * The one result type of every function that can fail. Each code calls for a different action of the caller.
 * A miss is not a failure: lookups return an enum of their own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*    name            text                                  what the caller does */
/* clang-format off */
#define PIL_STATUS_TABLE(X) \
    X(OK,             "ok")                              /* go on */ \
    X(INVALID,        "invalid input")                   /* tell the user what to fix */ \
    X(CORRUPT,        "corrupt data")                    /* discard it, fetch it again */ \
    X(UNSUPPORTED,    "unsupported version or feature")  /* upgrade, or choose another */ \
    X(NOT_FOUND,      "not found")                       /* go on without it */ \
    X(EXISTS,         "exists already")                  /* somebody else was first; often fine */ \
    X(CONFLICT,       "changed meanwhile")               /* re-read and try again */ \
    X(DENIED,         "permission denied")               /* give up, say which permission is missing */ \
    X(TOO_LARGE,      "over a limit")                    /* refuse, name the limit */ \
    X(NO_MEMORY,      "no memory")                       /* shed load, keep what is held */ \
    X(NO_SPACE,       "no space left on device")         /* clean up, tell the user */ \
    X(BUSY,           "in use")                          /* wait or choose another */ \
    X(AGAIN,          "not yet")                         /* call again when there is more input */ \
    X(CLOSED,         "closed by the peer")              /* drop the connection */ \
    X(TIMEOUT,        "timed out")                       /* retry with back-off */ \
    X(IO,             "input/output error")              /* retry, then report */ \
    X(SYSTEM,         "system call failed")              /* report */
/* clang-format on */

/* clang-format off */
typedef enum pil_status {
#define X(name, text) PIL_STATUS_##name,
    PIL_STATUS_TABLE(X)
#undef X
    PIL_STATUS_COUNT
} pil_status;
/* clang-format on */

#define PIL_CHECKED __attribute__((warn_unused_result))

/* Detail for people, control plane only. `text` is a whole sentence without a final full stop. */
enum { PIL_ERROR_TEXT_BYTES = 1024 };
struct pil_error {
    char text[PIL_ERROR_TEXT_BYTES];
};

/* The static text of a code. */
const char *pil_status_text(pil_status status);

/* Turns errno into a code. No other function translates the kernel's error numbers. */
pil_status pil_status_from_errno(int error_number);

/* Whether the same operation may succeed later: it failed because the machine was short of something at that moment,
 * which says nothing about the data. */
bool pil_status_may_pass(pil_status status);

/* Formats into *error (may be NULL) and returns `status`, so that a caller fails in one line:
 *     return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: no such view", name); */
pil_status pil_fail(struct pil_error *error, pil_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold)) PIL_CHECKED;

/* Prepends the formatted text and ": " to the text in *error (may be NULL); returns `status`. */
pil_status pil_fail_in(struct pil_error *error, pil_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold)) PIL_CHECKED;

/* Discards a status for a stated reason. */
static inline void pil_ignore(pil_status status, const char *why) {
    (void)status;
    (void)why;
}

/* The one macro that may return from the function that uses it. */
#define PIL_TRY(expression) \
    do { \
        pil_status pil_try_status_ = (expression); \
        if (pil_try_status_ != PIL_STATUS_OK) { \
            return pil_try_status_; \
        } \
    } while (0)
