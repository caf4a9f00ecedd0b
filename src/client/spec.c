/* SPDX-License-Identifier: Apache-2.0 */
#include "client/spec.h"
#include "base/panic.h"

#include <stdlib.h>

pil_status pil_spec_begin(struct pil_spec_builder *builder, uint32_t capacity, struct pil_error *ret_error) {
    *builder = (struct pil_spec_builder){.capacity = capacity};
    builder->references = calloc(capacity, sizeof builder->references[0]);
    return builder->references != NULL ? PIL_STATUS_OK
                                       : pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for %u names", capacity);
}

/* Notes only lengths, because the text may move until pil_spec_finish. */
void pil_spec_add(struct pil_spec_builder *builder, const char *view, struct pil_bytes feature) {
    PIL_ASSERT(builder->count < builder->capacity);
    size_t begin = builder->text.len;
    pil_buffer_append(&builder->text, view, strlen(view));
    pil_buffer_append(&builder->text, ":", 1);
    pil_buffer_append(&builder->text, feature.data, feature.len);
    builder->references[builder->count++].len = builder->text.len - begin;
}

pil_status pil_spec_finish(struct pil_spec_builder *builder, struct pil_vector_spec **ret_spec,
                           struct pil_error *ret_error) {
    const uint8_t *at = builder->text.data;
    for (uint32_t i = 0; i < builder->count; at += builder->references[i++].len) {
        builder->references[i].data = at;
    }
    pil_status status = builder->text.failed
                            ? pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for %u names", builder->capacity)
                            : pil_vector_spec_create(builder->references, builder->count, ret_spec, ret_error);
    pil_spec_abandon(builder);
    return status;
}

void pil_spec_abandon(struct pil_spec_builder *builder) {
    free(builder->references);
    pil_buffer_deinit(&builder->text);
    *builder = (struct pil_spec_builder){0};
}
