/* SPDX-License-Identifier: Apache-2.0
 * What a running pilliond serves, asked over RESP to explain a name that it does not know. Each call opens a connection
 * of its own. */
#pragma once

#include "base/status.h"
#include "base/text.h"

/* NOT_FOUND, with the feature that may be meant: the view, which is served, has no feature of this name. OK also when
 * the server cannot say, because it is another kind of server. */
pil_status pil_served_feature_check(const char *address, const char *view, const char *name,
                                    struct pil_error *ret_error) PIL_CHECKED;
/* "; did you mean VIEW?" for a view that is not served, or "" (also for one that is). The text is in `room`, which the
 * caller frees. */
const char *pil_served_view_hint(const char *address, const char *view, struct pil_text *room);
