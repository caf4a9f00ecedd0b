/* SPDX-License-Identifier: Apache-2.0
 * From bytes to answers: every protocol, many connections at once, releases swapped between turns and in the
 * middle of them. The input is a program. Its first byte chooses limits, options and protocols (world_start). Then
 * bytes are what a peer sends, and 0xff begins a step (two of them are one byte 0xff that is sent):
 *   c N         what follows is of connection N % 36, which connects; it speaks protocol first + N of RESP, Feast, OIP
 *   n N         what was sent since the last step is sent 8 x N times
 *   t N         N % 8 + 1 turns
 *   p N         bytes arrive in pieces of N; 0: whole
 *   o N         the peer takes N x N more bytes; 255: all
 *   e N, x N    the peer sends no more; the connection is reset
 *   m N         N x 100 ms pass
 *   s N, v N, j N, r N  a release is published, a view removed or added, a project applied, retired releases unmapped
 *   a N         the next of these four is done at the Nth call of the engine, after those that wait already
 * Invariants: everything validates after each step; answers are as turn_answers.h says; what is sent as it
 * says and in the smallest pieces is answered alike where nothing was swapped; each connection ends once its peer has;
 * each retired release is unmapped. */
#include "fuzz/turn_answers.h"

enum { INPUT_MAX = 4096, SENT_MAX = 1 << 15, PIECES_MAX = 1024, STEP = 0xff };

struct program {
    struct pil_bytes rest;
    uint32_t peer;
    size_t burst;         /* where what is sent since the last step begins */
    uint32_t arm_calls;   /* of the next step of the control thread; 0: it is done at once */
    uint32_t piece_bytes; /* bytes arrive in such pieces, whatever it says; 0: as it says */
    bool is_begun;        /* something was sent */
    bool is_steady;       /* nothing that answers depend on has changed since */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t take_byte(struct program *program) {
    uint8_t byte = 0;
    if (program->rest.len > 0) {
        byte = program->rest.data[0];
        skip(&program->rest, 1);
    }
    return byte;
}

static void send_bytes(struct program *program, const void *bytes, size_t len) {
    struct world_peer *peer = world_peer(program->peer);
    if (!peer->is_ended && peer->in.len + len <= SENT_MAX) {
        pil_text_append(&peer->in, bytes, len);
        program->is_begun = true;
    }
}

static void repeat(struct program *program, uint32_t times) {
    struct pil_text burst = {0};
    const struct world_peer *peer = world_peer(program->peer);
    if (peer->in.len == program->burst) {
        return;
    }
    pil_text_append(&burst, peer->in.data + program->burst, peer->in.len - program->burst);
    for (uint32_t i = 1; i < times; i++) {
        send_bytes(program, burst.data, burst.len);
    }
    pil_text_deinit(&burst);
}

static void change(struct program *program, uint32_t kind, uint8_t argument) {
    program->is_steady = program->is_steady && (!program->is_begun || kind == CONTROL_RECLAIM);
    world_control((struct world_control){.kind = kind, .argument = argument, .calls = program->arm_calls});
    program->arm_calls = 0;
}

static void take_turns(uint32_t count) {
    for (; count > 0; count--) {
        world_turn();
    }
}

static void step(struct program *program, uint8_t what, uint8_t argument) {
    struct world_peer *peer = world_peer(program->peer);
    switch (what) {
    case 'c': program->peer = argument % WORLD_CONNECTIONS; break;
    case 'n': repeat(program, argument * 8u); break;
    case 't': take_turns(argument % 8 + 1u); break;
    case 'p': peer->piece_bytes = argument; break;
    case 'o': peer->room = argument == 255 ? UINT64_MAX : (uint64_t)argument * argument; break;
    case 'e': peer->is_ended = true; break;
    case 'x': peer->is_reset = true; break;
    case 'm':
        world_now_ns += argument * UINT64_C(100000000);
        program->is_steady = false;
        break;
    case 's': change(program, CONTROL_PUBLISH, argument); break;
    case 'v': change(program, CONTROL_SWITCH_VIEW, argument); break;
    case 'j': change(program, CONTROL_PROJECT, argument); break;
    case 'r': change(program, CONTROL_RECLAIM, argument); break;
    case 'a': program->arm_calls = argument; break;
    default: break;
    }
    peer = world_peer(program->peer);
    peer->piece_bytes = program->piece_bytes != 0 ? program->piece_bytes : peer->piece_bytes;
    program->burst = peer->in.len;
    world_validate();
}

/* The world is left as the program leaves it, with all connections ended. */
static void run(struct program *program) {
    world_start(take_byte(program));
    world_peer(0)->piece_bytes = program->piece_bytes;
    while (program->rest.len > 0) {
        uint8_t byte = take_byte(program), what = byte == STEP ? take_byte(program) : byte;
        if (byte == STEP && what != STEP) {
            step(program, what, take_byte(program));
        } else {
            send_bytes(program, &byte, 1);
        }
    }
    world_drain();
}

static size_t check_all(struct pil_bytes input, struct answers *ret_answers) {
    size_t sent = 0;
    bool has_origins = values_have_origins(input);
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        ret_answers[i] = (struct answers){0};
        if (world.peers[i].is_used) {
            check_answers(&ret_answers[i], &world.peers[i], has_origins);
            sent += world.peers[i].in.len;
        }
    }
    return sent;
}

static void check_same(const struct answers *once, const struct answers *again) {
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        PIL_ASSERT(!once[i].is_repeatable || !again[i].is_repeatable ||
                   pil_bytes_equal(pil_text_bytes(&once[i].lasting), pil_text_bytes(&again[i].lasting)));
    }
}

static void forget(struct answers *answers) {
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        pil_text_deinit(&answers[i].lasting);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_begun;
    struct answers once[WORLD_CONNECTIONS], again[WORLD_CONNECTIONS];
    struct pil_bytes input = pil_bytes_from(data, size);
    struct program program = {.rest = input, .is_steady = true};
    if (size > INPUT_MAX) {
        return 0;
    }
    if (!is_begun) {
        is_begun = atexit(world_destroy) == 0; /* what is not freed then has leaked */
    }
    run(&program);
    size_t sent = check_all(input, once);
    world_end();
    if (program.is_steady) {
        program = (struct program){.rest = input, .is_steady = true, .piece_bytes = 1 + (uint32_t)sent / PIECES_MAX};
        run(&program);
        check_all(input, again);
        check_same(once, again);
        forget(again);
        world_end();
    }
    forget(once);
    return 0;
}
