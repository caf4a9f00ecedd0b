/* SPDX-License-Identifier: Apache-2.0
 * Links to the resp listener, for plans that cannot be read in this process. Each call has a link for itself, so that
 * no call waits for another; idle links are kept. For this module only. */
#pragma once

#include "client/client.h"

/* What is asked for on a link where the plan has that number. */
typedef pil_status pil_exchange(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                                struct pil_error *error);
/* On an idle link, or on a new one when there is none or that turns out to be dead. */
pillion_result pil_socket_run(const struct pillion_plan *plan, pil_exchange *with, void *context, uint64_t until_ns,
                              struct pillion_error *error);
/* Of a call that begins now. */
uint64_t pil_socket_deadline_ns(const struct pillion_client *client);
/* Fills the plan's info and features, and its spec where there is none, with what the server says; once a plan is
 * described, only the types of its features change. */
pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error);
/* Whether the server answers; keeps the link for the first call. */
pil_status pil_socket_try(struct pillion_client *client, struct pil_error *ret_error) PIL_CHECKED;
/* Closes idle links. */
void pil_socket_close(struct pillion_client *client);
/* In a forked child: frees idle links without a word over the connections, which are the parent's. */
void pil_socket_forget(struct pillion_client *client);
