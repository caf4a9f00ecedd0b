/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/mapped.h"

/* Head: u32 magic, u16 type, u16 text bytes, u32 view, index, count, code, u64 generation, number, reserved. */
enum {
    AT_TYPE = 4,
    AT_TEXT = 6,
    AT_VIEW = 8,
    AT_INDEX = 12,
    AT_COUNT = 16,
    AT_CODE = 20,
    AT_GENERATION = 24,
    AT_NUMBER = 32,
    AT_RESERVED = 40
};

size_t pil_mapped_encode(const struct pil_mapped_message *message, uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX]) {
    size_t len = message->text.len < PIL_MAPPED_TEXT_BYTES_MAX ? message->text.len : PIL_MAPPED_TEXT_BYTES_MAX;
    pil_store_u32(packet, PIL_MAPPED_MAGIC);
    pil_store_u16(packet + AT_TYPE, (uint16_t)message->type);
    pil_store_u16(packet + AT_TEXT, (uint16_t)len);
    pil_store_u32(packet + AT_VIEW, message->view);
    pil_store_u32(packet + AT_INDEX, message->index);
    pil_store_u32(packet + AT_COUNT, message->count);
    pil_store_u32(packet + AT_CODE, message->code);
    pil_store_u64(packet + AT_GENERATION, message->generation);
    pil_store_u64(packet + AT_NUMBER, message->number);
    pil_store_u64(packet + AT_RESERVED, 0);
    if (len > 0) {
        memcpy(packet + PIL_MAPPED_HEAD_BYTES, message->text.data, len);
    }
    return PIL_MAPPED_HEAD_BYTES + len;
}

pil_status pil_mapped_decode(struct pil_bytes packet, struct pil_mapped_message *ret_message,
                             struct pil_error *ret_error) {
    if (packet.len < PIL_MAPPED_HEAD_BYTES) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "a packet of %zu bytes; the head alone has %d", packet.len,
                        PIL_MAPPED_HEAD_BYTES);
    }
    if (pil_load_u32(packet.data) != PIL_MAPPED_MAGIC) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the packet does not start with PILM");
    }
    uint32_t type = pil_load_u16(packet.data + AT_TYPE);
    if (type < PIL_MAPPED_HELLO || type > PIL_MAPPED_LOCATE) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "message type %u is not known", type);
    }
    size_t len = pil_load_u16(packet.data + AT_TEXT);
    if (len != packet.len - PIL_MAPPED_HEAD_BYTES) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the head says %zu bytes of text, the packet has %zu", len,
                        packet.len - PIL_MAPPED_HEAD_BYTES);
    }
    *ret_message = (struct pil_mapped_message){
        .type = (pil_mapped_type)type,
        .view = pil_load_u32(packet.data + AT_VIEW),
        .index = pil_load_u32(packet.data + AT_INDEX),
        .count = pil_load_u32(packet.data + AT_COUNT),
        .code = pil_load_u32(packet.data + AT_CODE),
        .generation = pil_load_u64(packet.data + AT_GENERATION),
        .number = pil_load_u64(packet.data + AT_NUMBER),
        .text = pil_bytes_from(packet.data + PIL_MAPPED_HEAD_BYTES, len),
    };
    return PIL_STATUS_OK;
}
