/* SPDX-License-Identifier: Apache-2.0
 * HTTP from anybody. Invariants: a request decodes to the same whole and byte by byte; its parts, put together again,
 * decode to the same parts; a response that decodes lies within the input. */
#include "base/panic.h"
#include "unit/wire/collect.h"
#include "wire/http.h"

enum { INPUT_MAX = 4096 };
static const struct pil_http_limits limits = {
    .head_bytes_max = 1024, .fields_max = 16, .body_bytes_max = 1024, .framing_bytes_max = 1024};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pil_status decode(struct pil_bytes input, bool by_bytes, struct pil_http_request *request) {
    struct pil_http_cursor cursor = {0};
    pil_status status = PIL_STATUS_AGAIN;
    for (size_t len = by_bytes ? 0 : input.len; len <= input.len && status == PIL_STATUS_AGAIN; len++) {
        status = pil_http_decode(&cursor, pil_bytes_from(input.data, len), &limits, request);
    }
    return status;
}

static void check_same(const struct pil_http_request *a, const struct pil_http_request *b) {
    PIL_ASSERT(a->method == b->method && a->minor == b->minor && a->keep_alive == b->keep_alive);
    PIL_ASSERT(pil_bytes_equal(a->path, b->path));
    PIL_ASSERT(pil_bytes_equal(a->query, b->query));
    PIL_ASSERT(pil_bytes_equal(a->fields, b->fields));
    PIL_ASSERT(pil_bytes_equal(a->body, b->body));
}

static void check_again(const struct pil_http_request *request) {
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT"};
    static const struct pil_http_limits roomy = {
        .head_bytes_max = 4096, .fields_max = 16, .body_bytes_max = 2048, .framing_bytes_max = 2048};
    struct collect out;
    collect_init(&out);
    pil_sink_write_text(&out.sink, methods[request->method]);
    pil_sink_put(&out.sink, ' ');
    pil_sink_write_bytes(&out.sink, request->path);
    pil_sink_put(&out.sink, '?');
    pil_sink_write_bytes(&out.sink, request->query);
    pil_sink_write_text(&out.sink, request->minor == 1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
    pil_sink_write_bytes(&out.sink, request->fields);
    pil_sink_write_text(&out.sink, "\r\n");
    pil_sink_write_bytes(&out.sink, request->body);
    struct pil_http_cursor cursor = {0};
    struct pil_http_request again;
    PIL_ASSERT(pil_http_decode(&cursor, collect_bytes(&out), &roomy, &again) == PIL_STATUS_OK);
    PIL_ASSERT(again.consumed == out.len);
    check_same(request, &again);
    collect_deinit(&out);
}

/* Chunks joined where they are hold what chunks joined elsewhere hold. */
static void check_chunks(const struct pil_http_request *request) {
    uint8_t apart[INPUT_MAX], place[INPUT_MAX];
    PIL_ASSERT(request->body.len <= sizeof place);
    memcpy(place, request->body.data, request->body.len);
    struct pil_bytes body = pil_http_unchunk(request->body, apart);
    PIL_ASSERT(body.len <= limits.body_bytes_max);
    PIL_ASSERT(request->body.len <= limits.body_bytes_max + limits.framing_bytes_max);
    PIL_ASSERT(pil_bytes_equal(body, pil_http_unchunk(pil_bytes_from(place, request->body.len), place)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > INPUT_MAX) {
        return 0;
    }
    struct pil_bytes rest = pil_bytes_from(data, size);
    struct pil_http_response response;
    if (pil_http_decode_response(rest, &limits, &response) == PIL_STATUS_OK) {
        PIL_ASSERT(response.consumed <= size && response.body.data + response.body.len == data + response.consumed);
    }
    while (rest.len > 0) {
        struct pil_http_request whole, slow;
        pil_status status = decode(rest, false, &whole);
        PIL_ASSERT(status == decode(rest, true, &slow));
        if (status != PIL_STATUS_OK) {
            PIL_ASSERT(status == PIL_STATUS_AGAIN ||
                       (whole.error_status == slow.error_status && whole.error == slow.error));
            return 0;
        }
        PIL_ASSERT(whole.consumed == slow.consumed && whole.consumed > 0 && whole.consumed <= rest.len);
        check_same(&whole, &slow);
        check_again(&whole);
        if (whole.is_chunked) {
            check_chunks(&whole);
        }
        rest = pil_bytes_from(rest.data + whole.consumed, rest.len - whole.consumed);
    }
    return 0;
}
