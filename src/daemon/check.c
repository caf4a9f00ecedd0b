/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/check.h"

#include "base/sys.h"
#include "daemon/descriptors.h"
#include "daemon/listener.h"
#include "daemon/preflight.h"
#include "daemon/privilege.h"
#include "release/channel.h"
#include "release/manifest.h"

static void note(struct pil_text *problems, pil_status status, const struct pil_error *error) {
    if (status != PIL_STATUS_OK) {
        pil_text_format(problems, "%s\n", error->text);
    }
}

/* Opens all addresses before it closes the first: two of them may be the same by different names. */
static void check_listeners(const struct pil_settings *settings, struct pil_text *problems) {
    int fds[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_listener_file files[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_error error;
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        fds[i] = -1;
        note(problems, pil_listener_open(&settings->listeners[i], &fds[i], &files[i], &error), &error);
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (fds[i] >= 0) {
            pil_sys_close(&fds[i]);
            pil_listener_remove(&settings->listeners[i], &files[i]);
        }
    }
}

static pil_status check_view(struct pil_store *store, const struct pil_view_settings *view, struct pil_error *error) {
    struct pil_release_ref ref = {0};
    struct pil_channel channel;
    struct pil_manifest *manifest = NULL;
    memcpy(ref.project, view->project, sizeof view->project);
    memcpy(ref.view, view->view, sizeof view->view);
    PIL_TRY(pil_channel_read(store, &ref, view->channel, &channel, error));
    memcpy(ref.release, pil_channel_effective(&channel), sizeof channel.release);
    PIL_TRY(pil_manifest_read(store, &ref, &manifest, error));
    pil_status status = pil_manifest_check_shards(store, manifest, error);
    pil_manifest_destroy(&manifest);
    return status;
}

/* A daemon waits for a store or a channel that is not there yet; it serves nothing until then. */
static void check_store(const struct pil_config *config, struct pil_text *problems) {
    const struct pil_settings *settings = &config->settings;
    struct pil_store *store = NULL;
    struct pil_error error;
    pil_status status = pil_store_open(config->store, false, &store, &error);
    note(problems, status, &error);
    for (uint32_t i = 0; i < settings->view_count && status == PIL_STATUS_OK; i++) {
        note(problems, check_view(store, &settings->views[i], &error), &error);
    }
    pil_store_close(&store);
}

void pil_check_start(struct pil_config *config, struct pil_text *problems, struct pil_text *warnings) {
    struct pil_error error;
    note(problems, pil_descriptors_settle(&config->settings, warnings, &error), &error);
    note(problems, pil_preflight(&error), &error);
    check_listeners(&config->settings, problems);
    pil_status status = pil_privilege_drop(config->user, &error);
    note(problems, status, &error);
    if (status == PIL_STATUS_OK) {
        check_store(config, problems);
    }
}
