/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/fetcher.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "release/manifest.h"
#include "snapshot/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COPY_BYTES = 4 << 20, RETRY_MS_MIN = 1000, RETRY_MS_MAX = 60000, PROJECT_BYTES_MAX = 64 << 20 };

struct target {
    const struct pil_fetcher_view *view;
    char live[PIL_RELEASE_ID_CHARS + 1];
    char refused[PIL_RELEASE_ID_CHARS + 1];
    uint64_t retry_ms;    /* back-off of the refused release */
    uint64_t retry_at_ns; /* 0: nothing waits */
    struct pil_store_tag project_tag;
};

struct pil_fetcher {
    struct pil_store *store; /* of the pass */
    const struct pil_fetcher_hooks *hooks;
    uint8_t *buffer;
    uint32_t target_count;
    struct target targets[];
};

const char *pil_fetch_result_text(pil_fetch_result result) {
    static const char *const texts[] = {"ok", "corrupt", "will_not_fit", "not_found", "error"};
    return texts[result];
}

struct pil_fetcher *pil_fetcher_create(const struct pil_fetcher_view *views, uint32_t view_count,
                                       const struct pil_fetcher_hooks *hooks) {
    struct pil_fetcher *fetcher = calloc(1, sizeof *fetcher + view_count * sizeof fetcher->targets[0]);
    PIL_ASSERT(fetcher != NULL);
    fetcher->hooks = hooks;
    fetcher->buffer = malloc(COPY_BYTES);
    PIL_ASSERT(fetcher->buffer != NULL);
    fetcher->target_count = view_count;
    for (uint32_t i = 0; i < view_count; i++) {
        fetcher->targets[i].view = &views[i];
    }
    return fetcher;
}

void pil_fetcher_destroy(struct pil_fetcher **fetcher) {
    if (*fetcher != NULL) {
        free((*fetcher)->buffer);
        free(*fetcher);
        *fetcher = NULL;
    }
}

void pil_fetcher_set_live(struct pil_fetcher *fetcher, uint32_t view_index, const char *release) {
    PIL_ASSERT(view_index < fetcher->target_count);
    snprintf(fetcher->targets[view_index].live, sizeof fetcher->targets[view_index].live, "%s", release);
}

void pil_fetcher_dropped(struct pil_fetcher *fetcher, uint32_t view_index, const char *release) {
    if (view_index < fetcher->target_count && strcmp(fetcher->targets[view_index].live, release) == 0) {
        fetcher->targets[view_index].live[0] = '\0';
    }
}

static struct pil_release_ref ref_of(const struct target *target, const char *release) {
    struct pil_release_ref ref;
    memcpy(ref.project, target->view->project, sizeof ref.project);
    memcpy(ref.view, target->view->view, sizeof ref.view);
    snprintf(ref.release, sizeof ref.release, "%s", release);
    return ref;
}

/* Copies a shard's object into an unsealed memfd. Its size is the manifest's: a longer or shorter object is corrupt. */
static pil_status copy_shard(struct pil_fetcher *fetcher, const struct pil_manifest_shard *shard, int fd,
                             struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&shard->id, name);
    if (ftruncate(fd, (off_t)shard->bytes) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "memory for %llu bytes: %s",
                        (unsigned long long)shard->bytes, strerror(errno));
    }
    for (uint64_t done = 0; done < shard->bytes;) {
        size_t wanted = shard->bytes - done < COPY_BYTES ? (size_t)(shard->bytes - done) : COPY_BYTES, len = 0;
        if (fetcher->hooks->is_cancelled(fetcher->hooks->context)) {
            return pil_fail(ret_error, PIL_STATUS_CLOSED, "stopping");
        }
        struct pil_store_range range = {.name = name, .offset = done, .buffer = fetcher->buffer, .bytes = wanted};
        PIL_TRY(pil_store_get_range(fetcher->store, &range, &len, ret_error));
        if (len == 0) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "%s ends after %llu bytes; the manifest says %llu", name,
                            (unsigned long long)done, (unsigned long long)shard->bytes);
        }
        ssize_t wrote = pwrite(fd, fetcher->buffer, len, (off_t)done);
        if (wrote != (ssize_t)len) {
            int number = wrote < 0 ? errno : ENOSPC;
            return pil_fail(ret_error, pil_status_from_errno(number), "memory for %s: %s", name, strerror(number));
        }
        done += len;
    }
    return PIL_STATUS_OK;
}

static pil_status verify_shard(const struct pil_manifest *manifest, const struct pil_manifest_shard *shard, int fd,
                               struct pil_error *ret_error) {
    void *data = NULL;
    PIL_TRY(pil_sys_map_aligned(fd, shard->bytes, &data, ret_error));
    struct pil_verify_options options = {
        .id = &shard->id, .view = manifest->view, .schema = pil_text_bytes(&manifest->schema)};
    pil_status status = pil_verify(pil_bytes_from(data, shard->bytes), &options, ret_error);
    munmap(data, shard->bytes);
    return status;
}

/* After sealing, which a mapping would prevent. Without addresses for it the pages stay as they are. */
static uint64_t collapse_shard(const struct pil_manifest_shard *shard, int fd) {
    void *data = NULL;
    if (pil_sys_map_aligned(fd, shard->bytes, &data, NULL) != PIL_STATUS_OK) {
        return 0;
    }
    uint64_t huge = pil_sys_collapse(data, shard->bytes);
    munmap(data, shard->bytes);
    return huge;
}

/* A sealed descriptor of a verified copy. */
static pil_status fetch_shard(struct pil_fetcher *fetcher, const struct pil_manifest *manifest, uint32_t index,
                              int *ret_fd, struct pil_fetch_report *report, struct pil_error *ret_error) {
    const struct pil_manifest_shard *shard = &manifest->shards[index];
    char name[192];
    int fd = -1;
    snprintf(name, sizeof name, "pillion-%s-%u", manifest->ref.release, index);
    PIL_TRY(pil_sys_memfd_create(name, &fd, ret_error));
    uint64_t start_ns = pil_clock_monotonic_ns();
    pil_status status = copy_shard(fetcher, shard, fd, ret_error);
    uint64_t copied_ns = pil_clock_monotonic_ns();
    if (status == PIL_STATUS_OK) {
        status = verify_shard(manifest, shard, fd, ret_error);
    }
    uint64_t verified_ns = pil_clock_monotonic_ns();
    report->copy_ns += copied_ns - start_ns;
    report->verify_ns += verified_ns - copied_ns;
    if (status == PIL_STATUS_OK) {
        status = pil_sys_memfd_seal(fd, ret_error);
    }
    if (status == PIL_STATUS_OK && fetcher->hooks->use_huge_pages) {
        report->huge_bytes += collapse_shard(shard, fd);
        report->collapse_ns += pil_clock_monotonic_ns() - verified_ns;
    }
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        return pil_fail_in(ret_error, status, "shard %u", index);
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

/* All shards agree with the manifest on the schema: pil_verify compared each with manifest->view. */
static pil_status fetch_release(struct pil_fetcher *fetcher, uint32_t view_index, const char *release,
                                struct pil_fetch_report *report, struct pil_error *ret_error) {
    struct target *target = &fetcher->targets[view_index];
    const struct pil_fetcher_hooks *hooks = fetcher->hooks;
    struct pil_release_ref ref = ref_of(target, release);
    struct pil_manifest *manifest = NULL;
    PIL_TRY(pil_manifest_read(fetcher->store, &ref, &manifest, ret_error));
    report->bytes = manifest->bytes;
    report->created_us = manifest->created_us;
    pil_status status = hooks->admit(hooks->context, view_index, release, manifest->bytes, ret_error);
    for (uint32_t i = 0; i < manifest->shard_count && status == PIL_STATUS_OK; i++) {
        int fd = -1;
        status = fetch_shard(fetcher, manifest, i, &fd, report, ret_error);
        if (status == PIL_STATUS_OK) {
            status = hooks->hand_over(hooks->context, view_index, release, i, manifest->shard_count, fd);
        }
    }
    pil_manifest_destroy(&manifest);
    return status;
}

static pil_fetch_result result_of(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PIL_FETCH_OK;
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_UNSUPPORTED:
    case PIL_STATUS_INVALID: return PIL_FETCH_CORRUPT;
    case PIL_STATUS_TOO_LARGE:
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE: return PIL_FETCH_WILL_NOT_FIT;
    case PIL_STATUS_NOT_FOUND: return PIL_FETCH_NOT_FOUND;
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_DENIED:
    case PIL_STATUS_BUSY:
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: return PIL_FETCH_ERROR;
    }
    PIL_UNREACHABLE("status");
}

static void note_refusal(struct target *target, const char *release) {
    bool same = strcmp(target->refused, release) == 0;
    target->retry_ms = !same ? RETRY_MS_MIN : target->retry_ms * 2 < RETRY_MS_MAX ? target->retry_ms * 2 : RETRY_MS_MAX;
    target->retry_at_ns = pil_clock_monotonic_ns() + target->retry_ms * 1000000;
    snprintf(target->refused, sizeof target->refused, "%s", release);
}

static void forget_refusal(struct target *target) {
    target->refused[0] = '\0';
    target->retry_at_ns = 0;
}

static void follow(struct pil_fetcher *fetcher, uint32_t view_index, const char *release) {
    struct target *target = &fetcher->targets[view_index];
    const struct pil_fetcher_hooks *hooks = fetcher->hooks;
    struct pil_fetch_report report = {.release = release, .text = ""};
    struct pil_error error = {0};
    if (strcmp(target->live, release) == 0) {
        forget_refusal(target);
        return;
    }
    if (strcmp(target->refused, release) == 0 && pil_clock_monotonic_ns() < target->retry_at_ns) {
        return;
    }
    pil_status status = PIL_STATUS_OK;
    if (!hooks->is_held(hooks->context, view_index, release)) {
        status = fetch_release(fetcher, view_index, release, &report, &error);
    }
    if (status == PIL_STATUS_OK) {
        status = hooks->publish(hooks->context, view_index, release, report.created_us);
    }
    if (status != PIL_STATUS_OK && hooks->is_cancelled(hooks->context)) {
        return; /* given up: nothing is wrong with the release */
    }
    if (status == PIL_STATUS_OK) {
        pil_fetcher_set_live(fetcher, view_index, release);
        forget_refusal(target);
    } else {
        note_refusal(target, release);
        report.text = error.text[0] != '\0' ? error.text : pil_status_text(status);
    }
    report.result = result_of(status);
    hooks->reported(hooks->context, view_index, &report);
}

static void check_channel(struct pil_fetcher *fetcher, uint32_t view_index) {
    struct target *target = &fetcher->targets[view_index];
    const struct pil_fetcher_hooks *hooks = fetcher->hooks;
    struct pil_channel *channel = calloc(1, sizeof *channel);
    struct pil_error error = {0};
    struct pil_release_ref ref = ref_of(target, "");
    PIL_ASSERT(channel != NULL);
    pil_status status = pil_channel_read(fetcher->store, &ref, target->view->channel, channel, &error);
    if (status == PIL_STATUS_OK) {
        hooks->checked(hooks->context, view_index, channel);
        follow(fetcher, view_index, pil_channel_effective(channel));
    } else {
        target->retry_at_ns = 0; /* a release that waits is looked at again when its channel can be read */
        struct pil_fetch_report report = {.result = result_of(status), .release = "", .text = error.text};
        hooks->reported(hooks->context, view_index, &report);
    }
    free(channel);
}

/* Feature services live in the project's document; views of one project share it. */
static void check_project(struct pil_fetcher *fetcher, uint32_t view_index) {
    struct target *target = &fetcher->targets[view_index];
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text document = {0};
    struct pil_store_tag tag;
    struct pil_error error;
    for (uint32_t i = 0; i < view_index; i++) {
        if (!fetcher->targets[i].view->is_removed &&
            strcmp(fetcher->targets[i].view->project, target->view->project) == 0) {
            return;
        }
    }
    pil_layout_project(target->view->project, name);
    if (pil_store_get(fetcher->store, name, PROJECT_BYTES_MAX, &document, &tag, &error) != PIL_STATUS_OK) {
        return; /* a store without an applied project serves views, only no services; a broken store is told by the
                   channel */
    }
    if (strcmp(tag.text, target->project_tag.text) != 0) {
        target->project_tag = tag;
        fetcher->hooks->project(fetcher->hooks->context, view_index, pil_text_bytes(&document));
    }
    pil_text_deinit(&document);
}

uint64_t pil_fetcher_pass(struct pil_fetcher *fetcher, struct pil_store *store) {
    uint64_t soonest_ms = UINT64_MAX;
    fetcher->store = store;
    for (uint32_t i = 0; i < fetcher->target_count && !fetcher->hooks->is_cancelled(fetcher->hooks->context); i++) {
        const struct target *target = &fetcher->targets[i];
        if (target->view->is_removed) {
            continue;
        }
        check_project(fetcher, i);
        check_channel(fetcher, i);
        if (target->retry_at_ns != 0) {
            uint64_t now_ns = pil_clock_monotonic_ns();
            uint64_t left_ms = target->retry_at_ns > now_ns ? (target->retry_at_ns - now_ns) / 1000000 + 1 : 1;
            soonest_ms = left_ms < soonest_ms ? left_ms : soonest_ms;
        }
    }
    return soonest_ms;
}
