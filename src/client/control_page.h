/* SPDX-License-Identifier: Apache-2.0
 * The server's control page (schemas/mapped.md), mapped read-only, and how many refer to it. Counted under the client's
 * lock; any thread may read the page while it holds a reference. For this module only. */
#pragma once

#include "base/status.h"
#include "wire/mapped.h"

struct pil_control_page {
    const struct pil_mapped_control *control;
    uint32_t references;
};

/* Maps the page behind `fd`, with one reference, after its seals, size, magic and version have been checked. CORRUPT,
 * UNSUPPORTED, NO_MEMORY, with a sentence. */
pil_status pil_control_page_map(int fd, struct pil_control_page **ret_page, struct pil_error *ret_error) PIL_CHECKED;
struct pil_control_page *pil_control_page_reference(struct pil_control_page *page); /* NULL stays NULL */
/* Sets *page to NULL; the last one unmaps the page. */
void pil_control_page_release(struct pil_control_page **page);
