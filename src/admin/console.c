/* SPDX-License-Identifier: Apache-2.0
 * Places: PIL_CONSOLE_CLIENTS_MAX connections, of which PROBE_PLACES are kept for health probes. When the others are
 * taken, the newcomer gets the place of a connection that has held its own for GRACE_NS without getting an answer: of
 * the peer with the most connections, the one that waits longest. Where there is none, the newcomer gets a kept place,
 * for one answer about health; these go from the one that waits longest to the next newcomer at once, because a probe
 * asks as soon as it is connected. */
#include "admin/console.h"
#include "admin/pages.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/panic.h"
#include "protocol/http/exchange.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONSOLE_MAGIC = 0x434f4e53,
    CLIENT_MAGIC = 0x41444d43,
    PROBE_PLACES = 16,
    BODY_BYTES_MAX = 4096, /* read and ignored, so that the answer is "only GET and HEAD" */
    INPUT_BYTES = 131072,  /* the longest request, and the data that one turn may bring after it */
    HEAD_BYTES = 512
};
/* A connection is closed when it has not been used for IDLE_NS, when a request, or an answer, is not complete after
 * REQUEST_NS, in a kept place after PROBE_NS. */
#define IDLE_NS 60000000000ull
#define REQUEST_NS 10000000000ull
#define PROBE_NS 1000000000ull
#define GRACE_NS 1000000000ull

struct client {
    uint32_t magic;
    pil_engine_handle handle;
    struct client *next, *previous;
    struct pil_http_cursor cursor;
    uint8_t input[INPUT_BYTES];
    size_t input_len;
    uint8_t head[HEAD_BYTES]; /* head and body: of the response in flight */
    struct pil_text body;
    bool is_sending, is_closing, is_closed;
    bool is_probe;     /* in a kept place */
    bool was_answered; /* an answer was sent completely */
    uint64_t peer;     /* the same for connections of one process, or of one address */
    uint64_t since_ns; /* when it began to wait for a request, to receive one, or to send its answer */
};

struct pil_console {
    uint32_t magic;
    struct pil_engine *engine;
    const struct pil_node *node;
    struct client *clients;
};

struct pil_console *pil_console_create(struct pil_engine *engine, const struct pil_node *node) {
    struct pil_console *console = calloc(1, sizeof *console);
    if (console != NULL) {
        *console = (struct pil_console){.magic = CONSOLE_MAGIC, .engine = engine, .node = node};
    }
    return console;
}

static void destroy_client(struct pil_console *console, struct client *client) {
    if (client->previous != NULL) {
        client->previous->next = client->next;
    } else {
        console->clients = client->next;
    }
    if (client->next != NULL) {
        client->next->previous = client->previous;
    }
    pil_text_deinit(&client->body);
    client->magic = 0;
    free(client);
}

void pil_console_destroy(struct pil_console **console) {
    while (*console != NULL && (*console)->clients != NULL) {
        destroy_client(*console, (*console)->clients);
    }
    free(*console);
    *console = NULL;
}

pil_status pil_console_listen(struct pil_console *console, int fd) {
    pil_engine_handle handle = 0;
    return pil_engine_listen(console->engine, fd, console, &handle);
}

static void close_client(struct pil_console *console, struct client *client) {
    if (!client->is_closed) {
        client->is_closed = true;
        pil_engine_close(console->engine, client->handle);
    }
}

/* ---- Places. */

static uint64_t peer_of(int fd) {
    struct sockaddr_storage address = {0};
    struct ucred process = {0};
    socklen_t len = sizeof address, process_len = sizeof process;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET) {
        return ((const struct sockaddr_in *)&address)->sin_addr.s_addr;
    }
    if (address.ss_family == AF_INET6) {
        return pil_hash_block(pil_bytes_from(&in6->sin6_addr, sizeof in6->sin6_addr));
    }
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &process_len) == 0 ? (uint64_t)process.pid : 0;
}

/* Open connections; `like` not NULL: only those of its peer. */
static uint32_t count(const struct pil_console *console, const struct client *like, bool is_probe) {
    uint32_t found = 0;
    for (const struct client *client = console->clients; client != NULL; client = client->next) {
        found += !client->is_closed && client->is_probe == is_probe && (like == NULL || client->peer == like->peer);
    }
    return found;
}

/* Closes the connection whose place a newcomer gets. Returns false if there is none. */
static bool make_room(struct pil_console *console, bool is_probe, uint64_t now_ns) {
    struct client *chosen = NULL;
    uint32_t most = 0;
    for (struct client *client = console->clients; client != NULL; client = client->next) {
        if (client->is_closed || client->is_probe != is_probe ||
            now_ns - client->since_ns < (is_probe ? 0 : GRACE_NS)) {
            continue;
        }
        uint32_t places = count(console, client, is_probe);
        if (chosen == NULL || places > most || (places == most && client->since_ns < chosen->since_ns)) {
            chosen = client;
            most = places;
        }
    }
    if (chosen != NULL) {
        close_client(console, chosen);
    }
    return chosen != NULL;
}

/* Returns false if no place is free, and none can be made. */
static bool find_place(struct pil_console *console, uint64_t now_ns, bool *ret_is_probe) {
    *ret_is_probe = false;
    if (count(console, NULL, false) < PIL_CONSOLE_CLIENTS_MAX - PROBE_PLACES || make_room(console, false, now_ns)) {
        return true;
    }
    *ret_is_probe = true;
    return count(console, NULL, true) < PROBE_PLACES || make_room(console, true, now_ns);
}

static void accept_client(struct pil_console *console, int fd) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool is_probe = false;
    struct client *client = find_place(console, now_ns, &is_probe) ? calloc(1, sizeof *client) : NULL;
    if (client == NULL) {
        close(fd);
        return;
    }
    client->magic = CLIENT_MAGIC;
    client->since_ns = now_ns;
    client->is_probe = is_probe;
    client->peer = peer_of(fd);
    client->next = console->clients;
    if (client->next != NULL) {
        client->next->previous = client;
    }
    console->clients = client;
    if (pil_engine_attach(console->engine, fd, client, &client->handle) != PIL_STATUS_OK) {
        destroy_client(console, client);
    }
}

/* ---- Requests. */

/* Sends the head and the body, or only the first part; reading pauses meanwhile. */
static void send_parts(struct pil_console *console, struct client *client, size_t head_bytes, bool has_body) {
    struct iovec parts[2] = {{.iov_base = client->head, .iov_len = head_bytes},
                             {.iov_base = client->body.data, .iov_len = client->body.len}};
    client->is_sending = true;
    pil_engine_pause(console->engine, client->handle);
    pil_engine_send(console->engine, client->handle, parts, has_body ? 2 : 1);
}

/* The client waits for "100 Continue" before it sends the body of its request. */
static void send_continue(struct pil_console *console, struct client *client) {
    struct pil_sink sink = pil_sink_fixed(client->head, sizeof client->head);
    pil_http_put_continue(&sink);
    client->cursor.expect_continue = false;
    send_parts(console, client, (size_t)(sink.at - client->head), false);
}

/* Takes ownership of the page's body. */
static void send_page(struct pil_console *console, struct client *client, struct pil_exchange *exchange,
                      const struct pil_page *page) {
    struct pil_sink sink = pil_sink_fixed(client->head, sizeof client->head);
    bool has_body = !exchange->head.omits_length && page->body.len > 0;
    exchange->head.status = page->status;
    exchange->head.content_type = page->content_type;
    exchange->head.fields = page->fields != NULL ? page->fields : exchange->head.fields;
    uint8_t *length = pil_http_put_head(&sink, &exchange->head);
    if (has_body) {
        pil_http_patch_length(length, page->body.len);
    }
    PIL_ASSERT(!sink.failed);
    pil_text_deinit(&client->body);
    client->body = page->body;
    client->since_ns = pil_clock_monotonic_ns();
    client->is_closing = !exchange->head.keep_alive;
    send_parts(console, client, (size_t)(sink.at - client->head), has_body);
}

/* Serves one request at a time: the next one waits until the answer has been sent. */
static void serve(struct pil_console *console, struct client *client) {
    struct pil_http_request request;
    struct pil_exchange exchange;
    struct pil_page page = {.content_type = "text/plain; charset=utf-8"};
    if (client->is_sending || client->is_closing || client->is_closed || client->input_len == 0) {
        return;
    }
    pil_status status = pil_exchange_decode(&client->cursor, pil_bytes_from(client->input, client->input_len),
                                            BODY_BYTES_MAX, &request, &exchange);
    if (status != PIL_STATUS_OK) {
        if (client->cursor.expect_continue) {
            send_continue(console, client);
        }
        return;
    }
    if (client->is_probe) {
        exchange.head.keep_alive = false;
    }
    if (exchange.error == NULL && client->is_probe && !pil_page_is_health(&request)) {
        page.status = 503;
        pil_text_format(&page.body, "all %d places of the admin listeners are taken; only health is answered\n",
                        PIL_CONSOLE_CLIENTS_MAX - PROBE_PLACES);
    } else if (exchange.error == NULL) {
        pil_page_answer(console->node, &request, &page);
    } else {
        page.status = exchange.head.status;
        pil_text_format(&page.body, "%s\n", exchange.error);
    }
    client->input_len -= request.consumed;
    memmove(client->input, client->input + request.consumed, client->input_len);
    send_page(console, client, &exchange, &page);
}

/* Buffers the data until its request is served. Reading is paused while an answer is in flight, so the buffer needs
 * room only for the data that one turn adds to an incomplete request. */
static void receive(struct pil_console *console, struct client *client, struct pil_bytes data) {
    if (data.len > sizeof client->input - client->input_len) {
        close_client(console, client);
        return;
    }
    if (client->input_len == 0 && !client->is_sending) {
        client->since_ns = pil_clock_monotonic_ns();
    }
    memcpy(client->input + client->input_len, data.data, data.len);
    client->input_len += data.len;
    serve(console, client);
}

static void on_sent(struct pil_console *console, struct client *client, bool failed) {
    client->is_sending = false;
    client->was_answered = true;
    client->since_ns = pil_clock_monotonic_ns();
    if (failed || client->is_closing) {
        close_client(console, client);
        return;
    }
    serve(console, client);
    if (!client->is_sending) {
        pil_engine_resume(console->engine, client->handle);
    }
}

static void on_client_event(struct pil_console *console, struct client *client, const struct pil_event *event) {
    if (event->kind == PIL_EVENT_CLOSED) {
        destroy_client(console, client);
    } else if (event->kind == PIL_EVENT_RECEIVE) {
        receive(console, client, event->data);
    } else if (event->kind == PIL_EVENT_SENT) {
        on_sent(console, client, event->failed);
    } else if (event->kind == PIL_EVENT_END && (event->failed || !client->is_sending)) {
        close_client(console, client);
    } else if (event->kind == PIL_EVENT_END) {
        client->is_closing = true;
    }
}

bool pil_console_event(struct pil_console *console, const struct pil_event *event) {
    if (event->owner == NULL) {
        return false;
    }
    uint32_t magic = *(const uint32_t *)event->owner;
    if (magic == CLIENT_MAGIC) {
        on_client_event(console, event->owner, event);
        return true;
    }
    if (event->owner == console && event->kind == PIL_EVENT_ACCEPT) {
        accept_client(console, event->fd);
    }
    return event->owner == console;
}

void pil_console_sweep(struct pil_console *console) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    for (struct client *client = console->clients; client != NULL; client = client->next) {
        bool is_idle = client->was_answered && !client->is_sending && client->input_len == 0;
        if (now_ns - client->since_ns > (client->is_probe ? PROBE_NS : is_idle ? IDLE_NS : REQUEST_NS)) {
            close_client(console, client);
        }
    }
}
