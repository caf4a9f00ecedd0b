/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/judge.h"

#include "release/catalog.h"

#include <string.h>

pil_status pil_judge_release(const struct pil_judge_case *judged, struct pil_error *ret_error) {
    const struct pil_release_ref *wanted = judged->wanted, *found = &judged->manifest->ref;
    const char *effective = pil_channel_effective(judged->channel);
    if (strcmp(effective, wanted->release) != 0) {
        return pil_fail(ret_error, PIL_STATUS_CONFLICT, "channel %s wants release %s, not %s", judged->channel->name,
                        effective, wanted->release);
    }
    if (!pil_catalog_same_view(found, wanted) || strcmp(found->release, wanted->release) != 0) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the manifest of %s/%s@%s describes %s/%s@%s", wanted->project,
                        wanted->view, wanted->release, found->project, found->view, found->release);
    }
    return PIL_STATUS_OK;
}
