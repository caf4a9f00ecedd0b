/* SPDX-License-Identifier: Apache-2.0
 * Goal: the data plane allocates nothing: 0 calls of the allocator and of mmap over a million requests, refused ones,
 * transactions and prepared plans included, before and after a swap of releases, on both back ends. Method: a server in
 * this process, a client over a Unix socket, and counters in place of malloc, mmap and their kin, which leave out the
 * control thread; that the counters count is tested, too. Every answer is looked at: a server that refuses everything
 * would allocate nothing, either. */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"

#include "protocol/protocols.h"
#include "server/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cmocka.h>

enum {
    REQUESTS = 1000000,
    PIPELINE = 250,
    KEYS = 5000,
    FEATURES = 10,
    MGET_KEYS = 100,
    INFER_KEYS = 20,
    PREPARATIONS_MAX = 64,
    LONG_REQUEST_BYTES = 400000,
    PROTOCOLS = 3
};

#if defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static _Atomic uint64_t allocations;
static _Atomic bool is_counting;
static __thread bool is_control; /* what this thread does is no request */

#if !IS_SANITIZED

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *data, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *data);

static void count(void) {
    if (atomic_load_explicit(&is_counting, memory_order_relaxed) && !is_control) {
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    }
}

void *malloc(size_t bytes) {
    count();
    return __libc_malloc(bytes);
}

void *calloc(size_t number, size_t bytes) {
    count();
    return __libc_calloc(number, bytes);
}

void *realloc(void *data, size_t bytes) {
    count();
    return __libc_realloc(data, bytes);
}

void free(void *data) {
    if (data != NULL) {
        count();
    }
    __libc_free(data);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    count();
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **ret_data, size_t alignment, size_t bytes) {
    count();
    *ret_data = __libc_memalign(alignment, bytes);
    return *ret_data != NULL ? 0 : ENOMEM;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    count();
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

int munmap(void *address, size_t bytes) {
    count();
    return (int)syscall(SYS_munmap, address, bytes);
}
#endif

/* One batch of requests, and how its answers are told from each other and checked. */
struct script {
    struct pil_text requests;
    /* Checks the first answer of `data`, to request `index`, against the release with this seed (0: either) and returns
     * its length; 0: it is not complete. */
    size_t (*check)(struct pil_bytes data, uint32_t index, uint64_t seed);
};

/* Ended rings interrupt the system calls of their process once. */
static ssize_t read_some(int fd, void *buffer, size_t bytes) {
    ssize_t got;
    do {
        got = read(fd, buffer, bytes);
    } while (got < 0 && errno == EINTR);
    return got;
}

static void write_all(int fd, const struct pil_text *text) {
    assert_int_equal(pil_sys_write_all(fd, pil_text_bytes(text), NULL), PIL_STATUS_OK);
}

static void add_command(struct pil_text *text, const char *const *words, uint32_t word_count) {
    pil_text_format(text, "*%u\r\n", word_count);
    for (uint32_t i = 0; i < word_count; i++) {
        pil_text_format(text, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    }
}

static void add_mget(struct pil_text *text, uint32_t first) {
    char keys[MGET_KEYS][16];
    const char *words[1 + MGET_KEYS] = {"MGET"};
    for (uint32_t i = 0; i < MGET_KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "v:%u", (first + i * 61) % (KEYS + KEYS / 10)); /* a tenth is missing */
        words[1 + i] = keys[i];
    }
    add_command(text, words, 1 + MGET_KEYS);
}

/* HMGET of feature 0 and the time, as Feast's SDK asks. */
static void add_feast_layout(struct pil_text *text, int64_t key) {
    static const char names[] = "\1\0\0\0\2\0\0\0\2\0\0\0id\4\0\0\0\10\0\0\0";
    uint32_t field = pil_hash_field(pil_bytes_from_text("v:f0"));
    pil_text_format(text, "*4\r\n$5\r\nHMGET\r\n$%zu\r\n", sizeof names - 1 + sizeof key + 1);
    pil_text_append(text, names, sizeof names - 1);
    pil_text_append(text, &key, sizeof key);
    pil_text_format(text, "p\r\n$4\r\n");
    pil_text_append(text, &field, sizeof field);
    pil_text_format(text, "\r\n$5\r\n_ts:v\r\n");
}

/* Of ten requests one is HMGET of ten fields, one is HMGET in Feast's layout, one is MGET of 100 keys, two are tensors
 * (of a service, of a plan), one columns, one a transaction, one is refused, the others are small. */
enum {
    KIND_HMGET = 0,
    KIND_MGET = 1,
    KIND_REFUSED = 2,
    KIND_VECTOR = 3,
    KIND_COLUMNS = 4,
    KIND_FEAST_LAYOUT = 5,
    KIND_PLAN = 6,
    KIND_MULTI = 7,
    KINDS = 10
};

static void make_resp(struct pil_text *text) {
    for (uint32_t i = 0; i < PIPELINE; i++) {
        char key[32], other[32];
        snprintf(key, sizeof key, "v:%u", i * 17 % KEYS);
        snprintf(other, sizeof other, "v:%u", i * 13 % (2 * KEYS));
        const char *hmget[] = {"HMGET", key, "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"};
        const char *vector[] = {"PIL.VECTOR", "every", key + 2, other + 2, "7"};
        const char *columns[] = {"PIL.COLUMNS", "every", key + 2, other + 2, "7"};
        const char *plan[] = {"PIL.VECTOR", "1", key + 2, other + 2, "7"};
        const char *multi[] = {"MULTI"}, *hget[] = {"HGET", key, "f0"}, *exec[] = {"EXEC"};
        const char *refused[][3] = {{"HGET", "w:1", "f0"},
                                    {"HGET", "v:x", "f0"},
                                    {"HSET", key, "f0"},
                                    {"NOSUCH", key, "f0"},
                                    {"HGET", key, ""}};
        const char *others[][2] = {{"GET", key}, {"PING", "x"}, {"HGETALL", other}, {"TTL", key}};
        switch (i % KINDS) {
        case KIND_HMGET: add_command(text, hmget, 12); break;
        case KIND_FEAST_LAYOUT: add_feast_layout(text, i * 17 % KEYS); break;
        case KIND_MGET: add_mget(text, i); break;
        case KIND_REFUSED: add_command(text, refused[i / 10 % 5], 3); break;
        case KIND_VECTOR: add_command(text, vector, 5); break;
        case KIND_COLUMNS: add_command(text, columns, 5); break;
        case KIND_PLAN: add_command(text, plan, 5); break;
        case KIND_MULTI:
            add_command(text, multi, 1);
            add_command(text, hget, 3);
            add_command(text, exec, 1);
            break;
        default: add_command(text, others[i % 4], 2); break;
        }
    }
}

/* ---- Answers */

static bool starts_with(struct pil_bytes data, const char *text) {
    return data.len >= strlen(text) && memcmp(data.data, text, strlen(text)) == 0;
}

/* Length of the RESP2 reply at the start; 0: it is not complete. */
static size_t resp_bytes(struct pil_bytes data) {
    const uint8_t *end = data.len > 0 ? memmem(data.data, data.len, "\r\n", 2) : NULL;
    if (end == NULL) {
        return 0;
    }
    size_t at = (size_t)(end - data.data) + 2;
    long long number = strtoll((const char *)data.data + 1, NULL, 10);
    if (data.data[0] == '$' && number >= 0) {
        at += (size_t)number + 2;
    }
    for (long long left = data.data[0] == '*' ? number : 0; left > 0; left--) {
        size_t bytes = at < data.len ? resp_bytes(pil_bytes_from(data.data + at, data.len - at)) : 0;
        if (bytes == 0) {
            return 0;
        }
        at += bytes;
    }
    return at <= data.len ? at : 0;
}

/* Whether `data` is `before`, then the values of the first features of a key as text: of the release with this seed, or
 * of either. */
static bool has_values(struct pil_bytes data, const char *before, uint64_t key, uint32_t count, uint64_t seed) {
    for (uint64_t at = 1; at <= 2; at++) {
        char value[32], text[512];
        size_t len = (size_t)snprintf(text, sizeof text, "%s", before);
        for (uint32_t f = 0; f < count; f++) {
            int digits = snprintf(value, sizeof value, "%.1f", (double)fixture_value(key, f, at));
            len += (size_t)snprintf(text + len, sizeof text - len, "$%d\r\n%s\r\n", digits, value);
        }
        if ((seed == 0 || seed == at) && data.len == len && memcmp(data.data, text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Where float32 feature 0 of the first row stands in the answer to PIL.VECTOR: its rows end the reply. */
static bool is_tensor(struct pil_bytes data, uint64_t key, uint64_t seed) {
    for (uint64_t at = 1; at <= 2; at++) {
        float row[FEATURES];
        for (uint32_t f = 0; f < FEATURES; f++) {
            row[f] = fixture_value(key, f, at);
        }
        if ((seed == 0 || seed == at) && memmem(data.data, data.len, row, sizeof row) != NULL) {
            return true;
        }
    }
    return false;
}

/* The Value of feature 0, and a time. */
static bool is_feast_layout(struct pil_bytes data, uint64_t key, uint64_t seed) {
    static const char head[] = "*2\r\n$5\r\n\x35";
    for (uint64_t at = 1; at <= 2; at++) {
        float value = fixture_value(key, 0, at);
        if ((seed == 0 || seed == at) && starts_with(data, head) && data.len > sizeof head - 1 + sizeof value &&
            memcmp(data.data + sizeof head - 1, &value, sizeof value) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_right(struct pil_bytes answer, uint32_t index, uint64_t seed) {
    uint64_t key = index * 17 % KEYS;
    switch (index % KINDS) {
    case KIND_HMGET: return has_values(answer, "*10\r\n", key, FEATURES, seed);
    case KIND_FEAST_LAYOUT: return is_feast_layout(answer, key, seed);
    case KIND_MGET: return starts_with(answer, "*100\r\n");
    case KIND_VECTOR:
    case KIND_PLAN: return starts_with(answer, "$") && is_tensor(answer, key, seed);
    case KIND_COLUMNS: return starts_with(answer, "$") && memmem(answer.data, answer.len, "PLC1", 4) != NULL;
    case KIND_MULTI: return has_values(answer, "+OK\r\n+QUEUED\r\n*1\r\n", key, 1, seed);
    default: return true;
    }
}

static size_t check_resp(struct pil_bytes data, uint32_t index, uint64_t seed) {
    size_t bytes = 0;
    for (uint32_t replies = index % KINDS == KIND_MULTI ? 3 : 1; replies > 0; replies--) {
        size_t more = resp_bytes(pil_bytes_from(data.data + bytes, data.len - bytes));
        if (more == 0) {
            return 0;
        }
        bytes += more;
    }
    /* A missing field is refused with nil, all else with an error. */
    bool is_refused = index % KINDS == KIND_REFUSED && index / 10 % 5 != 4;
    assert_int_equal(starts_with(data, "-"), is_refused);
    assert_true(is_right(pil_bytes_from(data.data, bytes), index, seed));
    return bytes;
}

/* An HTTP answer with this status; its length, and where its body is. 0: it is not complete. */
static size_t check_http(struct pil_bytes data, const char *status, struct pil_bytes *ret_body) {
    static const char name[] = "\r\ncontent-length: ";
    const uint8_t *end = data.len > 0 ? memmem(data.data, data.len, "\r\n\r\n", 4) : NULL;
    const uint8_t *length = NULL;
    if (end == NULL) {
        return 0;
    }
    for (const uint8_t *at = data.data; at < end && length == NULL; at++) {
        length = strncasecmp((const char *)at, name, sizeof name - 1) == 0 ? at + sizeof name - 1 : NULL;
    }
    assert_non_null(length);
    size_t head = (size_t)(end - data.data) + 4, body = strtoul((const char *)length, NULL, 10);
    if (head + body > data.len) {
        return 0;
    }
    if (!starts_with(data, status)) {
        fail_msg("%.*s", (int)(head + body), (const char *)data.data);
    }
    *ret_body = pil_bytes_from(data.data + head, body);
    return head + body;
}

static bool contains(struct pil_bytes data, const char *text) {
    return memmem(data.data, data.len, text, strlen(text)) != NULL;
}

static size_t check_feast(struct pil_bytes data, uint32_t index, uint64_t seed) {
    struct pil_bytes body;
    const char *status = index % 8 == 3 ? "HTTP/1.1 422 " : index % 8 == 5 ? "HTTP/1.1 404 " : "HTTP/1.1 200 ";
    size_t bytes = check_http(data, status, &body);
    char values[2][64];
    for (uint64_t i = 0; i < 2; i++) {
        snprintf(values[i], sizeof values[i], "\"values\":[%.1f,null,", (double)fixture_value(index, index % 9, i + 1));
    }
    if (bytes > 0 && index % 8 != 3 && index % 8 != 5) {
        assert_true((seed != 2 && contains(body, values[0])) || (seed != 1 && contains(body, values[1])));
    }
    return bytes;
}

static size_t check_oip(struct pil_bytes data, uint32_t index, uint64_t seed) {
    struct pil_bytes body;
    const char *status = index % 8 == 7 ? "HTTP/1.1 404 " : index % 8 == 4 ? "HTTP/1.1 400 " : "HTTP/1.1 200 ";
    size_t bytes = check_http(data, status, &body);
    uint64_t key = index * 31 % (KEYS + KEYS / 10);
    if (bytes > 0 && index % 2 == 0 && index % 8 != 4) {
        assert_true(key >= KEYS || is_tensor(body, key, seed));
    } else if (bytes > 0 && index % 8 != 4 && index % 8 != 7) {
        assert_true(contains(body, "\"outputs\":[{\"name\":"));
    }
    return bytes;
}

/* ---- Requests over HTTP */

/* Of eight requests one is refused for a key of the wrong type, one for an unknown view. */
static void make_feast(struct pil_text *text) {
    for (uint32_t i = 0; i < PIPELINE; i++) {
        char body[256];
        const char *odd = i % 8 == 3 ? "\"x\"" : "7", *view = i % 8 == 5 ? "w" : "v";
        int len =
            snprintf(body, sizeof body, "{\"entities\":{\"id\":[%u,\"%u\",%s]},\"features\":[\"%s:f%u\",\"v:f9\"]}", i,
                     9000 + i, odd, view, i % 9);
        pil_text_format(text,
                        "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-type: "
                        "application/json\r\ncontent-length: %d\r\n\r\n%s",
                        len, body);
    }
}

static void add_infer(struct pil_text *text, const char *model, const char *json, const void *binary, size_t bytes) {
    pil_text_format(text,
                    "POST /v2/models/%s/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: "
                    "%zu\r\ncontent-length: %zu\r\n\r\n%s",
                    model, strlen(json), strlen(json) + bytes, json);
    pil_text_append(text, binary, bytes);
}

/* Of eight requests one is refused for its datatype, one for an unknown model; half of the others are binary. */
static void make_oip(struct pil_text *text) {
    for (uint32_t i = 0; i < PIPELINE; i++) {
        char json[512];
        int64_t keys[INFER_KEYS];
        bool is_binary = i % 2 == 0;
        for (uint32_t k = 0; k < INFER_KEYS; k++) {
            keys[k] = (i * 31 + k * 61) % (KEYS + KEYS / 10);
        }
        if (is_binary) {
            snprintf(json, sizeof json,
                     "{\"id\":\"%u\",\"inputs\":[{\"name\":\"id\",\"shape\":[%d,1],\"datatype\":\"%s\","
                     "\"parameters\":{\"binary_data_size\":%zu}}],\"parameters\":{\"binary_data_output\":true}}",
                     i, INFER_KEYS, i % 8 == 4 ? "FP64" : "INT64", sizeof keys);
        } else {
            snprintf(json, sizeof json,
                     "{\"inputs\":[{\"name\":\"id\",\"shape\":[2],\"datatype\":\"INT64\",\"data\":[%u,9999]}],"
                     "\"outputs\":[{\"name\":\"%s\"}]}",
                     i, i % 4 == 1 ? "features" : "statuses");
        }
        add_infer(text, i % 8 == 7 ? "none" : "every", json, keys, is_binary ? sizeof keys : 0);
    }
}

/* Sends the script so many times and checks every answer. */
static void run(int fd, const struct script *script, uint32_t batches, uint64_t seed) {
    static uint8_t buffer[4 << 20];
    for (uint32_t batch = 0; batch < batches; batch++) {
        size_t end = 0, at = 0;
        write_all(fd, &script->requests);
        for (uint32_t index = 0; index < PIPELINE;) {
            size_t bytes = script->check(pil_bytes_from(buffer + at, end - at), index, seed);
            at += bytes;
            index += bytes > 0;
            if (bytes == 0) {
                ssize_t got = read_some(fd, buffer + end, sizeof buffer - end);
                assert_true(got > 0);
                end += (size_t)got;
            }
        }
        assert_int_equal(at, end);
    }
}

/* Plan 1 of the connection. */
static void prepare_plan(int fd) {
    static const char request[] = "*2\r\n$8\r\nPIL.PLAN\r\n$5\r\nevery\r\n", expected[] = ":1\r\n";
    char answer[sizeof expected] = "";
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from_text(request), NULL), PIL_STATUS_OK);
    for (size_t at = 0; at < sizeof expected - 1;) {
        ssize_t got = read_some(fd, answer + at, sizeof expected - 1 - at);
        assert_true(got > 0);
        at += (size_t)got;
    }
    assert_string_equal(answer, expected);
}

/* The shares of the protocols in a million requests, once or in part; in turns, for a connection that is quiet for long
 * gives its buffers back. */
static void run_all(const int *clients, const struct script *scripts, uint32_t requests, uint64_t seed) {
    static const uint32_t tenths[PROTOCOLS] = {7, 2, 1};
    for (uint32_t left = requests / (10 * PIPELINE); left > 0; left--) {
        for (int i = 0; i < PROTOCOLS; i++) {
            run(clients[i], &scripts[i], tenths[i], seed);
        }
    }
}

/* A request longer than any batch, and its answer: what the connection keeps of its input is as large as it ever gets.
 * Batches alone bring it there only when they arrive split in the worst way, which is a matter of timing. */
static void send_long_request(int fd, bool is_resp) {
    static char padding[LONG_REQUEST_BYTES];
    static uint8_t answer[2 * LONG_REQUEST_BYTES];
    struct pil_text request = {0};
    memset(padding, ' ', sizeof padding);
    if (is_resp) {
        pil_text_format(&request, "*2\r\n$4\r\nPING\r\n$%zu\r\n", sizeof padding);
    } else {
        pil_text_format(&request, "POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", sizeof padding);
    }
    pil_text_append(&request, padding, sizeof padding);
    pil_text_append(&request, "\r\n", is_resp ? 2 : 0);
    write_all(fd, &request);
    struct pil_bytes body;
    for (size_t end = 0, bytes = 0; bytes == 0;) {
        ssize_t got = read_some(fd, answer + end, sizeof answer - end);
        assert_true(got > 0);
        end += (size_t)got;
        bytes = is_resp ? resp_bytes(pil_bytes_from(answer, end))
                        : check_http(pil_bytes_from(answer, end), "HTTP/1.1 404 ", &body);
    }
    pil_text_deinit(&request);
}

static void serve_a_million(pil_engine_kind kind) {
    static struct pil_settings settings;
    struct sockaddr_un addresses[PROTOCOLS];
    struct pil_error error = {0};
    struct pil_server *server = NULL;
    atomic_store(&is_counting, false); /* a test that failed left it on */
    atomic_store(&allocations, 0);
    struct script scripts[PROTOCOLS] = {{.check = check_resp}, {.check = check_feast}, {.check = check_oip}};
    int listeners[PROTOCOLS] = {fixture_listen("alloc-resp", &addresses[0]),
                                fixture_listen("alloc-feast", &addresses[1]),
                                fixture_listen("alloc-oip", &addresses[2])};
    settings = fixture_settings(1, 'v', PROTOCOLS, kind);
    settings.listeners[1].protocol = PIL_PROTOCOL_FEAST;
    settings.listeners[2].protocol = PIL_PROTOCOL_OIP;
    assert_int_equal(pil_server_create(&settings, pil_protocols, PIL_PROTOCOL_COUNT, listeners, &server, &error),
                     PIL_STATUS_OK);
    struct pil_project *project = fixture_project(FEATURES);
    struct pil_cache *cache = pil_server_cache(server);
    const struct pil_view *view = project->views[0].view; /* lives as long as the project, which the server takes */
    fixture_publish(cache, 0, fixture_release(view, KEYS, 1, 1));
    assert_int_equal(pil_server_set_project(server, &project), PIL_STATUS_OK);
    assert_int_equal(pil_server_start(server, &error), PIL_STATUS_OK);
    int clients[PROTOCOLS] = {fixture_connect(&addresses[0]), fixture_connect(&addresses[1]),
                              fixture_connect(&addresses[2])};
    make_resp(&scripts[0].requests);
    make_feast(&scripts[1].requests);
    make_oip(&scripts[2].requests);
    prepare_plan(clients[0]);
    for (int i = 0; i < PROTOCOLS; i++) {
        assert_true(scripts[i].requests.len < LONG_REQUEST_BYTES);
        send_long_request(clients[i], i == 0);
        run(clients[i], &scripts[i], 40, 1); /* warm: chunks and buffers get their final sizes */
    }
    atomic_store(&is_counting, true);
    run_all(clients, scripts, REQUESTS / 2, 1);
    assert_int_equal(atomic_load(&allocations), 0);
    is_control = true;
    fixture_publish(cache, 0, fixture_release(view, KEYS, 2, 1));
    is_control = false;
    /* The first request of each plan prepares it for the new release: a few allocations, once. */
    run_all(clients, scripts, PROTOCOLS * 10 * PIPELINE, 2);
    assert_in_range(atomic_exchange(&allocations, 0), 0, PREPARATIONS_MAX);
    run_all(clients, scripts, REQUESTS / 2, 2);
    atomic_store(&is_counting, false);
    assert_int_equal(atomic_exchange(&allocations, 0), 0);
    for (int i = 0; i < PROTOCOLS; i++) {
        close(clients[i]);
        close(listeners[i]);
        unlink(addresses[i].sun_path);
        pil_text_deinit(&scripts[i].requests);
    }
    assert_true(pil_server_drain(server, 5000));
    pil_server_destroy(&server);
}

static void the_counters_count(void **state) {
    (void)state;
    atomic_store(&is_counting, true);
    void *volatile data = malloc(10);
    data = realloc(data, 100000);
    free(data);
    void *pages = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages, 4096);
    atomic_store(&is_counting, false);
    assert_int_equal(atomic_exchange(&allocations, 0), 5);
}

static void a_million_requests_allocate_nothing_on_epoll(void **state) {
    (void)state;
    serve_a_million(PIL_ENGINE_EPOLL);
}

static void a_million_requests_allocate_nothing_on_io_uring(void **state) {
    char reason[PIL_ENGINE_REASON_BYTES];
    (void)state;
    if (pil_engine_probe(&(struct pil_engine_options){.connections_max = 10}, reason) != PIL_ENGINE_IO_URING) {
        print_message("skipped: %s\n", reason);
        skip();
    }
    serve_a_million(PIL_ENGINE_IO_URING);
}

int main(void) {
    if (IS_SANITIZED) {
        printf("skipped: the sanitizer has an allocator of its own\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counters_count),
        cmocka_unit_test(a_million_requests_allocate_nothing_on_epoll),
        cmocka_unit_test(a_million_requests_allocate_nothing_on_io_uring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
