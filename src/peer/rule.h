/* SPDX-License-Identifier: Apache-2.0
 * Rules that say which peers may read or map a view, and their result for one peer. Plain data without pointers:
 * the supervisor hands it to its children as bytes. */
#pragma once

#include "peer/identity.h"

enum {
    PIL_PEER_RULE_IDS_MAX = 16,
    PIL_PEER_RULE_CGROUPS_MAX = 4,
    PIL_PEER_RULE_CGROUP_BYTES = 128,
    PIL_PEER_VIEWS_MAX = 64, /* bits of pil_peer_views */
};

/* Not given: allows every peer that may connect. Given: allows the peers named by one of the lists; empty lists allow
 * no peer. */
struct pil_peer_rule {
    bool is_given;
    uint8_t unused[3]; /* 0, so that rules can be compared as bytes */
    uint32_t uid_count, gid_count, cgroup_count;
    uint32_t uids[PIL_PEER_RULE_IDS_MAX];
    uint32_t gids[PIL_PEER_RULE_IDS_MAX];                                /* of the primary or a supplementary group */
    char cgroups[PIL_PEER_RULE_CGROUPS_MAX][PIL_PEER_RULE_CGROUP_BYTES]; /* globs as in fnmatch(3); * also matches / */
};

/* Whether the rule allows this peer. Unknown facts match no list. Cost: no system call; matches globs. Any thread. */
bool pil_peer_rule_allows(const struct pil_peer_rule *rule, const struct pil_peer_identity *identity);
/* The facts (pil_peer_fact) that the rule's lists need, for `wanted` of pil_peer_identity_take. */
uint32_t pil_peer_rule_facts(const struct pil_peer_rule *rule);

/* The views that rules allow to a peer: bit i is the view of index i. Computed once per connection, so that a check is
 * one AND. */
typedef uint64_t pil_peer_views;
enum { PIL_PEER_VIEWS_NONE = 0 };
#define PIL_PEER_VIEWS_ALL UINT64_MAX

/* rules[i] is the rule of view i. */
pil_peer_views pil_peer_views_allowed(const struct pil_peer_rule *const *rules, uint32_t count,
                                      const struct pil_peer_identity *identity);

static inline bool pil_peer_views_has(pil_peer_views views, uint32_t index) {
    return index < PIL_PEER_VIEWS_MAX && (views >> index & 1) != 0;
}
