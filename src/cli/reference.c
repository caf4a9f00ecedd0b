/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reference.h"

#include "cli/report.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int pil_reference_store(const struct pil_invocation *invocation, struct pil_store **ret_store) {
    struct pil_error error = {0};
    if (!pil_invocation_has(invocation, PIL_OPTION_STORE)) {
        return pil_report_usage("a release is in a store: give it with --store " PIL_STORE_FORMS);
    }
    pil_status status = pil_store_open(invocation->values[PIL_OPTION_STORE], false, ret_store, &error);
    if (status == PIL_STATUS_INVALID) {
        return pil_report_usage("%s", error.text);
    }
    return status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_failure(status, &error);
}

bool pil_reference_is_release(const char *text) {
    return strchr(text, '@') != NULL && access(text, F_OK) != 0;
}

int pil_reference_resolve(struct pil_store *store, const char *text, pil_reference_need need,
                          const char *default_channel, struct pil_release_ref *ret_ref) {
    struct pil_release_ref ref;
    struct pil_channel channel;
    struct pil_error error = {0};
    if (pil_release_ref_parse(text, &ref, &error) != PIL_STATUS_OK) {
        return pil_report_usage("%s", error.text);
    }
    if (need == PIL_REFERENCE_VIEW && ref.release[0] != '\0') {
        return pil_report_usage("a view is wanted, not a release: %s/%s", ref.project, ref.view);
    }
    if (need == PIL_REFERENCE_RELEASE && ref.release[0] == '\0') {
        return pil_report_usage("a release is wanted: %s/%s@RELEASE; `pillion releases %s/%s` lists them", ref.project,
                                ref.view, ref.project, ref.view);
    }
    if (need != PIL_REFERENCE_VIEW && !pil_release_id_ok(ref.release)) {
        const char *name = ref.release[0] != '\0' ? ref.release : default_channel;
        pil_status status = pil_channel_read(store, &ref, name, &channel, &error);
        if (status != PIL_STATUS_OK) {
            return pil_report_failure(status, &error);
        }
        memcpy(ref.release, pil_channel_effective(&channel), sizeof channel.release);
    }
    *ret_ref = ref;
    return PIL_EXIT_OK;
}

bool pil_reference_number(const char *text, uint64_t max, uint64_t *ret_value) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}
