/* SPDX-License-Identifier: Apache-2.0
 * RESP requests: from bytes into the batch, from the batch to replies; the command table. */
#include "server/redis.h"

#include <stdio.h>

static PIL_REPLY(reply_write) {
    (void)worker, (void)request;
    pil_resp_put_error(sink, "READONLY Pillion serves immutable releases; build and promote a new release instead");
}

static const struct pil_command commands[] = {
#define PIL_COMMAND(name, arity, flags, first, last, step, category, group, since, prepare, reply, summary) \
    {name, arity, flags, first, last, step, category, group, since, summary, prepare, reply},
#define PIL_WRITE(name) \
    {name, -1, "write", 0, 0, 0, "write", "write", "1.0.0", "Refused: releases are immutable.", NULL, reply_write},
#include "server/redis_commands.def"
#undef PIL_COMMAND
#undef PIL_WRITE
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

const struct pil_command *pil_redis_commands(uint32_t *ret_count) {
    *ret_count = COMMAND_COUNT;
    return commands;
}

uint32_t pil_redis_command_index(const struct pil_command *command) {
    return (uint32_t)(command - commands);
}

/* The data commands come first in the table, so a linear search finds them in a few compares. */
const struct pil_command *pil_redis_command_find(struct pil_bytes name) {
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (pil_bytes_equal_nocase(name, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

bool pil_redis_parse_i64(struct pil_bytes text, int64_t *ret_value) {
    bool negative = text.len > 0 && text.data[0] == '-';
    int64_t value = 0;
    if (text.len == (negative ? 1u : 0u) || text.len > 20) {
        return false;
    }
    for (size_t i = negative; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value))) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

/* One pattern element at *at against c; moves *at behind it. */
static bool match_one(struct pil_bytes pattern, size_t *at, uint8_t c) {
    uint8_t p = pattern.data[(*at)++];
    if (p == '?') {
        return true;
    }
    if (p == '\\' && *at < pattern.len) {
        return pattern.data[(*at)++] == c;
    }
    if (p != '[') {
        return p == c;
    }
    bool negate = *at < pattern.len && pattern.data[*at] == '^', hit = false;
    *at += negate;
    while (*at < pattern.len && pattern.data[*at] != ']') {
        uint8_t low = pattern.data[*at];
        if (low == '\\' && *at + 1 < pattern.len) {
            low = pattern.data[++*at];
        }
        uint8_t high = low;
        if (*at + 2 < pattern.len && pattern.data[*at + 1] == '-') {
            high = pattern.data[*at + 2];
            *at += 2;
        }
        hit |= low <= high ? c >= low && c <= high : c >= high && c <= low;
        ++*at;
    }
    *at += *at < pattern.len;
    return hit != negate;
}

bool pil_redis_match(struct pil_bytes pattern, struct pil_bytes text) {
    size_t at = 0, star = SIZE_MAX, star_text = 0;
    for (size_t i = 0; i < text.len || at < pattern.len;) {
        if (at < pattern.len && pattern.data[at] == '*') {
            star = at++;
            star_text = i;
            continue;
        }
        size_t next = at;
        if (i < text.len && at < pattern.len && match_one(pattern, &next, text.data[i])) {
            at = next;
            i++;
            continue;
        }
        if (star == SIZE_MAX || star_text >= text.len) {
            return false;
        }
        at = star + 1; /* let the last star take one byte more; an earlier one never needs to */
        i = ++star_text;
    }
    return true;
}

/* As Redis words it, with at most 128 bytes of arguments. */
static const char *unknown_command(struct pil_batch *batch, const struct pil_bytes *args, uint32_t arg_count) {
    char shown[160] = "";
    size_t used = 0;
    for (uint32_t i = 1; i < arg_count && used < 128; i++) {
        int len = args[i].len < 128 - used ? (int)args[i].len : (int)(128 - used);
        used += (size_t)snprintf(shown + used, sizeof shown - used, "'%.*s' ", len, (const char *)args[i].data);
    }
    return pil_batch_text(batch, "ERR unknown command '%.*s', with args beginning with: %s", pil_redis_shown(args[0]),
                          (const char *)args[0].data, shown);
}

static bool has_arity(int arity, uint32_t arg_count) {
    return arity < 0 ? arg_count >= (uint32_t)-arity : arg_count == (uint32_t)arity;
}

static void dispatch(struct pil_worker *worker, struct pil_request *request) {
    struct pil_batch *batch = worker->batch;
    const struct pil_command *command = pil_redis_command_find(request->args[0]);
    if (command == NULL) {
        request->error = unknown_command(batch, request->args, request->arg_count);
        return;
    }
    request->command = command;
    request->connection->is_valid = true;
    request->connection->last_command = command->name;
    if (!has_arity(command->arity, request->arg_count)) {
        request->error = pil_batch_text(batch, "ERR wrong number of arguments for '%s' command", command->name);
    } else if (command->prepare != NULL && !pil_redis_is_queued(request)) {
        command->prepare(worker, request);
    }
}

static void refuse(struct pil_worker *worker, struct pil_connection *connection, pil_status status, const char *error) {
    struct pil_request *request = pil_batch_add(worker, connection);
    request->error = pil_batch_text(worker->batch, "ERR %s", error);
    pil_connection_finish(worker, connection,
                          status == PIL_STATUS_TOO_LARGE ? PIL_CLOSE_REQUEST_BYTES : PIL_CLOSE_PROTOCOL);
}

pil_status pil_redis_decode(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data,
                            size_t *ret_consumed) {
    struct pil_batch *batch = worker->batch;
    const struct pil_resp_limits limits = {
        .args_max = connection->is_valid ? PIL_RESP_ARGS_MAX : PIL_INITIAL_ARGS_MAX,
        .bulk_bytes_max =
            connection->is_valid ? pil_resp_limits_default.bulk_bytes_max : pil_resp_limits_initial.bulk_bytes_max,
        .inline_bytes_max = pil_resp_limits_initial.inline_bytes_max,
        .request_bytes_max =
            connection->is_valid ? worker->server->settings->limits.request_bytes_max : PIL_INITIAL_REQUEST_BYTES,
    };
    /* What is decoded lies in the batch: it must not be run between here and pil_batch_add. */
    if (pil_batch_is_full(batch) || batch->arg_count + limits.args_max > PIL_BATCH_ARGS_MAX ||
        batch->scratch_used > sizeof batch->scratch / 2) {
        pil_batch_run(worker);
    }
    struct pil_resp_request decoded = {.args = &batch->args[batch->arg_count],
                                       .scratch = batch->scratch + batch->scratch_used};
    pil_status status = pil_resp_decode(&connection->resp_cursor, data, &limits, &decoded);
    if (status == PIL_STATUS_AGAIN) {
        return status;
    }
    if (status != PIL_STATUS_OK) {
        refuse(worker, connection, status, decoded.error);
        *ret_consumed = data.len;
        return PIL_STATUS_OK;
    }
    *ret_consumed = decoded.consumed;
    if (decoded.arg_count == 0) {
        return PIL_STATUS_OK;
    }
    struct pil_request *request = pil_batch_add(worker, connection);
    request->args = decoded.args;
    request->arg_count = decoded.arg_count;
    batch->arg_count += decoded.arg_count;
    if (data.data[0] != '*') {
        batch->scratch_used += limits.inline_bytes_max;
    }
    bool is_queued = pil_redis_is_queued(request);
    dispatch(worker, request);
    if (is_queued) {
        pil_redis_queue(worker, request, pil_bytes_from(data.data, decoded.consumed));
    }
    return PIL_STATUS_OK;
}

void pil_redis_encode(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink) {
    if (request->error != NULL) {
        pil_resp_put_error(sink, request->error);
    } else if (request->is_queued) {
        pil_resp_put_simple(sink, "QUEUED");
    } else {
        request->command->reply(worker, request, sink);
    }
}

static const char *upper_name(struct pil_batch *batch, const char *name) {
    char upper[32] = "";
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof upper; i++) {
        upper[i] = (char)(name[i] - 'a' + 'A');
    }
    return pil_batch_text(batch, "%s", upper);
}

static void put_help(struct pil_sink *sink, const char *command, const struct pil_subcommand *subcommands,
                     uint32_t count) {
    char line[160];
    pil_resp_put_array(sink, 2ull * count + 3);
    snprintf(line, sizeof line, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", command);
    pil_resp_put_simple(sink, line);
    for (uint32_t i = 0; i < count; i++) {
        pil_resp_put_simple(sink, subcommands[i].usage);
        snprintf(line, sizeof line, "    %s", subcommands[i].help);
        pil_resp_put_simple(sink, line);
    }
    pil_resp_put_simple(sink, "HELP");
    pil_resp_put_simple(sink, "    Prints this help.");
}

void pil_redis_reply_subcommand(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink,
                                const struct pil_subcommand *subcommands, uint32_t count) {
    struct pil_batch *batch = worker->batch;
    const char *command = request->command->name;
    if (pil_redis_is(request, 1, "help") && request->arg_count == 2) {
        put_help(sink, upper_name(batch, command), subcommands, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_subcommand *subcommand = &subcommands[i];
        if (!pil_redis_is(request, 1, subcommand->name)) {
            continue;
        }
        if (has_arity(subcommand->arity, request->arg_count)) {
            subcommand->reply(worker, request, sink);
        } else {
            pil_resp_put_error(sink, pil_batch_text(batch, "ERR wrong number of arguments for '%s|%s' command", command,
                                                    subcommand->name));
        }
        return;
    }
    pil_resp_put_error(sink, pil_batch_text(batch, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                                            pil_redis_shown(request->args[1]), (const char *)request->args[1].data,
                                            upper_name(batch, command)));
}

/* A bar would end the cell. */
static void put_cell(struct pil_text *page, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            pil_text_append(page, "\\", 1);
        }
        pil_text_append(page, text, 1);
    }
}

void pil_server_describe_commands(struct pil_text *page) {
    pil_text_format(
        page,
        "# RESP commands\n\nPrinted by `pilliond --describe commands`. Keys are `view:key` "
        "(`project/view:key` where several projects are served); "
        "the parts of a composite key are joined by `|`, with `\\` before a `|` or `\\` inside a part. Errors of PIL.* "
        "begin with a word for programs: [wire](../../schemas/wire.md#errors).\n\n"
        "| command | arity | category | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].reply != reply_write) {
            pil_text_format(page, "| %s | %d | @%s | ", commands[i].name, commands[i].arity, commands[i].category);
            put_cell(page, commands[i].summary);
            pil_text_format(page, " |\n");
        }
    }
    pil_text_format(page, "\nRefused with READONLY:");
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].reply == reply_write) {
            pil_text_format(page, " %s", commands[i].name);
        }
    }
    pil_text_format(page, ".\n");
}
