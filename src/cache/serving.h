/* SPDX-License-Identifier: Apache-2.0
 * What is published of a view, as one immutable thing: all that a request needs to answer from one moment. Today a
 * release and the chain that looks rows up in it; whatever else a request shall see at the same moment (rows written
 * since, a candidate, who is answered from which) becomes a member here and is published by the same one store. */
#pragma once

#include "cache/chain.h"
#include "cache/release.h"

enum { PIL_SERVING_MAGIC = 0x53525647 };

struct pil_serving {
    uint32_t magic;
    struct pil_release *release;
    struct pil_chain chain;
    /* Control thread only, once retired. */
    uint32_t view_index; /* the slot that it was served in */
    uint64_t retire_ticket;
    struct pil_serving *retired_next;
};

/* In memory of the caller's, who keeps the release, too. */
void pil_serving_init(struct pil_serving *serving, struct pil_release *release);
/* Owns the release from OK on. NO_MEMORY: the release is still the caller's. */
pil_status pil_serving_create(struct pil_release *release, struct pil_serving **ret_serving) PIL_CHECKED;
/* Unmaps the release, which no worker may read any more; NULLs the pointer. */
void pil_serving_destroy(struct pil_serving **serving);
