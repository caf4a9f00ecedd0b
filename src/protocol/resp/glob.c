/* SPDX-License-Identifier: Apache-2.0
 * Glob patterns as in Redis. fnmatch(3) has other rules: it writes [!a] for [^a], and it ends at a zero byte. */
#include "protocol/resp/internal.h"

/* Matches c against the pattern element at *at, and moves *at past it. */
static bool match_one(struct pil_bytes pattern, size_t *at, uint8_t c) {
    uint8_t p = pattern.data[(*at)++];
    if (p == '?') {
        return true;
    }
    if (p == '\\' && *at < pattern.len) {
        return pattern.data[(*at)++] == c;
    }
    if (p != '[') {
        return p == c;
    }
    bool negate = *at < pattern.len && pattern.data[*at] == '^', hit = false;
    *at += negate;
    while (*at < pattern.len && pattern.data[*at] != ']') {
        uint8_t low = pattern.data[*at];
        if (low == '\\' && *at + 1 < pattern.len) {
            low = pattern.data[++*at];
        }
        uint8_t high = low;
        if (*at + 2 < pattern.len && pattern.data[*at + 1] == '-') {
            high = pattern.data[*at + 2];
            *at += 2;
        }
        hit |= low <= high ? c >= low && c <= high : c >= high && c <= low;
        ++*at;
    }
    *at += *at < pattern.len;
    return hit != negate;
}

bool pil_redis_match(struct pil_bytes pattern, struct pil_bytes text) {
    size_t at = 0, star = SIZE_MAX, star_text = 0;
    for (size_t i = 0; i < text.len || at < pattern.len;) {
        if (at < pattern.len && pattern.data[at] == '*') {
            star = at++;
            star_text = i;
            continue;
        }
        size_t next = at;
        if (i < text.len && at < pattern.len && match_one(pattern, &next, text.data[i])) {
            at = next;
            i++;
            continue;
        }
        if (star == SIZE_MAX || star_text >= text.len) {
            return false;
        }
        at = star + 1; /* let the last star match one byte more; earlier stars need not be tried again */
        i = ++star_text;
    }
    return true;
}
