/* SPDX-License-Identifier: Apache-2.0
 * Links to the resp listener, for plans that cannot be read in this process. Each call has a link to itself, so that no
 * call waits for another; idle links are kept. For this module only. */
#pragma once

#include "client/client.h"

/* A request and its reply on a link where the plan has that number. */
typedef pil_status pil_exchange(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                                struct pil_error *error);
/* Runs an exchange on an idle link, or on a new one when there is none or the idle link turns out to be dead. */
pillion_result pil_socket_run(const struct pillion_plan *plan, pil_exchange *with, void *context, uint64_t until_ns,
                              struct pillion_error *error);
/* The deadline of a call that begins now. */
uint64_t pil_socket_deadline_ns(const struct pillion_client *client);
/* Fills the plan's info and features from the server's description; before, its spec, unless that has full names. Once
 * a plan is described, only the types of its features change, and a description of another shape is refused. */
pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error);
/* Appends the server's JSON list of the names of all "SERVICES" or "VIEWS" (schemas/wire.md, PIL.LIST). */
pil_status pil_socket_list(struct pillion_client *client, const char *what, struct pil_buffer *reply,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Checks that the server answers; keeps the link for the first call. */
pil_status pil_socket_try(struct pillion_client *client, struct pil_error *ret_error) PIL_CHECKED;
/* Closes idle links. */
void pil_socket_close(struct pillion_client *client);
/* In a forked child: frees idle links without sending anything, because the connections are the parent's. */
void pil_socket_forget(struct pillion_client *client);
