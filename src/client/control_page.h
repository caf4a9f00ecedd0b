/* SPDX-License-Identifier: Apache-2.0
 * The server's control page (schemas/mapped.md), mapped read-only and reference-counted. Counts are changed under the
 * client's lock; any thread may read the page while it holds a reference. For this module only. */
#pragma once

#include "base/status.h"
#include "wire/mapped.h"

struct pil_control_page {
    const struct pil_mapped_control *control;
    uint32_t references;
};

/* Checks seals, size, magic and version of the page behind `fd` and maps it, with one reference. CORRUPT, UNSUPPORTED,
 * NO_MEMORY, with a sentence. */
pil_status pil_control_page_map(int fd, struct pil_control_page **ret_page, struct pil_error *ret_error) PIL_CHECKED;
struct pil_control_page *pil_control_page_reference(struct pil_control_page *page); /* returns NULL for NULL */
/* Sets *page to NULL; the last release unmaps the page. */
void pil_control_page_release(struct pil_control_page **page);
