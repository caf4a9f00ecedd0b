/* SPDX-License-Identifier: Apache-2.0
 * The pattern runs as an automaton whose states are bits, as in Baeza-Yates and Gonnet, "A new approach to text
 * searching" (1992): trying all places where a star may end at once needs no backtracking. */
#include "protocol/resp/glob.h"

#include <string.h>

/* The bytes that one element matches. */
struct byte_set {
    uint64_t bits[4];
};

static void add_byte(struct byte_set *set, uint8_t byte) {
    set->bits[byte / 64] |= UINT64_C(1) << byte % 64;
}

static int as_signed(uint8_t byte) {
    return byte < 128 ? byte : byte - 256;
}

/* Redis compares the ends as signed characters, in either order. */
static void add_range(struct byte_set *set, uint8_t first, uint8_t last) {
    int low = as_signed(first), high = as_signed(last);
    for (int c = low < high ? low : high; c <= (low < high ? high : low); c++) {
        add_byte(set, (uint8_t)c);
    }
}

static void invert(struct byte_set *set) {
    for (size_t i = 0; i < 4; i++) {
        set->bits[i] = ~set->bits[i];
    }
}

struct reader {
    struct pil_bytes pattern;
    size_t at;
    bool folds; /* capital letters count as small ones */
};

/* The byte `ahead` bytes behind the reader, which must be there. */
static uint8_t peek(const struct reader *reader, size_t ahead) {
    uint8_t c = reader->pattern.data[reader->at + ahead];
    return (uint8_t)(reader->folds && c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static size_t left(const struct reader *reader) {
    return reader->pattern.len - reader->at;
}

/* Reads the class behind '[', with its ']' or up to the end of the pattern. */
static struct byte_set read_class(struct reader *reader) {
    struct byte_set set = {0};
    bool is_negated = left(reader) > 0 && peek(reader, 0) == '^';
    reader->at += is_negated;
    while (left(reader) > 0 && peek(reader, 0) != ']') {
        if (left(reader) >= 2 && peek(reader, 0) == '\\') {
            add_byte(&set, peek(reader, 1));
            reader->at += 2;
        } else if (left(reader) >= 3 && peek(reader, 1) == '-') {
            add_range(&set, peek(reader, 0), peek(reader, 2));
            reader->at += 3;
        } else {
            add_byte(&set, peek(reader, 0));
            reader->at++;
        }
    }
    reader->at += left(reader) > 0;
    if (is_negated) {
        invert(&set);
    }
    return set;
}

/* Reads one element, which is not a star. */
static struct byte_set read_element(struct reader *reader) {
    struct byte_set set = {0};
    uint8_t first = peek(reader, 0);
    reader->at++;
    if (first == '[') {
        return read_class(reader);
    }
    if (first == '?') {
        invert(&set);
        return set;
    }
    if (first == '\\' && left(reader) > 0) {
        first = peek(reader, 0);
        reader->at++;
    }
    add_byte(&set, first);
    return set;
}

static void add_element(struct pil_glob *glob, const struct byte_set *set) {
    uint32_t element = glob->element_count++;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint64_t rest = set->bits[i]; rest != 0; rest &= rest - 1) {
            uint32_t byte = i * 64 + (uint32_t)__builtin_ctzll(rest);
            glob->advances[byte * glob->words + element / 64] |= UINT64_C(1) << element % 64;
            glob->work++;
        }
    }
}

pil_status pil_glob_compile(struct pil_bytes pattern, bool folds, struct pil_arena *arena, struct pil_glob *ret_glob) {
    struct reader reader = {.pattern = pattern, .folds = folds};
    struct pil_glob glob = {.words = (uint32_t)(pattern.len / 64 + 1)};
    if (pattern.len > PIL_GLOB_BYTES_MAX) {
        return PIL_STATUS_TOO_LARGE;
    }
    glob.advances = PIL_ARENA_NEW(arena, uint64_t, 256 * glob.words);
    if (glob.advances == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    memset(glob.advances, 0, 256 * glob.words * sizeof *glob.advances);
    glob.work = pattern.len + 256 * glob.words;
    while (left(&reader) > 0) {
        if (peek(&reader, 0) == '*') {
            glob.stays[glob.element_count / 64] |= UINT64_C(1) << glob.element_count % 64;
            reader.at++;
        } else {
            struct byte_set set = read_element(&reader);
            add_element(&glob, &set);
        }
    }
    *ret_glob = glob;
    return PIL_STATUS_OK;
}

bool pil_glob_match(struct pil_glob *glob, struct pil_bytes text) {
    uint64_t reached[PIL_GLOB_WORDS_MAX] = {1};
    uint32_t words = glob->element_count / 64 + 1;
    if (glob->element_count > text.len) {
        return false;
    }
    glob->work += text.len * words;
    for (size_t i = 0; i < text.len; i++) {
        const uint64_t *advances = glob->advances + text.data[i] * (size_t)glob->words;
        uint64_t carry = 0;
        for (uint32_t w = 0; w < words; w++) {
            uint64_t moved = reached[w] & advances[w];
            reached[w] = moved << 1 | carry | (reached[w] & glob->stays[w]);
            carry = moved >> 63;
        }
    }
    return (reached[glob->element_count / 64] >> glob->element_count % 64 & 1) != 0;
}
