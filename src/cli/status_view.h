/* SPDX-License-Identifier: Apache-2.0
 * Draws the page /status. */
#pragma once

#include "cli/page.h"
#include "cli/report.h"

/* Appends a line for each thing that is wrong with the server as a whole. */
void pil_status_troubles(const json_t *page, struct pil_text *lines);
/* Appends a line for each thing that keeps a view from being served as its channel and its project say. Returns whether
 * one of them needs somebody to act: a release that is not served yet may still come. */
bool pil_status_view_troubles(const json_t *view, struct pil_text *lines);
/* The worst of it in a word or two: "no release", "rejected", "waiting", "behind 3 min", "past ttl", "project"; else
 * "pinned" or "ok". */
const char *pil_status_view_state(const json_t *view, char ret_text[PIL_PAGE_TIME_BYTES + 8]);

/* Prints one line: whether the server is ready, and what it is. */
void pil_status_print_head(const json_t *page);
/* Prints one red line for each line of `lines`, after `indent`; at most `count_max`. Returns how many. */
size_t pil_status_print_troubles(const struct pil_text *lines, const char *indent, size_t count_max);
/* Prints a view in lines of at most 80 columns, unless names or reasons are long. */
void pil_status_print_view(const json_t *view, json_int_t now_us);
