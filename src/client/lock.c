/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lock.h"
#include "base/panic.h"
#include "client/socket.h"

#include <time.h>

/* The parent's thread that held the lock does not exist here and may have left a change half done. So no count can be
 * trusted, and the existing mappings stay for good. What plans point to is complete at any time. */
static void give_up_counts(struct pillion_client *client) {
    client->fork_generation++;
    client->retired = NULL;
    client->mappings = (struct pil_mapping_lists){0};
    client->session.page = NULL;
    client->session.catalog = (struct pil_catalog){0};
    client->session.catalog_number = 0;
    client->session.grant = (struct pil_session_grant){0};
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        client->views[i].mapping = NULL;
    }
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        plan->features = plan->info.feature_count != 0 ? plan->features : NULL; /* incomplete description */
    }
}

/* Returns false while another thread of the child is adopting the client. */
static bool adopt(struct pillion_client *client) {
    uint32_t wiped = 0;
    if (!atomic_compare_exchange_strong(&client->slots->is_ours, &wiped, PIL_EPOCH_IS_BEING_ADOPTED)) {
        return wiped == PIL_EPOCH_IS_OURS;
    }
    bool was_locked = atomic_exchange(&client->lock, 1) != 0;
    if (was_locked) {
        give_up_counts(client);
    }
    pil_session_forget(client);
    pil_socket_forget(client);
    atomic_store(&client->poll_at_ns, 0);
    PIL_ASSERT_SLOW(pil_client_validate(client));
    atomic_store(&client->lock, 0);
    atomic_store(&client->slots->is_ours, PIL_EPOCH_IS_OURS);
    return true;
}

bool pil_lock_try(struct pillion_client *client) {
    uint32_t free_value = 0;
    return (atomic_load(&client->slots->is_ours) == PIL_EPOCH_IS_OURS || adopt(client)) &&
           atomic_compare_exchange_strong(&client->lock, &free_value, 1);
}

void pil_lock_take(struct pillion_client *client) {
    while (!pil_lock_try(client)) {
        struct timespec pause = {.tv_nsec = 50000};
        nanosleep(&pause, NULL);
    }
}

void pil_lock_release(struct pillion_client *client) {
    PIL_ASSERT(pil_client_is_locked(client));
    PIL_ASSERT_SLOW(pil_client_validate(client));
    atomic_store(&client->lock, 0);
}
