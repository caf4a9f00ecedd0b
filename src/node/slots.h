/* SPDX-License-Identifier: Apache-2.0
 * Views are slots of the settings: a name, its index, its channel and its rules stay for as long as the daemon runs,
 * because workers, clients and releases refer to them; connections have judged the rules once, for good. A reload marks
 * slots as removed, takes them back, and uses free ones. Thread: one, in each process. */
#pragma once

#include "server/settings.h"

/* The supervisor: `running` serves what `wanted` serves, as far as it can without a restart; the slots of `wanted` do
 * not matter. Returns whether it does so whole: a served view does not change its channel or its rule, and
 * PIL_SETTINGS_VIEWS_MAX views can have slots. *ret_has_changed: a view was added or removed. */
bool pil_slots_reload(struct pil_settings *running, const struct pil_settings *wanted, bool *ret_has_changed);
/* A child: takes over the supervisor's slots while other threads read its own. New ones are written before they are
 * counted; names, channels and rules of old ones are never written again. */
void pil_slots_follow(struct pil_settings *running, const struct pil_settings *wanted);
