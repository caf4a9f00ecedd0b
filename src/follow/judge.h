/* SPDX-License-Identifier: Apache-2.0
 * Whether a node may take a release, judged before a byte of it is loaded: its manifest must describe the release that
 * the channel of the served view wants. pil_manifest_read and the POLL before it have seen to that already, so today
 * this fails for nobody; it is the place where signatures and policies will be judged. Pure. */
#pragma once

#include "release/channel.h"
#include "release/manifest.h"

struct pil_judge_case {
    const struct pil_release_ref *wanted; /* of the served view, and the release that is being fetched */
    const struct pil_channel *channel;    /* as it was read last */
    const struct pil_manifest *manifest;
};

/* OK; CONFLICT: the channel wants another release by now; CORRUPT: the manifest is another release's. */
pil_status pil_judge_release(const struct pil_judge_case *judged, struct pil_error *ret_error) PIL_CHECKED;
