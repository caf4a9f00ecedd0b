/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/executor.h"

#include "base/panic.h"
#include "base/sys.h"
#include "release/shard_io.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct thread {
    struct pil_executor *executor;
    pthread_t id;
    struct pil_store *store; /* set under the lock, used only by this thread; NULL: not open */
    uint8_t *buffer;         /* used only by this thread */
    bool is_started, is_in_background;
};

struct pil_executor {
    struct pil_executor_options options;
    int event_fd;
    pthread_mutex_t lock; /* protects all fields below */
    pthread_cond_t has_work;
    struct pil_list submitted, done;
    bool is_stopping, is_cancelled, wants_background;
    uint32_t thread_count;
    struct thread threads[];
};

/* ---- A thread */

static void give_way(struct thread *thread) {
    thread->is_in_background = true;
    pil_ignore(pil_sys_run_in_background(NULL), "the loop's thread does the same, and says why it cannot");
}

static pil_status open_store(struct thread *thread, struct pil_error *error) {
    struct pil_executor *executor = thread->executor;
    struct pil_store *store = NULL;
    PIL_TRY(executor->options.open(executor->options.context, &store, error));
    pthread_mutex_lock(&executor->lock);
    thread->store = store;
    if (executor->is_cancelled) {
        pil_store_cancel(store);
    }
    pthread_mutex_unlock(&executor->lock);
    return PIL_STATUS_OK;
}

static bool needs_store(pil_follow_kind kind) {
    return kind != PIL_FOLLOW_VERIFY && kind != PIL_FOLLOW_COLLAPSE;
}

/* Opens the store, or follows a URL that leads elsewhere by now. If that fails, tasks that load a release go on with
 * the old store; tasks that read a channel or a project fail. */
static pil_status attend_store(struct thread *thread, const struct pil_job *job, struct pil_error *error) {
    bool is_reading = job->task.kind == PIL_FOLLOW_READ_PROJECT || job->task.kind == PIL_FOLLOW_POLL;
    if (thread->store == NULL) {
        return open_store(thread, error);
    }
    pil_status status = pil_store_renew(thread->store, error);
    return is_reading ? status : PIL_STATUS_OK;
}

static void run_job(struct thread *thread, struct pil_job *job) {
    struct pil_error error = {0};
    struct pil_job_runner runner = {.buffer = thread->buffer, .clock = thread->executor->options.clock};
    if (needs_store(job->task.kind)) {
        pil_status status = attend_store(thread, job, &error);
        if (status != PIL_STATUS_OK) {
            pil_job_fail(job, status, &error);
            return;
        }
    }
    runner.store = thread->store;
    pil_job_run(job, &runner);
}

/* Wakes the loop. Retries until the write succeeds, because the loop takes no job that it was not woken for. EAGAIN
 * means that the counter is full, so the descriptor is readable anyway. */
static void tell(struct pil_executor *executor) {
    uint64_t one = 1;
    while (write(executor->event_fd, &one, sizeof one) < 0 && errno != EAGAIN) {
    }
}

static void *thread_run(void *context) {
    struct thread *thread = context;
    struct pil_executor *executor = thread->executor;
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (pil_list_is_empty(&executor->submitted) && !executor->is_stopping) {
            pthread_cond_wait(&executor->has_work, &executor->lock);
        }
        if (executor->is_stopping) {
            break;
        }
        struct pil_job *job = PIL_LIST_ENTRY(struct pil_job, link, pil_list_first(&executor->submitted));
        pil_list_remove(&job->link);
        bool gives_way = executor->wants_background && !thread->is_in_background;
        pthread_mutex_unlock(&executor->lock);
        if (gives_way) {
            give_way(thread);
        }
        run_job(thread, job);
        pthread_mutex_lock(&executor->lock);
        pil_list_append(&executor->done, &job->link);
        tell(executor);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

/* ---- Life */

static pil_status start(struct pil_executor *executor, struct pil_error *error) {
    for (uint32_t i = 0; i < executor->options.thread_count; i++) {
        struct thread *thread = &executor->threads[i];
        thread->executor = executor;
        thread->buffer = malloc(PIL_SHARD_IO_PART_BYTES);
        executor->thread_count++;
        if (thread->buffer == NULL) {
            return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a thread's buffer");
        }
        int number = pthread_create(&thread->id, NULL, thread_run, thread);
        if (number != 0) {
            return pil_fail(error, pil_status_from_errno(number), "start a thread: %s", strerror(number));
        }
        thread->is_started = true;
    }
    return PIL_STATUS_OK;
}

pil_status pil_executor_create(const struct pil_executor_options *options, struct pil_executor **ret_executor,
                               struct pil_error *ret_error) {
    PIL_ASSERT(options->thread_count > 0);
    PIL_ASSERT(options->open != NULL && options->clock != NULL);
    struct pil_executor *executor = calloc(1, sizeof *executor + options->thread_count * sizeof executor->threads[0]);
    if (executor == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for an executor");
    }
    executor->options = *options;
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->has_work, NULL);
    pil_list_init(&executor->submitted);
    pil_list_init(&executor->done);
    executor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pil_status status = executor->event_fd >= 0
                            ? start(executor, ret_error)
                            : pil_fail(ret_error, pil_status_from_errno(errno), "eventfd: %s", strerror(errno));
    if (status != PIL_STATUS_OK) {
        pil_executor_destroy(&executor);
        return status;
    }
    *ret_executor = executor;
    return PIL_STATUS_OK;
}

void pil_executor_cancel(struct pil_executor *executor) {
    pthread_mutex_lock(&executor->lock);
    executor->is_cancelled = true;
    for (uint32_t i = 0; i < executor->thread_count; i++) {
        if (executor->threads[i].store != NULL) {
            pil_store_cancel(executor->threads[i].store);
        }
    }
    pthread_mutex_unlock(&executor->lock);
}

void pil_executor_destroy(struct pil_executor **executor) {
    struct pil_executor *old = *executor;
    *executor = NULL;
    if (old == NULL) {
        return;
    }
    pil_executor_cancel(old);
    pthread_mutex_lock(&old->lock);
    old->is_stopping = true;
    pthread_cond_broadcast(&old->has_work);
    pthread_mutex_unlock(&old->lock);
    for (uint32_t i = 0; i < old->thread_count; i++) {
        if (old->threads[i].is_started) {
            pthread_join(old->threads[i].id, NULL);
        }
        pil_store_close(&old->threads[i].store);
        free(old->threads[i].buffer);
    }
    PIL_LIST_EACH(struct pil_job, link, job, &old->submitted) {
        pil_list_remove(&job->link);
    }
    PIL_LIST_EACH(struct pil_job, link, job, &old->done) {
        pil_list_remove(&job->link);
    }
    pthread_cond_destroy(&old->has_work);
    pthread_mutex_destroy(&old->lock);
    pil_sys_close(&old->event_fd);
    free(old);
}

/* ---- The loop's side */

void pil_executor_submit(struct pil_executor *executor, struct pil_job *job) {
    pthread_mutex_lock(&executor->lock);
    pil_list_append(&executor->submitted, &job->link);
    pthread_cond_signal(&executor->has_work);
    pthread_mutex_unlock(&executor->lock);
}

struct pil_job *pil_executor_take(struct pil_executor *executor) {
    struct pil_job *job = NULL;
    pthread_mutex_lock(&executor->lock);
    struct pil_list_link *link = pil_list_first(&executor->done);
    if (link != NULL) {
        job = PIL_LIST_ENTRY(struct pil_job, link, link);
        pil_list_remove(link);
    } else {
        uint64_t count;
        /* If the read fails, the descriptor stays readable, and the loop calls again. */
        (void)!read(executor->event_fd, &count, sizeof count);
    }
    pthread_mutex_unlock(&executor->lock);
    return job;
}

int pil_executor_fd(const struct pil_executor *executor) {
    return executor->event_fd;
}

void pil_executor_run_in_background(struct pil_executor *executor) {
    pthread_mutex_lock(&executor->lock);
    executor->wants_background = true;
    pthread_mutex_unlock(&executor->lock);
}
