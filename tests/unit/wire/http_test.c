/* SPDX-License-Identifier: Apache-2.0
 * Goal: well-formed requests are read, every message whose end is in doubt is refused, and how the bytes arrive makes
 * no difference. Method: each request is decoded whole, byte by byte and split at every place, from memory that moves
 * between calls; cases after RFC 9112 §2.2, §3, §5, §6 and §11.2, and captured requests of real clients. */
#include "wire/http.h"
#include "unit/wire/collect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct pil_http_limits limits = {
    .head_bytes_max = 512, .fields_max = 8, .body_bytes_max = 100, .framing_bytes_max = 600};

struct decoded {
    pil_status status;
    size_t consumed;
    int error_status;
    const char *error;
    bool is_body_too_large;
    char *shown; /* "POST 1.1 keep /path ?query body" */
};

static void show(const struct pil_http_request *request, struct decoded *decoded) {
    static const char *const methods[] = {"GET", "HEAD", "POST", "OTHER"};
    struct collect out;
    collect_init(&out);
    pil_sink_write_text(&out.sink, methods[request->method]);
    pil_sink_write_text(&out.sink, request->minor == 1 ? " 1.1 " : " 1.0 ");
    pil_sink_write_text(&out.sink, request->keep_alive ? "keep " : "close ");
    pil_sink_write_bytes(&out.sink, request->path);
    pil_sink_write_text(&out.sink, " ?");
    pil_sink_write_bytes(&out.sink, request->query);
    pil_sink_put(&out.sink, ' ');
    uint8_t joined[1024];
    assert_true(request->body.len <= sizeof joined);
    pil_sink_write_bytes(&out.sink, request->is_chunked ? pil_http_unchunk(request->body, joined) : request->body);
    decoded->shown = strdup(collect_text(&out));
    collect_deinit(&out);
}

static struct decoded feed(struct pil_bytes input, const size_t *ends, size_t end_count) {
    struct pil_http_cursor cursor = {0};
    struct decoded decoded = {.status = PIL_STATUS_AGAIN};
    for (size_t i = 0; i < end_count && decoded.status == PIL_STATUS_AGAIN; i++) {
        uint8_t *copy = malloc(ends[i] > 0 ? ends[i] : 1);
        memcpy(copy, input.data, ends[i]);
        struct pil_http_request request;
        decoded.status = pil_http_decode(&cursor, pil_bytes_from(copy, ends[i]), &limits, &request);
        if (decoded.status == PIL_STATUS_OK) {
            decoded.consumed = request.consumed;
            show(&request, &decoded);
        } else if (decoded.status != PIL_STATUS_AGAIN) {
            decoded.error_status = request.error_status;
            decoded.error = request.error;
            decoded.is_body_too_large = request.is_body_too_large;
        }
        free(copy);
    }
    return decoded;
}

static void assert_same(const struct decoded *a, const struct decoded *b) {
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->consumed, b->consumed);
    assert_int_equal(a->error_status, b->error_status);
    assert_ptr_equal(a->error, b->error);
    if (a->status == PIL_STATUS_OK) {
        assert_string_equal(a->shown, b->shown);
    }
}

/* The result, which is the same for every way of arrival. Owns: the caller (shown). */
static struct decoded decode(struct pil_bytes input) {
    struct decoded whole = feed(input, &input.len, 1);
    size_t *ends = malloc((input.len + 1) * sizeof *ends);
    for (size_t i = 0; i <= input.len; i++) {
        ends[i] = i;
    }
    struct decoded slow = feed(input, ends, input.len + 1);
    assert_same(&whole, &slow);
    free(slow.shown);
    for (size_t split = 0; split <= input.len; split++) {
        struct decoded halves = feed(input, (size_t[]){split, input.len}, 2);
        assert_same(&whole, &halves);
        free(halves.shown);
    }
    free(ends);
    return whole;
}

static void expect(const char *input, const char *shown) {
    struct decoded decoded = decode(pil_bytes_from_text(input));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    assert_string_equal(decoded.shown, shown);
    assert_int_equal(decoded.consumed, strlen(input));
    free(decoded.shown);
}
static void expect_error_bytes(const char *input, size_t len, int error_status) {
    struct decoded decoded = decode(pil_bytes_from(input, len));
    if (decoded.error_status != error_status) {
        fail_msg("%.60s: status %d, not %d", input, decoded.error_status, error_status);
    }
    bool is_limit = error_status == 413 || error_status == 414 || error_status == 431;
    assert_int_equal(decoded.status, is_limit ? PIL_STATUS_TOO_LARGE : PIL_STATUS_INVALID);
    assert_non_null(decoded.error);
}
static void expect_error(const char *input, int error_status) {
    expect_error_bytes(input, strlen(input), error_status);
}

/* Whether what is over its limit is the body; other parts, as the framing of chunks, answer 413, too. */
static void expect_too_large(const char *input, bool is_body) {
    expect_error(input, 413);
    assert_int_equal(decode(pil_bytes_from_text(input)).is_body_too_large, is_body);
}

static void reads_requests_of_real_clients(void **state) {
    (void)state;
    expect("POST /get-online-features HTTP/1.1\r\nHost: 127.0.0.1:16600\r\nUser-Agent: python-requests/2.34.2\r\n"
           "Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Length: 15\r\n"
           "Content-Type: application/json\r\n\r\n{\"entities\":{}}",
           "POST 1.1 keep /get-online-features ? {\"entities\":{}}");
    expect("GET /metrics?name[]=a&debug=1 HTTP/1.1\r\nHost: localhost:9466\r\nUser-Agent: Prometheus/2.45\r\n\r\n",
           "GET 1.1 keep /metrics ?name[]=a&debug=1 ");
    expect("HEAD /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HEAD 1.1 keep /health ? ");
    expect("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OTHER 1.1 keep * ? ");
}

static void paths_are_found_in_every_form_of_target(void **state) {
    (void)state;
    expect("POST //get-online-features HTTP/1.1\r\nHost: x\r\n\r\n", "POST 1.1 keep /get-online-features ? ");
    expect("GET ///a//b HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep /a//b ? ");
    expect("GET /a%20b?c=%26?d HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep /a%20b ?c=%26?d ");
    expect("GET http://x:80/health?q HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep /health ?q ");
    expect("GET HTTPS://x?q=/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep / ?q=/a ");
    expect("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep / ? ");
    expect("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET 1.1 keep / ? ");
}

static void connections_are_kept_as_each_version_says(void **state) {
    (void)state;
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET 1.1 close / ? ");
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo , CLOSE\r\n\r\n", "GET 1.1 close / ? ");
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "GET 1.1 close / ? ");
    expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", "GET 1.1 keep / ? ");
    expect("GET / HTTP/1.0\r\n\r\n", "GET 1.0 close / ? ");
    expect("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET 1.0 keep / ? ");
    expect("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET 1.0 close / ? ");
}

static void refuses_ambiguous_framing(void **state) {
    (void)state;
#define POST "POST / HTTP/1.1\r\nHost: x\r\n"
    expect_error(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", 400);
    expect_error(POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na", 400);
    expect_error("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    expect_error(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400);
    expect_error(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400);
    expect_error(POST "Content-Length: 1, 1\r\n\r\na", 400);
    expect_error(POST "Content-Length: +1\r\n\r\na", 400);
    expect_error(POST "Content-Length: -1\r\n\r\na", 400);
    expect_error(POST "Content-Length: 0x1\r\n\r\na", 400);
    expect_error(POST "Content-Length: 1 2\r\n\r\na", 400);
    expect_error(POST "Content-Length:\r\n\r\n", 400);
    expect_error(POST "Content-Length : 1\r\n\r\na", 400);
    expect_error(POST " Content-Length: 1\r\n\r\na", 400);
    expect_error(POST "A: b\r\n folded\r\n\r\n", 400);
    expect_error(POST "A: b\r\n\tfolded\r\n\r\n", 400);
    expect_error(POST "A b\r\n\r\n", 400);
    expect_error(POST ": b\r\n\r\n", 400);
    expect_error(POST "A\x80: b\r\n\r\n", 400);
    expect_error(POST "A: b\rc\r\n\r\n", 400);
    expect_error(POST "A: b\n\r\n", 400);
    expect_error(POST "\n", 400);
    expect_error("POST / HTTP/1.1\nHost: x\n\n", 400);
    expect_error("\rPOST / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    const char nul[] = POST "A: b\0c\r\n\r\n";
    expect_error_bytes(nul, sizeof nul - 1, 400);
    expect_error(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    expect_error(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501);
    static const char *const endless[] = {"chunked, gzip", "gzip",        "identity", "chunked,",
                                          "xchunked",      "\"chunked\"", ""};
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        char request[200];
        snprintf(request, sizeof request, POST "Transfer-Encoding: %s\r\n\r\n0\r\n\r\n", endless[i]);
        expect_error(request, 400); /* nobody can tell where the body ends: RFC 9112 §6.3 */
    }
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void reads_chunked_bodies(void **state) {
    (void)state;
    expect(CHUNKED "0\r\n\r\n", "POST 1.1 keep / ? ");
    expect(CHUNKED "3\r\nabc\r\n0\r\n\r\n", "POST 1.1 keep / ? abc");
    expect(CHUNKED "00003\r\nabc\r\nA;a=b;c=\"d e\"\r\n0123456789\r\n1\r\nz\r\n000\r\n\r\n",
           "POST 1.1 keep / ? abc0123456789z");
    expect(CHUNKED "4\r\n\r\n0\r\r\n0\r\n\r\n", "POST 1.1 keep / ? \r\n0\r");
    expect(CHUNKED "1\r\na\r\n0;last\r\nContent-Length: 9\r\nDigest:\r\n\r\n", "POST 1.1 keep / ? a");
    expect("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: CHUNKED \r\n\r\n0\r\n\r\n",
           "GET 1.1 close /a ? ");
}

static void refuses_chunks_that_two_readers_could_frame_differently(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1 ;a\r\na\r\n",
        "1\t\r\na\r\n",
        "g\r\n",
        ";a\r\n",
        "1;a\nb\r\na\r\n",
        "1;a\rb\r\na",
        "1;\x7f\r\na\r\n",
        "0\r\na\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\na b\r\n\r\n",
        "0\r\na : b\r\n\r\n",
        "0\r\na:\x01\r\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "1\r\na0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char request[300];
        snprintf(request, sizeof request, CHUNKED "%s", bad[i]);
        expect_error(request, 400);
    }
}

static void bounds_chunks_and_all_that_is_around_them(void **state) {
    (void)state;
    char request[4096], shown[200];
    snprintf(request, sizeof request, CHUNKED "32\r\n%050d\r\n32\r\n%050d\r\n0\r\n\r\n", 0, 0);
    snprintf(shown, sizeof shown, "POST 1.1 keep / ? %0100d", 0);
    expect(request, shown);
    snprintf(request, sizeof request, CHUNKED "32\r\n%050d\r\n33\r\n", 0);
    expect_too_large(request, true);
    expect_too_large(CHUNKED "10000000000000000\r\n", true);
    expect_too_large(CHUNKED "fffffffffffffffff\r\n", true);
    expect_too_large(CHUNKED "ffffffffffffffff\r\n", true);
    snprintf(request, sizeof request, CHUNKED "1;%0254d\r\na\r\n0\r\n\r\n", 0);
    expect(request, "POST 1.1 keep / ? a");
    snprintf(request, sizeof request, CHUNKED "1;%0255d\r\na\r\n0\r\n\r\n", 0);
    expect_error(request, 400);
    snprintf(request, sizeof request, CHUNKED "1;%0254d\r\na\r\n1;%0254d\r\na\r\n1;%0254d\r\na\r\n", 0, 0, 0);
    expect_too_large(request, false); /* more framing than framing_bytes_max */
    expect(CHUNKED "0\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\n\r\n", "POST 1.1 keep / ? ");
    expect_error(CHUNKED "0\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\n\r\n", 431);
    snprintf(request, sizeof request, CHUNKED "0\r\na: %0700d\r\n\r\n", 0);
    expect_error(request, 431);
}

static void chunks_are_joined_where_they_are(void **state) {
    (void)state;
    char request[] = CHUNKED "3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n";
    struct pil_http_cursor cursor = {0};
    struct pil_http_request decoded;
    assert_int_equal(pil_http_decode(&cursor, pil_bytes_from_text(request), &limits, &decoded), PIL_STATUS_OK);
    uint8_t *at = (uint8_t *)request + sizeof CHUNKED - 1;
    assert_ptr_equal(decoded.body.data, at);
    struct pil_bytes body = pil_http_unchunk(decoded.body, at);
    assert_ptr_equal(body.data, at);
    assert_true(pil_bytes_equal_text(body, "abcde"));
    assert_string_equal(request + decoded.consumed, "GET / HTTP/1.1\r\n");
}

static void content_encodings_other_than_identity_are_seen(void **state) {
    (void)state;
    static const struct {
        const char *fields, *encoding;
    } cases[] = {{"", ""},
                 {"Content-Encoding: identity\r\n", ""},
                 {"Content-Encoding: Identity\r\nContent-Encoding:\r\n", ""},
                 {"content-encoding: gzip\r\n", "gzip"},
                 {"Content-Encoding: identity\r\nContent-Encoding: br\r\n", "br"},
                 {"Content-Encoding: gzip, identity\r\nContent-Encoding: identity\r\n", "gzip, identity"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[300];
        snprintf(request, sizeof request, POST "%s\r\n", cases[i].fields);
        struct pil_http_cursor cursor = {0};
        struct pil_http_request decoded;
        assert_int_equal(pil_http_decode(&cursor, pil_bytes_from_text(request), &limits, &decoded), PIL_STATUS_OK);
        assert_true(pil_bytes_equal_text(decoded.encoding, cases[i].encoding));
    }
}

static void refuses_malformed_start_lines(void **state) {
    (void)state;
    expect_error("GET /\r\nHost: x\r\n\r\n", 400);
    expect_error("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400);
    expect_error("GET / http/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET / HTTP/11\r\nHost: x\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1x\r\nHost: x\r\n\r\n", 400);
    expect_error("G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET /#f HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET ?a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET http://?a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    expect_error("GET / HTTP/0.9\r\n\r\n", 505);
    expect_error("\x16\x03\x01", 400);
    expect_error("GET / HTTP/1.1\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400);
    static const char *const bad[] = {"a@b",   "user:pass@b", "a,b",    "a?b",  "a#b", "a\"b",     "a:b",     "a:80:80",
                                      "a:80x", "[::1",        "[::1]x", "::1]", "a]b", "\xc3\xa9", "[a/b]:1", "a\\b"};
    static const char *const good[] = {"",
                                       "x",
                                       "x:",
                                       "x:80",
                                       "my_host.example:8080",
                                       "1.2.3.4",
                                       "[::1]:443",
                                       "[fe80::1%25x]",
                                       "%2Frun%2Fx.sock",
                                       "a-b~c!$&'()*+;="};
    char line[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        expect_error(line, 400);
        snprintf(line, sizeof line, "GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", bad[i]);
        if (strpbrk(bad[i], "/?") == NULL) { /* those end the host of a target */
            expect_error(line, 400);
        }
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(line, sizeof line, "GET /a HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        expect(line, "GET 1.1 keep /a ? ");
        snprintf(line, sizeof line, "GET http://%s/a HTTP/1.1\r\nHost: x\r\n\r\n", good[i]);
        if (good[i][0] != '\0') {
            expect(line, "GET 1.1 keep /a ? ");
        }
    }
    expect_error("GET http://:80/a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    expect_error("GET / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n", 417);
}

/* A request whose head has exactly `head_bytes`, by a field of that length. */
static char *head_of(const char *start, size_t head_bytes) {
    size_t fixed = strlen(start) + strlen("A: \r\n\r\n");
    char *text = NULL;
    assert_true(asprintf(&text, "%sA: %*s\r\n\r\n", start, (int)(head_bytes - fixed), "b") > 0);
    assert_int_equal(strlen(text), head_bytes);
    return text;
}

static void allows_each_limit_and_refuses_one_more(void **state) {
    (void)state;
    const char *start = "GET / HTTP/1.1\r\nHost: x\r\n";
    char *exact = head_of(start, limits.head_bytes_max), *over = head_of(start, limits.head_bytes_max + 1);
    expect(exact, "GET 1.1 keep / ? ");
    expect_error(over, 431);
    free(exact);
    free(over);
    char line[1024];
    snprintf(line, sizeof line, "GET /%0600d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    expect_error(line, 414);
    expect("GET / HTTP/1.1\r\nHost: x\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\n\r\n", "GET 1.1 keep / ? ");
    expect_error("GET / HTTP/1.1\r\nHost: x\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\n\r\n", 431);
    snprintf(line, sizeof line, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n%0100d", 0);
    char shown[200];
    snprintf(shown, sizeof shown, "POST 1.1 keep / ? %0100d", 0);
    expect(line, shown);
    expect_too_large("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", true);
    expect_too_large("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", true);
}

static void pipelined_requests_are_told_apart(void **state) {
    (void)state;
    const char first[] = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    char both[256];
    snprintf(both, sizeof both, "%sGET /b HTTP/1.1\r\nHost: x\r\n\r\n", first);
    struct decoded decoded = decode(pil_bytes_from_text(both));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    assert_int_equal(decoded.consumed, sizeof first - 1);
    assert_string_equal(decoded.shown, "POST 1.1 keep /a ? abc");
    free(decoded.shown);
}

static void expect_continue(const char *head, const char *body, const char *content) {
    char whole[256];
    size_t head_bytes = strlen(head);
    snprintf(whole, sizeof whole, "%s%s", head, body);
    struct pil_http_cursor cursor = {0};
    struct pil_http_request request;
    for (size_t len = 0; len < head_bytes; len++) {
        assert_int_equal(pil_http_decode(&cursor, pil_bytes_from(head, len), &limits, &request), PIL_STATUS_AGAIN);
        assert_false(cursor.expect_continue);
    }
    assert_int_equal(pil_http_decode(&cursor, pil_bytes_from(head, head_bytes), &limits, &request), PIL_STATUS_AGAIN);
    assert_true(cursor.expect_continue);
    cursor.expect_continue = false;
    assert_int_equal(pil_http_decode(&cursor, pil_bytes_from(whole, strlen(whole) - 1), &limits, &request),
                     PIL_STATUS_AGAIN);
    assert_false(cursor.expect_continue);
    assert_int_equal(pil_http_decode(&cursor, pil_bytes_from_text(whole), &limits, &request), PIL_STATUS_OK);
    assert_true(pil_bytes_equal_text(request.body, content));
    assert_int_equal(cursor.head_bytes, 0);
}

static void a_client_that_waits_for_100_is_seen_while_its_body_is_missing(void **state) {
    (void)state;
    expect_continue(POST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n", "abc", "abc");
    expect_continue(POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n0\r\n\r\n",
                    "1\r\na\r\n0\r\n\r\n");
}

static void fields_and_parameters_are_found_by_name(void **state) {
    (void)state;
    struct pil_http_cursor cursor = {0};
    struct pil_http_request request;
    const char *text = "GET /?a=1&bb=2%20&flag&a=3 HTTP/1.1\r\nHost: x\r\nTraceParent: \t00-ab \r\nEmpty:\r\n\r\n";
    assert_int_equal(pil_http_decode(&cursor, pil_bytes_from_text(text), &limits, &request), PIL_STATUS_OK);
    struct pil_bytes value;
    assert_true(pil_http_field(request.fields, "traceparent", &value));
    assert_true(pil_bytes_equal_text(value, "00-ab"));
    assert_true(pil_http_field(request.fields, "EMPTY", &value));
    assert_int_equal(value.len, 0);
    assert_false(pil_http_field(request.fields, "trace", &value));
    assert_true(pil_http_query(request.query, "a", &value));
    assert_true(pil_bytes_equal_text(value, "1"));
    assert_true(pil_http_query(request.query, "bb", &value));
    assert_true(pil_bytes_equal_text(value, "2%20"));
    assert_true(pil_http_query(request.query, "flag", &value));
    assert_int_equal(value.len, 0);
    assert_false(pil_http_query(request.query, "b", &value));
}

static void heads_take_their_length_afterwards(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_http_head head = {.status = 200, .minor = 1, .keep_alive = true, .content_type = "application/json"};
    pil_http_patch_length(pil_http_put_head(&out.sink, &head), 254);
    assert_string_equal(collect_text(&out),
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 254       \r\n\r\n");
    collect_deinit(&out);
    collect_init(&out);
    head = (struct pil_http_head){.status = 405, .minor = 0, .keep_alive = true, .fields = "allow: POST\r\n"};
    pil_http_put_head(&out.sink, &head);
    assert_string_equal(collect_text(&out),
                        "HTTP/1.1 405 Method Not Allowed\r\nconnection: keep-alive\r\nallow: POST\r\n"
                        "content-length: 0         \r\n\r\n");
    collect_deinit(&out);
    collect_init(&out);
    head = (struct pil_http_head){.status = 400, .minor = 1};
    pil_http_patch_length(pil_http_put_head(&out.sink, &head), 9999999999);
    assert_string_equal(collect_text(&out),
                        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 9999999999\r\n\r\n");
    collect_deinit(&out);
}

static bool refuse_to_grow(struct pil_sink *sink) {
    (void)sink;
    return false;
}

static void a_full_sink_swallows_heads_and_bodies(void **state) {
    (void)state;
    uint8_t room[64] = {0};
    for (size_t bytes = 0; bytes <= sizeof room; bytes++) {
        uint8_t *exact = malloc(bytes > 0 ? bytes : 1);
        struct pil_sink sink = {.at = exact, .end = exact + bytes, .grow = refuse_to_grow};
        struct pil_http_head head = {.status = 200, .minor = 1, .keep_alive = true, .content_type = "application/json"};
        uint8_t *patch = pil_http_put_head(&sink, &head);
        pil_sink_write(&sink, room, sizeof room);
        pil_http_patch_length(patch, sizeof room);
        assert_true(sink.failed);
        free(exact);
    }
}

static void clients_read_what_servers_write(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_http_head head = {.status = 404, .minor = 1, .content_type = "text/plain"};
    pil_http_put_continue(&out.sink);
    pil_http_patch_length(pil_http_put_head(&out.sink, &head), 5);
    pil_sink_write_text(&out.sink, "hello");
    struct pil_bytes input = collect_bytes(&out);
    struct pil_http_response response;
    assert_int_equal(pil_http_decode_response(input, &limits, &response), PIL_STATUS_OK);
    assert_int_equal(response.status, 100);
    input = pil_bytes_from(input.data + response.consumed, input.len - response.consumed);
    for (size_t len = 0; len < input.len; len++) {
        assert_int_equal(pil_http_decode_response(pil_bytes_from(input.data, len), &limits, &response),
                         PIL_STATUS_AGAIN);
    }
    assert_int_equal(pil_http_decode_response(input, &limits, &response), PIL_STATUS_OK);
    assert_int_equal(response.status, 404);
    assert_false(response.keep_alive);
    assert_true(pil_bytes_equal_text(response.body, "hello"));
    assert_int_equal(response.consumed, input.len);
    collect_deinit(&out);
}

static void clients_refuse_what_has_no_length(void **state) {
    (void)state;
    struct pil_http_response response;
    const struct {
        const char *text;
        pil_status status;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", PIL_STATUS_UNSUPPORTED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PIL_STATUS_UNSUPPORTED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", PIL_STATUS_TOO_LARGE},
        {"HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\n", PIL_STATUS_INVALID},
        {"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\n", PIL_STATUS_INVALID},
        {"HTTP/1.1 200 OK\nContent-Length: 1\n\n", PIL_STATUS_INVALID},
        {"HTTP/1.1 204 No Content\r\n\r\n", PIL_STATUS_OK},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", PIL_STATUS_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pil_http_decode_response(pil_bytes_from_text(cases[i].text), &limits, &response),
                         cases[i].status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests_of_real_clients),
        cmocka_unit_test(paths_are_found_in_every_form_of_target),
        cmocka_unit_test(connections_are_kept_as_each_version_says),
        cmocka_unit_test(refuses_ambiguous_framing),
        cmocka_unit_test(reads_chunked_bodies),
        cmocka_unit_test(refuses_chunks_that_two_readers_could_frame_differently),
        cmocka_unit_test(bounds_chunks_and_all_that_is_around_them),
        cmocka_unit_test(chunks_are_joined_where_they_are),
        cmocka_unit_test(content_encodings_other_than_identity_are_seen),
        cmocka_unit_test(refuses_malformed_start_lines),
        cmocka_unit_test(allows_each_limit_and_refuses_one_more),
        cmocka_unit_test(pipelined_requests_are_told_apart),
        cmocka_unit_test(a_client_that_waits_for_100_is_seen_while_its_body_is_missing),
        cmocka_unit_test(fields_and_parameters_are_found_by_name),
        cmocka_unit_test(heads_take_their_length_afterwards),
        cmocka_unit_test(a_full_sink_swallows_heads_and_bodies),
        cmocka_unit_test(clients_read_what_servers_write),
        cmocka_unit_test(clients_refuse_what_has_no_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
