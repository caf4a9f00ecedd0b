/* SPDX-License-Identifier: Apache-2.0
 * HTTP/1.0 and 1.1 messages: requests, with a Content-Length or chunked, into spans; response heads into bytes;
 * responses with a Content-Length into spans for our own clients. Pure: no input or output, no allocation. Strict: a
 * message about whose end two readers could disagree is an error, and the connection must be closed. Source: RFC 9110,
 * RFC 9112. */
#pragma once

#include "base/sink.h"
#include "base/status.h"

typedef enum pil_http_method {
    PIL_HTTP_METHOD_GET,
    PIL_HTTP_METHOD_HEAD,
    PIL_HTTP_METHOD_POST,
    PIL_HTTP_METHOD_OTHER, /* a well-formed method that we do not serve */
} pil_http_method;

struct pil_http_limits {
    uint32_t head_bytes_max;
    uint32_t fields_max;
    size_t body_bytes_max;      /* without the framing of chunks */
    uint32_t framing_bytes_max; /* of a chunked body: all extensions and the trailer together; also what framing may
                                   add to body_bytes_max */
};
extern const struct pil_http_limits pil_http_limits_default; /* 32 KiB, 100 fields, 16 MiB, 16 KiB */

/* What comes next in a chunked body. */
typedef enum pil_http_chunk_part {
    PIL_HTTP_CHUNK_NONE, /* the body is not chunked */
    PIL_HTTP_CHUNK_SIZE,
    PIL_HTTP_CHUNK_DATA,
    PIL_HTTP_CHUNK_TRAILER,
} pil_http_chunk_part;

/* Progress in the request at the start of the input; one per connection. Zero-initialised: at its start. Decode resets
 * the cursor when a request is complete. */
struct pil_http_cursor {
    size_t scanned;      /* bytes already searched for the end of the line */
    size_t line_begin;   /* start of the line being scanned, or of the data of a chunk */
    uint32_t line_count; /* complete lines of the head, then of the trailer */
    size_t head_bytes;   /* 0: the end of the head has not arrived */
    size_t body_bytes;   /* chunked: of the chunks so far */
    pil_http_chunk_part part;
    size_t chunk_bytes;   /* of the chunk whose data come next */
    size_t extra_bytes;   /* extensions and trailer lines so far */
    bool expect_continue; /* the client waits for "100 Continue": after AGAIN send it once, then clear this */
};

struct pil_http_request {
    pil_http_method method;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    struct pil_bytes path;   /* starts with one '/' (more leading ones are skipped), or is "*"; still percent-encoded */
    struct pil_bytes query;  /* after '?', still percent-encoded */
    struct pil_bytes fields; /* the checked header lines; see pil_http_field */
    struct pil_bytes encoding; /* the Content-Encoding; empty: none, or "identity" */
    struct pil_bytes body;     /* chunked: still with the framing of its chunks; see pil_http_unchunk */
    bool is_chunked;
    size_t consumed;        /* length of the request in the input */
    int error_status;       /* output for INVALID and TOO_LARGE: 400, 413, 414, 417, 431, 501 or 505 */
    const char *error;      /* likewise: a phrase that says what is wrong */
    bool is_body_too_large; /* likewise: the body has more bytes than limits->body_bytes_max */
};

/* Decodes the request at the start of `input`, which must always start at the same request until one is complete; the
 * memory may move between calls. Spans point into `input`. OK; AGAIN: call again with more input (see
 * cursor->expect_continue); INVALID, TOO_LARGE: answer error_status with "connection: close", then close. Cost: O(1)
 * per byte overall. */
pil_status pil_http_decode(struct pil_http_cursor *cursor, struct pil_bytes input, const struct pil_http_limits *limits,
                           struct pil_http_request *request) PIL_CHECKED;

/* Copies the data of the chunks of a decoded body to `to`, one after the other, and returns them. `to` has room for as
 * many bytes as the chunks have, and may be where they are. The trailer is dropped. */
struct pil_bytes pil_http_unchunk(struct pil_bytes chunks, uint8_t *to);

/* The value of the first field with this name (ASCII case folded), without white space around it. */
bool pil_http_field(struct pil_bytes fields, const char *name, struct pil_bytes *ret_value);
/* The raw value of a query parameter; empty when it has no '='. */
bool pil_http_query(struct pil_bytes query, const char *name, struct pil_bytes *ret_value);

/* ---- Responses, server side. */

struct pil_http_head {
    int status;
    uint8_t minor; /* of the request; 1 when there is none */
    bool keep_alive;
    bool omits_length;        /* no content-length: an answer to HEAD, for which no body is made (RFC 9110 §8.6) */
    const char *content_type; /* NULL: none */
    const char *fields;       /* further complete lines, each with CRLF ("allow: POST\r\n"); NULL: none */
};

enum { PIL_HTTP_LENGTH_CHARS = 10 };
/* Writes a response head. The body comes next; when its length is known, patch it in at the returned place:
 * "content-length: 254       " (digits, then spaces: RFC 9110 §5.5 lets white space follow a value). Until then it says
 * 0. The place is valid as long as the sink's memory stays where it is; NULL: the head has no length. */
uint8_t *pil_http_put_head(struct pil_sink *sink, const struct pil_http_head *head);
void pil_http_patch_length(uint8_t *patch, uint64_t body_bytes);

/* Writes a complete "HTTP/1.1 100 Continue". */
void pil_http_put_continue(struct pil_sink *sink);
/* The reason phrase; "" for codes that we never send. */
const char *pil_http_reason(int status);

/* ---- Responses, client side. */

struct pil_http_response {
    int status;
    bool keep_alive;
    struct pil_bytes fields;
    struct pil_bytes body;
    size_t consumed;
};
/* The response at the start of `input`; it needs a Content-Length, except for 1xx, 204 and 304. OK, AGAIN (the next
 * call starts over), INVALID, TOO_LARGE (exceeds *limits), UNSUPPORTED (chunked, or delimited by the end of the
 * connection). */
pil_status pil_http_decode_response(struct pil_bytes input, const struct pil_http_limits *limits,
                                    struct pil_http_response *ret_response) PIL_CHECKED;
