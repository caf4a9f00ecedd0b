/* SPDX-License-Identifier: Apache-2.0
 * pillion-load: requests vectors from a feature server, on a schedule or as fast as it answers, checks the values, and
 * reports latency without coordinated omission. For the method and how to read the results see bench/README.md. */
#include "load/load.h"

int main(int argc, char **argv) {
    static struct load_plan plan;
    static struct load_record record;
    struct pil_error error = {.text = "the event loop failed"};
    load_options_parse(argc, argv, &plan);
    pil_status status = load_record_init(&record, &plan, &error);
    if (status == PIL_STATUS_OK) {
        status = load_run(&plan, &record, &error);
    }
    int code = status == PIL_STATUS_OK ? 0 : 1;
    if (status != PIL_STATUS_OK) {
        fprintf(stderr, "pillion-load: %s\n", error.text);
    } else if (plan.capture_path == NULL) {
        code = load_report(&plan, &record);
        bool is_written = plan.samples_path == NULL || load_record_write_samples(&record, plan.samples_path);
        code = is_written ? code : 1;
    }
    load_record_deinit(&record);
    return code;
}
