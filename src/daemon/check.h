/* SPDX-License-Identifier: Apache-2.0
 * pilliond --check-config: does what a start does, and lets go of it again. */
#pragma once

#include "daemon/config.h"

/* Tries everything that the start of a daemon with this configuration needs: descriptors, the machine, every address
 * with its folder and group, the user, and, as that user, the store and the releases of every channel that is to be
 * served. Changes the process (user, limits): it is to end after this. Clients may find the listeners for a moment.
 * Appends one line to *problems for each thing that fails or that a start would have to wait for (a store, a channel, a
 * release), and to *warnings for each limit that would be lowered. */
void pil_check_start(struct pil_config *config, struct pil_text *problems, struct pil_text *warnings);
