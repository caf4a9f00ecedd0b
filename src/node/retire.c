/* SPDX-License-Identifier: Apache-2.0 */
#include "node/retire.h"
#include "base/panic.h"
#include "base/sys.h"
#include "metric/metric.h"
#include "node/internal.h"

#include <stdlib.h>

struct pil_retired *pil_retired_create(void) {
    return calloc(1, sizeof(struct pil_retired));
}

void pil_retired_destroy(struct pil_retired **retired) {
    free(*retired);
    *retired = NULL;
}

void pil_retire_live(struct pil_node *node, uint32_t view_index) {
    struct pil_metric_registry *metrics = pil_server_metrics(node->server);
    const struct pil_view_settings *settings = &node->options.settings->views[view_index];
    const struct pil_release *live = pil_cache_live(pil_node_view_of(node, view_index));
    struct pil_retired *retired = node->views[view_index].live;
    char label[PIL_VIEW_LABEL_BYTES];
    PIL_ASSERT((live != NULL) == (retired != NULL));
    if (live == NULL) {
        return;
    }
    PIL_ASSERT(live->generation > 0);
    retired->view_index = view_index;
    retired->generation = live->generation;
    memcpy(retired->release, live->id, sizeof retired->release);
    pil_list_append(&node->retired, &retired->link);
    node->views[view_index].live = NULL;
    pil_view_label(settings, label);
    pil_metric_forget(metrics, PIL_METRIC_release_info, PIL_METRIC_LABELS(label, settings->channel, live->id));
}

void pil_retire_tell(struct pil_node *node, uint32_t view_index, const char *release) {
    struct pil_message message = {.kind = PIL_MESSAGE_RECLAIMED, .reclaimed = {.view_index = view_index}};
    memcpy(message.reclaimed.release, release, sizeof message.reclaimed.release);
    node->options.tell(node->options.context, &message);
}

static void on_reclaimed(void *context, uint32_t view_index, const struct pil_release *release) {
    struct pil_node *node = context;
    PIL_LIST_EACH(struct pil_retired, link, retired, &node->retired) {
        if (retired->view_index == view_index && retired->generation == release->generation) {
            PIL_ASSERT(!retired->is_unmapped);
            retired->is_unmapped = true;
            pil_huge_pages_changed(&node->huge_pages);
            return;
        }
    }
    PIL_UNREACHABLE("a release was reclaimed that was never retired");
}

pil_chore_progress pil_retired_step(struct pil_chore *chore) {
    struct pil_node *node = PIL_LIST_ENTRY(struct pil_node, reclaim, chore);
    struct pil_cache *cache = pil_server_cache(node->server);
    uint64_t bytes = pil_cache_reclaim(cache, PIL_SYS_HUGE_PAGE_BYTES, on_reclaimed, node);
    return bytes > 0 ? PIL_CHORE_MORE : PIL_CHORE_WAIT; /* for a grace period to end, or for the next swap */
}

void pil_retired_sweep(struct pil_node *node) {
    PIL_LIST_EACH(struct pil_retired, link, retired, &node->retired) {
        bool is_held =
            node->mapped != NULL && pil_mapped_is_held(node->mapped, retired->view_index, retired->generation);
        if (retired->is_unmapped && !is_held) {
            pil_retire_tell(node, retired->view_index, retired->release);
            pil_list_remove(&retired->link);
            pil_retired_destroy(&retired);
        }
    }
}
