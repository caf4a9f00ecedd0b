/* SPDX-License-Identifier: Apache-2.0
 * The handlers that commands.def names. Each lives in the file of its group of commands. */
#pragma once

#include "protocol/resp/internal.h"

#define PIL_PREPARE(name) void name(struct pil_turn *turn, struct pil_redis_call *call)
#define PIL_REPLY(name) void name(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink)

/* read.c */
PIL_PREPARE(pil_redis_prepare_ping);
PIL_PREPARE(pil_redis_prepare_fields);
PIL_PREPARE(pil_redis_prepare_hmget);
PIL_PREPARE(pil_redis_prepare_row);
PIL_REPLY(pil_redis_reply_hget);
PIL_REPLY(pil_redis_reply_hmget);
PIL_REPLY(pil_redis_reply_hgetall);
PIL_REPLY(pil_redis_reply_hexists);
PIL_REPLY(pil_redis_reply_hlen);
PIL_REPLY(pil_redis_reply_hkeys);
PIL_REPLY(pil_redis_reply_hvals);
PIL_REPLY(pil_redis_reply_hstrlen);
PIL_REPLY(pil_redis_reply_hscan);
/* feast_layout.c: HMGET of keys in the layout of Feast's Redis store */
PIL_PREPARE(pil_redis_prepare_feast_layout);
PIL_REPLY(pil_redis_reply_feast_layout);
/* packed.c */
PIL_PREPARE(pil_redis_prepare_packed);
PIL_PREPARE(pil_redis_prepare_part);
PIL_REPLY(pil_redis_reply_get);
PIL_REPLY(pil_redis_reply_mget);
PIL_REPLY(pil_redis_reply_strlen);
PIL_REPLY(pil_redis_reply_getrange);
/* presence.c */
PIL_PREPARE(pil_redis_prepare_presence);
PIL_REPLY(pil_redis_reply_exists);
PIL_REPLY(pil_redis_reply_type);
PIL_REPLY(pil_redis_reply_ttl);
PIL_REPLY(pil_redis_reply_pttl);
PIL_REPLY(pil_redis_reply_expiretime);
PIL_REPLY(pil_redis_reply_pexpiretime);
PIL_PREPARE(pil_redis_prepare_object);
PIL_REPLY(pil_redis_reply_object);
PIL_PREPARE(pil_redis_prepare_memory);
PIL_REPLY(pil_redis_reply_memory);
/* plan.c */
PIL_PREPARE(pil_redis_prepare_plan);
PIL_REPLY(pil_redis_reply_plan);
PIL_PREPARE(pil_redis_prepare_forget);
PIL_REPLY(pil_redis_reply_forget);
/* vector.c */
PIL_PREPARE(pil_redis_prepare_describe);
PIL_REPLY(pil_redis_reply_describe);
PIL_REPLY(pil_redis_reply_list);
PIL_PREPARE(pil_redis_prepare_vector);
PIL_PREPARE(pil_redis_prepare_vector64);
PIL_REPLY(pil_redis_reply_vector);
PIL_PREPARE(pil_redis_prepare_columns);
PIL_PREPARE(pil_redis_prepare_columns64);
/* columns.c */
PIL_REPLY(pil_redis_reply_columns);
/* scan.c */
PIL_REPLY(pil_redis_reply_scan);
PIL_REPLY(pil_redis_reply_keys);
PIL_REPLY(pil_redis_reply_dbsize);
/* connection.c */
PIL_REPLY(pil_redis_reply_ping);
PIL_REPLY(pil_redis_reply_echo);
PIL_REPLY(pil_redis_reply_hello);
PIL_REPLY(pil_redis_reply_auth);
PIL_REPLY(pil_redis_reply_select);
PIL_PREPARE(pil_redis_prepare_reset);
PIL_REPLY(pil_redis_reply_reset);
PIL_PREPARE(pil_redis_prepare_quit);
PIL_REPLY(pil_redis_reply_quit);
/* access.c */
PIL_REPLY(pil_redis_reply_acl);
PIL_REPLY(pil_redis_reply_role);
PIL_REPLY(pil_redis_reply_no_cluster);
/* tracking.c: the subcommands of CLIENT */
PIL_REPLY(pil_redis_reply_tracking);
PIL_REPLY(pil_redis_reply_trackinginfo);
PIL_REPLY(pil_redis_reply_caching);
PIL_REPLY(pil_redis_reply_getredir);
/* client.c */
PIL_REPLY(pil_redis_reply_client);
/* multi.c: transactions, which clients use to get several answers from one moment */
PIL_PREPARE(pil_redis_prepare_multi);
PIL_REPLY(pil_redis_reply_multi);
PIL_PREPARE(pil_redis_prepare_exec);
PIL_REPLY(pil_redis_reply_exec);
PIL_PREPARE(pil_redis_prepare_discard);
PIL_PREPARE(pil_redis_prepare_watch);
PIL_PREPARE(pil_redis_prepare_unwatch);
bool pil_redis_multi_fits(struct pil_turn *turn, struct pil_connection *connection);
bool pil_redis_exec_fits(struct pil_turn *turn, struct pil_connection *connection);
/* command.c */
PIL_REPLY(pil_redis_reply_command);
/* info.c */
PIL_REPLY(pil_redis_reply_info);
/* admin.c */
PIL_REPLY(pil_redis_reply_config);
PIL_REPLY(pil_redis_reply_time);
PIL_REPLY(pil_redis_reply_latency);
PIL_REPLY(pil_redis_reply_slowlog);
