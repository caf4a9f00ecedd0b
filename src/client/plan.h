/* SPDX-License-Identifier: Apache-2.0
 * A plan: what the caller asked for, and what is known about it. For this module only. */
#pragma once

#include "client/compile.h"

struct pillion_plan {
    struct pillion_client *client;
    _Atomic(struct pil_compiled *) compiled; /* written under the lock (seq_cst); read by calls that hold a slot */
    struct pil_vector_spec *spec;            /* views as "project/view" */
    uint32_t dtype, flags;
    int64_t max_age_us;
    char min_release[PIL_RELEASE_ID_CHARS + 1];
    int64_t min_created_us;        /* of min_release, for mapped reads; 0: not known yet. Under the lock */
    uint64_t locate_at_ns;         /* when to ask the server for it again */
    uint64_t serial;               /* identifies the plan on links */
    _Atomic uint32_t rows_at_once; /* largest request that the server has accepted; 0: not known */
    char *service;                 /* until its features are known; NULL: the plan is a list of features */
    /* The description; no release may change it, but for the types of features. Under the lock; what a call over the
     * socket needs is set before any call can begin. */
    struct pillion_plan_info info;
    struct pillion_feature_info *features;  /* [info.feature_count] */
    uint32_t numbers[PIL_VECTOR_VIEWS_MAX]; /* catalog numbers of the views on connection `resolved` */
    uint64_t resolved;
    struct pillion_plan *next;
};
