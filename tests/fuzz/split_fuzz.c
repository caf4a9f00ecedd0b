/* SPDX-License-Identifier: Apache-2.0
 * The same bytes, delivered whole and in pieces, must get the same answers. The input is a stream: its first byte
 * chooses limits, options and the protocol (world_start; bits 16 and 32 both set: the mapped listener), its second byte
 * where the stream is cut. Then bytes are what the peer sends, and 0xff N is the request N of a table for the protocol
 * (0xff 0xff: one byte 0xff), so that valid requests are frequent.
 * RESP, Feast and OIP: the stream arrives whole, and then cut anywhere, with a turn after each piece; answers and the
 * reason why the connection ended are the same. Mapped: the packets of a session arrive together, and then one by one,
 * with turns and reads in between; the messages are the same and carry as many descriptors. */
#include "fuzz/turn_answers.h"
#include "support/mapped_fixture.h"

enum {
    INPUT_MAX = 2048,
    STREAM_MAX = 1 << 14,
    ESCAPE = 0xff,
    MAPPED = 3,
    PACKETS_MAX = 24,
    MESSAGES_MAX = 256,
    /* What unread answers take of the output depends on turns: it is never too much, whatever the limits are. */
    OUTPUT_MAX = 1 << 24
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Requests. */

#define HTTP(line, fields, bytes, body) line " HTTP/1.1\r\nhost: x\r\n" fields "content-length: " bytes "\r\n\r\n" body
#define BARE(line, fields) line " HTTP/1.1\r\nhost: x\r\n" fields "\r\n"

/* A request may hold bytes that are zero: its length is that of the literal. */
struct request {
    const char *text;
    size_t len;
};
#define REQUEST(text) \
    { text, sizeof text - 1 }

static const struct request resp_requests[] = {
    REQUEST("*4\r\n$5\r\nHMGET\r\n$3\r\nv:1\r\n$2\r\nf0\r\n$2\r\nf1\r\n"),
    REQUEST("*2\r\n$7\r\nHGETALL\r\n$3\r\nw:2\r\n"),
    REQUEST("*4\r\n$4\r\nMGET\r\n$3\r\nv:1\r\n$4\r\nw:99\r\n$5\r\np/v:3\r\n"),
    REQUEST("*1\r\n$5\r\nMULTI\r\n"),
    REQUEST("*1\r\n$4\r\nEXEC\r\n"),
    REQUEST("*1\r\n$7\r\nDISCARD\r\n"),
    REQUEST("*3\r\n$8\r\nPIL.PLAN\r\n$4\r\nv:f0\r\n$4\r\nv:f3\r\n"),
    REQUEST("*5\r\n$8\r\nPIL.PLAN\r\n$7\r\nCOLUMNS\r\n$4\r\nw:f0\r\n$4\r\nw:f2\r\n$4\r\nw:f3\r\n"),
    REQUEST("*4\r\n$10\r\nPIL.VECTOR\r\n$1\r\n1\r\n$1\r\n1\r\n$2\r\n99\r\n"),
    REQUEST("*3\r\n$12\r\nPIL.VECTOR64\r\n$5\r\nevery\r\n$16\r\n\2\0\0\0\0\0\0\0\r\n\0\0\0\0\0\0\r\n"),
    REQUEST("*4\r\n$11\r\nPIL.COLUMNS\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n1\r\n"),
    REQUEST("*3\r\n$10\r\nPIL.VECTOR\r\n$4\r\nboth\r\n$3\r\n1|2\r\n"),
    REQUEST("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
    REQUEST("*2\r\n$4\r\nECHO\r\n$12\r\na\r\n$1\r\nb\r\n*1\r\n"),
    REQUEST("*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nCOUNT\r\n$1\r\n5\r\n"),
    REQUEST("hmget \"v:\\x31\" f0 'f1'\r\n"),
    REQUEST("GET v:2\n"),
    REQUEST("\r\n"),
    REQUEST("*0\r\n"),
    REQUEST("*1\r\n$4\r\nQUIT\r\n"),
    REQUEST("*2\r\n$3\r\nGET\r\n$-1\r\n"),
    REQUEST("*3\r\n$4\r\nHGET\r\n$3\r\nv:1\r\n"),
};
static const struct request feast_requests[] = {
    REQUEST(HTTP("POST /get-online-features", "", "61",
                 "{\"features\": [\"v:f0\", \"v:f3\"], \"entities\": {\"id\": [1, 2, 9]}}")),
    REQUEST(HTTP("POST /get-online-features", "expect: 100-continue\r\n", "53",
                 "{\"features\": [\"v:f0\"], \"entities\": {\"id\": [1, 2, 9]}}")),
    REQUEST(HTTP("POST /get-online-features", "", "56",
                 "{\"feature_service\": \"every\", \"entities\": {\"id\": [1, 2]}}")),
    REQUEST(HTTP("POST /get-online-features", "", "30", "{\"features\": \"\\u00e4\\ud83d\\ude00\"}")),
    REQUEST(HTTP("POST /get-online-features", "content-type: text/plain\r\n", "4", "{\r\n}")),
    REQUEST(BARE("GET /health", "")),
    REQUEST(BARE("HEAD /health", "")),
    REQUEST(BARE("GET /health", "connection: close\r\n")),
    REQUEST(BARE("POST /get-online-features", "transfer-encoding: chunked\r\n") "2\r\n{}\r\n0\r\n\r\n"),
    REQUEST(BARE("PUT /push", "content-length: 0\r\n")),
    REQUEST("\r\n\r\n"),
    REQUEST("GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
    REQUEST("GET /health HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n"),
};
static const struct request oip_requests[] = {
    REQUEST(HTTP("POST /v2/models/every/infer", "", "94",
                 "{\"inputs\": [{\"name\": \"id\", \"shape\": [3], \"datatype\": \"INT64\", \"data\": [1, 2, 99]}], "
                 "\"id\": \"7\"}")),
    REQUEST(HTTP("POST /v2/models/one/infer", "inference-header-content-length: 149\r\n", "157",
                 "{\"inputs\": [{\"name\": \"id\", \"shape\": [1, 1], \"datatype\": \"INT64\", \"parameters\": "
                 "{\"binary_data_size\": 8}}], \"parameters\": {\"binary_data_output\": true}}"
                 "\2\0\0\0\0\0\0\0")),
    REQUEST(HTTP("POST /v2/models/every/infer", "inference-header-content-length: 999\r\n", "2", "{}")),
    REQUEST(HTTP("POST /v2/repository/index", "", "2", "{}")),
    REQUEST(BARE("GET /v2", "")),
    REQUEST(BARE("GET /v2/models/every", "")),
    REQUEST(BARE("HEAD /v2/health/ready", "")),
    REQUEST(BARE("GET /v2/models/nope/ready", "connection: close\r\n")),
    REQUEST(BARE("POST /v2/models/every/infer", "content-length: 3\r\ncontent-length: 4\r\n") "{}\r\n"),
};
static const struct {
    const struct request *requests;
    uint32_t count;
} tables[WORLD_PROTOCOLS] = {
    [PIL_PROTOCOL_RESP] = {resp_requests, sizeof resp_requests / sizeof resp_requests[0]},
    [PIL_PROTOCOL_FEAST] = {feast_requests, sizeof feast_requests / sizeof feast_requests[0]},
    [PIL_PROTOCOL_OIP] = {oip_requests, sizeof oip_requests / sizeof oip_requests[0]},
};

static uint8_t take_byte(struct pil_bytes *input) {
    uint8_t byte = 0;
    if (input->len > 0) {
        byte = input->data[0];
        skip(input, 1);
    }
    return byte;
}

static struct pil_text expand(struct pil_bytes input, uint32_t protocol) {
    struct pil_text stream = {0};
    while (input.len > 0 && stream.len < STREAM_MAX) {
        uint8_t byte = take_byte(&input), number = byte == ESCAPE ? take_byte(&input) : ESCAPE;
        const struct request *request = &tables[protocol].requests[number % tables[protocol].count];
        if (number == ESCAPE) {
            pil_text_append(&stream, &byte, 1);
        } else {
            pil_text_append(&stream, request->text, request->len);
        }
    }
    return stream;
}

static void check_same(const struct pil_text *whole, const struct pil_text *apart) {
    if (!pil_bytes_equal(pil_text_bytes(whole), pil_text_bytes(apart))) {
        fprintf(stderr, "whole, %zu bytes:\n", whole->len);
        fwrite(whole->data, 1, whole->len, stderr);
        fprintf(stderr, "\nin pieces, %zu bytes:\n", apart->len);
        fwrite(apart->data, 1, apart->len, stderr);
        PIL_UNREACHABLE("answers that depend on how the bytes were split");
    }
}

/* ---- RESP, Feast and OIP. */

struct outcome {
    struct pil_text answers;
    pil_close_reason reason;
    bool is_cut;
};

/* Mostly short pieces; sometimes most of the rest. */
static size_t piece_of(uint64_t *random, size_t rest) {
    size_t bytes = 1 + fixture_below(random, (size_t)1 << fixture_below(random, 12));
    return bytes < rest ? bytes : rest;
}

/* cuts 0: whole. */
static struct outcome deliver(uint8_t choice, const struct pil_text *stream, uint64_t cuts) {
    struct answers answers;
    struct outcome outcome;
    world_start(choice);
    world.settings.limits.output_bytes_max = OUTPUT_MAX;
    struct world_peer *peer = world_peer(0);
    for (size_t at = 0; at < stream->len;) {
        size_t bytes = cuts == 0 ? stream->len : piece_of(&cuts, stream->len - at);
        pil_text_append(&peer->in, stream->data + at, bytes);
        at += bytes;
        world_turn();
    }
    world_drain();
    check_answers(&answers, peer, values_have_origins(pil_text_bytes(stream)));
    outcome = (struct outcome){.answers = answers.lasting, .reason = peer->reason, .is_cut = peer->is_cut};
    world_end();
    return outcome;
}

/* Whether some request may ask for what depends on turns: statistics of connections and of time. */
static bool asks_about_now(const struct pil_text *stream) {
    static const char *const words[] = {"client", "info", "latency", "slowlog"};
    struct pil_text text = {0};
    bool is_found = false;
    pil_text_append(&text, stream->data, stream->len);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        text.data[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0] && text.len > 0; i++) {
        is_found = is_found || memmem(text.data, text.len, words[i], strlen(words[i])) != NULL;
    }
    pil_text_deinit(&text);
    return is_found;
}

static void check_stream(uint8_t choice, uint64_t cuts, struct pil_bytes input) {
    uint32_t protocol = (choice >> 4 & 3) % WORLD_PROTOCOLS;
    struct pil_text stream = expand(input, protocol);
    struct outcome whole = deliver(choice, &stream, 0), apart = deliver(choice, &stream, cuts);
    PIL_ASSERT(whole.reason == apart.reason && !whole.is_cut && !apart.is_cut);
    if (!asks_about_now(&stream)) {
        check_same(&whole.answers, &apart.answers);
    }
    pil_text_deinit(&whole.answers);
    pil_text_deinit(&apart.answers);
    pil_text_deinit(&stream);
}

/* ---- Mapped. */

/* The packets of one client. */
struct packets {
    uint8_t bytes[PACKETS_MAX][PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t lens[PACKETS_MAX];
    uint32_t count;
};

/* What the server has answered. */
struct messages {
    struct pil_text text;
    uint32_t count;
    bool is_ended;
};

static struct mapped_fixture *mapped_world(void) {
    static struct mapped_fixture fixture;
    if (fixture.server == NULL) {
        mapped_fixture_init(&fixture);
        pil_mapped_set_project(fixture.mapped, fixture.project);
        mapped_publish(&fixture, 0, 2);
        mapped_publish(&fixture, 1, 0);
    }
    return &fixture;
}

static void parse_packets(struct pil_bytes input, struct packets *ret_packets) {
    ret_packets->count = 0;
    while (input.len > 0 && ret_packets->count < PACKETS_MAX) {
        uint8_t kind = take_byte(&input), view = take_byte(&input), number = take_byte(&input);
        uint8_t *packet = ret_packets->bytes[ret_packets->count];
        char text[PIL_RELEASE_ID_CHARS + 1];
        snprintf(text, sizeof text, "%0*x", PIL_RELEASE_ID_CHARS, number);
        struct pil_mapped_message message = {.type = (pil_mapped_type)(kind % 9),
                                             .view = view < 250 ? view % 3 : UINT32_MAX - view,
                                             .index = 1,
                                             .count = 1 + (kind >= 128),
                                             .generation = number % 4,
                                             .text = pil_bytes_from_text(text)};
        size_t len = pil_mapped_encode(&message, packet);
        ret_packets->lens[ret_packets->count++] = kind >= 240 ? len - view % len : len; /* some are too short */
    }
}

static void note_message(struct messages *messages, struct mapped_answer *answer) {
    const struct pil_mapped_message *message = &answer->message;
    pil_text_format(&messages->text, "%d %u %u %u %u %llu %llu %.*s %u\n", (int)message->type, message->view,
                    message->index, message->count, message->code, (unsigned long long)message->generation,
                    (unsigned long long)message->number, (int)message->text.len, (const char *)message->text.data,
                    answer->fd_count);
    mapped_answer_deinit(answer);
    messages->count++;
    PIL_ASSERT(messages->count < MESSAGES_MAX);
}

/* When the server leaves packets unread, Linux reports the reset first; what the server sent before it follows. */
static void read_messages(int fd, struct messages *messages) {
    struct mapped_answer answer;
    for (int got; (got = mapped_receive(fd, &answer)) != 0;) {
        if (got > 0) {
            note_message(messages, &answer);
        } else if (messages->is_ended) {
            return;
        }
        messages->is_ended = messages->is_ended || got < 0;
    }
}

static struct messages talk(struct mapped_fixture *fixture, const struct packets *packets, uint64_t cuts) {
    struct messages messages = {0};
    int fd = mapped_connect(fixture);
    for (uint32_t i = 0; i < packets->count; i++) {
        (void)!send(fd, packets->bytes[i], packets->lens[i], MSG_NOSIGNAL); /* its session may have ended */
        if (cuts != 0 && fixture_below(&cuts, 4) != 0) {
            mapped_turn(fixture);
            read_messages(fd, &messages);
        }
    }
    for (uint32_t before = UINT32_MAX; before != messages.count;) {
        before = messages.count;
        mapped_turn(fixture);
        read_messages(fd, &messages);
    }
    pil_sys_close(&fd);
    for (int i = 0; i < 64 && fixture->mapped->session_count > 0; i++) {
        mapped_turn(fixture);
    }
    PIL_ASSERT(fixture->mapped->session_count == 0);
    return messages;
}

static void check_mapped(uint64_t cuts, struct pil_bytes input) {
    static struct packets packets;
    struct mapped_fixture *fixture = mapped_world();
    parse_packets(input, &packets);
    struct messages together = talk(fixture, &packets, 0), apart = talk(fixture, &packets, cuts);
    check_same(&together.text, &apart.text);
    PIL_ASSERT(together.is_ended == apart.is_ended);
    pil_text_deinit(&together.text);
    pil_text_deinit(&apart.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_begun;
    struct pil_bytes input = pil_bytes_from(data, size);
    uint8_t choice = take_byte(&input);
    uint64_t cuts = (take_byte(&input) + UINT64_C(1)) * 0x9e3779b97f4a7c15;
    if (size > INPUT_MAX) {
        return 0;
    }
    if (!is_begun) {
        is_begun = atexit(world_destroy) == 0; /* what is not freed then has leaked */
    }
    if ((choice >> 4 & 3) == MAPPED) {
        check_mapped(cuts, input);
    } else {
        check_stream(choice, cuts, input);
    }
    return 0;
}
