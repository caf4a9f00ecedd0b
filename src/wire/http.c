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
};

/* What is wrong with a message, and the HTTP status to answer. */
struct refusal {
    int status;
    const char *text;
};

static pil_status refuse(struct refusal *refusal, int status, const char *text) {
    *refusal = (struct refusal){.status = status, .text = text};
    return status == 413 || status == 414 || status == 431 ? PIL_STATUS_TOO_LARGE : PIL_STATUS_INVALID;
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

/* ---- The end of the head. */

/* Examines each line end once. OK: cursor->head_bytes is set. */
static pil_status scan_head(struct pil_http_cursor *cursor, struct pil_bytes input,
                            const struct pil_http_limits *limits, struct refusal *refusal) {
    size_t window = input.len < limits->head_bytes_max ? input.len : limits->head_bytes_max;
    if (!is_token_char(input.data[0]) && input.data[0] != '\r') {
        return refuse(refusal, 400, "this is not HTTP");
    }
    for (;;) {
        const uint8_t *newline = memchr(input.data + cursor->scanned, '\n', window - cursor->scanned);
        if (newline == NULL) {
            cursor->scanned = window;
            if (window < limits->head_bytes_max) {
                return PIL_STATUS_AGAIN;
            }
            return cursor->line_count == 0 ? refuse(refusal, 414, "the request line is too long")
                                           : refuse(refusal, 431, "the header fields are too long");
        }
        size_t at = (size_t)(newline - input.data);
        if (at == cursor->line_begin || newline[-1] != '\r') {
            return refuse(refusal, 400, "a line ends without CR");
        }
        bool is_empty = at == cursor->line_begin + 1;
        cursor->scanned = cursor->line_begin = at + 1;
        if (is_empty && cursor->line_count > 0) {
            cursor->head_bytes = at + 1;
            return PIL_STATUS_OK;
        }
        cursor->line_count += !is_empty; /* empty lines before the request line are skipped: RFC 9112 §2.2 */
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
    uint32_t host_count;
    bool has_length;
    bool has_encoding;
    bool is_chunked; /* "chunked" is the only encoding */
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
            return refuse(refusal, 413, "Content-Length is too large");
        }
    }
    if (value.len == 0) {
        return refuse(refusal, 400, "Content-Length is empty");
    }
    facts->has_length = true;
    facts->body_bytes = length;
    return PIL_STATUS_OK;
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
        facts->is_chunked = !facts->has_encoding && pil_bytes_equal_nocase(value, "chunked");
        facts->has_encoding = true;
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

static pil_status read_fields(struct pil_bytes fields, struct facts *facts, struct refusal *refusal) {
    while (fields.len > 0) {
        struct pil_bytes value = take_line(&fields);
        if (value.data[0] == ' ' || value.data[0] == '\t') {
            return refuse(refusal, 400, "a header field is folded");
        }
        bool has_colon = find(value, ':') < value.len;
        struct pil_bytes name = take_until(&value, ':');
        if (!has_colon || !is_token(name)) {
            return refuse(refusal, 400, "a header field has no valid name");
        }
        value = trim(value);
        for (size_t i = 0; i < value.len; i++) {
            if ((value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f) {
                return refuse(refusal, 400, "a header field holds a control character");
            }
        }
        PIL_TRY(read_field(facts, name, value, refusal));
    }
    return PIL_STATUS_OK;
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
    if (facts->has_encoding) {
        return facts->is_chunked ? refuse(refusal, 411, "send the body with Content-Length, not chunked")
                                 : refuse(refusal, 501, "this Transfer-Encoding is not supported");
    }
    return facts->body_bytes > limits->body_bytes_max ? refuse(refusal, 413, "the body is too large") : PIL_STATUS_OK;
}

static pil_status parse_request_head(struct pil_bytes head, const struct pil_http_limits *limits,
                                     struct pil_http_request *request, struct facts *facts, struct refusal *refusal) {
    PIL_TRY(read_request_line(take_line(&head), request, refusal));
    request->fields = cut(head, 0, head.len - 2); /* without the empty line */
    PIL_TRY(read_fields(request->fields, facts, refusal));
    PIL_TRY(check_request_framing(facts, request, limits, refusal));
    request->keep_alive = !facts->says_close && (request->minor == 1 || facts->says_keep_alive);
    return PIL_STATUS_OK;
}

/* The head is parsed when its end is found, for the length of the body, and again when the body is complete: the input
 * may have moved meanwhile, so that spans of the first parse are stale. */
static pil_status decode(struct pil_http_cursor *cursor, struct pil_bytes input, const struct pil_http_limits *limits,
                         struct pil_http_request *request, struct refusal *refusal) {
    bool is_known = cursor->head_bytes > 0;
    if (!is_known) {
        PIL_TRY(scan_head(cursor, input, limits, refusal));
    } else if (input.len < cursor->head_bytes + cursor->body_bytes) {
        return PIL_STATUS_AGAIN;
    }
    struct facts facts = {0};
    PIL_TRY(parse_request_head(head_of(input, cursor->head_bytes), limits, request, &facts, refusal));
    if (!is_known) {
        cursor->body_bytes = facts.body_bytes;
        cursor->expect_continue = facts.expects_continue && request->minor == 1 && facts.body_bytes > 0;
        if (input.len < cursor->head_bytes + cursor->body_bytes) {
            return PIL_STATUS_AGAIN;
        }
    }
    request->body = cut(input, cursor->head_bytes, cursor->head_bytes + cursor->body_bytes);
    request->consumed = cursor->head_bytes + cursor->body_bytes;
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
    static const struct refusal reasons[] = {
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
        {411, "Length Required"},
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
