/* SPDX-License-Identifier: Apache-2.0
 * The members of pages of a pilliond, as text. A page comes from a server, so any member may be missing: a text is ""
 * then, a number 0. */
#pragma once

#include <jansson.h>

const char *pil_page_text(const json_t *object, const char *member);
json_int_t pil_page_number(const json_t *object, const char *member);

enum { PIL_PAGE_TIME_BYTES = 24 };
/* Formats "3 s", "12 min", "5 h" or "9 d". */
const char *pil_page_duration(json_int_t us, char ret_text[PIL_PAGE_TIME_BYTES]);
/* The same for the time since `since_us`; "never" for 0. */
const char *pil_page_age(json_int_t since_us, json_int_t now_us, char ret_text[PIL_PAGE_TIME_BYTES]);
