/* SPDX-License-Identifier: Apache-2.0
 * Goal: the data plane allocates nothing: 0 calls of the allocator and of mmap over a million requests, refused ones
 * included, on both back ends. Method: a server in this process, a client over a Unix socket, and counters in place of
 * malloc, mmap and their kin; that the counters count is tested, too. */
#include "support/cache_fixture.h"

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

#if !IS_SANITIZED

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *data, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *data);

static void count(void) {
    if (atomic_load_explicit(&is_counting, memory_order_relaxed)) {
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

static int listen_unix(const char *name, struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/tmp/pil-alloc-%d-%s", getpid(), name);
    unlink(address->sun_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)address, sizeof *address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int connect_unix(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

/* One batch of requests and the number of bytes of its answers, which is the same each time. */
struct script {
    struct pil_text requests;
    size_t answer_bytes;
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

/* Of ten requests two are HMGET of ten fields, one is MGET of 100 keys, one a tensor, one is refused, the others are
 * small. */
static void make_resp(struct pil_text *text) {
    for (uint32_t i = 0; i < PIPELINE; i++) {
        char key[32], other[32];
        snprintf(key, sizeof key, "v:%u", i * 17 % KEYS);
        snprintf(other, sizeof other, "v:%u", i * 13 % (2 * KEYS));
        const char *hmget[] = {"HMGET", key, "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"};
        const char *vector[] = {"PIL.VECTOR", "every", key + 2, other + 2, "7"};
        const char *refused[][3] = {{"HGET", "w:1", "f0"},
                                    {"HGET", "v:x", "f0"},
                                    {"HSET", key, "f0"},
                                    {"NOSUCH", key, "f0"},
                                    {"HGET", key, ""}};
        const char *others[][2] = {{"GET", key}, {"PING", "x"}, {"HGETALL", other}, {"TTL", key}};
        switch (i % 10) {
        case 0:
        case 5: add_command(text, hmget, 12); break;
        case 1: add_mget(text, i); break;
        case 3: add_command(text, vector, 5); break;
        case 2: add_command(text, refused[i / 10 % 5], 3); break;
        default: add_command(text, others[i % 4], 2); break;
        }
    }
}

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

/* Reads until nothing comes for a moment: how long the answers of one batch are. */
static size_t measure(int fd, const struct script *script) {
    static uint8_t buffer[1 << 20];
    struct timeval quiet = {.tv_usec = 300000};
    size_t bytes = 0;
    write_all(fd, &script->requests);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet), 0);
    for (ssize_t got; (got = read_some(fd, buffer, sizeof buffer)) > 0;) {
        bytes += (size_t)got;
    }
    assert_int_equal(errno, EAGAIN);
    quiet.tv_sec = 20;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet), 0);
    return bytes;
}

static void run(int fd, const struct script *script, uint32_t batches) {
    static uint8_t buffer[1 << 20];
    for (uint32_t i = 0; i < batches; i++) {
        write_all(fd, &script->requests);
        for (size_t left = script->answer_bytes; left > 0;) {
            ssize_t got = read_some(fd, buffer, left < sizeof buffer ? left : sizeof buffer);
            assert_true(got > 0);
            left -= (size_t)got;
        }
    }
}

static void serve_a_million(pil_engine_kind kind) {
    static struct pil_settings settings;
    struct sockaddr_un addresses[PROTOCOLS];
    struct pil_error error = {0};
    struct pil_server *server = NULL;
    struct script scripts[PROTOCOLS] = {0};
    int listeners[PROTOCOLS] = {listen_unix("resp", &addresses[0]), listen_unix("feast", &addresses[1]),
                                listen_unix("oip", &addresses[2])};
    settings = (struct pil_settings){.view_count = 1,
                                     .listener_count = PROTOCOLS,
                                     .worker_count = 1,
                                     .engine = kind,
                                     .slowlog_us = 1000000,
                                     .limits = {.connections_max = 64,
                                                .request_bytes_max = 1 << 22,
                                                .requests_per_turn = 256,
                                                .keys_per_request_max = 16384,
                                                .output_pause_bytes = 1 << 18,
                                                .output_bytes_max = 1 << 26,
                                                .output_stall_ms = 10000,
                                                .request_timeout_ms = 10000}};
    memcpy(settings.views[0].project, "p", 2);
    memcpy(settings.views[0].view, "v", 2);
    memcpy(settings.views[0].channel, "c", 2);
    settings.listeners[1].protocol = PIL_PROTOCOL_FEAST;
    settings.listeners[2].protocol = PIL_PROTOCOL_OIP;
    assert_int_equal(pil_server_create(&settings, pil_protocols, PIL_PROTOCOL_COUNT, listeners, &server, &error),
                     PIL_STATUS_OK);
    struct pil_project *project = fixture_project(FEATURES);
    struct pil_cache *cache = pil_server_cache(server);
    fixture_publish(cache, 0, fixture_release(project->views[0].view, KEYS, 1, 1));
    assert_int_equal(pil_server_set_project(server, &project), PIL_STATUS_OK);
    assert_int_equal(pil_server_start(server, &error), PIL_STATUS_OK);
    int clients[PROTOCOLS] = {connect_unix(&addresses[0]), connect_unix(&addresses[1]), connect_unix(&addresses[2])};
    make_resp(&scripts[0].requests);
    make_feast(&scripts[1].requests);
    make_oip(&scripts[2].requests);
    for (int i = 0; i < PROTOCOLS; i++) {
        scripts[i].answer_bytes = measure(clients[i], &scripts[i]);
        run(clients[i], &scripts[i], 40); /* warm: chunks and buffers get their final sizes */
    }
    atomic_store(&is_counting, true);
    run(clients[0], &scripts[0], REQUESTS * 7 / 10 / PIPELINE);
    run(clients[1], &scripts[1], REQUESTS * 2 / 10 / PIPELINE);
    run(clients[2], &scripts[2], REQUESTS / 10 / PIPELINE);
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
    if (pil_engine_probe(reason) != PIL_ENGINE_IO_URING) {
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
