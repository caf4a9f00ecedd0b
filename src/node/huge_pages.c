/* SPDX-License-Identifier: Apache-2.0 */
#include "node/huge_pages.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DELAY_NS 100000000ull
/* A read returns as many whole entries of smaps, one for each mapping, as fit: one or two. */
enum { READ_BYTES = 2048 };

static uint64_t now_ns(const struct pil_huge_pages *pages) {
    return pages->clock->monotonic_ns(pages->clock->context);
}

static void take_line(struct pil_huge_pages *pages) {
    static const char key[] = "ShmemPmdMapped:";
    pages->line[pages->line_len] = '\0';
    if (strncmp(pages->line, key, sizeof key - 1) == 0) {
        pages->sum += 1024 * strtoull(pages->line + sizeof key - 1, NULL, 10); /* "  2048 kB" */
    }
    pages->line_len = 0;
}

static void take(struct pil_huge_pages *pages, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            take_line(pages);
        } else if (pages->line_len < sizeof pages->line - 1) {
            pages->line[pages->line_len++] = text[i];
        }
    }
}

static pil_chore_progress step(struct pil_chore *chore) {
    struct pil_huge_pages *pages = PIL_LIST_ENTRY(struct pil_huge_pages, chore, chore);
    char text[READ_BYTES];
    if (!pages->is_counting) {
        if (pages->smaps < 0 || pages->due_ns == 0 || now_ns(pages) < pages->due_ns ||
            lseek(pages->smaps, 0, SEEK_SET) != 0) {
            return PIL_CHORE_WAIT;
        }
        pages->is_counting = true;
        pages->due_ns = pages->sum = pages->line_len = 0;
    }
    ssize_t len = read(pages->smaps, text, sizeof text);
    if (len > 0) {
        take(pages, text, (size_t)len);
        return PIL_CHORE_MORE;
    }
    pages->is_counting = false;
    if (len == 0) {
        pages->counted(pages->context, pages->sum);
    }
    return PIL_CHORE_WAIT;
}

void pil_huge_pages_init(struct pil_huge_pages *pages, const struct pil_clock *clock, int smaps,
                         void (*counted)(void *context, uint64_t bytes), void *context) {
    *pages = (struct pil_huge_pages){
        .chore = {.step = step}, .clock = clock, .smaps = smaps, .counted = counted, .context = context};
}

void pil_huge_pages_changed(struct pil_huge_pages *pages) {
    pages->due_ns = pages->due_ns != 0 ? pages->due_ns : now_ns(pages) + DELAY_NS;
}
