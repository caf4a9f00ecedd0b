/* SPDX-License-Identifier: Apache-2.0
 * pillion-null: a server that does nothing. It frames requests with Pillion's decoders (or by a byte count) and sends
 * the same bytes as answer to each, on the same event loop. The cost of a real server above this one is its own work.
 *     pillion-null --listen unix:PATH|tcp:IPV4:PORT --reply FILE [--protocol resp|http|bytes] [--request-bytes N]
 *                  [--workers N] [--engine io_uring|epoll] [--spin-us N] */
#include "base/panic.h"
#include "base/sys.h"
#include "engine/engine.h"
#include "wire/http.h"
#include "wire/resp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS = 512, ARGS_MAX = 16384, SCRATCH_BYTES = 65536, REPEAT_MAX = 64, REPEAT_BYTES = 65536, WORKERS_MAX = 64 };
static const uint64_t spin_share_min = 16;

typedef enum null_protocol { NULL_RESP, NULL_HTTP, NULL_BYTES } null_protocol;

struct settings {
    const char *address, *reply_path;
    null_protocol protocol;
    uint32_t request_bytes, workers;
    pil_engine_kind engine;
    uint64_t spin_ns_max;
    int listener;
    struct pil_text reply; /* the same answer `repeat` times, so that a pipeline is answered in few parts */
    size_t reply_bytes;
    uint32_t repeat;
};

struct connection {
    pil_engine_handle handle;
    struct pil_text input; /* the start of a request that is incomplete */
    struct pil_resp_cursor resp;
    struct pil_http_cursor http;
    uint64_t owed; /* answers not passed to the engine yet */
    bool is_flying, is_ended;
};

struct worker {
    const struct settings *settings;
    struct pil_engine *engine;
    struct pil_bytes args[ARGS_MAX];
    uint8_t scratch[SCRATCH_BYTES];
    struct pil_event events[EVENTS];
};

/* ---- Framing: AGAIN, an error, or OK and the length of the request. */

static pil_status frame(struct worker *worker, struct connection *connection, struct pil_bytes input, size_t *ret_len) {
    switch (worker->settings->protocol) {
    case NULL_RESP: {
        struct pil_resp_request request = {.args = worker->args, .scratch = worker->scratch};
        PIL_TRY(pil_resp_decode(&connection->resp, input, &pil_resp_limits_default, &request));
        *ret_len = request.consumed;
        return PIL_STATUS_OK;
    }
    case NULL_HTTP: {
        struct pil_http_request request;
        PIL_TRY(pil_http_decode(&connection->http, input, &pil_http_limits_default, &request));
        *ret_len = request.consumed;
        return PIL_STATUS_OK;
    }
    case NULL_BYTES:
        *ret_len = worker->settings->request_bytes;
        return input.len < *ret_len ? PIL_STATUS_AGAIN : PIL_STATUS_OK;
    }
    PIL_UNREACHABLE("protocol");
}

static bool take_requests(struct worker *worker, struct connection *connection, struct pil_bytes *input) {
    while (input->len > 0) {
        size_t len = 0;
        pil_status status = frame(worker, connection, *input, &len);
        if (status == PIL_STATUS_AGAIN) {
            return true;
        }
        if (status != PIL_STATUS_OK) {
            return false;
        }
        connection->owed++;
        input->data += len;
        input->len -= len;
    }
    return true;
}

static void answer(struct worker *worker, struct connection *connection) {
    const struct settings *settings = worker->settings;
    struct iovec parts[PIL_ENGINE_SEND_PARTS_MAX];
    uint32_t count = 0;
    if (connection->is_flying) {
        return;
    }
    if (connection->owed == 0) {
        if (connection->is_ended) {
            pil_engine_close(worker->engine, connection->handle);
        }
        return;
    }
    while (connection->owed > 0 && count < PIL_ENGINE_SEND_PARTS_MAX) {
        uint64_t now = connection->owed < settings->repeat ? connection->owed : settings->repeat;
        parts[count++] = (struct iovec){.iov_base = settings->reply.data, .iov_len = now * settings->reply_bytes};
        connection->owed -= now;
    }
    connection->is_flying = true;
    pil_engine_send(worker->engine, connection->handle, parts, count);
}

static void on_receive(struct worker *worker, struct connection *connection, struct pil_bytes data) {
    struct pil_bytes input = data;
    if (connection->input.len > 0) {
        pil_text_append(&connection->input, data.data, data.len);
        input = pil_text_bytes(&connection->input);
    }
    if (!take_requests(worker, connection, &input)) {
        pil_engine_close(worker->engine, connection->handle);
        return;
    }
    if (connection->input.len == 0) {
        pil_text_append(&connection->input, input.data, input.len);
    } else if (input.len < connection->input.len) {
        memmove(connection->input.data, input.data, input.len);
        connection->input.len = input.len;
    }
    answer(worker, connection);
}

static void on_accept(struct worker *worker, int fd) {
    int on = 1;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on Unix sockets, which do not need it */
    if (pil_engine_attach(worker->engine, fd, connection, &connection->handle) != PIL_STATUS_OK) {
        free(connection);
    }
}

static void on_event(struct worker *worker, const struct pil_event *event) {
    struct connection *connection = event->owner;
    switch (event->kind) {
    case PIL_EVENT_ACCEPT: on_accept(worker, event->fd); return;
    case PIL_EVENT_RECEIVE: on_receive(worker, connection, event->data); return;
    case PIL_EVENT_END:
        connection->is_ended = true;
        answer(worker, connection);
        return;
    case PIL_EVENT_SENT:
        connection->is_flying = false;
        if (event->failed) {
            pil_engine_close(worker->engine, connection->handle);
        } else {
            answer(worker, connection);
        }
        return;
    case PIL_EVENT_CLOSED:
        pil_text_deinit(&connection->input);
        free(connection);
        return;
    case PIL_EVENT_READABLE:
    case PIL_EVENT_WAKE: return;
    }
}

/* Spins as Pillion's workers do: halves the time after a spin that ended in parking, doubles it after one that found
 * events. */
static uint64_t adapt_spin(struct worker *worker, uint64_t spin_ns, const struct pil_engine_stats *before) {
    struct pil_engine_stats now;
    uint64_t max = worker->settings->spin_ns_max;
    pil_engine_stats(worker->engine, &now);
    if (now.parks != before->parks && spin_ns > max / spin_share_min) {
        return spin_ns / 2;
    }
    return now.spins_hit == before->spins_hit ? spin_ns : spin_ns * 2 < max ? spin_ns * 2 : max;
}

static void *work(void *context) {
    struct worker *worker = context;
    struct pil_error error = {.text = ""};
    struct pil_engine_options options = {.kind = worker->settings->engine, .connections_max = 4096};
    pil_engine_handle listener;
    uint64_t spin_ns = worker->settings->spin_ns_max;
    pil_status status = pil_engine_create(&options, &worker->engine, &error);
    if (status == PIL_STATUS_OK) {
        status = pil_engine_listen(worker->engine, worker->settings->listener, NULL, &listener);
    }
    while (status == PIL_STATUS_OK) {
        struct pil_engine_stats before;
        uint32_t count = 0;
        pil_engine_stats(worker->engine, &before);
        status = pil_engine_wait(worker->engine, worker->events, EVENTS, spin_ns, UINT64_MAX, &count);
        spin_ns = adapt_spin(worker, spin_ns, &before);
        for (uint32_t i = 0; status == PIL_STATUS_OK && i < count; i++) {
            on_event(worker, &worker->events[i]);
        }
    }
    fprintf(stderr, "pillion-null: %s: %s\n", pil_status_text(status), error.text);
    exit(1);
}

/* ---- Start */

static void check(bool good, const char *what) {
    if (!good) {
        fprintf(stderr, "pillion-null: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static int open_listener(const char *address) {
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in internet = {.sin_family = AF_INET};
    struct sockaddr *to = (struct sockaddr *)&internet;
    socklen_t to_bytes = sizeof internet;
    const char *colon = strrchr(address, ':');
    char host[64];
    int on = 1;
    errno = EINVAL;
    if (strncmp(address, "unix:", 5) == 0 && strlen(address + 5) < sizeof local.sun_path) {
        memcpy(local.sun_path, address + 5, strlen(address + 5) + 1);
        unlink(local.sun_path);
        to = (struct sockaddr *)&local;
        to_bytes = sizeof local;
    } else {
        int len = snprintf(host, sizeof host, "%.*s", colon != NULL ? (int)(colon - address) : 0, address);
        check(strncmp(host, "tcp:", 4) == 0 && len < (int)sizeof host, address);
        check(inet_pton(AF_INET, host + 4, &internet.sin_addr) == 1, address);
        internet.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    }
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check(fd >= 0, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(fd, to, to_bytes) == 0 && listen(fd, 1024) == 0, address);
    return fd;
}

static void load_reply(struct settings *settings) {
    struct pil_text one = {0};
    struct pil_error error;
    if (pil_sys_read_file(settings->reply_path, 64 << 20, &one, &error) != PIL_STATUS_OK || one.len == 0) {
        fprintf(stderr, "pillion-null: --reply %s: %s\n", settings->reply_path, one.len == 0 ? "empty" : error.text);
        exit(2);
    }
    settings->reply_bytes = one.len;
    settings->repeat = one.len * REPEAT_MAX <= REPEAT_BYTES ? REPEAT_MAX : (uint32_t)(REPEAT_BYTES / one.len) + 1;
    for (uint32_t i = 0; i < settings->repeat; i++) {
        pil_text_append(&settings->reply, one.data, one.len);
    }
    pil_text_deinit(&one);
}

static uint64_t whole(const char *name, uint64_t max) {
    char *end = NULL;
    unsigned long long value = strtoull(optarg, &end, 10);
    if (end == optarg || *end != '\0' || value > max) {
        fprintf(stderr, "pillion-null: --%s %s: expected a whole number up to %llu\n", name, optarg,
                (unsigned long long)max);
        exit(2);
    }
    return value;
}

static size_t word(const char *name, const char *const *words) {
    size_t i = 0;
    while (words[i] != NULL && strcmp(optarg, words[i]) != 0) {
        i++;
    }
    if (words[i] == NULL) {
        fprintf(stderr, "pillion-null: --%s %s: not known\n", name, optarg);
        exit(2);
    }
    return i;
}

static void parse(int argc, char **argv, struct settings *settings) {
    static const char *const protocols[] = {"resp", "http", "bytes", NULL}, *const engines[] = {"io_uring", "epoll",
                                                                                                NULL};
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},   {"reply", required_argument, NULL, 'r'},
        {"protocol", required_argument, NULL, 'p'}, {"request-bytes", required_argument, NULL, 'b'},
        {"workers", required_argument, NULL, 'w'},  {"engine", required_argument, NULL, 'e'},
        {"spin-us", required_argument, NULL, 's'},  {0}};
    for (int id; (id = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (id) {
        case 'l': settings->address = optarg; break;
        case 'r': settings->reply_path = optarg; break;
        case 'p': settings->protocol = (null_protocol)word("protocol", protocols); break;
        case 'b': settings->request_bytes = (uint32_t)whole("request-bytes", 1 << 24); break;
        case 'w': settings->workers = (uint32_t)whole("workers", WORKERS_MAX); break;
        case 'e': settings->engine = word("engine", engines) == 0 ? PIL_ENGINE_IO_URING : PIL_ENGINE_EPOLL; break;
        case 's': settings->spin_ns_max = whole("spin-us", 1000000) * 1000; break;
        default: exit(2);
        }
    }
    if (settings->address == NULL || settings->reply_path == NULL || settings->workers == 0) {
        fprintf(stderr, "pillion-null: --listen, --reply and at least one worker are needed\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    struct settings settings = {.protocol = NULL_RESP, .request_bytes = 64, .workers = 1, .engine = PIL_ENGINE_EPOLL};
    parse(argc, argv, &settings);
    load_reply(&settings);
    signal(SIGPIPE, SIG_IGN);
    settings.listener = open_listener(settings.address);
    struct worker *workers = calloc(settings.workers, sizeof *workers);
    check(workers != NULL, "memory");
    printf("ready %s %s, %zu bytes an answer\n", settings.address, pil_engine_kind_text(settings.engine),
           settings.reply_bytes);
    fflush(stdout);
    for (uint32_t i = 0; i < settings.workers; i++) {
        pthread_t thread;
        workers[i].settings = &settings;
        errno = pthread_create(&thread, NULL, work, &workers[i]);
        check(errno == 0, "thread");
    }
    for (;;) {
        pause(); /* until a signal ends the process */
    }
}
