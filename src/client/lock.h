/* SPDX-License-Identifier: Apache-2.0
 * The client's lock, and what a forked child may still trust. One holder at a time, which never makes a call wait:
 * calls only try. For this module only. */
#pragma once

#include "client/client.h"

/* Both first adopt the client in a forked child. */
bool pil_lock_try(struct pillion_client *client);
void pil_lock_take(struct pillion_client *client);
void pil_lock_release(struct pillion_client *client);
