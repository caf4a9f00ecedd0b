/* SPDX-License-Identifier: Apache-2.0
 * What a command line means by a store, a release, a number. */
#pragma once

#include "cli/command.h"
#include "release/channel.h"

/* Opens --store. Exit code; says why when it is not 0. */
int pil_reference_store(const struct pil_invocation *invocation, struct pil_store **ret_store);

/* Whether an argument that may be a file means a release: it has an '@' and there is no such file. */
bool pil_reference_is_release(const char *text);

typedef enum pil_reference_need {
    PIL_REFERENCE_VIEW,              /* PROJECT/VIEW */
    PIL_REFERENCE_RELEASE,           /* PROJECT/VIEW@RELEASE, or @CHANNEL for what that serves */
    PIL_REFERENCE_RELEASE_OR_DEFAULT /* the same; without @: what `default_channel` serves */
} pil_reference_need;

/* Reads `text`; of a release, ret_ref->release is an id afterwards. Exit code, as above. */
int pil_reference_resolve(struct pil_store *store, const char *text, pil_reference_need need,
                          const char *default_channel, struct pil_release_ref *ret_ref);

/* Decimal digits, at most max. */
bool pil_reference_number(const char *text, uint64_t max, uint64_t *ret_value);
