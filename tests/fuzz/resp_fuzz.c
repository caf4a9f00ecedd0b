/* SPDX-License-Identifier: Apache-2.0
 * RESP from anybody. Invariants: a pipeline decodes to the same requests whole and byte by byte; what was decoded,
 * encoded again, decodes to the same arguments; a reply has the same length whole and byte by byte, and its values end
 * there. */
#include "base/panic.h"
#include "unit/wire/collect.h"
#include "wire/resp.h"

enum { INPUT_MAX = 4096, ARGS_MAX = 32, INLINE_MAX = 256 };
static const struct pil_resp_limits limits = {
    .args_max = ARGS_MAX, .bulk_bytes_max = 1024, .inline_bytes_max = INLINE_MAX, .request_bytes_max = 2048};

struct arrival {
    struct pil_resp_request request;
    pil_status status;
    struct pil_bytes args[ARGS_MAX];
    uint8_t scratch[INLINE_MAX];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct arrival *arrival, struct pil_bytes input, bool by_bytes) {
    struct pil_resp_cursor cursor = {0};
    arrival->request = (struct pil_resp_request){.args = arrival->args, .scratch = arrival->scratch};
    arrival->status = PIL_STATUS_AGAIN;
    for (size_t len = by_bytes ? 0 : input.len; len <= input.len && arrival->status == PIL_STATUS_AGAIN; len++) {
        arrival->status = pil_resp_decode(&cursor, pil_bytes_from(input.data, len), &limits, &arrival->request);
    }
}

static void check_same(const struct pil_resp_request *a, const struct pil_resp_request *b) {
    PIL_ASSERT(a->arg_count == b->arg_count);
    for (uint32_t i = 0; i < a->arg_count; i++) {
        PIL_ASSERT(pil_bytes_equal(a->args[i], b->args[i]));
    }
}

/* Returns the bytes that the request took; 0 = there is none. */
static size_t check_request(struct pil_bytes input) {
    static struct arrival whole, slow, again;
    decode(&whole, input, false);
    decode(&slow, input, true);
    PIL_ASSERT(whole.status == slow.status);
    if (whole.status != PIL_STATUS_OK) {
        PIL_ASSERT(whole.status == PIL_STATUS_AGAIN || strcmp(whole.request.error, slow.request.error) == 0);
        return 0;
    }
    PIL_ASSERT(whole.request.consumed == slow.request.consumed);
    PIL_ASSERT(whole.request.consumed > 0 && whole.request.consumed <= input.len);
    check_same(&whole.request, &slow.request);
    struct collect out;
    collect_init(&out);
    pil_resp_put_request(&out.sink, whole.args, whole.request.arg_count);
    decode(&again, collect_bytes(&out), false);
    PIL_ASSERT(again.status == PIL_STATUS_OK && again.request.consumed == out.len);
    check_same(&whole.request, &again.request);
    collect_deinit(&out);
    return whole.request.consumed;
}

static void check_reply(struct pil_bytes input) {
    struct pil_resp_reply_cursor whole = {0}, slow = {0};
    size_t whole_len = 0, slow_len = 0;
    pil_status whole_status = pil_resp_reply_length(&whole, input, &whole_len), slow_status = PIL_STATUS_AGAIN;
    for (size_t len = 0; len <= input.len && slow_status == PIL_STATUS_AGAIN; len++) {
        slow_status = pil_resp_reply_length(&slow, pil_bytes_from(input.data, len), &slow_len);
    }
    PIL_ASSERT(whole_status == slow_status && whole_len == slow_len);
    struct pil_bytes rest = pil_bytes_from(input.data, whole_len);
    while (rest.len > 0) {
        struct pil_resp_value value;
        PIL_ASSERT(pil_resp_value_next(&rest, &value) == PIL_STATUS_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > INPUT_MAX) {
        return 0;
    }
    struct pil_bytes rest = pil_bytes_from(data, size);
    check_reply(rest);
    for (size_t taken; rest.len > 0 && (taken = check_request(rest)) > 0;) {
        rest = pil_bytes_from(rest.data + taken, rest.len - taken);
    }
    return 0;
}
