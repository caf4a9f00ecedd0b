/* SPDX-License-Identifier: Apache-2.0
 * Rules that say who may do something with a view, and what they come to for one peer. Plain data without pointers:
 * the supervisor hands it to its children as bytes. */
#pragma once

#include "peer/identity.h"

enum {
    PIL_PEER_RULE_IDS_MAX = 16,
    PIL_PEER_RULE_CGROUPS_MAX = 4,
    PIL_PEER_RULE_CGROUP_BYTES = 128,
    PIL_PEER_VIEWS_MAX = 64, /* bits of pil_peer_views */
};

/* Not given: whoever may connect. Given: whoever is named by one of the lists; empty lists name nobody. */
struct pil_peer_rule {
    bool is_given;
    uint8_t unused[3]; /* 0, so that rules can be compared as bytes */
    uint32_t uid_count, gid_count, cgroup_count;
    uint32_t uids[PIL_PEER_RULE_IDS_MAX];
    uint32_t gids[PIL_PEER_RULE_IDS_MAX];                                /* of the primary or a supplementary group */
    char cgroups[PIL_PEER_RULE_CGROUPS_MAX][PIL_PEER_RULE_CGROUP_BYTES]; /* globs, fnmatch(3): * spans /, too */
};

/* Whether the rule lets this peer. What is not known of a peer is in no list. Cost: no system call; globs are matched.
 * Any thread. */
bool pil_peer_rule_allows(const struct pil_peer_rule *rule, const struct pil_peer_identity *identity);
/* The facts (pil_peer_fact) that the rule's lists are about: what pil_peer_identity_take should want. */
uint32_t pil_peer_rule_facts(const struct pil_peer_rule *rule);

/* Views that a peer may do something with: bit i is the view of index i. Made once for each connection, so that a check
 * is one AND. */
typedef uint64_t pil_peer_views;
enum { PIL_PEER_VIEWS_NONE = 0 };
#define PIL_PEER_VIEWS_ALL UINT64_MAX

/* rules[i] is that of view i. */
pil_peer_views pil_peer_views_allowed(const struct pil_peer_rule *const *rules, uint32_t count,
                                      const struct pil_peer_identity *identity);

static inline bool pil_peer_views_has(pil_peer_views views, uint32_t index) {
    return index < PIL_PEER_VIEWS_MAX && (views >> index & 1) != 0;
}
