/* SPDX-License-Identifier: Apache-2.0
 * The client's lock, and the adoption of a client by a forked child. Only one thread holds the lock, and it never makes
 * a call wait, because calls only try it. For this module only. */
#pragma once

#include "client/client.h"

/* Both first adopt the client, when this is a forked child. */
bool pil_lock_try(struct pillion_client *client);
void pil_lock_take(struct pillion_client *client);
void pil_lock_release(struct pillion_client *client);
