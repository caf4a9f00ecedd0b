/* SPDX-License-Identifier: Apache-2.0
 * Views are slots of the settings: a name, its index, its channel and its rules stay for as long as the daemon runs,
 * because workers, clients and releases refer to them, and because a connection evaluates the rules only once. A reload
 * marks slots as removed, reuses them for the same view, and takes free ones. Thread: one, in each process. */
#pragma once

#include "server/settings.h"

/* For the supervisor: makes `running` serve the views of `wanted`, as far as possible without a restart; the slot
 * numbers of `wanted` do not matter. Returns whether that was possible for all views: a served view cannot change its
 * channel or its rules, and there are PIL_SETTINGS_VIEWS_MAX slots. *ret_has_changed: a view was added or removed. */
bool pil_slots_reload(struct pil_settings *running, const struct pil_settings *wanted, bool *ret_has_changed);
/* For a child: takes over the supervisor's slots while other threads read `running`. New slots are written before
 * view_count includes them; names, channels and rules of old slots are never written again. */
void pil_slots_follow(struct pil_settings *running, const struct pil_settings *wanted);
