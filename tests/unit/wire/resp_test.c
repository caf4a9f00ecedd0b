/* SPDX-License-Identifier: Apache-2.0
 * Goal: requests are read as Redis reads them, hostile ones are refused in Redis's words, and how the bytes arrive
 * makes no difference. Method: each request is decoded whole, byte by byte and split at every place, from memory that
 * moves between calls and is exactly as long as it is said to be. */
#include "wire/resp.h"
#include "unit/wire/collect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { ARGS_MAX = 64, INLINE_MAX = 128 };
static const struct pil_resp_limits limits = {
    .args_max = ARGS_MAX, .bulk_bytes_max = 1000, .inline_bytes_max = INLINE_MAX, .request_bytes_max = 2000};

struct decoded {
    pil_status status;
    size_t consumed;
    char error[PIL_RESP_ERROR_BYTES];
    char *args; /* "<PING><a b>" */
};

static void show(const struct pil_resp_request *request, struct decoded *decoded) {
    struct collect out;
    collect_init(&out);
    for (uint32_t i = 0; i < request->arg_count; i++) {
        pil_sink_put(&out.sink, '<');
        pil_sink_write_bytes(&out.sink, request->args[i]);
        pil_sink_put(&out.sink, '>');
    }
    decoded->args = strdup(collect_text(&out));
    collect_deinit(&out);
}

/* Feeds input[0..end) for each end of `ends`, from fresh memory each time, until it is not AGAIN. */
static struct decoded feed(struct pil_bytes input, const size_t *ends, size_t end_count) {
    struct pil_resp_cursor cursor = {0};
    struct decoded decoded = {.status = PIL_STATUS_AGAIN};
    struct pil_bytes args[ARGS_MAX];
    uint8_t scratch[INLINE_MAX];
    for (size_t i = 0; i < end_count && decoded.status == PIL_STATUS_AGAIN; i++) {
        uint8_t *copy = malloc(ends[i] > 0 ? ends[i] : 1);
        memcpy(copy, input.data, ends[i]);
        struct pil_resp_request request = {.args = args, .scratch = scratch};
        decoded.status = pil_resp_decode(&cursor, pil_bytes_from(copy, ends[i]), &limits, &request);
        if (decoded.status == PIL_STATUS_OK) {
            decoded.consumed = request.consumed;
            show(&request, &decoded);
        } else if (decoded.status != PIL_STATUS_AGAIN) {
            memcpy(decoded.error, request.error, sizeof decoded.error);
        }
        free(copy);
    }
    return decoded;
}

static void assert_same(const struct decoded *a, const struct decoded *b) {
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->consumed, b->consumed);
    assert_string_equal(a->error, b->error);
    if (a->status == PIL_STATUS_OK) {
        assert_string_equal(a->args, b->args);
    }
}

/* The result, which is the same for every way of arrival. Owns: the caller (args). */
static struct decoded decode(struct pil_bytes input) {
    struct decoded whole = feed(input, &input.len, 1);
    size_t *ends = malloc((input.len + 1) * sizeof *ends);
    for (size_t i = 0; i <= input.len; i++) {
        ends[i] = i;
    }
    struct decoded slow = feed(input, ends, input.len + 1);
    assert_same(&whole, &slow);
    free(slow.args);
    for (size_t split = 0; split <= input.len; split++) {
        struct decoded halves = feed(input, (size_t[]){split, input.len}, 2);
        assert_same(&whole, &halves);
        free(halves.args);
    }
    free(ends);
    return whole;
}

static void expect_bytes(const char *input, size_t len, const char *args, size_t consumed) {
    struct decoded decoded = decode(pil_bytes_from(input, len));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    assert_string_equal(decoded.args, args);
    assert_int_equal(decoded.consumed, consumed);
    free(decoded.args);
}
static void expect(const char *input, const char *args) {
    expect_bytes(input, strlen(input), args, strlen(input));
}
static void expect_error(const char *input, pil_status status, const char *error) {
    struct decoded decoded = decode(pil_bytes_from_text(input));
    assert_int_equal(decoded.status, status);
    assert_string_equal(decoded.error, error);
}
static void expect_again(const char *input) {
    assert_int_equal(decode(pil_bytes_from_text(input)).status, PIL_STATUS_AGAIN);
}

static void reads_arrays_of_bulk_strings(void **state) {
    (void)state;
    expect("*1\r\n$4\r\nPING\r\n", "<PING>");
    expect("*3\r\n$4\r\nHGET\r\n$6\r\nv:1001\r\n$9\r\nconv_rate\r\n", "<HGET><v:1001><conv_rate>");
    expect("*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", "<><\r\n>");
    expect("*0\r\n", "");
    expect("*-1\r\n", "");
}

static void leaves_what_follows_a_request(void **state) {
    (void)state;
    const char two[] = "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n";
    expect_bytes(two, sizeof two - 1, "<PING>", 14);
    const char line[] = "PING\r\nQUIT\r\n";
    expect_bytes(line, sizeof line - 1, "<PING>", 6);
}

static void waits_for_the_rest(void **state) {
    (void)state;
    expect_again("");
    expect_again("*");
    expect_again("*2\r");
    expect_again("*2\r\n$3\r\nGET\r\n");
    expect_again("*2\r\n$3\r\nGET\r\n$");
    expect_again("*1\r\n$4\r\nPIN");
    expect_again("*1\r\n$4\r\nPING\r");
    expect_again("PING");
}

static void refuses_bad_framing_in_the_words_of_redis(void **state) {
    (void)state;
    const char *const invalid[][2] = {
        {"*x\r\n", "Protocol error: invalid multibulk length"},
        {"*\r\n", "Protocol error: invalid multibulk length"},
        {"*+1\r\n", "Protocol error: invalid multibulk length"},
        {"*01\r\n", "Protocol error: invalid multibulk length"},
        {"*-0\r\n", "Protocol error: invalid multibulk length"},
        {"*1 \r\n", "Protocol error: invalid multibulk length"},
        {"*1\rx", "Protocol error: invalid multibulk length"},
        {"*9223372036854775808\r\n", "Protocol error: invalid multibulk length"},
        {"*11111111111111111111111111111111111111", "Protocol error: too big mbulk count string"},
        {"*1\r\nx", "Protocol error: expected '$', got 'x'"},
        {"*1\r\n\r\n", "Protocol error: expected '$', got ' '"},
        {"*1\r\n*1\r\n", "Protocol error: expected '$', got '*'"},
        {"*1\r\n$-5\r\n", "Protocol error: invalid bulk length"},
        {"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"},
        {"*1\r\n$x\r\n", "Protocol error: invalid bulk length"},
        {"*1\r\n$0x10\r\n", "Protocol error: invalid bulk length"},
        {"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"},
        {"*1\r\n$111111111111111111111111111111111111", "Protocol error: too big bulk count string"},
        {"*1\r\n$4\r\nPINGx", "Protocol error: expected CRLF after bulk string"},
        {"*1\r\n$4\r\nPING\rx", "Protocol error: expected CRLF after bulk string"},
    };
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        expect_error(invalid[i][0], PIL_STATUS_INVALID, invalid[i][1]);
    }
}

static void allows_each_limit_and_refuses_one_more(void **state) {
    (void)state;
    struct collect out;
    struct pil_bytes args[ARGS_MAX + 1];
    char filler[1002];
    memset(filler, 'a', sizeof filler);
    for (size_t i = 0; i < ARGS_MAX + 1; i++) {
        args[i] = pil_bytes_from_text("x");
    }
    collect_init(&out);
    pil_resp_put_request(&out.sink, args, ARGS_MAX);
    struct decoded decoded = decode(collect_bytes(&out));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    free(decoded.args);
    collect_deinit(&out);
    expect_error("*65\r\n", PIL_STATUS_TOO_LARGE, "Protocol error: invalid multibulk length");
    expect_error("*99999999999\r\n", PIL_STATUS_INVALID, "Protocol error: invalid multibulk length");

    args[0] = pil_bytes_from(filler, limits.bulk_bytes_max);
    collect_init(&out);
    pil_resp_put_request(&out.sink, args, 1);
    decoded = decode(collect_bytes(&out));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    free(decoded.args);
    collect_deinit(&out);
    expect_error("*1\r\n$1001\r\n", PIL_STATUS_TOO_LARGE, "Protocol error: invalid bulk length");
}

/* Two bulk strings whose request is exactly as long as is allowed, or a byte longer. */
static void bounds_the_whole_request(void **state) {
    (void)state;
    char filler[1000];
    memset(filler, 'a', sizeof filler);
    for (size_t over = 0; over < 2; over++) {
        /* *2 CRLF is 4 bytes, each header 5 or 6, each end 2 */
        struct pil_bytes args[] = {pil_bytes_from(filler, 1000),
                                   pil_bytes_from(filler, 2000 - 4 - (7 + 1002) - (6 + 2) + over)};
        struct collect out;
        collect_init(&out);
        pil_resp_put_request(&out.sink, args, 2);
        struct decoded decoded = decode(collect_bytes(&out));
        assert_int_equal(out.len, limits.request_bytes_max + over);
        assert_int_equal(decoded.status, over == 0 ? PIL_STATUS_OK : PIL_STATUS_TOO_LARGE);
        free(decoded.args);
        collect_deinit(&out);
    }
}

static void reads_inline_commands(void **state) {
    (void)state;
    expect("PING\r\n", "<PING>");
    expect("PING\n", "<PING>");
    expect("  HGET   v:1 \t a  \r\n", "<HGET><v:1><a>");
    expect("\r\n", "");
    expect("\n", "");
    expect("   \r\n", "");
    expect("ECHO \"a b\"\r\n", "<ECHO><a b>");
    expect("ECHO 'a b'\n", "<ECHO><a b>");
    expect("ECHO \"\"\n", "<ECHO><>");
    expect("ECHO \"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\"\n", "<ECHO><A\n\r\t\b\a\\\"q>");
    expect("ECHO \"\\x4\" \"\\xzz\"\n", "<ECHO><x4><xzz>");
    expect("ECHO 'a\\'b' 'a\\nb'\n", "<ECHO><a'b><a\\nb>");
    expect("ECHO pre\"fix ed\" x\n", "<ECHO><prefix ed><x>");
    expect("ECHO \"one\" \"two\"\n", "<ECHO><one><two>");
}

static void refuses_bad_inline_commands(void **state) {
    (void)state;
    expect_error("ECHO \"a\n", PIL_STATUS_INVALID, "Protocol error: unbalanced quotes in request");
    expect_error("ECHO \"a\"b\n", PIL_STATUS_INVALID, "Protocol error: unbalanced quotes in request");
    expect_error("ECHO 'a\n", PIL_STATUS_INVALID, "Protocol error: unbalanced quotes in request");
    expect_error("ECHO 'a'b\n", PIL_STATUS_INVALID, "Protocol error: unbalanced quotes in request");
    expect_error("ECHO \"a\\\"\n", PIL_STATUS_INVALID, "Protocol error: unbalanced quotes in request");
    char line[INLINE_MAX + 2];
    memset(line, 'a', sizeof line);
    line[INLINE_MAX - 1] = '\n';
    line[INLINE_MAX] = '\0';
    struct decoded decoded = decode(pil_bytes_from_text(line));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    free(decoded.args);
    line[INLINE_MAX - 1] = 'a';
    line[INLINE_MAX] = '\n';
    line[INLINE_MAX + 1] = '\0';
    expect_error(line, PIL_STATUS_TOO_LARGE, "Protocol error: too big inline request");
    memset(line, ' ', INLINE_MAX);
    for (int i = 0; i < INLINE_MAX - 1; i += 2) {
        line[i] = 'a'; /* 64 words fit exactly */
    }
    line[INLINE_MAX - 1] = '\n';
    line[INLINE_MAX] = '\0';
    decoded = decode(pil_bytes_from_text(line));
    assert_int_equal(decoded.status, PIL_STATUS_OK);
    free(decoded.args);
}

/* Skips a request in pieces of `piece` bytes, as they arrive, up to its end; returns how many of its bytes are left. */
static size_t skip_in_pieces(struct pil_bytes input, size_t piece, pil_resp_excess excess, pil_status *ret_status) {
    struct pil_bytes args[ARGS_MAX];
    struct pil_resp_cursor cursor = {0};
    struct pil_resp_request request = {.args = args};
    pil_status status = PIL_STATUS_AGAIN;
    size_t begin = 0;
    for (size_t end = piece < input.len ? piece : input.len;; end = end + piece < input.len ? end + piece : input.len) {
        struct pil_bytes arrived = pil_bytes_from(input.data + begin, end - begin);
        size_t done = 0;
        if (cursor.excess == PIL_RESP_EXCESS_NONE) {
            status = pil_resp_decode(&cursor, arrived, &limits, &request);
        }
        if (cursor.excess != PIL_RESP_EXCESS_NONE) {
            assert_int_equal(cursor.excess, excess);
            status = pil_resp_skip(&cursor, arrived, &request, &done);
            begin += done;
        }
        if (status != PIL_STATUS_AGAIN || end == input.len) {
            *ret_status = status;
            return input.len - begin;
        }
    }
}

static void requests_over_a_limit_are_skipped_up_to_their_end(void **state) {
    static const char behind[] = "*1\r\n$4\r\nPING\r\n";
    (void)state;
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        struct collect out;
        collect_init(&out);
        struct pil_bytes args[ARGS_MAX + 1];
        char long_text[1500];
        memset(long_text, '\r', sizeof long_text);
        for (int i = 0; i < ARGS_MAX + 1; i++) {
            args[i] = pil_bytes_from(long_text, by_bytes ? sizeof long_text : 3);
        }
        pil_resp_put_request(&out.sink, args, by_bytes ? 2 : ARGS_MAX + 1);
        pil_sink_write_text(&out.sink, behind);
        struct pil_bytes input = collect_bytes(&out);
        pil_resp_excess excess = by_bytes ? PIL_RESP_EXCESS_BYTES : PIL_RESP_EXCESS_ARGS;
        for (size_t piece = 1; piece <= input.len; piece += piece < 40 ? 1 : 97) {
            pil_status status = PIL_STATUS_AGAIN;
            assert_int_equal(skip_in_pieces(input, piece, excess, &status), sizeof behind - 1);
            assert_int_equal(status, PIL_STATUS_OK);
        }
        collect_deinit(&out);
    }
}

static void what_cannot_be_skipped_is_invalid(void **state) {
    static const char *const inputs[] = {"*1048577\r\n",   "*100\r\n$536870913\r\n", "*100\r\n$1\r\nxyz",
                                         "*100\r\n:1\r\n", "*1\r\n$1001\r\n",        NULL};
    (void)state;
    for (size_t i = 0; inputs[i] != NULL; i++) {
        pil_status status = PIL_STATUS_OK;
        pil_resp_excess excess = i == 4 ? PIL_RESP_EXCESS_BYTES : PIL_RESP_EXCESS_ARGS;
        (void)skip_in_pieces(pil_bytes_from_text(inputs[i]), 1000, excess, &status);
        assert_int_equal(status, i == 4 ? PIL_STATUS_AGAIN : PIL_STATUS_INVALID);
    }
}

static void long_pipelines_are_cut_at_the_same_places(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    for (int i = 0; i < 10000; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "view:%d", i);
        struct pil_bytes args[] = {pil_bytes_from_text("HGET"), pil_bytes_from(key, (size_t)len),
                                   pil_bytes_from_text("f")};
        pil_resp_put_request(&out.sink, args, 3);
    }
    struct pil_bytes rest = collect_bytes(&out);
    struct pil_bytes args[3];
    struct pil_resp_cursor cursor = {0};
    for (int i = 0; i < 10000; i++) {
        struct pil_resp_request request = {.args = args};
        assert_int_equal(pil_resp_decode(&cursor, rest, &limits, &request), PIL_STATUS_OK);
        char key[32];
        snprintf(key, sizeof key, "view:%d", i);
        assert_int_equal(request.arg_count, 3);
        assert_true(pil_bytes_equal_text(args[1], key));
        rest = pil_bytes_from(rest.data + request.consumed, rest.len - request.consumed);
    }
    assert_int_equal(rest.len, 0);
    collect_deinit(&out);
}

static void put_all_replies(struct pil_sink *sink, pil_resp_protocol protocol) {
    pil_resp_put_simple(sink, "OK");
    pil_resp_put_error(sink, "ERR no such view 'a\r\nb'");
    pil_resp_put_integer(sink, INT64_MIN);
    pil_resp_put_bulk(sink, pil_bytes_from("a\0b", 3));
    pil_resp_put_bulk_text(sink, "");
    pil_resp_put_null(sink, protocol);
    pil_resp_put_array(sink, 0);
    pil_resp_put_map(sink, protocol, 1);
    pil_resp_put_bulk_text(sink, "k");
    pil_resp_put_bulk_text(sink, "v");
    pil_resp_put_set(sink, protocol, 1);
    pil_resp_put_integer(sink, 1);
    pil_resp_put_verbatim(sink, protocol, pil_bytes_from_text("text"));
}

static void replies_have_the_form_of_the_protocol(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    put_all_replies(&out.sink, PIL_RESP_2);
    const char two[] =
        "+OK\r\n-ERR no such view 'a  b'\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n$-1\r\n*0\r\n"
        "*2\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n:1\r\n$4\r\ntext\r\n";
    assert_int_equal(collect_bytes(&out).len, sizeof two - 1);
    assert_memory_equal(out.text, two, sizeof two - 1);
    collect_deinit(&out);

    collect_init(&out);
    put_all_replies(&out.sink, PIL_RESP_3);
    const char three[] =
        "+OK\r\n-ERR no such view 'a  b'\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n_\r\n*0\r\n"
        "%1\r\n$1\r\nk\r\n$1\r\nv\r\n~1\r\n:1\r\n=8\r\ntxt:text\r\n";
    assert_int_equal(collect_bytes(&out).len, sizeof three - 1);
    assert_memory_equal(out.text, three, sizeof three - 1);
    collect_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_arrays_of_bulk_strings),
        cmocka_unit_test(leaves_what_follows_a_request),
        cmocka_unit_test(waits_for_the_rest),
        cmocka_unit_test(refuses_bad_framing_in_the_words_of_redis),
        cmocka_unit_test(allows_each_limit_and_refuses_one_more),
        cmocka_unit_test(bounds_the_whole_request),
        cmocka_unit_test(reads_inline_commands),
        cmocka_unit_test(refuses_bad_inline_commands),
        cmocka_unit_test(requests_over_a_limit_are_skipped_up_to_their_end),
        cmocka_unit_test(what_cannot_be_skipped_is_invalid),
        cmocka_unit_test(long_pipelines_are_cut_at_the_same_places),
        cmocka_unit_test(replies_have_the_form_of_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
