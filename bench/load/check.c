/* SPDX-License-Identifier: Apache-2.0
 * Checks values against the formula of the synthetic releases (tests/support/make_release): feature f of row k is
 * (float)((k * 31 + f * 7 + seed) mod 1000003). Releases differ in their seed, so an answer either matches one seed or
 * mixes two releases. */
#include "load/load.h"

#include <stdlib.h>

struct load_check load_check_begin(const struct load_plan *plan) {
    return (struct load_check){.seeds = plan->seed_count == 64 ? UINT64_MAX : (1ull << plan->seed_count) - 1};
}

void load_check_value(struct load_check *check, const struct load_plan *plan, uint64_t key, uint32_t feature,
                      float value) {
    uint64_t explaining = 0;
    for (uint32_t i = 0; i < plan->seed_count; i++) {
        float expected = (float)((key * 31 + feature * 7 + plan->seeds[i]) % 1000003);
        explaining |= (uint64_t)(memcmp(&expected, &value, sizeof value) == 0) << i;
    }
    check->is_wrong |= explaining == 0;
    check->seeds &= explaining;
}

void load_check_text(struct load_check *check, const struct load_plan *plan, uint64_t key, uint32_t feature,
                     struct pil_bytes text) {
    char number[64], *end = NULL;
    if (text.len == 0 || text.len >= sizeof number) {
        check->is_wrong = true;
        return;
    }
    memcpy(number, text.data, text.len);
    number[text.len] = '\0';
    float value = strtof(number, &end);
    if (*end != '\0') {
        check->is_wrong = true;
        return;
    }
    load_check_value(check, plan, key, feature, value);
}

load_verdict load_check_end(const struct load_check *check) {
    if (check->is_wrong) {
        return LOAD_REPLY_WRONG;
    }
    if (check->is_missing) {
        return LOAD_REPLY_MISSING;
    }
    return check->seeds == 0 ? LOAD_REPLY_MIXED : LOAD_REPLY_OK;
}

bool load_feature_number(const struct load_plan *plan, struct pil_bytes name, uint32_t *ret_feature) {
    uint32_t number = 0;
    if (name.len < 2 || name.len > 8 || name.data[0] != 'f') {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    }
    if (number >= plan->features) {
        return false;
    }
    *ret_feature = number;
    return true;
}

void load_put_u64(struct pil_text *text, uint64_t value) {
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    pil_text_append(text, digits + sizeof digits - count, count);
}
