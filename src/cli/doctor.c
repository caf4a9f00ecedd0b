/* SPDX-License-Identifier: Apache-2.0
 * The command doctor: shows what this machine or container offers to Pillion, which path Pillion takes because of that,
 * and what to do about each shortfall. It tries features instead of reading versions, and asks the running daemon, if
 * there is one. */
#include "base/machine.h"
#include "base/number.h"
#include "base/sys.h"
#include "cli/admin_client.h"
#include "cli/report.h"
#include "cli/status_view.h"
#include "engine/engine.h"
#include "schema/json_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

/* An engine of a worker with the default limits, and the locked memory that its ring takes. */
enum { RING_BYTES = 600 << 10 };
static const struct pil_engine_options usual_engine = {.connections_max = 4096};

/* ABSENT: nothing is there to look at. UNSAFE: works, but not as it should be run. UNKNOWN: could not be looked at. */
typedef enum health { GOOD, SLOWER, ABSENT, UNSAFE, UNKNOWN, BROKEN } health;

/* The findings so far. */
struct sheet {
    json_t *findings;
    bool is_broken, is_unknown;
};

/* Adds a finding. remedy "": nothing needs to be done. */
static void note(struct sheet *sheet, const char *what, health verdict, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void note(struct sheet *sheet, const char *what, health verdict, const char *remedy, const char *format, ...) {
    static const char *const texts[] = {"good", "slower", "absent", "unsafe", "unknown", "broken"};
    struct pil_text found = {0}, printable = {0};
    va_list arguments;
    va_start(arguments, format);
    pil_text_format_v(&found, format, arguments);
    va_end(arguments);
    sheet->is_broken |= verdict == BROKEN;
    sheet->is_unknown |= verdict == UNKNOWN;
    pil_json_append(&sheet->findings,
                    json_pack("{s:s, s:s, s:s, s:s}", "what", what, "verdict", texts[verdict], "found",
                              pil_report_printable(pil_report_text(&found), &printable), "remedy", remedy));
    pil_text_deinit(&printable);
    pil_text_deinit(&found);
    pil_report_need(sheet->findings);
}

/* The first line of a small file, without the newline; "" if the file cannot be read. */
static const char *first_line(const char *path, char text[256]) {
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (file != NULL) {
        if (fgets(text, 256, file) == NULL) {
            text[0] = '\0';
        }
        text[strcspn(text, "\n")] = '\0';
        fclose(file);
    }
    return text;
}

static void examine_engine(struct sheet *sheet) {
    char reason[PIL_ENGINE_REASON_BYTES], setting[256];
    struct utsname kernel = {.release = "?"};
    uname(&kernel);
    pil_engine_kind kind = pil_engine_probe(&usual_engine, reason);
    first_line("/proc/sys/kernel/io_uring_disabled", setting);
    const char *remedy =
        kind == PIL_ENGINE_IO_URING ? ""
        : setting[0] == '1' || setting[0] == '2'
            ? "sysctl kernel.io_uring_disabled=0, if policy allows; epoll works as well"
            : "nothing has to be done: epoll works as well; container runtimes block io_uring by seccomp";
    note(sheet, "event loop", GOOD, remedy, "%s: %s; Linux %s", pil_engine_kind_text(kind), reason, kernel.release);
}

static void examine_sealing(struct sheet *sheet) {
    enum { BYTES = 2 * PIL_SYS_HUGE_PAGE_BYTES };
    char setting[256];
    struct pil_error error = {.text = ""};
    int fd = -1;
    void *data = NULL;
    uint8_t *content =
        pil_report_need(calloc(1, BYTES)); /* written, because pages that do not exist yet cannot be moved */
    bool sealed = pil_sys_memfd_create("doctor", &fd, &error) == PIL_STATUS_OK &&
                  pil_sys_write_all(fd, pil_bytes_from(content, BYTES), &error) == PIL_STATUS_OK &&
                  pil_sys_memfd_seal(fd, &error) == PIL_STATUS_OK && pil_sys_memfd_is_sealed(fd);
    note(sheet, "sealed memory", sealed ? GOOD : BROKEN,
         sealed ? "" : "releases are served from sealed memfds; allow memfd_create and fcntl in the seccomp profile",
         "%s", sealed ? "memfds are made and sealed" : error.text);
    if (sealed && pil_sys_map_aligned(fd, BYTES, &data, &error) == PIL_STATUS_OK) {
        bool huge = pil_sys_collapse(data, BYTES) == BYTES;
        munmap(data, BYTES);
        note(sheet, "huge pages", huge ? GOOD : SLOWER,
             huge ? "" : "Linux 6.1 or newer moves releases into huge pages; reads take about a quarter longer without",
             "%s; shmem_enabled: %s",
             huge ? "sealed memory moves into them (MADV_COLLAPSE)" : "sealed memory does not move into them",
             first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", setting));
    }
    pil_sys_close(&fd);
    free(content);
}

static void examine_descriptors(struct sheet *sheet) {
    int pair[2];
    bool ok = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
    note(sheet, "mapped reads", ok ? GOOD : BROKEN, ok ? "" : "allow Unix sockets in the seccomp profile",
         ok ? "SOCK_SEQPACKET sockets pass descriptors" : "no SOCK_SEQPACKET socket: %s", strerror(errno));
    if (ok) {
        close(pair[0]);
        close(pair[1]);
    }
}

static void examine_watch(struct sheet *sheet) {
    int fd = inotify_init1(IN_CLOEXEC);
    note(sheet, "watch", fd >= 0 ? GOOD : SLOWER,
         fd >= 0 ? "" : "raise fs.inotify.max_user_instances, or allow inotify_init1; until then poll_interval decides",
         "%s%s", fd >= 0 ? "inotify reports changed folders" : "inotify: ", fd >= 0 ? "" : strerror(errno));
    pil_sys_close(&fd);
}

static void examine_limits(struct sheet *sheet) {
    struct rlimit files = {0}, locked = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    bool enough = files.rlim_max >= 8192;
    note(sheet, "descriptors", enough ? GOOD : SLOWER,
         enough ? ""
                : "raise the hard limit of open files to 8192 (LimitNOFILE, ulimit -Hn); below what its limits need, "
                  "pilliond lowers limits.connections and says so",
         "%llu, at most %llu", (unsigned long long)files.rlim_cur, (unsigned long long)files.rlim_max);
    uint64_t rings = (uint64_t)pil_machine_cores() * RING_BYTES;
    bool locks = locked.rlim_cur >= rings;
    note(sheet, "locked memory", locks ? GOOD : SLOWER,
         locks ? ""
               : "raise LimitMEMLOCK (ulimit -l) above what the rings need, or the event loop of all workers is epoll",
         "%llu KiB; the rings of %u worker%s need %llu KiB", (unsigned long long)(locked.rlim_cur >> 10),
         pil_machine_cores(), pil_number_plural(pil_machine_cores()), (unsigned long long)(rings >> 10));
}

static void examine_memory(struct sheet *sheet) {
    char limit[PIL_REPORT_NUMBER_BYTES], machine[PIL_REPORT_NUMBER_BYTES], budget[PIL_REPORT_NUMBER_BYTES];
    uint64_t bytes = pil_machine_memory_limit(), all = pil_machine_memory();
    bool is_limited = bytes < all;
    pil_report_bytes(bytes, limit);
    pil_report_bytes(all, machine);
    pil_report_bytes(is_limited ? bytes / 4 * 3 : all / 2, budget);
    note(sheet, "memory", is_limited ? GOOD : SLOWER,
         is_limited
             ? ""
             : "without a memory limit the budget is half of the machine: set memory_budget, or limit the cgroup",
         "cgroup limit %s, machine %s; memory_budget: auto is %s", is_limited ? limit : "none", machine, budget);
}

static void examine_cores(struct sheet *sheet) {
    char clock[256];
    uint32_t cores = pil_machine_cores();
    first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", clock);
    bool fast = strcmp(clock, "tsc") == 0 || strcmp(clock, "arch_sys_counter") == 0 || strcmp(clock, "kvm-clock") == 0;
    note(sheet, "cores", GOOD, "", "%u available; workers: auto is %u, spinning is %s", cores, cores,
         "off unless workers leave a core free");
    note(sheet, "clock", fast ? GOOD : SLOWER,
         fast ? "" : "every timestamp costs a system call; boot with a stable TSC", "%s",
         clock[0] != '\0' ? clock : "unknown");
}

static void examine_sandbox(struct sheet *sheet) {
    char line[256], seccomp[64] = "?", privileges[64] = "?";
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "Seccomp: %63s", seccomp);
        (void)sscanf(line, "NoNewPrivs: %63s", privileges);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (access("/proc/self/exe", X_OK) != 0 || access("/proc/1/cgroup", R_OK) != 0) {
        note(sheet, "/proc", SLOWER,
             "mount it, without hidepid or with gid= of this user's group; pilliond starts its processes from it, and "
             "rules that name cgroups need to see those of others",
             "not mounted, or other processes are hidden");
    }
    bool is_root = geteuid() == 0;
    note(sheet, "sandbox", is_root ? UNSAFE : GOOD,
         is_root ? "run pilliond and this command as a dedicated user (`user:`, systemd's User=): what root is allowed "
                   "says nothing about that user"
                 : "",
         "seccomp %s, no_new_privs %s, uid %u; the daemon needs no privilege and no capability",
         strcmp(seccomp, "0") == 0   ? "off"
         : strcmp(seccomp, "2") == 0 ? "filtering"
                                     : seccomp,
         privileges, getuid());
}

/* What keeps views from being served as their channels and projects say. */
static void examine_releases(struct sheet *sheet, const json_t *page) {
    size_t index;
    const json_t *view;
    struct pil_text found = {0};
    bool needs_action = pil_page_number(json_object_get(page, "services"), "unanswered") > 0;
    if (needs_action) {
        pil_text_format(&found, "services: %s", pil_page_text(json_object_get(page, "services"), "why"));
    }
    json_array_foreach(json_object_get(page, "views"), index, view) {
        struct pil_text lines = {0};
        needs_action |= pil_status_view_troubles(view, &lines);
        for (const char *line = pil_report_text(&lines); *line != '\0';) {
            size_t len = strcspn(line, "\n");
            pil_text_format(&found, "%s%s: %.*s", found.len > 0 ? "; " : "", pil_page_text(view, "view"), (int)len,
                            line);
            line += len + 1;
        }
        pil_text_deinit(&lines);
    }
    health verdict = needs_action ? BROKEN : found.len > 0 ? SLOWER : GOOD;
    note(sheet, "releases", verdict,
         verdict == BROKEN   ? "the daemon's log says more; promote or build a release that can be served"
         : verdict == SLOWER ? "wait, or look at `pillion status` again"
                             : "",
         "%s", verdict == GOOD ? "every view serves what its channel wants" : pil_report_text(&found));
    pil_text_deinit(&found);
}

static void examine_daemon(struct sheet *sheet, const struct pil_invocation *invocation) {
    json_t *page = NULL, *mapped = NULL;
    struct pil_error error = {.text = ""};
    const char *address = pil_admin_address(invocation);
    pil_status status = pil_admin_fetch(address, "/status", &page, &error);
    if (status != PIL_STATUS_OK) {
        bool is_absent = !pil_invocation_has(invocation, PIL_OPTION_ADMIN) && status == PIL_STATUS_CLOSED;
        note(sheet, "daemon", is_absent ? ABSENT : UNKNOWN, "start it, or name its admin listener with --admin", "%s",
             error.text);
        return;
    }
    bool ready = json_is_true(json_object_get(page, "ready"));
    size_t index, maps = 0;
    const json_t *listener;
    json_array_foreach(json_object_get(page, "listeners"), index, listener) {
        maps += strcmp(json_string_value(json_object_get(listener, "protocol")), "mapped") == 0;
    }
    note(sheet, "daemon", ready ? GOOD : BROKEN, ready ? "" : "`pillion status` lists the reasons",
         "%s, %s (%s), at most %lld connections, %s", address, json_string_value(json_object_get(page, "engine")),
         json_string_value(json_object_get(page, "engine_reason")),
         (long long)json_integer_value(json_object_get(json_object_get(page, "limits"), "connections")),
         ready ? "ready" : "not ready");
    char listeners[PIL_REPORT_THINGS_BYTES], releases[PIL_REPORT_THINGS_BYTES];
    size_t holders = pil_admin_fetch(address, "/mapped", &mapped, &error) == PIL_STATUS_OK
                         ? json_array_size(json_object_get(mapped, "holders"))
                         : 0;
    note(sheet, "live path", maps > 0 ? GOOD : SLOWER,
         maps > 0 ? "" : "clients read over sockets: add a listener {protocol: mapped, address: \"unix:...\"}",
         "%s, %s mapped by clients", pil_report_things(maps, "mapped listener", listeners),
         pil_report_things(holders, "release", releases));
    examine_releases(sheet, page);
    json_decref(page);
    json_decref(mapped);
}

static void print(const struct sheet *sheet) {
    size_t index;
    const json_t *finding;
    json_array_foreach(sheet->findings, index, finding) {
        const char *verdict = json_string_value(json_object_get(finding, "verdict"));
        const char *remedy = json_string_value(json_object_get(finding, "remedy"));
        pil_style style = strcmp(verdict, "good") == 0     ? PIL_STYLE_GOOD
                          : strcmp(verdict, "slower") == 0 ? PIL_STYLE_BOLD
                                                           : PIL_STYLE_BAD;
        printf("%s%-7s%s  %-13s  %s\n", pil_report_style(style), verdict, pil_report_style(PIL_STYLE_PLAIN),
               json_string_value(json_object_get(finding, "what")),
               json_string_value(json_object_get(finding, "found")));
        if (remedy[0] != '\0') {
            printf("         %13s  %s→ %s%s\n", "", pil_report_style(PIL_STYLE_DIM), remedy,
                   pil_report_style(PIL_STYLE_PLAIN));
        }
    }
}

int pil_cli_doctor(const struct pil_invocation *invocation) {
    struct sheet sheet = {.findings = json_array()};
    examine_engine(&sheet);
    examine_sealing(&sheet);
    examine_descriptors(&sheet);
    examine_watch(&sheet);
    examine_limits(&sheet);
    examine_memory(&sheet);
    examine_cores(&sheet);
    examine_sandbox(&sheet);
    examine_daemon(&sheet, invocation);
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:b, s:O}", "broken", sheet.is_broken, "findings", sheet.findings));
    } else {
        print(&sheet);
    }
    json_decref(sheet.findings);
    return sheet.is_broken ? PIL_EXIT_REFUSED : sheet.is_unknown ? PIL_EXIT_FAILED : PIL_EXIT_OK;
}
