/* SPDX-License-Identifier: Apache-2.0
 * Goal: whatever the store, the supervisor and the people who promote do, and in whatever order it comes: nothing is
 * published that was not verified whole or that its channel did not want at that moment; one release at a time is
 * loaded, and one task of a view at a time is done; back-off is kept and bounded; and when faults end, every view
 * serves what its channel wants within a bounded time. Method: the real loop, targets and jobs on a simulated world
 * (world.h): random histories of promotions, rollbacks, pins, damage, outages, refusals, drops and delays in virtual
 * time, checked after each step. PIL_SEED=N repeats one history, PIL_HISTORIES=N says how many; a build without
 * sanitizers lives through 100,000. */
#include "model/follow/world.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HISTORIES = 4000, HISTORIES_LONG = 50000 };
#else
enum { HISTORIES = 100000, HISTORIES_LONG = 200000 };
#endif
enum { STEPS = 120 };

static struct pil_store *shared;

static void print_seed(int signal_number) {
    (void)signal_number;
    fprintf(stderr, "repeat with PIL_SEED=%llu\n", (unsigned long long)seed_of_now);
}

static void world_init(struct world *world, uint64_t seed) {
    *world =
        (struct world){.seed = seed, .random = seed, .now_ns = 1000 * second, .admitted_view = VIEWS, .is_calm = true};
    seed_of_now = seed;
    world->plain = shared;
    world->clock = (struct pil_clock){.monotonic_ns = virtual_ns, .context = world};
    world->hooks = (struct pil_follow_hooks){.context = world,
                                             .submit = model_submit,
                                             .ask_admission = model_ask,
                                             .hand_over = model_hand_over,
                                             .given_up = model_given_up,
                                             .publish = model_publish,
                                             .checked = model_checked,
                                             .reported = model_reported,
                                             .project = model_project,
                                             .no_project = model_no_project};
    world->plan = FAULT_PLAN_NONE;
    world->plan.choose = choose_fault;
    world->plan.context = world;
    struct pil_store *again = NULL;
    PIL_ASSERT(pil_store_open_again(shared, &again, NULL) == PIL_STATUS_OK);
    world->store = fault_store_open(again, &world->plan);
    world->buffer = malloc(PIL_SHARD_IO_PART_BYTES);
    const struct pil_follow_options options = {
        .views = views, .view_count = VIEWS, .poll_ms = POLL_MS, .clock = &world->clock, .hooks = &world->hooks};
    world->follow = pil_follow_create(&options);
    for (uint32_t v = 0; v < VIEWS; v++) {
        struct model_view *view = &world->views[v];
        *view = (struct model_view){.wanted = (uint32_t)below(world, RELEASES),
                                    .pinned = RELEASES,
                                    .live = RELEASES,
                                    .offered = RELEASES,
                                    .told_live = RELEASES,
                                    .checked = RELEASES,
                                    .refused = RELEASES};
        for (uint32_t r = 0; r < RELEASES; r++) { /* a follower that was restarted: some releases are held */
            if (below(world, 4) == 0) {
                bool is_live = view->live == RELEASES && below(world, 2) == 0;
                view->shards_here[r] = (1u << SHARDS) - 1;
                view->live = is_live ? r : view->live;
                view->told_live = view->live;
                PIL_ASSERT(pil_follow_hold(world->follow, v, golden[v][r].ref.release, is_live) == PIL_STATUS_OK);
            }
        }
        put_channel(world, v);
    }
    world->fault_permille = below(world, 3) == 0 ? 0 : (uint32_t)below(world, 300);
    world->is_calm = false;
}

static void world_deinit(struct world *world) {
    while (world->running_count > 0) { /* no job may be out */
        end_job(world, 0);
    }
    pil_follow_destroy(&world->follow);
    pil_store_close(&world->store);
    free(world->buffer);
}

/* ---- What must hold after each step */

static void check(struct world *world) {
    pil_follow_validate(world->follow);
    for (uint32_t v = 0; v < VIEWS; v++) {
        const struct pil_target *target = pil_follow_target(world->follow, v);
        const struct model_view *view = &world->views[v];
        CHECK(world, target->backoff.wait_ms <= PIL_BACKOFF_RELEASE_MS_MAX);
        CHECK(world, target->backoff.until_ns <= world->now_ns + PIL_BACKOFF_RELEASE_MS_MAX * ms);
        uint32_t live = golden_find(v, target->live); /* what the server said, and nothing that was only offered */
        bool crossed = live < RELEASES && view->was_dropped[live] > 0;
        CHECK(world, live == view->told_live || crossed || target->live[0] == '\0');
        for (uint32_t r = 0; r < RELEASES; r++) { /* what came in part is on its way, or was given up and is gone */
            bool is_coming = is_loading(world) && world->admitted_view == v && world->admitted_release == r;
            CHECK(world, view->shards_here[r] == 0 || is_whole(view, r) || is_coming);
        }
    }
}

/* ---- A history */

static void take_event(struct world *world, uint32_t index) {
    struct event event = world->events[index];
    const char *release = golden[event.view][event.release].ref.release;
    world->events[index] = world->events[--world->event_count];
    switch (event.kind) {
    case EVENT_ADMITTED:
        pil_follow_admitted(world->follow, event.view, release, event.is_yes ? PIL_STATUS_OK : PIL_STATUS_TOO_LARGE,
                            "it will not fit");
        break;
    case EVENT_TAKEN:
        pil_follow_taken(world->follow, event.view, release, event.is_yes ? PIL_STATUS_OK : PIL_STATUS_NO_MEMORY,
                         "no memory");
        break;
    case EVENT_PUBLISHED:
        if (event.is_yes) {
            world->views[event.view].told_live = event.release;
        }
        pil_follow_published(world->follow, event.view, release, event.is_yes ? PIL_FETCH_OK : PIL_FETCH_SHORTAGE,
                             "the server is short");
        break;
    case EVENT_DROPPED:
        world->views[event.view].was_dropped[event.release]--;
        pil_follow_dropped(world->follow, event.view, release);
        break;
    case EVENT_NUDGE: pil_follow_nudge(world->follow); break;
    }
}

/* The supervisor drops a release that is held, and neither live nor offered; the follower hears of it later. */
static void drop(struct world *world) {
    uint32_t v = (uint32_t)below(world, VIEWS), r = (uint32_t)below(world, RELEASES);
    struct model_view *view = &world->views[v];
    if (is_whole(view, r) && view->live != r && view->offered != r && world->event_count < EVENTS_MAX / 2) {
        view->shards_here[r] = 0;
        view->was_dropped[r]++;
        add_event(world, (struct event){.kind = EVENT_DROPPED, .view = v, .release = r});
    }
}

static void disturb(struct world *world) {
    switch (below(world, 14)) {
    case 0: damage(world); break;
    case 1: repair(world); break;
    case 2: world->is_out = !world->is_out; break;
    case 3: world->refuses_admission = !world->refuses_admission; break;
    case 4:
    case 5: drop(world); break;
    case 7:
    case 8: server_answers(world, (uint32_t)below(world, VIEWS)); break;
    case 6: pil_follow_set_poll(world->follow, 1000 + below(world, POLL_MS)); break;
    default: change_channel(world);
    }
}

/* Moves the clock to what comes first: a job that ends, an event, or the follower's own deadline. */
static void pass_time(struct world *world, uint64_t deadline_ns) {
    uint64_t first_ns = deadline_ns;
    uint32_t job = UINT32_MAX, event = UINT32_MAX;
    for (uint32_t i = 0; i < world->running_count; i++) {
        if (world->running[i].at_ns <= first_ns) {
            first_ns = world->running[i].at_ns;
            job = i;
        }
    }
    for (uint32_t i = 0; i < world->event_count; i++) {
        if (world->events[i].at_ns <= first_ns) {
            first_ns = world->events[i].at_ns;
            event = i;
            job = UINT32_MAX;
        }
    }
    CHECK(world, first_ns != UINT64_MAX); /* it never sleeps for ever */
    CHECK(world, first_ns <= world->now_ns + PIL_BACKOFF_RELEASE_MS_MAX * ms);
    world->now_ns = first_ns > world->now_ns ? first_ns : world->now_ns;
    if (job != UINT32_MAX) {
        end_job(world, job);
    } else if (event != UINT32_MAX) {
        take_event(world, event);
    }
}

static bool has_settled(const struct world *world) {
    for (uint32_t v = 0; v < VIEWS; v++) {
        if (world->views[v].live != effective(&world->views[v])) {
            return false;
        }
    }
    return true;
}

static void live_through(struct world *world) {
    for (world->step = 0; world->step < STEPS; world->step++) {
        uint64_t deadline_ns = pil_follow_step(world->follow);
        check(world);
        if (below(world, 5) == 0) {
            disturb(world);
        } else {
            pass_time(world, deadline_ns);
        }
        check(world);
    }
    world->is_calm = true; /* faults end */
    repair(world);
    pil_follow_set_poll(world->follow, POLL_MS);
    uint64_t until_ns = world->now_ns + SETTLE_S * second;
    for (; !has_settled(world); world->step++) {
        uint64_t deadline_ns = pil_follow_step(world->follow);
        check(world);
        for (uint32_t v = 0; v < VIEWS; v++) {
            server_answers(world, v);
        }
        pass_time(world, deadline_ns);
        CHECK(world, world->now_ns < until_ns);
    }
}

static uint64_t number_of(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

static void every_history_ends_with_what_the_channels_want(void **state) {
    (void)state;
    static struct world world;
    uint64_t published = 0, abandoned = 0, fetched = 0, failed = 0, steps = 0;
    bool repeats = getenv("PIL_SEED") != NULL;
    uint64_t first = number_of("PIL_SEED", (uint64_t)time(NULL) * 1000000);
    uint64_t count = number_of("PIL_HISTORIES", getenv("PIL_LONG") != NULL ? HISTORIES_LONG : HISTORIES);
    count = repeats && getenv("PIL_HISTORIES") == NULL ? 1 : count;
    printf("PIL_SEED=%llu, %llu histories\n", (unsigned long long)first, (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        world_init(&world, first + i);
        live_through(&world);
        published += world.published, abandoned += world.abandoned;
        fetched += world.fetched;
        failed += world.failed;
        steps += world.step;
        world_deinit(&world);
    }
    printf("%llu steps, %llu shards fetched, %llu failures reported, %llu releases given up half way, %llu published\n",
           (unsigned long long)steps, (unsigned long long)fetched, (unsigned long long)failed,
           (unsigned long long)abandoned, (unsigned long long)published);
    assert_true(count < 100 || (published > count && failed > count && abandoned > 0)); /* something happened */
}

int main(void) {
    signal(SIGABRT, print_seed);
    golden_init();
    shared = memory_store_open();
    struct world making = {.plain = shared};
    repair(&making);
    struct pil_project *project = golden_project(0);
    json_t *document = json_pack("{s:i, s:o}", "format", 1, "project", pil_project_to_json(project));
    char *text = json_dumps(document, JSON_COMPACT);
    put_object(&making, "projects/alpha.json", pil_bytes_from_text(text));
    free(text);
    json_decref(document);
    pil_project_destroy(&project);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history_ends_with_what_the_channels_want),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    pil_store_close(&shared);
    golden_deinit();
    return failures;
}
