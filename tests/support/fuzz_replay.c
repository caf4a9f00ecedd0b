/* SPDX-License-Identifier: Apache-2.0
 * Runs a libFuzzer target over the files of its corpus folder, so that the corpus is a plain test with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        perror(path);
        return 1;
    }
    size_t size = (size_t)info.st_size;
    uint8_t *data =
        malloc(size + 1); /* exactly as large as needed but for one byte: ASan sees reads past the end of `size` + 1 */
    size_t got = fread(data, 1, size, file);
    fclose(file);
    uint8_t *exact = realloc(data, size > 0 ? size : 1);
    int bad = got != size || LLVMFuzzerTestOneInput(exact, size) != 0;
    free(exact);
    return bad;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        perror(argv[1]);
        return 1;
    }
    int count = 0, bad = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        struct stat info;
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            bad += replay(path);
            count++;
        }
    }
    closedir(folder);
    printf("%d inputs replayed\n", count);
    return bad != 0 || count == 0;
}
