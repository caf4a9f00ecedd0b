/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page.h"

#include <stdio.h>

const char *pil_page_text(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

json_int_t pil_page_number(const json_t *object, const char *member) {
    return json_integer_value(json_object_get(object, member));
}

const char *pil_page_duration(json_int_t us, char ret_text[PIL_PAGE_TIME_BYTES]) {
    long long seconds = us / 1000000;
    if (seconds < 120) {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES, "%lld s", seconds);
    } else if (seconds < 7200) {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES, "%lld min", seconds / 60);
    } else if (seconds < 172800) {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES, "%lld h", seconds / 3600);
    } else {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES, "%lld d", seconds / 86400);
    }
    return ret_text;
}

const char *pil_page_age(json_int_t since_us, json_int_t now_us, char ret_text[PIL_PAGE_TIME_BYTES]) {
    if (since_us <= 0 || now_us < since_us) {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES, "%s", since_us <= 0 ? "never" : "0 s");
        return ret_text;
    }
    return pil_page_duration(now_us - since_us, ret_text);
}
