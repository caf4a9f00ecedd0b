/* SPDX-License-Identifier: Apache-2.0
 * The loop. Open: arrivals have intended times, fixed or Poisson, which a slow answer cannot move; latency counts from
 * the intended time. Closed: each connection sends its pipeline when the previous one is answered; latency counts from
 * sending. */
#include "load/load.h"

#include "base/clock.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS = 1024,
    WINDOW = 65536, /* unanswered requests of one connection, a power of two; when it is full, sends are late */
};
static const uint64_t drain_ns = 5000000000, poll_below_ns = 2500000, park_margin_ns = 1500000, glance_ns = 50000000;

struct outstanding {
    uint64_t intended_ns, random;
};

struct connection {
    pil_engine_handle handle;
    struct pil_text input;           /* the start of a reply that is incomplete */
    struct pil_text filling, flying; /* filling: requests not sent yet; flying: requests being sent */
    bool is_flying, is_closed;
    struct outstanding *window;
    uint32_t first, count;
};

struct run {
    struct load_plan *plan;
    struct load_record *record;
    const struct load_protocol *protocol;
    struct pil_engine *engine;
    struct connection *connections;
    struct pil_error *error;
    uint64_t random_keys, random_arrivals;
    uint64_t next_ns, arrival;    /* open loop: the next intended time, and the number of that arrival */
    double gap_ns, next_exact_ns; /* gap between arrivals; next_ns before rounding */
    uint64_t open_count;          /* unanswered requests of all connections */
    bool is_sending, is_captured, is_lost;
};

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number) {
    (void)number;
    is_interrupted = 1;
}

static pil_status connect_unix(const char *path, int *ret_fd, struct pil_error *ret_error) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "unix:%s: the path is too long for a socket", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        pil_sys_close(&fd);
        return pil_fail(ret_error, pil_status_from_errno(code), "unix:%s: %s", path, strerror(code));
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

static pil_status connect_tcp(const char *text, int *ret_fd, struct pil_error *ret_error) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64] = "", *end = NULL;
    if (colon != NULL && (size_t)(colon - text) < sizeof host) {
        memcpy(host, text, (size_t)(colon - text));
    }
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    if (port == 0 || port > 65535 || *end != '\0' || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "tcp:%s: expected tcp:IPV4:PORT", text);
    }
    address.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        pil_sys_close(&fd);
        return pil_fail(ret_error, pil_status_from_errno(code), "tcp:%s: %s", text, strerror(code));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

pil_status load_connect(const char *address, int *ret_fd, struct pil_error *ret_error) {
    int fd = -1;
    if (strncmp(address, "unix:", 5) == 0) {
        PIL_TRY(connect_unix(address + 5, &fd, ret_error));
    } else if (strncmp(address, "tcp:", 4) == 0) {
        PIL_TRY(connect_tcp(address + 4, &fd, ret_error));
    } else {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: expected unix:PATH or tcp:IPV4:PORT", address);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

static void flush_connection(struct run *run, struct connection *connection) {
    if (connection->is_flying || connection->is_closed || connection->filling.len == 0) {
        return;
    }
    struct pil_text swap = connection->flying;
    connection->flying = connection->filling;
    connection->filling = swap;
    pil_text_clear(&connection->filling);
    connection->is_flying = true;
    struct iovec part = {.iov_base = connection->flying.data, .iov_len = connection->flying.len};
    pil_engine_send(run->engine, connection->handle, &part, 1);
}

/* Some servers limit the first request of a connection: sends a small command whose answer does not count (intended_ns
 * 0). */
static void greet(struct run *run, struct connection *connection) {
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    if (run->protocol == &load_protocol_resp) {
        pil_text_append(&connection->filling, ping, sizeof ping - 1);
        connection->window[connection->count++] = (struct outstanding){.intended_ns = 0};
        run->open_count++;
        flush_connection(run, connection);
    }
}

/* Sends one pipeline; its requests have the same intended time. */
static void issue(struct run *run, struct connection *connection, uint64_t intended_ns) {
    struct load_record *record = run->record;
    if (connection->count == 0) {
        connection->first = 0; /* keeps the queue in the cache */
    }
    bool measured = intended_ns >= record->measure_begin_ns && intended_ns < record->measure_end_ns;
    for (uint32_t i = 0; i < run->plan->depth; i++) {
        struct outstanding *entry = &connection->window[(connection->first + connection->count++) % WINDOW];
        *entry = (struct outstanding){.intended_ns = intended_ns, .random = run->random_keys};
        run->protocol->put(run->plan, &run->random_keys, &connection->filling);
    }
    run->open_count += run->plan->depth;
    record->sent += measured ? run->plan->depth : 0;
    if (run->plan->requests_max > 0 && record->sent >= run->plan->requests_max) {
        run->is_sending = false;
    }
    flush_connection(run, connection);
}

/* Sends everything that is due before the end, however late that is noticed. When the window of a connection is full,
 * all arrivals wait: they stay due, and count as late. */
static void issue_due(struct run *run, uint64_t now_ns) {
    const struct load_plan *plan = run->plan;
    double period_ns = run->gap_ns * plan->connections;
    while (run->is_sending && run->next_ns <= now_ns && run->next_ns < run->record->measure_end_ns) {
        uint64_t index = plan->is_poisson ? load_random_next(&run->random_arrivals) : run->arrival;
        struct connection *connection = &run->connections[index % plan->connections];
        if (connection->count + plan->depth > WINDOW) {
            return;
        }
        if ((double)(now_ns - run->next_ns) > period_ns && run->next_ns >= run->record->measure_begin_ns) {
            run->record->late += plan->depth;
        }
        issue(run, connection, run->next_ns);
        run->arrival++;
        run->next_exact_ns +=
            plan->is_poisson ? -log(load_random_unit(&run->random_arrivals)) * run->gap_ns : run->gap_ns;
        run->next_ns = (uint64_t)run->next_exact_ns;
    }
}

static void capture(struct run *run, struct pil_bytes reply) {
    FILE *file = fopen(run->plan->capture_path, "wbe");
    run->is_captured = file != NULL && fwrite(reply.data, 1, reply.len, file) == reply.len;
    if (file != NULL) {
        run->is_captured &= fclose(file) == 0;
    }
}

static void on_reply(struct run *run, const struct outstanding *entry, struct pil_bytes reply, uint64_t now_ns) {
    load_verdict verdict = run->protocol->check(run->plan, entry->random, reply);
    load_record_reply(run->record, entry->intended_ns, now_ns, verdict);
    if (run->plan->capture_path != NULL) {
        capture(run, reply);
    }
}

/* Takes whole replies off the front of `input`. Returns false if the bytes violate the protocol, or nothing was
 * requested. */
static bool take_replies(struct run *run, struct connection *connection, struct pil_bytes *input, uint64_t now_ns) {
    while (input->len > 0) {
        size_t len = 0;
        pil_status status = run->protocol->frame(run->plan, *input, &len);
        if (status == PIL_STATUS_AGAIN) {
            return true;
        }
        if (status != PIL_STATUS_OK || connection->count == 0) {
            return false;
        }
        const struct outstanding *entry = &connection->window[connection->first];
        if (entry->intended_ns > 0) {
            on_reply(run, entry, pil_bytes_from(input->data, len), now_ns);
        }
        connection->first = (connection->first + 1) % WINDOW;
        connection->count--;
        run->open_count--;
        input->data += len;
        input->len -= len;
    }
    return true;
}

static void on_receive(struct run *run, struct connection *connection, struct pil_bytes data) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    struct pil_bytes input = data;
    if (connection->input.len > 0) {
        pil_text_append(&connection->input, data.data, data.len);
        input = pil_text_bytes(&connection->input);
    }
    if (!take_replies(run, connection, &input, now_ns)) {
        run->is_lost = true;
        pil_ignore(
            pil_fail(run->error, PIL_STATUS_CORRUPT, "%s: the answer is not what was asked for", run->plan->address),
            "the caller looks at is_lost");
        return;
    }
    if (connection->input.len == 0) {
        pil_text_append(&connection->input, input.data, input.len);
    } else if (input.len < connection->input.len) {
        memmove(connection->input.data, input.data, input.len);
        connection->input.len = input.len;
    }
    if (run->plan->rate <= 0 && connection->count == 0 && run->is_sending) {
        issue(run, connection, pil_clock_monotonic_ns());
    }
}

static void on_event(struct run *run, const struct pil_event *event) {
    struct connection *connection = event->owner;
    switch (event->kind) {
    case PIL_EVENT_RECEIVE: on_receive(run, connection, event->data); return;
    case PIL_EVENT_SENT:
        connection->is_flying = false;
        if (!event->failed) {
            flush_connection(run, connection);
        }
        return;
    case PIL_EVENT_END:
    case PIL_EVENT_CLOSED:
        connection->is_closed = true;
        run->is_lost = true;
        pil_ignore(pil_fail(run->error, PIL_STATUS_CLOSED,
                            "%s: the server closed a connection with %u requests unanswered", run->plan->address,
                            connection->count),
                   "the caller looks at is_lost");
        return;
    case PIL_EVENT_ACCEPT:
    case PIL_EVENT_READABLE:
    case PIL_EVENT_WAKE: return;
    }
}

/* Begins and ends measuring, and the CPU window within it. */
static void keep_time(struct run *run, uint64_t now_ns) {
    struct load_record *record = run->record;
    const struct load_plan *plan = run->plan;
    if (record->cpu_window_begin_ns == UINT64_MAX && now_ns >= record->measure_begin_ns) {
        record->has_cpu = plan->cpu_pid_count > 0 && load_cpu_read(plan, &record->cpu_begin_ns);
        record->cpu_window_begin_ns = pil_clock_monotonic_ns();
    }
    run->is_sending &= now_ns < record->measure_end_ns && !is_interrupted;
    if (!run->is_sending && record->cpu_window_end_ns == 0) {
        record->measure_end_ns = now_ns < record->measure_end_ns ? now_ns : record->measure_end_ns;
        record->has_cpu = record->has_cpu && load_cpu_read(plan, &record->cpu_end_ns);
        record->cpu_window_end_ns = pil_clock_monotonic_ns();
    }
    if (plan->interval_ms > 0 && now_ns >= record->interval_begin_ns + plan->interval_ms * 1000000ull) {
        load_report_interval(plan, record, now_ns);
    }
}

/* Waits for events. An open loop polls when its next arrival is near, because a sleep ends late. */
static pil_status wait_events(struct run *run, struct pil_event *events, uint32_t *ret_count) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    uint64_t timeout_ns = glance_ns;
    if (run->plan->rate > 0 && run->is_sending) {
        uint64_t gap_ns = run->next_ns > now_ns ? run->next_ns - now_ns : 0;
        if (gap_ns < poll_below_ns) {
            return pil_engine_wait(run->engine, events, EVENTS, 0, 0, ret_count);
        }
        timeout_ns = gap_ns - park_margin_ns < timeout_ns ? gap_ns - park_margin_ns : timeout_ns;
    }
    return pil_engine_wait(run->engine, events, EVENTS, run->plan->spin_ns, timeout_ns, ret_count);
}

static pil_status loop(struct run *run) {
    static struct pil_event events[EVENTS];
    uint64_t give_up_ns = UINT64_MAX;
    for (;;) {
        uint64_t now_ns = pil_clock_monotonic_ns();
        if (run->plan->rate > 0) {
            issue_due(run, now_ns);
        }
        keep_time(run, now_ns);
        if (!run->is_sending && give_up_ns == UINT64_MAX) {
            give_up_ns = now_ns + drain_ns;
        }
        if (run->is_lost || run->is_captured || (!run->is_sending && (run->open_count == 0 || now_ns > give_up_ns))) {
            break;
        }
        uint32_t count = 0;
        PIL_TRY(wait_events(run, events, &count));
        for (uint32_t i = 0; i < count && !run->is_lost; i++) {
            on_event(run, &events[i]);
        }
    }
    run->record->unanswered = run->open_count;
    return run->is_lost ? PIL_STATUS_CLOSED : PIL_STATUS_OK;
}

static void begin(struct run *run) {
    struct load_plan *plan = run->plan;
    struct load_record *record = run->record;
    uint64_t now_ns = pil_clock_monotonic_ns();
    record->begin_ns = now_ns;
    record->measure_begin_ns = record->interval_begin_ns = now_ns + (uint64_t)(plan->warmup_s * 1e9);
    record->measure_end_ns =
        plan->duration_s > 0 ? record->measure_begin_ns + (uint64_t)(plan->duration_s * 1e9) : UINT64_MAX;
    record->cpu_window_begin_ns = UINT64_MAX;
    run->is_sending = true;
    run->gap_ns = plan->rate > 0 ? 1e9 * plan->depth / plan->rate : 0;
    run->next_ns = now_ns;
    run->next_exact_ns = (double)now_ns;
    for (uint32_t i = 0; plan->rate <= 0 && i < plan->connections; i++) {
        issue(run, &run->connections[i], pil_clock_monotonic_ns());
    }
}

static pil_status open_connections(struct run *run) {
    const struct load_plan *plan = run->plan;
    struct pil_engine_options options = {
        .kind = plan->engine,
        .connections_max = plan->connections + 1,
        .buffer_bytes = 65536,
        .receive_bytes_per_turn_max = 4 << 20,
    };
    PIL_TRY(pil_engine_create(&options, &run->engine, run->error));
    for (uint32_t i = 0; i < plan->connections; i++) {
        struct connection *connection = &run->connections[i];
        int fd = -1;
        connection->window = malloc(WINDOW * sizeof *connection->window);
        if (connection->window == NULL) {
            return pil_fail(run->error, PIL_STATUS_NO_MEMORY, "no memory for %u connections", plan->connections);
        }
        PIL_TRY(load_connect(plan->address, &fd, run->error));
        PIL_TRY(pil_engine_attach(run->engine, fd, connection, &connection->handle));
        greet(run, connection);
    }
    return PIL_STATUS_OK;
}

pil_status load_run(struct load_plan *plan, struct load_record *record, struct pil_error *ret_error) {
    struct run run = {.plan = plan,
                      .record = record,
                      .protocol = load_protocol_of(plan->command),
                      .error = ret_error,
                      .random_keys = plan->random,
                      .random_arrivals = ~plan->random};
    run.connections = calloc(plan->connections, sizeof *run.connections);
    if (run.connections == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for %u connections", plan->connections);
    }
    signal(SIGINT, on_interrupt);
    run.protocol->prepare(plan);
    pil_status status = open_connections(&run);
    if (status == PIL_STATUS_OK) {
        begin(&run);
        status = loop(&run);
    }
    pil_engine_destroy(&run.engine);
    for (uint32_t i = 0; i < plan->connections; i++) {
        pil_text_deinit(&run.connections[i].input);
        pil_text_deinit(&run.connections[i].filling);
        pil_text_deinit(&run.connections[i].flying);
        free(run.connections[i].window);
    }
    free(run.connections);
    pil_text_deinit(&plan->head);
    pil_text_deinit(&plan->tail);
    return status;
}
