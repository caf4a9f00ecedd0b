/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/console.h"
#include "admin/pages.h"
#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    CONSOLE_MAGIC = 0x434f4e53,
    CLIENT_MAGIC = 0x41444d43,
    CLIENTS_MAX = 64,
    REQUEST_BYTES_MAX = 16384,
    HEAD_BYTES = 512
};
#define IDLE_NS 60000000000ull

struct client {
    uint32_t magic;
    pil_engine_handle handle;
    struct client *next, *previous;
    struct pil_http_cursor cursor;
    uint8_t input[REQUEST_BYTES_MAX];
    size_t input_len;
    struct pil_text head, body; /* of the response in flight */
    bool is_sending, is_closing, is_closed;
    uint64_t active_ns;
};

struct pil_console {
    uint32_t magic;
    struct pil_engine *engine;
    const struct pil_node *node;
    struct client *clients;
    uint32_t client_count;
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
    console->client_count--;
    pil_text_deinit(&client->head);
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

static void accept_client(struct pil_console *console, int fd) {
    struct client *client = console->client_count < CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
    if (client == NULL) {
        close(fd);
        return;
    }
    client->magic = CLIENT_MAGIC;
    client->active_ns = pil_clock_monotonic_ns();
    client->next = console->clients;
    if (client->next != NULL) {
        client->next->previous = client;
    }
    console->clients = client;
    console->client_count++;
    if (pil_engine_attach(console->engine, fd, client, &client->handle) != PIL_STATUS_OK) {
        destroy_client(console, client);
    }
}

static void send_page(struct pil_console *console, struct client *client, const struct pil_page *page, uint8_t minor) {
    uint8_t head[HEAD_BYTES];
    struct pil_sink sink = {.at = head, .end = head + sizeof head};
    struct pil_http_head fields = {.status = page->status,
                                   .minor = minor,
                                   .keep_alive = !client->is_closing,
                                   .content_type = page->content_type,
                                   .fields = page->fields};
    pil_http_patch_length(pil_http_put_head(&sink, &fields), page->body.len);
    pil_text_clear(&client->head);
    pil_text_append(&client->head, head, (size_t)(sink.at - head));
    pil_text_deinit(&client->body);
    client->body = page->body;
    struct iovec parts[2] = {{.iov_base = client->head.data, .iov_len = client->head.len},
                             {.iov_base = client->body.data, .iov_len = client->body.len}};
    client->is_sending = true;
    pil_engine_send(console->engine, client->handle, parts, client->body.len > 0 ? 2 : 1);
}

/* One request at a time: the next waits until the answer is out. */
static void serve(struct pil_console *console, struct client *client) {
    struct pil_http_limits limits = {.head_bytes_max = REQUEST_BYTES_MAX / 2, .fields_max = 64, .body_bytes_max = 0};
    struct pil_http_request request = {0};
    struct pil_page page = {.content_type = "text/plain; charset=utf-8"};
    if (client->is_sending || client->is_closing || client->is_closed || client->input_len == 0) {
        return;
    }
    pil_status status =
        pil_http_decode(&client->cursor, pil_bytes_from(client->input, client->input_len), &limits, &request);
    if (status == PIL_STATUS_AGAIN) {
        if (client->input_len == sizeof client->input) {
            close_client(console, client);
        }
        return;
    }
    if (status != PIL_STATUS_OK) {
        page.status = request.error_status;
        pil_text_format(&page.body, "%s\n", request.error);
        client->is_closing = true;
        send_page(console, client, &page, 1);
        return;
    }
    pil_page_answer(console->node, &request, &page);
    client->is_closing = !request.keep_alive;
    client->input_len -= request.consumed;
    uint8_t minor = request.minor;
    memmove(client->input, client->input + request.consumed, client->input_len);
    send_page(console, client, &page, minor);
}

static void on_client_event(struct pil_console *console, struct client *client, const struct pil_event *event) {
    client->active_ns = pil_clock_monotonic_ns();
    if (event->kind == PIL_EVENT_CLOSED) {
        destroy_client(console, client);
    } else if (event->kind == PIL_EVENT_RECEIVE) {
        size_t room = sizeof client->input - client->input_len;
        if (event->data.len > room) {
            close_client(console, client);
            return;
        }
        memcpy(client->input + client->input_len, event->data.data, event->data.len);
        client->input_len += event->data.len;
        serve(console, client);
    } else if (event->kind == PIL_EVENT_SENT) {
        client->is_sending = false;
        if (event->failed || client->is_closing) {
            close_client(console, client);
        } else {
            serve(console, client);
        }
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
        if (now_ns - client->active_ns > IDLE_NS) {
            close_client(console, client);
        }
    }
}
