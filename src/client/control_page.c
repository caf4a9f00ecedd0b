/* SPDX-License-Identifier: Apache-2.0 */
#include "client/control_page.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Without the seals a server could shrink the page, and a read would kill this process (SIGBUS). */
static pil_status check_descriptor(int fd, struct pil_error *error) {
    enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | PIL_SYS_SEAL_FUTURE_WRITE };
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat info;
    if (seals < 0 || (seals & SEALS) != SEALS) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the control page is not sealed");
    }
    if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(struct pil_mapped_control)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the control page is too short");
    }
    return PIL_STATUS_OK;
}

static pil_status check_head(const struct pil_mapped_control *control, struct pil_error *error) {
    if (control->magic != PIL_MAPPED_CONTROL_MAGIC) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the control page does not start with PILC");
    }
    if (control->version != PIL_MAPPED_VERSION) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED, "the control page has version %u, this library knows %d",
                        control->version, PIL_MAPPED_VERSION);
    }
    return PIL_STATUS_OK;
}

pil_status pil_control_page_map(int fd, struct pil_control_page **ret_page, struct pil_error *ret_error) {
    PIL_TRY(check_descriptor(fd, ret_error));
    struct pil_control_page *page = calloc(1, sizeof *page);
    if (page == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the control page");
    }
    void *memory = mmap(NULL, sizeof *page->control, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int number = errno;
        free(page);
        return pil_fail(ret_error, pil_status_from_errno(number), "mmap of the control page: %s", strerror(number));
    }
    *page = (struct pil_control_page){.control = memory, .references = 1};
    pil_status status = check_head(page->control, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_control_page_release(&page);
        return status;
    }
    *ret_page = page;
    return PIL_STATUS_OK;
}

struct pil_control_page *pil_control_page_reference(struct pil_control_page *page) {
    if (page != NULL) {
        PIL_ASSERT(page->references > 0);
        page->references++;
    }
    return page;
}

void pil_control_page_release(struct pil_control_page **page_pointer) {
    struct pil_control_page *page = *page_pointer;
    *page_pointer = NULL;
    if (page == NULL) {
        return;
    }
    PIL_ASSERT(page->references > 0);
    if (--page->references == 0) {
        munmap((void *)(uintptr_t)page->control, sizeof *page->control);
        free(page);
    }
}
