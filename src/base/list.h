/* SPDX-License-Identifier: Apache-2.0
 * Doubly linked lists whose links lie in the elements. An element is on at most one list per link; the list owns
 * nothing and allocates nothing. One thread at a time. Every operation takes constant time; walking takes one step per
 * element.
 *
 *     struct session { struct pil_list_link link; int fd; };
 *     struct pil_list sessions;
 *     pil_list_init(&sessions);
 *     pil_list_append(&sessions, &session->link);
 *     PIL_LIST_EACH(struct session, link, at, &sessions) { ... }
 */
#pragma once

#include "base/panic.h"

#include <stdbool.h>
#include <stddef.h>

struct pil_list_link {
    struct pil_list_link *next, *previous; /* both NULL: on no list */
};

/* A ring through the head, so that the ends need no special cases. */
struct pil_list {
    struct pil_list_link head;
};

static inline void pil_list_init(struct pil_list *list) {
    list->head.next = list->head.previous = &list->head;
}

static inline bool pil_list_is_empty(const struct pil_list *list) {
    return list->head.next == &list->head;
}

static inline bool pil_list_is_linked(const struct pil_list_link *link) {
    return link->next != NULL;
}

static inline void pil_list_insert_after(struct pil_list_link *at, struct pil_list_link *link) {
    PIL_ASSERT(!pil_list_is_linked(link));
    link->next = at->next;
    link->previous = at;
    at->next->previous = link;
    at->next = link;
}

static inline void pil_list_append(struct pil_list *list, struct pil_list_link *link) {
    pil_list_insert_after(list->head.previous, link);
}

static inline void pil_list_prepend(struct pil_list *list, struct pil_list_link *link) {
    pil_list_insert_after(&list->head, link);
}

static inline void pil_list_remove(struct pil_list_link *link) {
    PIL_ASSERT(pil_list_is_linked(link));
    link->next->previous = link->previous;
    link->previous->next = link->next;
    link->next = link->previous = NULL;
}

/* NULL when the list is empty. */
static inline struct pil_list_link *pil_list_first(const struct pil_list *list) {
    return pil_list_is_empty(list) ? NULL : list->head.next;
}

/* Moves all elements to `ret_to`, which need not be initialised; the list is empty afterwards. */
static inline void pil_list_move(struct pil_list *list, struct pil_list *ret_to) {
    if (pil_list_is_empty(list)) {
        pil_list_init(ret_to);
        return;
    }
    *ret_to = *list;
    ret_to->head.next->previous = ret_to->head.previous->next = &ret_to->head;
    pil_list_init(list);
}

/* The element that a link lies in. */
#define PIL_LIST_ENTRY(type, member, link_pointer) ((type *)(void *)((char *)(link_pointer)-offsetof(type, member)))

/* The body may remove `at`, and no other element. */
#define PIL_LIST_EACH(type, member, at, list) \
    for (type *at = PIL_LIST_ENTRY(type, member, (list)->head.next), *at##_next; \
         &at->member != &(list)->head && (at##_next = PIL_LIST_ENTRY(type, member, at->member.next), true); \
         at = at##_next)
