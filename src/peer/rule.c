/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/rule.h"

#include "base/panic.h"

#include <fnmatch.h>

PIL_STATIC_ASSERT(sizeof(struct pil_peer_rule) == 4 + 3 * sizeof(uint32_t) +
                                                      2 * PIL_PEER_RULE_IDS_MAX * sizeof(uint32_t) +
                                                      PIL_PEER_RULE_CGROUPS_MAX * PIL_PEER_RULE_CGROUP_BYTES);

static bool contains(const uint32_t *ids, uint32_t count, uint32_t id) {
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool names_group(const struct pil_peer_rule *rule, const struct pil_peer_identity *identity) {
    if ((identity->known & PIL_PEER_GID) != 0 && contains(rule->gids, rule->gid_count, identity->gid)) {
        return true;
    }
    uint32_t count = (identity->known & PIL_PEER_GROUPS) != 0 ? identity->group_count : 0;
    PIL_ASSERT(count <= PIL_PEER_GROUPS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (contains(rule->gids, rule->gid_count, identity->groups[i])) {
            return true;
        }
    }
    return false;
}

static bool names_cgroup(const struct pil_peer_rule *rule, const struct pil_peer_identity *identity) {
    if ((identity->known & PIL_PEER_CGROUP) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < rule->cgroup_count; i++) {
        if (fnmatch(rule->cgroups[i], identity->cgroup, 0) == 0) {
            return true;
        }
    }
    return false;
}

bool pil_peer_rule_allows(const struct pil_peer_rule *rule, const struct pil_peer_identity *identity) {
    PIL_ASSERT(rule->uid_count <= PIL_PEER_RULE_IDS_MAX && rule->gid_count <= PIL_PEER_RULE_IDS_MAX);
    PIL_ASSERT(rule->cgroup_count <= PIL_PEER_RULE_CGROUPS_MAX);
    if (!rule->is_given) {
        return true;
    }
    bool is_named = (identity->known & PIL_PEER_UID) != 0 && contains(rule->uids, rule->uid_count, identity->uid);
    return is_named || names_group(rule, identity) || names_cgroup(rule, identity);
}

uint32_t pil_peer_rule_facts(const struct pil_peer_rule *rule) {
    uint32_t facts = 0;
    if (rule->is_given) {
        facts |= rule->uid_count > 0 ? PIL_PEER_UID : 0;
        facts |= rule->gid_count > 0 ? PIL_PEER_GID | PIL_PEER_GROUPS : 0;
        facts |= rule->cgroup_count > 0 ? PIL_PEER_CGROUP : 0;
    }
    return facts;
}

pil_peer_views pil_peer_views_allowed(const struct pil_peer_rule *const *rules, uint32_t count,
                                      const struct pil_peer_identity *identity) {
    pil_peer_views views = PIL_PEER_VIEWS_NONE;
    PIL_ASSERT(count <= PIL_PEER_VIEWS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        views |= (pil_peer_views)pil_peer_rule_allows(rules[i], identity) << i;
    }
    return views;
}
