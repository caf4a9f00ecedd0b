/* SPDX-License-Identifier: Apache-2.0
 * The published state of a view, immutable: everything that a request needs to answer from one moment. Today a release
 * and the chain that looks rows up in it; whatever else a request must see at the same moment (rows written since, a
 * candidate release, which caller gets which) becomes a member here and is published by the same single store. */
#pragma once

#include "cache/chain.h"
#include "cache/release.h"

enum { PIL_SERVING_MAGIC = 0x53525647 };

struct pil_serving {
    uint32_t magic;
    struct pil_release *release;
    struct pil_chain chain;
    /* For the control thread only, once retired. */
    uint32_t view_index; /* the slot of its view */
    uint64_t retire_ticket;
    struct pil_serving *retired_next;
};

/* Initialises a serving in the caller's memory; the caller also keeps the release. */
void pil_serving_init(struct pil_serving *serving, struct pil_release *release);
/* On OK the serving owns the release. NO_MEMORY: the caller keeps the release. */
pil_status pil_serving_create(struct pil_release *release, struct pil_serving **ret_serving) PIL_CHECKED;
/* Unmaps the release and frees the serving, which no worker may read any more; NULLs the pointer. */
void pil_serving_destroy(struct pil_serving **serving);
