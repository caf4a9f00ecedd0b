/* SPDX-License-Identifier: Apache-2.0
 * A fresh folder for each test, as a directory store. */
#pragma once

#include "store/store.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER __attribute__((unused)) static

static char folder[64], folder_url[72];

FOLDER const char *in_folder(const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

FOLDER struct pil_store *open_folder(void) {
    struct pil_store *store = NULL;
    struct pil_error error = {0};
    if (pil_store_open(folder_url, true, &store, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return store;
}

FOLDER int folder_setup(void **state) {
    snprintf(folder, sizeof folder, "/tmp/pil-store-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(folder_url, sizeof folder_url, "dir:%s", folder);
    *state = open_folder();
    return 0;
}

FOLDER int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

FOLDER int folder_teardown(void **state) {
    struct pil_store *store = *state;
    pil_store_close(&store);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Files in ROOT/.tmp. */
FOLDER int temporary_count(void) {
    int count = 0;
    DIR *list = opendir(in_folder(".tmp"));
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (list != NULL) {
        closedir(list);
    }
    return count;
}
