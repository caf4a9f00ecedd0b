/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/admin_client.h"
#include "cli/connect.h"
#include "cli/report.h"
#include "base/sys.h"
#include "base/text.h"
#include "schema/json_text.h"
#include "wire/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGE_BYTES_MAX = 64 << 20, CHUNK_BYTES = 65536 };

const char *pil_admin_address(const struct pil_invocation *invocation) {
    const char *address = invocation->values[PIL_OPTION_ADMIN];
    return address != NULL ? address : "tcp:127.0.0.1:9466";
}

/* Reads until the response is whole. */
static pil_status read_response(int fd, struct pil_text *input, struct pil_http_response *ret_response) {
    const struct pil_http_limits limits = {
        .head_bytes_max = 32768, .fields_max = 100, .body_bytes_max = PAGE_BYTES_MAX};
    for (;;) {
        uint8_t chunk[CHUNK_BYTES];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got == 0 ? PIL_STATUS_CLOSED : errno == EAGAIN ? PIL_STATUS_TIMEOUT : pil_status_from_errno(errno);
        }
        pil_text_append(input, chunk, (size_t)got);
        if (input->failed) {
            return PIL_STATUS_NO_MEMORY;
        }
        pil_status status = pil_http_decode_response(pil_text_bytes(input), &limits, ret_response);
        if (status != PIL_STATUS_AGAIN) {
            return status;
        }
    }
}

pil_status pil_admin_fetch(const char *address, const char *path, json_t **ret_page, struct pil_error *ret_error) {
    char request[128];
    int fd = -1;
    struct pil_text input = {0};
    struct pil_http_response response;
    int len =
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", path);
    PIL_TRY(pil_connect(address, &fd, ret_error));
    pil_status status = pil_sys_write_all(fd, pil_bytes_from(request, (size_t)len), ret_error);
    if (status == PIL_STATUS_OK) {
        status = read_response(fd, &input, &response);
        pil_ignore(pil_fail(ret_error, status, "%s: %s; is this the admin listener of a pilliond?", address,
                            pil_status_text(status)),
                   "returned below");
    }
    pil_sys_close(&fd);
    if (status == PIL_STATUS_OK) {
        *ret_page = NULL;
        status = pil_json_load(response.body, 0, ret_page, ret_error);
        if (status == PIL_STATUS_CORRUPT || (status == PIL_STATUS_OK && !json_is_object(*ret_page))) {
            json_decref(*ret_page);
            *ret_page = NULL;
            status = pil_fail(ret_error, PIL_STATUS_UNSUPPORTED,
                              "%s%s: the answer is not a JSON object; is this the admin listener of a pilliond?",
                              address, path);
        }
    }
    pil_text_deinit(&input);
    return status;
}

pil_status pil_admin_page_try(const struct pil_invocation *invocation, const char *path, json_t **ret_page,
                              struct pil_error *ret_error) {
    PIL_TRY(pil_admin_fetch(pil_admin_address(invocation), path, ret_page, ret_error));
    if (!pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_make_printable(*ret_page);
    }
    return PIL_STATUS_OK;
}

int pil_admin_page(const struct pil_invocation *invocation, const char *path, json_t **ret_page) {
    struct pil_error error = {0};
    pil_status status = pil_admin_page_try(invocation, path, ret_page, &error);
    return status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_failure(status, &error);
}

uint64_t pil_latency_bound_ns(uint32_t bin) {
    static const uint64_t steps[] = {1, 2, 5};
    uint64_t scale = 1000;
    for (uint32_t decade = 0; decade < bin / 3; decade++) {
        scale *= 10;
    }
    return bin + 1 >= PIL_LATENCY_BINS ? UINT64_MAX : steps[bin % 3] * scale;
}

const char *pil_latency_text(uint64_t ns, char ret_text[24]) {
    if (ns == UINT64_MAX) {
        snprintf(ret_text, 24, "more");
    } else if (ns < 1000) {
        snprintf(ret_text, 24, "%llu ns", (unsigned long long)ns);
    } else if (ns < 1000000) {
        snprintf(ret_text, 24, ns % 1000 == 0 || ns >= 100000 ? "%.0f µs" : "%.1f µs", (double)ns / 1e3);
    } else if (ns < 1000000000) {
        snprintf(ret_text, 24, ns % 1000000 == 0 || ns >= 100000000 ? "%.0f ms" : "%.1f ms", (double)ns / 1e6);
    } else {
        snprintf(ret_text, 24, "%.1f s", (double)ns / 1e9);
    }
    return ret_text;
}

/* The count of the fine bucket that starts at `low` in an earlier page's series. */
static uint64_t count_before(const json_t *buckets, json_int_t low) {
    size_t index;
    const json_t *bucket;
    json_array_foreach(buckets, index, bucket) {
        if (json_integer_value(json_array_get(bucket, 0)) == low) {
            return (uint64_t)json_integer_value(json_array_get(bucket, 1));
        }
    }
    return 0;
}

static const json_t *find_series(const json_t *page, const json_t *wanted) {
    static const char *const members[] = {"protocol", "view", "stage"};
    size_t index;
    const json_t *series;
    json_array_foreach(json_object_get(page, "series"), index, series) {
        bool same = true;
        for (size_t i = 0; i < 3; i++) {
            same = same && json_equal(json_object_get(series, members[i]), json_object_get(wanted, members[i]));
        }
        if (same) {
            return series;
        }
    }
    return NULL;
}

/* A quantile is the upper end of the fine bucket in which that share of all durations is reached. */
static void set_quantiles(struct pil_latency *latency, const uint64_t *lows, const uint64_t *counts,
                          size_t bucket_count) {
    static const double shares[] = {0.5, 0.99, 0.999, 1.0};
    uint64_t *const places[] = {&latency->p50_ns, &latency->p99_ns, &latency->p999_ns, &latency->max_ns};
    for (size_t q = 0; q < 4; q++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < bucket_count; i++) {
            sum += counts[i];
            if (counts[i] > 0 && (double)sum >= shares[q] * (double)latency->count) {
                *places[q] = lows[i] + lows[i] / 16; /* the upper end of a bucket of 1/16 octave */
                break;
            }
        }
    }
}

static void read_series(const json_t *series, const json_t *before, struct pil_latency *latency) {
    const json_t *buckets = json_object_get(series, "buckets"),
                 *earlier = before != NULL ? json_object_get(before, "buckets") : NULL;
    size_t index, bucket_count = json_array_size(buckets);
    const json_t *bucket;
    uint64_t *lows = pil_report_need(calloc(2 * bucket_count + 1, sizeof *lows)), *counts = lows + bucket_count;
    *latency = (struct pil_latency){0};
    snprintf(latency->protocol, sizeof latency->protocol, "%.15s",
             json_string_value(json_object_get(series, "protocol")));
    snprintf(latency->view, sizeof latency->view, "%.260s", json_string_value(json_object_get(series, "view")));
    snprintf(latency->stage, sizeof latency->stage, "%.15s", json_string_value(json_object_get(series, "stage")));
    json_array_foreach(buckets, index, bucket) {
        json_int_t low = json_integer_value(json_array_get(bucket, 0));
        lows[index] = (uint64_t)low;
        uint64_t now = (uint64_t)json_integer_value(json_array_get(bucket, 1)), then = count_before(earlier, low);
        counts[index] = now >= then ? now - then : now; /* after a restart the server counts from 0 */
        latency->count += counts[index];
        uint32_t bin = 0;
        while (lows[index] >= pil_latency_bound_ns(bin)) {
            bin++;
        }
        latency->bins[bin] += counts[index];
    }
    set_quantiles(latency, lows, counts, bucket_count);
    free(lows);
}

uint32_t pil_latency_read(const json_t *page, const json_t *before, struct pil_latency *ret_series,
                          uint32_t series_max) {
    size_t index;
    const json_t *series;
    uint32_t count = 0;
    json_array_foreach(json_object_get(page, "series"), index, series) {
        if (count < series_max) {
            read_series(series, before != NULL ? find_series(before, series) : NULL, &ret_series[count]);
            count += ret_series[count].count > 0;
        }
    }
    return count;
}
