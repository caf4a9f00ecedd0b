/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/project_offer.h"
#include "base/sys.h"

#include <stdio.h>

void pil_project_offer_init(struct pil_project_offer *offer) {
    *offer = (struct pil_project_offer){.fd = -1, .newer_fd = -1};
}

void pil_project_offer_deinit(struct pil_project_offer *offer) {
    pil_sys_close(&offer->fd);
    pil_sys_close(&offer->newer_fd);
    pil_project_offer_init(offer);
}

bool pil_project_offer_is_empty(const struct pil_project_offer *offer) {
    return offer->fd < 0 && offer->newer_fd < 0 && offer->missing.kind == PIL_MESSAGE_NONE;
}

static void drop_newer(struct pil_project_offer *offer) {
    pil_sys_close(&offer->newer_fd);
    offer->is_newer_sent = false;
    offer->server_ends = 0;
}

static void note_set_aside(struct pil_project_offer *offer) {
    offer->missing = (struct pil_message){.kind = PIL_MESSAGE_NO_PROJECT, .fd = -1};
    offer->missing.no_project.outcome = PIL_OUTCOME_CORRUPT;
    snprintf(
        offer->missing.no_project.why, sizeof offer->missing.no_project.why,
        "the server ended while it read the newest document of the project, which is set aside; apply another one, "
        "or restart the daemon to try it again");
}

bool pil_project_offer_take(struct pil_project_offer *offer, int fd, uint64_t hash) {
    if (offer->set_aside_hash != 0 && hash == offer->set_aside_hash) {
        pil_sys_close(&fd);
        note_set_aside(offer);
        return false;
    }
    bool is_in_force = offer->missing.kind == PIL_MESSAGE_NONE && !offer->is_newer_sent;
    drop_newer(offer);
    if (offer->fd >= 0 && hash == offer->hash) {
        pil_sys_close(&fd);
        offer->is_sent &= is_in_force; /* else the server has to be told that this one is the newest again */
        offer->missing.kind = PIL_MESSAGE_NONE;
        return true;
    }
    offer->newer_fd = fd;
    offer->newer_hash = hash;
    offer->missing.kind = PIL_MESSAGE_NONE;
    return true;
}

void pil_project_offer_answered(struct pil_project_offer *offer, uint64_t hash, bool is_taken) {
    if (offer->newer_fd < 0 || !offer->is_newer_sent || hash != offer->newer_hash) {
        return; /* about the one that a server took before */
    }
    if (is_taken) {
        pil_sys_close(&offer->fd);
        offer->fd = offer->newer_fd;
        offer->hash = hash;
        offer->is_sent = true;
        offer->newer_fd = -1;
    }
    drop_newer(offer);
}

bool pil_project_offer_waits(struct pil_project_offer *offer, uint64_t hash) {
    bool is_newer = offer->newer_fd >= 0 && hash == offer->newer_hash;
    bool is_older = !is_newer && offer->fd >= 0 && hash == offer->hash;
    offer->is_newer_sent &= !is_newer;
    offer->is_sent &= !is_older;
    return is_newer || is_older;
}

bool pil_project_offer_server_ended(struct pil_project_offer *offer, bool is_first) {
    bool had_one = offer->fd >= 0;
    offer->server_ends += is_first;
    if (!is_first || offer->server_ends + had_one < 2) {
        return false;
    }
    offer->set_aside_hash = offer->newer_hash;
    drop_newer(offer);
    note_set_aside(offer);
    return true;
}
