/* SPDX-License-Identifier: Apache-2.0
 * Clients of the mapped listener that send anything, in any order, while releases are published and sessions end.
 * Invariants: what decodes, encoded again, is the same packet but for its reserved field; the state is consistent after
 * every step (pil_mapped_validate); every answer is a message; no descriptor is left behind. */
#include "support/mapped_fixture.h"

#include <dirent.h>

enum { PEERS = 6, STEPS_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peers {
    int fds[PEERS];
};

static uint8_t take(struct pil_bytes *input) {
    uint8_t first = input->len > 0 ? input->data[0] : 0;
    *input = input->len > 0 ? pil_bytes_from(input->data + 1, input->len - 1) : *input;
    return first;
}

static void check_decode(struct pil_bytes packet) {
    uint8_t again[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message message;
    if (packet.len <= sizeof again && pil_mapped_decode(packet, &message, NULL) == PIL_STATUS_OK) {
        PIL_ASSERT(pil_mapped_encode(&message, again) == packet.len);
        PIL_ASSERT(memcmp(again, packet.data, 40) == 0); /* up to the reserved field */
        PIL_ASSERT(memcmp(again + 48, packet.data + 48, packet.len - 48) == 0);
    }
}

/* Rarely a packet that is none; else a message of few views, generations and releases, so that they meet. */
static void send_one(int fd, struct pil_bytes *input) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX + 8], kind = take(input), view = take(input), number = take(input);
    char text[PIL_RELEASE_ID_CHARS + 1];
    struct pil_bytes bytes = pil_bytes_from(packet, 0);
    if (kind >= 240) {
        bytes.len = take(input) % 64;
        for (size_t i = 0; i < bytes.len; i++) {
            packet[i] = take(input);
        }
    } else {
        snprintf(text, sizeof text, "%016x", number);
        struct pil_mapped_message message = {.type = (pil_mapped_type)(kind % 9),
                                             .view = view < 250 ? view % 3 : UINT32_MAX - view,
                                             .index = kind < 120 ? 1 : number,
                                             .count = kind < 120 ? 1 : view,
                                             .generation = number % 8,
                                             .text = pil_bytes_from_text(text)};
        bytes.len = pil_mapped_encode(&message, packet);
    }
    check_decode(bytes);
    (void)!send(fd, packet, bytes.len, MSG_NOSIGNAL); /* its session may have ended */
}

static void read_all(int fd) {
    struct mapped_answer answer;
    while (mapped_receive(fd, &answer) == 1) {
        PIL_ASSERT(answer.message.type != PIL_MAPPED_HELLO && answer.message.type != PIL_MAPPED_ACQUIRE &&
                   answer.message.type != PIL_MAPPED_DROP);
        mapped_answer_deinit(&answer);
    }
}

/* A rule that names nobody comes or goes, for reading or for mapping, and every session is judged anew. */
static void change_rule(struct mapped_fixture *f, uint8_t what) {
    struct pil_view_settings *view = &f->settings.views[what / 128];
    struct pil_peer_rule *rule = what % 64 < 32 ? &view->map : &view->read;
    rule->is_given = !rule->is_given;
    pil_mapped_views_changed(f->mapped);
}

static void step(struct mapped_fixture *f, struct peers *peers, struct pil_bytes *input) {
    uint8_t what = take(input);
    int *fd = &peers->fds[what / 16 % PEERS];
    if (*fd < 0) {
        *fd = mapped_connect(f);
        return;
    }
    switch (what % 16) {
    case 0: pil_sys_close(fd); break;
    case 1: mapped_publish(f, what / 128, 0); break;
    case 2: pil_mapped_set_project(f->mapped, f->project); break;
    case 3: change_rule(f, what); break;
    case 4: f->settings.mapped_hold_timeout_ms = 60000 - f->settings.mapped_hold_timeout_ms; break;
    case 5: pil_mapped_tick(f->mapped); break;
    case 6: read_all(*fd); break;
    default: send_one(*fd, input); break;
    }
    if (what % 4 != 3) { /* else several packets arrive together */
        pil_mapped_turn(f->mapped);
        pil_mapped_validate(f->mapped);
    }
}

static uint32_t count_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pil_bytes input = pil_bytes_from(data, size);
    uint32_t before = count_descriptors();
    struct mapped_fixture f;
    struct peers peers;
    memset(peers.fds, -1, sizeof peers.fds);
    mapped_fixture_init(&f);
    for (uint32_t i = 0; i < STEPS_MAX && input.len > 0; i++) {
        step(&f, &peers, &input);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        pil_sys_close(&peers.fds[i]);
    }
    for (uint32_t i = 0; i < 64 && f.mapped->session_count + f.mapped->ended_count > 0; i++) {
        pil_mapped_turn(f.mapped);
    }
    pil_mapped_validate(f.mapped);
    PIL_ASSERT(f.mapped->session_count == 0 && f.mapped->ended_count == 0 && f.mapped->in_flight == 0);
    mapped_fixture_deinit(&f);
    PIL_ASSERT(count_descriptors() == before);
    return 0;
}
