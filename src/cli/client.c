/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/sys.h"
#include "cli/connect.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536, REPLY_BYTES_MAX = 1 << 30 };

static pil_status fail_errno(struct pil_error *error, const char *what) {
    int number = errno;
    bool late = number == EAGAIN || number == EWOULDBLOCK;
    return pil_fail(error, late ? PIL_STATUS_TIMEOUT : pil_status_from_errno(number), "%s the server: %s", what,
                    late ? "no answer in time; --socket wants a listener of protocol resp" : strerror(number));
}

pil_status pil_client_open(const char *address, struct pil_client *ret_client, struct pil_error *ret_error) {
    struct pil_client client = {.fd = -1};
    PIL_TRY(pil_connect(address, &client.fd, ret_error));
    *ret_client = client;
    return PIL_STATUS_OK;
}

void pil_client_close(struct pil_client *client) {
    pil_sys_close(&client->fd);
    pil_text_deinit(&client->out);
    pil_text_deinit(&client->in);
}

/* A sink that appends to `out` through a buffer on the stack. */
struct out_sink {
    struct pil_sink sink;
    struct pil_text *out;
    uint8_t buffer[4096];
};

static bool flush_out(struct pil_sink *sink) {
    struct out_sink *self = (struct out_sink *)sink;
    pil_text_append(self->out, self->buffer, (size_t)(sink->at - self->buffer));
    sink->at = self->buffer;
    sink->end = self->buffer + sizeof self->buffer;
    return true;
}

void pil_client_queue(struct pil_client *client, const struct pil_bytes *args, uint32_t arg_count) {
    struct out_sink self = {.sink = {.grow = flush_out}, .out = &client->out};
    self.sink.at = self.buffer;
    self.sink.end = self.buffer + sizeof self.buffer;
    pil_resp_put_request(&self.sink, args, arg_count);
    flush_out(&self.sink);
}

pil_status pil_client_flush(struct pil_client *client, struct pil_error *ret_error) {
    size_t done = 0;
    if (client->out.failed) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a request");
    }
    while (done < client->out.len) {
        ssize_t sent = send(client->fd, client->out.data + done, client->out.len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return fail_errno(ret_error, "send to");
        }
        done += sent > 0 ? (size_t)sent : 0;
    }
    pil_text_clear(&client->out);
    return PIL_STATUS_OK;
}

pil_status pil_client_reply(struct pil_client *client, struct pil_bytes *ret_reply, struct pil_error *ret_error) {
    struct pil_resp_reply_cursor cursor = {0};
    size_t len;
    if (client->in_at == client->in.len) {
        pil_text_clear(&client->in);
        client->in_at = 0;
    }
    for (;;) {
        struct pil_bytes input = pil_bytes_from(client->in.data + client->in_at, client->in.len - client->in_at);
        pil_status status = input.len > 0 ? pil_resp_reply_length(&cursor, input, &len) : PIL_STATUS_AGAIN;
        if (status == PIL_STATUS_OK) {
            *ret_reply = pil_bytes_from(input.data, len);
            client->in_at += len;
            return status;
        }
        if (status != PIL_STATUS_AGAIN || input.len > REPLY_BYTES_MAX) {
            return pil_fail(ret_error, PIL_STATUS_UNSUPPORTED,
                            "the server there does not speak RESP; --socket needs a listener of "
                            "protocol resp");
        }
        char chunk[CHUNK_BYTES];
        ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
        if (got == 0) {
            return pil_fail(ret_error, PIL_STATUS_CLOSED, "the server closed the connection");
        }
        if (got < 0 && errno != EINTR) {
            return fail_errno(ret_error, "receive from");
        }
        pil_text_append(&client->in, chunk, got > 0 ? (size_t)got : 0);
        if (client->in.failed) {
            return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a reply");
        }
    }
}
