/* SPDX-License-Identifier: Apache-2.0
 * Goal: patterns mean what they mean in Redis, and no pattern makes a match take longer than one pass over the text.
 * Method: a table of what redis-server 7.0 answers; random patterns over a small alphabet against a matcher that tries
 * every place where a star may end; the counted steps of the patterns that are worst for such a matcher.
 * tests/system/test_redis.py asks a real redis-server. */
#include "protocol/resp/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ARENA_BYTES = 1 << 16, RANDOM_ROUNDS = 200000, RANDOM_BYTES = 10 };
static uint8_t memory[ARENA_BYTES];

static bool matches(struct pil_bytes pattern, struct pil_bytes text, bool folds, uint64_t *ret_work) {
    struct pil_arena arena;
    struct pil_glob glob;
    pil_arena_init(&arena, memory, sizeof memory);
    assert_int_equal(pil_glob_compile(pattern, folds, &arena, &glob), PIL_STATUS_OK);
    uint64_t compiled = glob.work;
    bool is_match = pil_glob_match(&glob, text);
    if (ret_work != NULL) {
        *ret_work = glob.work - compiled;
    }
    return is_match;
}

static void means_what_redis_means(void **state) {
    static const struct {
        const char *pattern, *text;
        bool is_match;
    } cases[] = {
        {"*", "a", true},
        {"a*", "a", true},
        {"*a", "ba", true},
        {"a*c", "abbc", true},
        {"a*c", "abbcd", false},
        {"a**c", "ac", true},
        {"?", "a", true},
        {"?", "ab", false},
        {"a?c", "abc", true},
        {"", "a", false},
        {"a", "A", false},
        {"h[ae]llo", "hello", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hello", false},
        {"h[^e]llo", "hallo", true},
        {"[a-c]", "b", true},
        {"[c-a]", "b", true},
        {"[a-c]", "d", false},
        {"[a-]", "-", false},
        {"[a-]", "a", true},
        {"[a\\-c]", "-", true},
        {"[a\\-c]", "b", false},
        {"[\\a-c]", "b", false},
        {"[\\]]", "]", true},
        {"[]", "a", false},
        {"[^]", "a", true},
        {"[ab", "b", true},
        {"[^ab", "c", true},
        {"[", "[", false},
        {"[^", "x", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"\\\\", "\\", true},
        {"*[b]*[c]", "abxc", true},
        {"[!a]", "b", false},
        {"[!a]", "!", true},
        {"*a*b*c*", "xaybzc", true},
        {"*a*b*c*", "xaybz", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool got = matches(pil_bytes_from_text(cases[i].pattern), pil_bytes_from_text(cases[i].text), false, NULL);
        if (got != cases[i].is_match) {
            fail_msg("'%s' and '%s': %d", cases[i].pattern, cases[i].text, got);
        }
    }
}

static void folds_the_capital_letters_of_the_pattern(void **state) {
    (void)state;
    assert_true(matches(pil_bytes_from_text("H[A-C]*\\X"), pil_bytes_from_text("hb.x"), true, NULL));
    assert_false(matches(pil_bytes_from_text("H*"), pil_bytes_from_text("hb"), false, NULL));
    assert_false(matches(pil_bytes_from_text("[^A]"), pil_bytes_from_text("a"), true, NULL));
}

/* Whether one element at the front of the pattern, which is not a star, matches c; *ret_len is its length. */
static bool slow_element(struct pil_bytes pattern, uint8_t c, size_t *ret_len) {
    const uint8_t *p = pattern.data;
    *ret_len = 1;
    if (p[0] == '\\' && pattern.len > 1) {
        *ret_len = 2;
        return p[1] == c;
    }
    if (p[0] != '[') {
        return p[0] == '?' || p[0] == c;
    }
    bool is_negated = pattern.len > 1 && p[1] == '^', hit = false;
    size_t at = 1 + is_negated;
    while (at < pattern.len && p[at] != ']') {
        if (p[at] == '\\' && at + 1 < pattern.len) {
            hit |= p[at + 1] == c;
            at += 2;
        } else if (at + 2 < pattern.len && p[at + 1] == '-') {
            hit |= (p[at] <= c && c <= p[at + 2]) || (p[at + 2] <= c && c <= p[at]);
            at += 3;
        } else {
            hit |= p[at++] == c;
        }
    }
    *ret_len = at + (at < pattern.len);
    return hit != is_negated;
}

static bool slow_match(struct pil_bytes pattern, struct pil_bytes text) {
    size_t len = 0;
    if (pattern.len == 0) {
        return text.len == 0;
    }
    if (pattern.data[0] == '*') {
        struct pil_bytes rest = pil_bytes_from(pattern.data + 1, pattern.len - 1);
        for (size_t i = 0; i <= text.len; i++) {
            if (slow_match(rest, pil_bytes_from(text.data + i, text.len - i))) {
                return true;
            }
        }
        return false;
    }
    return text.len > 0 && slow_element(pattern, text.data[0], &len) &&
           slow_match(pil_bytes_from(pattern.data + len, pattern.len - len),
                      pil_bytes_from(text.data + 1, text.len - 1));
}

/* xorshift64. */
static size_t random_below(uint64_t *state, size_t limit) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (size_t)(*state % limit);
}

static struct pil_bytes random_bytes(uint64_t *state, const char *alphabet, uint8_t room[RANDOM_BYTES]) {
    size_t len = random_below(state, RANDOM_BYTES);
    for (size_t i = 0; i < len; i++) {
        room[i] = (uint8_t)alphabet[random_below(state, strlen(alphabet))];
    }
    return pil_bytes_from(room, len);
}

static void random_patterns_match_as_if_every_place_was_tried(void **state) {
    (void)state;
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1, random = seed | 1;
    uint32_t hits = 0;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < RANDOM_ROUNDS; i++) {
        uint8_t rooms[2][RANDOM_BYTES];
        struct pil_bytes pattern = random_bytes(&random, "ab**?[]^-\\", rooms[0]);
        struct pil_bytes subject = random_bytes(&random, "abb-]", rooms[1]);
        bool want = slow_match(pattern, subject), got = matches(pattern, subject, false, NULL);
        hits += want;
        if (want != got) {
            fail_msg("'%.*s' and '%.*s': %d", (int)pattern.len, (const char *)pattern.data, (int)subject.len,
                     (const char *)subject.data, got);
        }
    }
    assert_true(hits > RANDOM_ROUNDS / 50);
}

/* Long enough for several words of bits; stars on both sides of the borders between them. */
static void long_patterns_cross_words(void **state) {
    char pattern[PIL_GLOB_BYTES_MAX + 1], text[2 * PIL_GLOB_BYTES_MAX];
    (void)state;
    for (uint32_t star = 0; star < 199; star++) {
        memset(pattern, 'a', 200);
        memset(text, 'a', 250);
        pattern[star] = '*';
        text[249] = 'b';
        assert_false(matches(pil_bytes_from(pattern, 200), pil_bytes_from(text, 250), false, NULL));
        assert_true(matches(pil_bytes_from(pattern, 200), pil_bytes_from(text, 249), false, NULL));
        assert_true(matches(pil_bytes_from(pattern, 200), pil_bytes_from(text, 199), false, NULL));
        assert_false(matches(pil_bytes_from(pattern, 200), pil_bytes_from(text, 198), false, NULL));
    }
}

static void one_match_takes_one_pass(void **state) {
    enum { TEXT_BYTES = 2000, STEPS_OF_A_BYTE_MAX = 17 /* 1024 bits, and one for the start, in words of 64 */ };
    static const char *const units[] = {"a", "*a", "?", "*?", "[ab]", "*[^b]", "\\a", "[a-z", "*"};
    static char text[TEXT_BYTES];
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        char pattern[PIL_GLOB_BYTES_MAX];
        size_t len = 0, unit = strlen(units[i]);
        for (; len + unit < sizeof pattern; len += unit) {
            memcpy(pattern + len, units[i], unit);
        }
        pattern[len++] = 'b';
        uint64_t work = 0;
        (void)matches(pil_bytes_from(pattern, len), pil_bytes_from(text, sizeof text), false, &work);
        assert_true(work <= TEXT_BYTES * STEPS_OF_A_BYTE_MAX);
    }
}

static void refuses_a_pattern_over_the_bound_and_an_arena_without_room(void **state) {
    char pattern[PIL_GLOB_BYTES_MAX + 1];
    struct pil_arena arena;
    struct pil_glob glob;
    (void)state;
    memset(pattern, '?', sizeof pattern);
    pil_arena_init(&arena, memory, sizeof memory);
    assert_int_equal(pil_glob_compile(pil_bytes_from(pattern, sizeof pattern), false, &arena, &glob),
                     PIL_STATUS_TOO_LARGE);
    assert_int_equal(pil_glob_compile(pil_bytes_from(pattern, sizeof pattern - 1), false, &arena, &glob),
                     PIL_STATUS_OK);
    assert_int_equal(pil_glob_compile(pil_bytes_from(pattern, sizeof pattern - 1), false, &arena, &glob),
                     PIL_STATUS_NO_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_what_redis_means),
        cmocka_unit_test(folds_the_capital_letters_of_the_pattern),
        cmocka_unit_test(random_patterns_match_as_if_every_place_was_tried),
        cmocka_unit_test(long_patterns_cross_words),
        cmocka_unit_test(one_match_takes_one_pass),
        cmocka_unit_test(refuses_a_pattern_over_the_bound_and_an_arena_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
