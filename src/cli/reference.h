/* SPDX-License-Identifier: Apache-2.0
 * Interprets stores, releases and numbers on the command line. */
#pragma once

#include "cli/command.h"
#include "release/channel.h"

/* Opens the store of --store. Returns the exit code; if it is not 0, has printed why. */
int pil_reference_store(const struct pil_invocation *invocation, struct pil_store **ret_store);

/* Whether an argument that may be a file names a release: it contains '@' and there is no such file. */
bool pil_reference_is_release(const char *text);

typedef enum pil_reference_need {
    PIL_REFERENCE_VIEW, /* PROJECT/VIEW */
    /* PROJECT/VIEW@RELEASE; @CHANNEL for the release that the channel serves, @latest for the one that was created last
     * (unless a channel has that name), or the first digits of an id that no other release of the view begins with. */
    PIL_REFERENCE_RELEASE,
    PIL_REFERENCE_RELEASE_OR_DEFAULT /* the same; without @: the release that `default_channel` serves */
} pil_reference_need;

/* Parses `text`. If it names a release, ret_ref->release is its id afterwards. Returns the exit code, as above. */
int pil_reference_resolve(struct pil_store *store, const char *text, pil_reference_need need,
                          const char *default_channel, struct pil_release_ref *ret_ref);

/* "; did you mean NAME?" for the project, else the view (unless it is ""), else the channel (unless it is NULL) that
 * the store does not have; "" if it has all of them, or nothing that is called alike. The text is in `room`, which the
 * caller frees. */
const char *pil_reference_hint(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_text *room);
/* As pil_report_failure; for NOT_FOUND with that hint. */
int pil_reference_failure(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                          pil_status status, const struct pil_error *error);

/* Parses decimal digits; returns false for anything else and for values above max. */
bool pil_reference_number(const char *text, uint64_t max, uint64_t *ret_value);
