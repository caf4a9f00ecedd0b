/* SPDX-License-Identifier: Apache-2.0
 * Requests and responses of HTTP/1.x. The end of a head is searched for line by line as bytes arrive; then the head is
 * parsed as a whole. */
#include "wire/http.h"
#include "base/panic.h"
#include "base/character.h"

const struct pil_http_limits pil_http_limits_default = {
    .head_bytes_max = 32 << 10,
    .fields_max = 100,
    .body_bytes_max = 16 << 20,
    .framing_bytes_max = 16 << 10,
};

enum { CHUNK_LINE_BYTES_MAX = 256 }; /* a size and its extensions */

/* What is wrong with a message, and the HTTP status to answer. */
struct refusal {
    int status;
    const char *text;
    bool is_body; /* it has more than body_bytes_max */
};

static pil_status refuse(struct refusal *refusal, int status, const char *text) {
    *refusal = (struct refusal){.status = status, .text = text};
    return status == 413 || status == 414 || status == 431 ? PIL_STATUS_TOO_LARGE : PIL_STATUS_INVALID;
}

static pil_status refuse_body(struct refusal *refusal) {
    pil_status status = refuse(refusal, 413, "the body is too large");
    refusal->is_body = true;
    return status;
}

/* ---- Characters (RFC 9110 §5.6.2, §5.5). */

static bool is_token_char(uint8_t byte) {
    return pil_character_is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_token(struct pil_bytes text) {
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char(text.data[i])) {
            return false;
        }
    }
    return text.len > 0;
}

/* Whether a field value or an extension holds no control characters. */
static bool is_text(struct pil_bytes text) {
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] < 0x20 && text.data[i] != '\t') || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static struct pil_bytes cut(struct pil_bytes text, size_t begin, size_t end) {
    return pil_bytes_from(text.data + begin, end - begin);
}

static struct pil_bytes trim(struct pil_bytes text) {
    size_t begin = 0, end = text.len;
    while (begin < end && (text.data[begin] == ' ' || text.data[begin] == '\t')) {
        begin++;
    }
    while (end > begin && (text.data[end - 1] == ' ' || text.data[end - 1] == '\t')) {
        end--;
    }
    return cut(text, begin, end);
}

static size_t at_most(size_t value, size_t max) {
    return value < max ? value : max;
}

/* Index of the first `byte`, or the length. */
static size_t find(struct pil_bytes text, uint8_t byte) {
    const uint8_t *found = text.len > 0 ? memchr(text.data, byte, text.len) : NULL;
    return found != NULL ? (size_t)(found - text.data) : text.len;
}

/* Takes the part before the first `byte` off the front of *text, and the byte itself. */
static struct pil_bytes take_until(struct pil_bytes *text, uint8_t byte) {
    size_t at = find(*text, byte);
    struct pil_bytes part = cut(*text, 0, at);
    *text = cut(*text, at < text->len ? at + 1 : at, text->len);
    return part;
}

/* The next line of a head whose line ends are known to be CRLF, without its line end. */
static struct pil_bytes take_line(struct pil_bytes *text) {
    struct pil_bytes line = take_until(text, '\n');
    return cut(line, 0, line.len > 0 ? line.len - 1 : 0);
}

/* ---- Lines. */

/* Takes the line at cursor->line_begin, without its CRLF. AGAIN: its end is not in the window, which begins where the
 * input does. Examines each byte once. */
static pil_status next_line(struct pil_http_cursor *cursor, struct pil_bytes window, struct pil_bytes *ret_line,
                            struct refusal *refusal) {
    const uint8_t *newline = memchr(window.data + cursor->scanned, '\n', window.len - cursor->scanned);
    if (newline == NULL) {
        cursor->scanned = window.len;
        return PIL_STATUS_AGAIN;
    }
    size_t at = (size_t)(newline - window.data);
    if (at == cursor->line_begin || newline[-1] != '\r') {
        return refuse(refusal, 400, "a line ends without CR");
    }
    *ret_line = cut(window, cursor->line_begin, at - 1);
    cursor->scanned = cursor->line_begin = at + 1;
    return PIL_STATUS_OK;
}

/* OK: cursor->head_bytes is set. */
static pil_status scan_head(struct pil_http_cursor *cursor, struct pil_bytes input,
                            const struct pil_http_limits *limits, struct refusal *refusal) {
    struct pil_bytes line, window = cut(input, 0, at_most(input.len, limits->head_bytes_max));
    if (!is_token_char(input.data[0]) && input.data[0] != '\r') {
        return refuse(refusal, 400, "this is not HTTP");
    }
    for (;;) {
        pil_status status = next_line(cursor, window, &line, refusal);
        if (status == PIL_STATUS_AGAIN && window.len == limits->head_bytes_max) {
            return cursor->line_count == 0 ? refuse(refusal, 414, "the request line is too long")
                                           : refuse(refusal, 431, "the header fields are too long");
        }
        PIL_TRY(status);
        if (line.len == 0 && cursor->line_count > 0) {
            cursor->head_bytes = cursor->line_begin;
            return PIL_STATUS_OK;
        }
        cursor->line_count += line.len > 0; /* empty lines before the request line are skipped: RFC 9112 §2.2 */
        if (cursor->line_count > limits->fields_max + 1) {
            return refuse(refusal, 431, "there are too many header fields");
        }
    }
}

/* The head from its first line to the empty line at its end, both included. */
static struct pil_bytes head_of(struct pil_bytes input, size_t head_bytes) {
    size_t begin = 0;
    while (input.data[begin] == '\r' && input.data[begin + 1] == '\n') {
        begin += 2;
    }
    return cut(input, begin, head_bytes);
}

/* ---- Fields. */

/* What the header fields say about framing and the connection. */
struct facts {
    size_t body_bytes;
    struct pil_bytes encoding; /* as in struct pil_http_request */
    uint32_t host_count;
    bool has_length;
    bool has_encoding;     /* Transfer-Encoding */
    bool is_chunked;       /* "chunked" is the only encoding */
    bool ends_with_chunks; /* "chunked" is the last one */
    bool says_close;
    bool says_keep_alive;
    bool expects_continue;
};

static pil_status read_length(struct facts *facts, struct pil_bytes value, struct refusal *refusal) {
    if (facts->has_length) {
        return refuse(refusal, 400, "Content-Length is there twice");
    }
    size_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!pil_character_is_digit(value.data[i])) {
            return refuse(refusal, 400, "Content-Length is not a number");
        }
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, value.data[i] - '0', &length)) {
            return refuse_body(refusal);
        }
    }
    if (value.len == 0) {
        return refuse(refusal, 400, "Content-Length is empty");
    }
    facts->has_length = true;
    facts->body_bytes = length;
    return PIL_STATUS_OK;
}

static void read_transfer_encoding(struct facts *facts, struct pil_bytes value) {
    struct pil_bytes last = value;
    for (size_t comma = find(last, ','); comma < last.len; comma = find(last, ',')) {
        last = cut(last, comma + 1, last.len);
    }
    facts->is_chunked = !facts->has_encoding && pil_bytes_equal_nocase(value, "chunked");
    facts->ends_with_chunks = pil_bytes_equal_nocase(trim(last), "chunked");
    facts->has_encoding = true;
}

static void read_connection(struct facts *facts, struct pil_bytes value) {
    while (value.len > 0) {
        struct pil_bytes option = trim(take_until(&value, ','));
        facts->says_close |= pil_bytes_equal_nocase(option, "close");
        facts->says_keep_alive |= pil_bytes_equal_nocase(option, "keep-alive");
    }
}

/* A character of a host name or address (RFC 3986 §3.2.2), except the comma, which appears when two Host lines are
 * joined. */
static bool is_host_char(uint8_t byte, bool is_address) {
    return pil_character_is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte == ':' && is_address) || (byte != '\0' && strchr("-._~%!$&'()*+;=", byte) != NULL);
}

/* A host with an optional port; no user information, which recipients should treat as an error (RFC 9110 §4.2.4). */
static bool is_authority(struct pil_bytes text) {
    bool is_address = text.len > 0 && text.data[0] == '[';
    size_t begin = is_address ? 1 : 0, end = find(text, is_address ? ']' : ':');
    if (is_address && end == text.len) {
        return false;
    }
    for (size_t i = begin; i < end; i++) {
        if (!is_host_char(text.data[i], is_address)) {
            return false;
        }
    }
    size_t port = end + is_address;
    if (port < text.len && text.data[port] != ':') {
        return false;
    }
    for (size_t i = port + 1; i < text.len; i++) {
        if (!pil_character_is_digit(text.data[i])) {
            return false;
        }
    }
    return true;
}

/* A client without an authority must send an empty Host (RFC 9112 §3.2); it stands for this server's default, its only
 * site (§3.3). */
static pil_status read_host(struct facts *facts, struct pil_bytes value, struct refusal *refusal) {
    facts->host_count++;
    return is_authority(value) ? PIL_STATUS_OK : refuse(refusal, 400, "Host is not a host");
}

static pil_status read_field(struct facts *facts, struct pil_bytes name, struct pil_bytes value,
                             struct refusal *refusal) {
    if (pil_bytes_equal_nocase(name, "content-length")) {
        return read_length(facts, value, refusal);
    }
    if (pil_bytes_equal_nocase(name, "transfer-encoding")) {
        read_transfer_encoding(facts, value);
    } else if (pil_bytes_equal_nocase(name, "content-encoding")) {
        facts->encoding = value.len > 0 && !pil_bytes_equal_nocase(value, "identity") ? value : facts->encoding;
    } else if (pil_bytes_equal_nocase(name, "connection")) {
        read_connection(facts, value);
    } else if (pil_bytes_equal_nocase(name, "host")) {
        return read_host(facts, value, refusal);
    } else if (pil_bytes_equal_nocase(name, "expect")) {
        if (!pil_bytes_equal_nocase(value, "100-continue")) {
            return refuse(refusal, 417, "Expect is not 100-continue");
        }
        facts->expects_continue = true;
    }
    return PIL_STATUS_OK;
}

/* Splits a line of the head or of the trailer. */
static pil_status split_field(struct pil_bytes line, struct pil_bytes *ret_name, struct pil_bytes *ret_value,
                              struct refusal *refusal) {
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return refuse(refusal, 400, "a header field is folded");
    }
    bool has_colon = find(line, ':') < line.len;
    struct pil_bytes name = take_until(&line, ':');
    if (!has_colon || !is_token(name)) {
        return refuse(refusal, 400, "a header field has no valid name");
    }
    struct pil_bytes value = trim(line);
    if (!is_text(value)) {
        return refuse(refusal, 400, "a header field holds a control character");
    }
    *ret_name = name;
    *ret_value = value;
    return PIL_STATUS_OK;
}

static pil_status read_fields(struct pil_bytes fields, struct facts *facts, struct refusal *refusal) {
    while (fields.len > 0) {
        struct pil_bytes name, value;
        PIL_TRY(split_field(take_line(&fields), &name, &value, refusal));
        PIL_TRY(read_field(facts, name, value, refusal));
    }
    return PIL_STATUS_OK;
}

/* ---- Chunks (RFC 9112 §7.1). */

/* The size in a chunk's first line, and the length of the extensions behind it, which are not used. */
static pil_status read_chunk_size(struct pil_bytes line, size_t *ret_bytes, size_t *ret_extra_bytes,
                                  struct refusal *refusal) {
    size_t bytes = 0, at = 0;
    for (; at < line.len && pil_character_hex_digit(line.data[at]) >= 0; at++) {
        if (bytes > SIZE_MAX >> 4) {
            return refuse_body(refusal);
        }
        bytes = bytes << 4 | (size_t)pil_character_hex_digit(line.data[at]);
    }
    if (at == 0 || (at < line.len && line.data[at] != ';')) {
        return refuse(refusal, 400, "the size of a chunk is not a hexadecimal number");
    }
    if (!is_text(cut(line, at, line.len))) {
        return refuse(refusal, 400, "a chunk extension holds a control character");
    }
    *ret_bytes = bytes;
    *ret_extra_bytes = line.len - at;
    return PIL_STATUS_OK;
}

/* The longest input that a chunked request with this head may have. */
static size_t chunked_bytes_max(const struct pil_http_cursor *cursor, const struct pil_http_limits *limits) {
    return cursor->head_bytes + limits->body_bytes_max + limits->framing_bytes_max;
}

static pil_status scan_chunk_size(struct pil_http_cursor *cursor, struct pil_bytes input,
                                  const struct pil_http_limits *limits, struct refusal *refusal) {
    size_t line_end_max = cursor->line_begin + CHUNK_LINE_BYTES_MAX + 2;
    struct pil_bytes line;
    pil_status status = next_line(cursor, cut(input, 0, at_most(input.len, line_end_max)), &line, refusal);
    if (status == PIL_STATUS_AGAIN && input.len >= line_end_max) {
        return refuse(refusal, 400, "the line with the size of a chunk is too long");
    }
    PIL_TRY(status);
    size_t extra_bytes = 0;
    PIL_TRY(read_chunk_size(line, &cursor->chunk_bytes, &extra_bytes, refusal));
    cursor->extra_bytes += extra_bytes;
    if (cursor->extra_bytes > limits->framing_bytes_max) {
        return refuse(refusal, 413, "the chunk extensions are too long");
    }
    if (cursor->chunk_bytes > limits->body_bytes_max - cursor->body_bytes) {
        return refuse_body(refusal);
    }
    if (cursor->line_begin + cursor->chunk_bytes + 2 > chunked_bytes_max(cursor, limits)) {
        return refuse(refusal, 413, "the chunks of the body are too small: their framing is too large");
    }
    cursor->body_bytes += cursor->chunk_bytes;
    cursor->part = cursor->chunk_bytes > 0 ? PIL_HTTP_CHUNK_DATA : PIL_HTTP_CHUNK_TRAILER;
    cursor->line_count = 0;
    return PIL_STATUS_OK;
}

static pil_status scan_chunk_data(struct pil_http_cursor *cursor, struct pil_bytes input, struct refusal *refusal) {
    size_t end = cursor->line_begin + cursor->chunk_bytes;
    if (input.len < end + 2) {
        return PIL_STATUS_AGAIN;
    }
    if (input.data[end] != '\r' || input.data[end + 1] != '\n') {
        return refuse(refusal, 400, "a chunk is longer than its size says");
    }
    cursor->scanned = cursor->line_begin = end + 2;
    cursor->part = PIL_HTTP_CHUNK_SIZE;
    return PIL_STATUS_OK;
}

/* Checks the fields after the last chunk. They are not used: no field that this server reads may be there. */
static pil_status scan_trailer(struct pil_http_cursor *cursor, struct pil_bytes input,
                               const struct pil_http_limits *limits, struct refusal *refusal) {
    size_t end_max = at_most(cursor->line_begin + limits->framing_bytes_max - cursor->extra_bytes,
                             chunked_bytes_max(cursor, limits));
    struct pil_bytes window = cut(input, 0, at_most(input.len, end_max));
    for (;;) {
        struct pil_bytes line, name, value;
        pil_status status = next_line(cursor, window, &line, refusal);
        if (status == PIL_STATUS_AGAIN && window.len == end_max) {
            return refuse(refusal, 431, "the trailer fields are too long");
        }
        PIL_TRY(status);
        if (line.len == 0) {
            return PIL_STATUS_OK;
        }
        cursor->extra_bytes += line.len + 2;
        PIL_TRY(split_field(line, &name, &value, refusal));
        if (++cursor->line_count > limits->fields_max) {
            return refuse(refusal, 431, "there are too many trailer fields");
        }
    }
}

/* OK: the body ends at cursor->line_begin. */
static pil_status scan_chunks(struct pil_http_cursor *cursor, struct pil_bytes input,
                              const struct pil_http_limits *limits, struct refusal *refusal) {
    while (cursor->part != PIL_HTTP_CHUNK_TRAILER) {
        PIL_TRY(cursor->part == PIL_HTTP_CHUNK_DATA ? scan_chunk_data(cursor, input, refusal)
                                                    : scan_chunk_size(cursor, input, limits, refusal));
    }
    return scan_trailer(cursor, input, limits, refusal);
}

struct pil_bytes pil_http_unchunk(struct pil_bytes chunks, uint8_t *to) {
    uint8_t *at = to;
    for (;;) {
        struct refusal refusal;
        size_t bytes = 0, extra_bytes = 0;
        pil_status status = read_chunk_size(take_line(&chunks), &bytes, &extra_bytes, &refusal);
        PIL_ASSERT(status == PIL_STATUS_OK && bytes <= chunks.len); /* pil_http_decode has read them */
        if (bytes == 0) {
            return pil_bytes_from(to, (size_t)(at - to));
        }
        memmove(at, chunks.data, bytes);
        at += bytes;
        chunks = cut(chunks, bytes + 2, chunks.len);
    }
}

/* ---- Requests. */

/* "HTTP/1.x"; any minor version but 0 counts as 1. */
static pil_status read_version(struct pil_bytes text, uint8_t *ret_minor, struct refusal *refusal) {
    if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !pil_character_is_digit(text.data[5]) ||
        text.data[6] != '.' || !pil_character_is_digit(text.data[7])) {
        return refuse(refusal, 400, "the start line has no valid HTTP version");
    }
    if (text.data[5] != '1') {
        return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    *ret_minor = text.data[7] == '0' ? 0 : 1;
    return PIL_STATUS_OK;
}

/* Splits a target in origin form, absolute form (the authority is dropped) or "*" into path and query. */
static pil_status read_target(struct pil_bytes target, struct pil_http_request *request, struct refusal *refusal) {
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#') {
            return refuse(refusal, 400, "the request target holds a character that must be percent-encoded");
        }
    }
    size_t scheme = find(target, ':');
    bool is_absolute = scheme + 2 < target.len && memcmp(target.data + scheme, "://", 3) == 0 &&
                       (pil_bytes_equal_nocase(cut(target, 0, scheme), "http") ||
                        pil_bytes_equal_nocase(cut(target, 0, scheme), "https"));
    if (is_absolute) {
        struct pil_bytes rest = cut(target, scheme + 3, target.len);
        size_t slash = find(rest, '/'), mark = find(rest, '?');
        size_t host_end = slash < mark ? slash : mark;
        if (host_end == 0 || rest.data[0] == ':') {
            return refuse(refusal, 400, "the request target has no host"); /* RFC 9110 §4.2.1 */
        }
        if (!is_authority(cut(rest, 0, host_end))) {
            return refuse(refusal, 400, "the host of the request target is not a host");
        }
        target = cut(rest, host_end, rest.len);
    }
    struct pil_bytes path = take_until(&target, '?');
    if (is_absolute && path.len == 0) {
        path = pil_bytes_from_text("/");
    }
    while (path.len > 1 && path.data[0] == '/' && path.data[1] == '/') {
        path = cut(path, 1, path.len);
    }
    if (!pil_bytes_equal_text(path, "*") && (path.len == 0 || path.data[0] != '/')) {
        return refuse(refusal, 400, "the request target is not a path");
    }
    request->path = path;
    request->query = target;
    return PIL_STATUS_OK;
}

static pil_status read_request_line(struct pil_bytes line, struct pil_http_request *request, struct refusal *refusal) {
    struct pil_bytes method = take_until(&line, ' ');
    struct pil_bytes target = take_until(&line, ' ');
    if (!is_token(method) || target.len == 0) {
        return refuse(refusal, 400, "the request line is malformed");
    }
    request->method = pil_bytes_equal_text(method, "GET")    ? PIL_HTTP_METHOD_GET
                      : pil_bytes_equal_text(method, "POST") ? PIL_HTTP_METHOD_POST
                      : pil_bytes_equal_text(method, "HEAD") ? PIL_HTTP_METHOD_HEAD
                                                             : PIL_HTTP_METHOD_OTHER;
    PIL_TRY(read_version(line, &request->minor, refusal));
    return read_target(target, request, refusal);
}

/* Refuses a message about whose end two readers could disagree (RFC 9112 §6.3, §11.2). */
static pil_status check_request_framing(const struct facts *facts, const struct pil_http_request *request,
                                        const struct pil_http_limits *limits, struct refusal *refusal) {
    if (facts->host_count > 1 || (facts->host_count == 0 && request->minor == 1)) {
        return refuse(refusal, 400, facts->host_count > 1 ? "Host is there twice" : "Host is missing");
    }
    if (facts->has_encoding && (facts->has_length || request->minor == 0)) {
        return refuse(refusal, 400, "Transfer-Encoding with Content-Length or with HTTP/1.0 is ambiguous");
    }
    if (facts->has_encoding && !facts->is_chunked) {
        return facts->ends_with_chunks ? refuse(refusal, 501, "this Transfer-Encoding is not supported, only chunked")
                                       : refuse(refusal, 400, "Transfer-Encoding does not end with chunked");
    }
    return facts->body_bytes > limits->body_bytes_max ? refuse_body(refusal) : PIL_STATUS_OK;
}

static pil_status parse_request_head(struct pil_bytes head, const struct pil_http_limits *limits,
                                     struct pil_http_request *request, struct facts *facts, struct refusal *refusal) {
    PIL_TRY(read_request_line(take_line(&head), request, refusal));
    request->fields = cut(head, 0, head.len - 2); /* without the empty line */
    PIL_TRY(read_fields(request->fields, facts, refusal));
    PIL_TRY(check_request_framing(facts, request, limits, refusal));
    request->keep_alive = !facts->says_close && (request->minor == 1 || facts->says_keep_alive);
    request->encoding = facts->encoding;
    request->is_chunked = facts->is_chunked;
    return PIL_STATUS_OK;
}

static void begin_body(struct pil_http_cursor *cursor, const struct facts *facts, uint8_t minor) {
    cursor->body_bytes = facts->body_bytes;
    cursor->part = facts->is_chunked ? PIL_HTTP_CHUNK_SIZE : PIL_HTTP_CHUNK_NONE;
    cursor->expect_continue = facts->expects_continue && minor == 1 && (facts->body_bytes > 0 || facts->is_chunked);
}

/* OK: the body is complete and ends at *ret_end. */
static pil_status scan_body(struct pil_http_cursor *cursor, struct pil_bytes input,
                            const struct pil_http_limits *limits, size_t *ret_end, struct refusal *refusal) {
    if (cursor->part != PIL_HTTP_CHUNK_NONE) {
        PIL_TRY(scan_chunks(cursor, input, limits, refusal));
        *ret_end = cursor->line_begin;
        return PIL_STATUS_OK;
    }
    *ret_end = cursor->head_bytes + cursor->body_bytes;
    return input.len < *ret_end ? PIL_STATUS_AGAIN : PIL_STATUS_OK;
}

/* The head is parsed when its end is found, for the length of the body, and again when the body is complete: the input
 * may have moved meanwhile, so that spans of the first parse are stale. */
static pil_status decode(struct pil_http_cursor *cursor, struct pil_bytes input, const struct pil_http_limits *limits,
                         struct pil_http_request *request, struct refusal *refusal) {
    bool is_known = cursor->head_bytes > 0;
    struct facts facts = {0};
    size_t end = 0;
    if (!is_known) {
        PIL_TRY(scan_head(cursor, input, limits, refusal));
        PIL_TRY(parse_request_head(head_of(input, cursor->head_bytes), limits, request, &facts, refusal));
        begin_body(cursor, &facts, request->minor);
    }
    PIL_TRY(scan_body(cursor, input, limits, &end, refusal));
    if (is_known) {
        PIL_TRY(parse_request_head(head_of(input, cursor->head_bytes), limits, request, &facts, refusal));
    }
    request->body = cut(input, cursor->head_bytes, end);
    request->consumed = end;
    *cursor = (struct pil_http_cursor){0};
    return PIL_STATUS_OK;
}

pil_status pil_http_decode(struct pil_http_cursor *cursor, struct pil_bytes input, const struct pil_http_limits *limits,
                           struct pil_http_request *request) {
    if (input.len == 0) {
        return PIL_STATUS_AGAIN;
    }
    struct refusal refusal = {0};
    pil_status status = decode(cursor, input, limits, request, &refusal);
    request->error_status = refusal.status;
    request->error = refusal.text;
    request->is_body_too_large = refusal.is_body;
    return status;
}

bool pil_http_field(struct pil_bytes fields, const char *name, struct pil_bytes *ret_value) {
    while (fields.len > 0) {
        struct pil_bytes value = take_line(&fields);
        if (pil_bytes_equal_nocase(take_until(&value, ':'), name)) {
            *ret_value = trim(value);
            return true;
        }
    }
    return false;
}

bool pil_http_query(struct pil_bytes query, const char *name, struct pil_bytes *ret_value) {
    while (query.len > 0) {
        struct pil_bytes value = take_until(&query, '&');
        if (pil_bytes_equal_text(take_until(&value, '='), name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* ---- Responses. */

const char *pil_http_reason(int status) {
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Entity"}, /* Feast's phrase; RFC 9110 has Unprocessable Content */
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "";
}

uint8_t *pil_http_put_head(struct pil_sink *sink, const struct pil_http_head *head) {
    static const char length[] = "content-length: 0         \r\n\r\n";
    PIL_STATIC_ASSERT(sizeof length == 16 + PIL_HTTP_LENGTH_CHARS + 4 + 1);
    pil_sink_write_text(sink, "HTTP/1.1 ");
    pil_sink_write_u64(sink, (uint64_t)head->status);
    pil_sink_put(sink, ' ');
    pil_sink_write_text(sink, pil_http_reason(head->status));
    if (head->content_type != NULL) {
        pil_sink_write_text(sink, "\r\ncontent-type: ");
        pil_sink_write_text(sink, head->content_type);
    }
    if (!head->keep_alive) {
        pil_sink_write_text(sink, "\r\nconnection: close");
    } else if (head->minor == 0) {
        pil_sink_write_text(sink, "\r\nconnection: keep-alive");
    }
    pil_sink_write_text(sink, "\r\n");
    if (head->fields != NULL) {
        pil_sink_write_text(sink, head->fields);
    }
    if (head->omits_length) {
        pil_sink_write_text(sink, "\r\n");
        return NULL;
    }
    uint8_t *at = pil_sink_reserve(sink, sizeof length - 1);
    memcpy(at, length, sizeof length - 1);
    pil_sink_advance(sink, sizeof length - 1);
    return at + 16;
}

void pil_http_patch_length(uint8_t *patch, uint64_t body_bytes) {
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (char)('0' + body_bytes % 10);
        body_bytes /= 10;
    } while (body_bytes != 0);
    PIL_ASSERT(count <= PIL_HTTP_LENGTH_CHARS);
    memset(patch, ' ', PIL_HTTP_LENGTH_CHARS);
    memcpy(patch, digits + sizeof digits - count, count);
}

void pil_http_put_continue(struct pil_sink *sink) {
    pil_sink_write_text(sink, "HTTP/1.1 100 Continue\r\n\r\n");
}

static pil_status read_status_line(struct pil_bytes line, uint8_t *ret_minor, int *ret_status,
                                   struct refusal *refusal) {
    PIL_TRY(read_version(take_until(&line, ' '), ret_minor, refusal));
    struct pil_bytes code = take_until(&line, ' ');
    if (code.len != 3 || !pil_character_is_digit(code.data[0]) || !pil_character_is_digit(code.data[1]) ||
        !pil_character_is_digit(code.data[2])) {
        return refuse(refusal, 400, "the status line has no status");
    }
    *ret_status = (code.data[0] - '0') * 100 + (code.data[1] - '0') * 10 + (code.data[2] - '0');
    return PIL_STATUS_OK;
}

pil_status pil_http_decode_response(struct pil_bytes input, const struct pil_http_limits *limits,
                                    struct pil_http_response *ret_response) {
    if (input.len == 0) {
        return PIL_STATUS_AGAIN;
    }
    struct pil_http_cursor cursor = {0};
    struct refusal refusal;
    PIL_TRY(scan_head(&cursor, input, limits, &refusal));
    struct pil_bytes head = head_of(input, cursor.head_bytes);
    struct pil_http_response response = {0};
    struct facts facts = {0};
    uint8_t minor;
    PIL_TRY(read_status_line(take_line(&head), &minor, &response.status, &refusal));
    response.fields = cut(head, 0, head.len - 2);
    PIL_TRY(read_fields(response.fields, &facts, &refusal));
    bool has_no_body = response.status < 200 || response.status == 204 || response.status == 304;
    if (facts.has_encoding || (!facts.has_length && !has_no_body)) {
        return PIL_STATUS_UNSUPPORTED;
    }
    size_t body_bytes = has_no_body ? 0 : facts.body_bytes;
    if (body_bytes > limits->body_bytes_max) {
        return PIL_STATUS_TOO_LARGE;
    }
    if (input.len - cursor.head_bytes < body_bytes) {
        return PIL_STATUS_AGAIN;
    }
    response.keep_alive = !facts.says_close && (minor == 1 || facts.says_keep_alive);
    response.body = cut(input, cursor.head_bytes, cursor.head_bytes + body_bytes);
    response.consumed = cursor.head_bytes + body_bytes;
    *ret_response = response;
    return PIL_STATUS_OK;
}
