/* SPDX-License-Identifier: Apache-2.0
 * pillion-soak: one process whose threads read and check until soak.py says that it is over; what it finds stands in
 * the file that they share. Exit status: 0 nothing was wrong, 1 something was, 2 usage or it could not start. */
#include "soak/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { THREADS_MAX = 16 };

static struct truth *truth;

static void *run(void *context) {
    struct checker *checker = context;
    while (__atomic_load_n(&truth->is_over, __ATOMIC_RELAXED) == 0) {
        checker_run(checker);
    }
    checker_destroy(&checker);
    return NULL;
}

static struct truth *map(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *data = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    return data;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: pillion-soak TRUTH NUMBER THREADS MAPPED|- RESP|-\n");
        return 2;
    }
    truth = map(argv[1]);
    uint64_t number = strtoull(argv[2], NULL, 10), threads = strtoull(argv[3], NULL, 10);
    struct truth_score *score = &truth->scores[number % TRUTH_CHECKERS];
    struct pillion_options options = {.size = sizeof options,
                                      .mapped = strcmp(argv[4], "-") != 0 ? argv[4] : NULL,
                                      .resp = strcmp(argv[5], "-") != 0 ? argv[5] : NULL,
                                      .name = "pillion-soak"};
    struct pillion_client *client = NULL;
    struct pillion_error error;
    pthread_t ids[THREADS_MAX];
    if (pillion_open(&options, &client, &error) != PILLION_OK) {
        fprintf(stderr, "pillion-soak: %s\n", error.text);
        return 2;
    }
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    for (uint64_t i = 0; i < threads; i++) {
        struct checker *checker = checker_create(truth, score, client, number * THREADS_MAX + i);
        if (pthread_create(&ids[i], NULL, run, checker) != 0) {
            perror("pillion-soak: thread");
            return 2;
        }
    }
    for (uint64_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    static struct pillion_info info = {.size = sizeof info};
    if (pillion_info(client, &info) == PILLION_OK) {
        score->refreshes = info.refreshes;
        score->reconnects = info.reconnects;
    }
    pillion_close(&client);
    return score->wrong + score->mixed + score->stale > 0 ? 1 : 0;
}
