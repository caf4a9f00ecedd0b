/* SPDX-License-Identifier: Apache-2.0
 * What the log and a metric say of clients: at most one line per user and reason in ten seconds, so that a client that
 * is refused again and again can neither fill the log nor hide the lines about others. Thread: control. */
#pragma once

#include "peer/identity.h"

struct pil_mapped;

enum { MAPPED_COMPLAINTS_MAX = 32 }; /* users and reasons at a time; the metric counts further ones, too */

typedef enum pil_mapped_trouble {
    MAPPED_TROUBLE_INVALID,   /* a packet that is not a message, or out of order */
    MAPPED_TROUBLE_REFUSED,   /* no place for a new session */
    MAPPED_TROUBLE_REPLACED,  /* a session lost its place to another client */
    MAPPED_TROUBLE_SILENT,    /* no HELLO in time */
    MAPPED_TROUBLE_IN_FLIGHT, /* the kernel sends no descriptors: ETOOMANYREFS */
    MAPPED_TROUBLE_COUNT
} pil_mapped_trouble;

struct pil_mapped_complaint {
    uint32_t uid;
    pil_mapped_trouble trouble;
    uint64_t until_ns; /* 0: a free place */
    uint32_t count;    /* not logged */
};

/* From now on the metric is there, with zeros. */
void pil_mapped_complaint_init(struct pil_mapped *mapped);
/* Counts and logs what happened with a client of this user. A user that goes on is logged once in ten seconds, with a
 * count. */
void pil_mapped_complain(struct pil_mapped *mapped, const struct pil_peer_identity *peer, pil_mapped_trouble trouble,
                         const char *why);
/* Call about once a second: logs the counts of users that have stopped. */
void pil_mapped_complaint_tick(struct pil_mapped *mapped);
