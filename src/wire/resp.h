/* SPDX-License-Identifier: Apache-2.0
 * RESP2 and RESP3, the protocol of Redis: requests into arguments (server), replies into bytes (server), replies into
 * values (clients). Pure: no input or output, no allocation. Stricter than Redis in one point: CR and LF are checked.
 * Source: redis.io/docs/reference/protocol-spec; texts of errors as in Redis 7.0's networking.c. */
#pragma once

#include "base/sink.h"
#include "base/status.h"

/* ---- Requests: arrays of bulk strings, or inline commands. */

/* Limits on all sizes that a peer can choose. */
struct pil_resp_limits {
    uint32_t args_max;
    uint32_t bulk_bytes_max;
    uint32_t inline_bytes_max; /* also the room that quoted inline arguments need in `scratch` */
    size_t request_bytes_max;  /* one request as sent */
};
extern const struct pil_resp_limits pil_resp_limits_default;

/* What of a request is over a limit. */
typedef enum pil_resp_excess { PIL_RESP_EXCESS_NONE, PIL_RESP_EXCESS_ARGS, PIL_RESP_EXCESS_BYTES } pil_resp_excess;

/* Progress in the request at the start of the input; one per connection. Zero-initialised: at its start. Decode resets
 * the cursor when a request is complete. */
struct pil_resp_cursor {
    size_t at;           /* bytes of the request that are decoded */
    uint32_t args_total; /* of the array header; 0: not read yet */
    uint32_t args_done;
    int64_t bulk_bytes; /* length of the bulk string that starts at `at`; valid if bulk_known */
    bool bulk_known;
    pil_resp_excess excess; /* the request is refused, and its rest is to be skipped */
};

enum { PIL_RESP_ERROR_BYTES = 64 };
struct pil_resp_request {
    struct pil_bytes *args;           /* in: room for limits.args_max */
    uint8_t *scratch;                 /* in: room for limits.inline_bytes_max; holds quoted inline arguments */
    uint32_t arg_count;               /* out: 0 for an empty request, to be skipped without a reply */
    size_t consumed;                  /* out: length of the request in the input */
    char error[PIL_RESP_ERROR_BYTES]; /* out, INVALID and TOO_LARGE: "Protocol error: …", the text after "-ERR " */
};

/* Decodes the request at the start of `input`, which must always start at the same request until one is complete; the
 * memory may move between calls. The arguments point into `input` or `scratch` and are valid as long as that memory.
 * OK: arg_count and consumed are set. AGAIN: call again with more input; each byte is examined O(1) times overall.
 * TOO_LARGE: the request is over a limit. cursor->excess says over which: call pil_resp_skip, then send an error. When
 * it is NONE, or for INVALID: send request->error and close; the input after it cannot be framed. */
pil_status pil_resp_decode(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits,
                           struct pil_resp_request *request) PIL_CHECKED;
/* Skips the rest of a request for which cursor->excess is set; `input` begins where the last call of decode or skip
 * began, less the bytes done since. OK: the request ends after *ret_done bytes, and the cursor is reset. AGAIN:
 * *ret_done bytes, perhaps none, are done and need not be kept; call again with more. INVALID: as for decode. */
pil_status pil_resp_skip(struct pil_resp_cursor *cursor, struct pil_bytes input, struct pil_resp_request *request,
                         size_t *ret_done) PIL_CHECKED;

/* ---- Replies, server side. */

typedef enum pil_resp_protocol { PIL_RESP_2 = 2, PIL_RESP_3 = 3 } pil_resp_protocol;

void pil_resp_put_simple(struct pil_sink *sink, const char *text);
/* `text` starts with its code ("ERR unknown command"); CR and LF in it become spaces. */
void pil_resp_put_error(struct pil_sink *sink, const char *text);
void pil_resp_put_integer(struct pil_sink *sink, int64_t value);
void pil_resp_put_bulk(struct pil_sink *sink, struct pil_bytes bytes);
/* The beginning of a bulk string; `len` bytes and CRLF follow. */
void pil_resp_put_bulk_head(struct pil_sink *sink, uint64_t len);
void pil_resp_put_bulk_text(struct pil_sink *sink, const char *text);
/* "$-1" or "_". */
void pil_resp_put_null(struct pil_sink *sink, pil_resp_protocol protocol);
/* The array that is none: "*-1" or "_". */
void pil_resp_put_null_array(struct pil_sink *sink, pil_resp_protocol protocol);
/* `count` values follow. */
void pil_resp_put_array(struct pil_sink *sink, uint64_t count);
/* `pairs` pairs of values follow; in RESP2 an array of twice as many values. */
void pil_resp_put_map(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t pairs);
/* `count` values follow; in RESP2 an array. */
void pil_resp_put_set(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t count);
/* `count` values follow, which are no answer to a request. RESP3 only. */
void pil_resp_put_push(struct pil_sink *sink, uint64_t count);
/* Human-readable text ("txt"); in RESP2 a bulk string. */
void pil_resp_put_verbatim(struct pil_sink *sink, pil_resp_protocol protocol, struct pil_bytes text);

/* ---- Replies, client side. */

typedef enum pil_resp_kind {
    PIL_RESP_KIND_SIMPLE,
    PIL_RESP_KIND_ERROR,
    PIL_RESP_KIND_INTEGER,
    PIL_RESP_KIND_BULK, /* also verbatim strings, without their "txt:" */
    PIL_RESP_KIND_NULL,
    PIL_RESP_KIND_BOOLEAN,
    PIL_RESP_KIND_DOUBLE, /* `text` is the number as sent; also big numbers */
    PIL_RESP_KIND_ARRAY,  /* `integer` values follow; also pushes */
    PIL_RESP_KIND_SET,
    PIL_RESP_KIND_MAP, /* `integer` values follow: twice the number of pairs */
} pil_resp_kind;

struct pil_resp_value {
    pil_resp_kind kind;
    int64_t integer;       /* INTEGER; BOOLEAN 0 or 1; number of values that follow an aggregate */
    struct pil_bytes text; /* SIMPLE, ERROR, BULK, DOUBLE; unspecified for other kinds; points into the input */
};

/* Takes one value off the front of *input; of an aggregate only the header, the next calls return its values. AGAIN:
 * incomplete, *input is unchanged. INVALID: not RESP. */
pil_status pil_resp_value_next(struct pil_bytes *input, struct pil_resp_value *ret_value) PIL_CHECKED;

/* Finds the end of the reply at the start of an input. Zero-initialised: at its start. */
struct pil_resp_reply_cursor {
    size_t at;
    uint64_t values_open; /* values outstanding, the reply itself included; 0: not begun */
};
/* OK: *ret_len is the length of the whole reply and the cursor is reset. AGAIN: call again with more input; complete
 * values are not read again. */
pil_status pil_resp_reply_length(struct pil_resp_reply_cursor *cursor, struct pil_bytes input,
                                 size_t *ret_len) PIL_CHECKED;

/* A request as clients send it: "*2\r\n$3\r\nGET\r\n…". */
void pil_resp_put_request(struct pil_sink *sink, const struct pil_bytes *args, uint32_t arg_count);
