/* SPDX-License-Identifier: Apache-2.0
 * Goal: a good project file gives the project it describes; a bad one gives every mistake, each where it is and with
 * what to do. Method: one file with everything in it; then small files against their exact problem lines. */
#include "schema/project_read.h"
#include "unit/schema/sample.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEAD \
    "project: rides\n" \
    "entities:\n" \
    "  - {name: driver, join_key: driver_id, type: int64}\n" \
    "  - {name: city, type: string}\n"
#define VIEW(features) \
    HEAD "feature_views:\n" \
         "  - name: v\n" \
         "    entities: [driver]\n" \
         "    source: {type: csv, path: p, timestamp_field: ts}\n" \
         "    features:\n" features

static struct pil_project *good(const char *text) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    pil_status status = pil_project_parse_yaml(pil_bytes_from_text(text), "f", &project, &problems);
    if (status != PIL_STATUS_OK) {
        fail_msg("%s", pil_text_chars(&problems));
    }
    assert_int_equal(problems.len, 0);
    return project;
}

static void bad(const char *text, const char *lines) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(text), "f", &project, &problems), PIL_STATUS_INVALID);
    assert_null(project);
    if (strcmp(pil_text_chars(&problems), lines) != 0) { /* cmocka cuts long texts */
        fprintf(stderr, "found:\n%swanted:\n%s", pil_text_chars(&problems), lines);
        fail();
    }
    pil_text_deinit(&problems);
}

static const char *const everything = "# with everything\n"
                                      "project: rides\n"
                                      "entities:\n"
                                      "  - {name: driver, join_key: driver_id, type: int64, description: who drives}\n"
                                      "  - name: city\n"
                                      "    type: string\n"
                                      "feature_views:\n"
                                      "  - name: driver_stats\n"
                                      "    description: of a week\n"
                                      "    owner: maps@example.org\n"
                                      "    entities: [driver, city]\n"
                                      "    ttl: 7d\n"
                                      "    source:\n"
                                      "      type: parquet\n"
                                      "      path: \"data/*.parquet\"\n"
                                      "      timestamp_field: event_timestamp\n"
                                      "      created_timestamp_column: created\n"
                                      "      field_mapping: {Conv Rate: conv_rate}\n"
                                      "    features:\n"
                                      "      - {name: conv_rate, type: float32, default: 1, tags: [pii, eu]}\n"
                                      "      - {name: trips, type: int32, default: -3, description: in all}\n"
                                      "      - {name: taste, type: \"vector<float32, 2>\", default: [.5, 1e3]}\n"
                                      "      - {name: nick, type: string, default: 007}\n"
                                      "      - {name: zip, type: list<string>, default: [1, \"\", true]}\n"
                                      "      - {name: ok, type: bool, default: true}\n"
                                      "      - {name: seen, type: unix_timestamp, default: 1700000000}\n"
                                      "      - {name: raw, type: bytes, default: AA==}\n"
                                      "      - {name: none, type: float64, default: null}\n"
                                      "      - {name: big, type: int64, default: 9223372036854775807}\n"
                                      "    tags: {team: maps, tier: 1}\n"
                                      "  - name: plain\n"
                                      "    entities: [city]\n"
                                      "    source: {type: sql, query: select 1, setup: LOAD x, timestamp_field: ts}\n"
                                      "    features: []\n"
                                      "feature_services:\n"
                                      "  - {name: all, features: [driver_stats], description: the lot}\n"
                                      "  - {name: some, features: [\"driver_stats:trips\", \"driver_stats:ok\"]}\n";

static void reads_projects_and_services(void **state) {
    (void)state;
    struct pil_project *project = good(everything);
    assert_string_equal(project->name, "rides");
    assert_int_equal(project->entity_count, 2);
    assert_string_equal(project->entities[0].description, "who drives");
    assert_string_equal(project->entities[1].join_key, "city");
    assert_int_equal(project->view_count, 2);
    assert_null(pil_project_view_find(project, "plain "));
    const struct pil_service *all = pil_project_service_find(project, pil_bytes_from_text("all"));
    assert_int_equal(all->feature_count, 10);
    const struct pil_service *some = pil_project_service_find(project, pil_bytes_from_text("some"));
    assert_int_equal(some->feature_count, 2);
    assert_int_equal(some->features[1].feature_index, 5);
    assert_null(pil_project_service_find(project, pil_bytes_from_text("any")));
    pil_project_destroy(&project);
    assert_null(project);
}

static void reads_views_and_sources(void **state) {
    (void)state;
    struct pil_project *project = good(everything);
    const struct pil_project_view *of = pil_project_view_find(project, "driver_stats");
    assert_string_equal(of->description, "of a week");
    assert_string_equal(of->owner, "maps@example.org");
    assert_int_equal(of->source.type, PIL_SOURCE_PARQUET);
    assert_string_equal(of->source.path, "data/*.parquet");
    assert_null(of->source.query);
    assert_string_equal(of->source.created_timestamp_column, "created");
    assert_string_equal(json_string_value(json_object_get(of->source.field_mapping, "Conv Rate")), "conv_rate");
    assert_string_equal(json_string_value(json_object_get(of->tags, "tier")), "1");
    assert_string_equal(of->view->project, "rides");
    assert_int_equal(of->view->ttl_us, 7 * INT64_C(86400000000));
    assert_int_equal(of->view->entity_count, 2);
    assert_false(of->view->layout.key_is_fixed);
    assert_int_equal(of->view->feature_count, 10);
    assert_true(of->view->layout.stride > 0);
    assert_int_equal(project->views[1].view->ttl_us, 0);
    assert_string_equal(project->views[1].source.setup, "LOAD x");
    pil_project_destroy(&project);
}

static void reads_features_and_defaults(void **state) {
    (void)state;
    struct pil_project *project = good(everything);
    const struct pil_feature *features = project->views[0].view->features;
    assert_int_equal(features[0].default_value->count, 1);
    assert_string_equal(features[0].tags[1], "eu");
    sample_assert_default(&features[1], "-3");
    assert_string_equal(features[1].description, "in all");
    assert_true(features[2].default_value->numbers[1] == 1000.0);
    sample_assert_default(&features[3], "\"007\"");
    assert_int_equal(features[4].default_value->count, 3);
    assert_non_null(strstr((const char *)pil_default_text(features[4].default_value).data, "\"true\"]"));
    sample_assert_default(&features[5], "true");
    assert_null(features[8].default_value);
    sample_assert_default(&features[9], "9223372036854775807");
    pil_project_destroy(&project);
}

static void lists_every_mistake_in_file_order(void **state) {
    (void)state;
    bad("projct: rides\n"
        "entities:\n"
        "  - {name: driver, type: float32}\n"
        "  - {name: driver, type: int64}\n"
        "  - {name: 1st, type: int64}\n"
        "  - 7\n"
        "feature_services:\n"
        "  - {name: s, features: [\"stats:trip\", stat, \"stats:trips\", stats, 3: 4]}\n"
        "feature_views:\n"
        "  - name: stats\n"
        "    entities: [drivr, driver, driver]\n"
        "    ttl: 7 days\n"
        "    ttl: 7d\n"
        "    source: {type: parket, pth: x}\n"
        "    features:\n"
        "      - {name: trips, type: int32, default: 1.5}\n"
        "      - {name: trips, type: int}\n"
        "      - {name: driver, type: bool}\n"
        "      - {name: taste, type: vector<float32,2>}\n",
        "f:1:1: project file: unknown key projct; did you mean project?\n"
        "f:1:1: project file: project is missing; add it\n"
        "f:3:26: entity driver: type 'float32' cannot be a key; use int32, int64, string, bytes or unix_timestamp\n"
        "f:4:5: entity driver is defined twice; rename or remove one\n"
        "f:5:12: entity 1st: name '1st' is not a valid name; begin with a letter or _, go on with letters, digits, _ "
        "and -, at most 128 in all\n"
        "f:6:5: entity: must be a mapping, {key: value} or lines with key: value\n"
        "f:8:26: feature service s: feature view stats has no feature 'trip'; define it there, or did you mean trips?\n"
        "f:8:40: feature service s: there is no feature view 'stat'; define it under feature_views, or did you mean "
        "stats?\n"
        "f:8:61: feature service s: stats:trips stands twice; keep one\n"
        "f:8:61: feature service s: stats:trips stands twice; keep one\n"
        "f:8:68: feature service s: each element of features must be one text; fix this one\n"
        "f:11:16: feature view stats: there is no entity 'drivr'; define it under entities, or did you mean driver?\n"
        "f:11:31: feature view stats: join key driver stands twice; keep one of its entities\n"
        "f:12:10: feature view stats: ttl '7 days' is not a duration; write a number and a unit as 45s, 30m, 12h or 7d "
        "(0 = "
        "for ever)\n"
        "f:13:5: feature view stats: key ttl stands twice; keep one\n"
        "f:14:13: source of feature view stats: timestamp_field is missing; add it, or static: true to the view if its "
        "rows have no event time\n"
        "f:14:20: source of feature view stats: type 'parket' is unknown; use parquet, csv or sql\n"
        "f:14:28: source of feature view stats: unknown key pth; did you mean path?\n"
        "f:16:45: feature trips: default does not fit int32; must be a whole number\n"
        "f:17:9: feature trips is defined twice in feature view stats; rename or remove one\n"
        "f:17:29: feature trips: type 'int': there is no such type; write int64, or int32 if its values have 32 bits\n"
        "f:18:9: feature driver has the name of a join key of feature view stats; rename it\n"
        "f:19:29: feature taste: type 'vector<float32' has no end; put the whole type in quotes\n"
        "f:19:44: feature taste: unknown key 2>; remove it (known are name, type, default, description, tags)\n");
}

static void names_the_type_to_write(void **state) {
    (void)state;
    bad("project: rides\n"
        "entities:\n"
        "  - {name: driver, type: str}\n"
        "  - {name: day, type: INT64_LIST}\n"
        "feature_views:\n"
        "  - name: stats\n"
        "    entities: [driver]\n"
        "    source: {type: csv, path: a.csv, timestamp_field: t}\n"
        "    features:\n"
        "      - {name: a, type: double}\n"
        "      - {name: b, type: flaot32}\n"
        "      - {name: c, type: ValueType.INT64_LIST}\n"
        "      - {name: d, type: Array(Float32)}\n",
        "f:3:26: entity driver: type 'str' cannot be a key; write string\n"
        "f:4:23: entity day: type 'INT64_LIST' cannot be a key; use int32, int64, string, bytes or unix_timestamp\n"
        "f:10:25: feature a: type 'double': there is no such type; write float64\n"
        "f:11:25: feature b: type 'flaot32': there is no such type; did you mean float32?\n"
        "f:12:25: feature c: type 'ValueType.INT64_LIST': there is no such type; write list<int64>\n"
        "f:13:25: feature d: type 'Array(Float32)': there is no such type; write list<float32>\n");
}

static void says_where_the_yaml_breaks(void **state) {
    (void)state;
    bad("", "f:1:1: nothing is here; begin with project: NAME\n");
    bad("# only this\n", "f:1:1: nothing is here; begin with project: NAME\n");
    bad("project: [a\nb: c\n", "f:2:2: while parsing a flow sequence, did not find expected ',' or ']'; look at "
                               "quotes, brackets, colons and indentation here\n");
    bad("project: rides\n\tentities: []\n", "f:2:1: while scanning a plain scalar, found a tab character that violates "
                                            "indentation; look at quotes, brackets, colons and indentation here\n");
    bad("project: r\nx: \"\xff\"\n",
        "f:2:5: invalid leading UTF-8 octet; save the file as UTF-8 without control characters\n");
    bad("- a\n", "f:1:1: project file: must be a mapping, {key: value} or lines with key: value\n");
    bad("project: {entities: 7}\nentities: 3\nfeature_views: ~\n",
        "f:1:10: project file: project has the wrong form; it must be one value\n"
        "f:2:11: project file: entities has the wrong form; it must be a list, [a, b] or lines with -\n"
        "f:3:16: project file: feature_views is empty; give it a list, [a, b] or lines with -\n");
}

static void refuses_aliases_and_tags(void **state) {
    (void)state;
    bad("project: &a r\nentities: []\nfeature_views: *a\n",
        "f:3:16: alias *a; aliases are not supported, write the value out\n"
        "f:3:16: project file: feature_views is empty; give it a list, [a, b] or lines with -\n");
    bad("project: !!str r\nentities: []\nfeature_views: []\n",
        "f:1:10: tag tag:yaml.org,2002:str; tags are not supported, remove it\n");
    bad("project: r\nentities: []\nfeature_views: []\n--- \nb: c\n",
        "f:4:1: a second document; put one in each file\n");
    bad("project: \"r\\0s\"\nentities: []\nfeature_views: []\n", "f:1:10: text with a NUL character; remove it\n");
    char deep[200];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    bad(deep, "f:1:33: nested more than 32 deep; nothing here is\n");
}

static void ttl_takes_the_four_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } table[] = {{"0", 0},       {"90", 90},     {"45s", 45},       {"30m", 1800},
                 {"12h", 43200}, {"7d", 604800}, {"\"1d\"", 86400}, {"9223372036854", INT64_C(9223372036854)}};
    char text[1024];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        snprintf(text, sizeof text, VIEW("      - {name: a, type: bool}\n") "    ttl: %s\n", table[i].text);
        struct pil_project *project = good(text);
        assert_int_equal(project->views[0].view->ttl_us, table[i].seconds * 1000000);
        pil_project_destroy(&project);
    }
    static const char *const wrong[] = {
        "7w", "-1", "1.5h", "d", "7dd", "9223372036855", "99999999999999999999", "106751992d", "7 d", "1e3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char lines[256];
        snprintf(text, sizeof text, VIEW("      - {name: a, type: bool}\n") "    ttl: %s\n", wrong[i]);
        snprintf(lines, sizeof lines,
                 "f:11:10: feature view v: ttl '%s' is not a duration; write a number and a unit as 45s, 30m, 12h or "
                 "7d (0 = "
                 "for ever)\n",
                 wrong[i]);
        bad(text, lines);
    }
}

static void defaults_fit_their_types(void **state) {
    (void)state;
    static const struct {
        const char *type, *value;
        const char *said; /* NULL: fine */
    } table[] = {
        {"bool", "yes", "must be true or false"},
        {"bool", "1", "must be true or false"},
        {"bool", "False", NULL},
        {"int32", "2147483647", NULL},
        {"int32", "2147483648", "must be from -2147483648 to 2147483647"},
        {"int32", "\"5\"", "must be a whole number"},
        {"int32", "0x10", "must be a whole number"},
        {"int32", "[1]", "must be a whole number"},
        {"int32", "+7", NULL},
        {"int64", "-9223372036854775808", NULL},
        {"int64", "9223372036854775808", "must be a whole number"},
        {"float32", "3e38", NULL},
        {"float32", "4e38", "must be from -3.40282e+38 to 3.40282e+38"},
        {"float32", ".inf", "must be a number"},
        {"float64", "-.5e-3", NULL},
        {"float64", "1e999", "must be a number"},
        {"float64", ".", "must be a number"},
        {"float64", "5.", NULL},
        {"float64", "1e", "must be a number"},
        {"float64", "1.5x", "must be a number"},
        {"string", "\"\"", NULL},
        {"string", "[a]", "must be text"},
        {"string", "true", NULL},
        {"bytes", "AAA=", NULL},
        {"bytes", "AAAA", NULL},
        {"bytes", "AAB=", "must be base64 text (RFC 4648, padded with '=')"},
        {"bytes", "A===", "must be base64 text (RFC 4648, padded with '=')"},
        {"bytes", "A-_=", "must be base64 text (RFC 4648, padded with '=')"},
        {"unix_timestamp", "-1", NULL},
        {"unix_timestamp", "9223372036855", "must be from -9223372036854 to 9223372036854"},
        {"unix_timestamp", "2024-01-01", "must be a whole number"},
        {"list<int64>", "[]", NULL},
        {"list<int64>", "[1, ~]", "element 2: must be a whole number"},
        {"list<int64>", "1", "must be a list"},
        {"list<bool>", "[true, [false]]", "element 2: must be true or false"},
        {"list<bytes>", "[\"\", \"AA==\"]", NULL},
        {"list<string>", "[~]", "element 1: must be text"},
        {"\"vector<int8,2>\"", "[-128, 127]", NULL},
        {"\"vector<int8,2>\"", "[-129, 127]", "element 1: must be from -128 to 127"},
        {"\"vector<int8,2>\"", "[1]", "must be a list of 2 numbers"},
        {"\"vector<float16,1>\"", "[65504]", NULL},
        {"\"vector<float16,1>\"", "[65505]", "element 1: must be from -65504 to 65504"},
        {"\"vector<bfloat16,1>\"", "[3.39e38]", "element 1: must be from -3.38953e+38 to 3.38953e+38"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[1024], line[512];
        snprintf(text, sizeof text, VIEW("      - {name: a, type: %s,\n default: %s}\n"), table[i].type,
                 table[i].value);
        if (table[i].said == NULL) {
            struct pil_project *project = good(text);
            assert_non_null(project->views[0].view->features[0].default_value);
            pil_project_destroy(&project);
            continue;
        }
        const char *quote = table[i].type[0] == '"' ? table[i].type + 1 : table[i].type;
        snprintf(line, sizeof line, "f:11:11: feature a: default does not fit %.*s; %s\n", (int)strcspn(quote, "\""),
                 quote, table[i].said);
        bad(text, line);
    }
}

/* One mistake in the options of a csv source, each at the place of its value. */
static void options_of_csv_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *option, *problem;
    } cases[] = {
        {"header: no", "8:63: source of feature view v: header is 'no'; write true or false"},
        {"header: false", "8:63: source of feature view v: header: false needs column_names: [a, b]; add it"},
        {"column_names: [a]",
         "8:69: source of feature view v: column_names are for files without a header; add header: "
         "false, or name columns in field_mapping"},
        {"delimiter: '\\t'",
         "8:66: source of feature view v: delimiter is '\\t'; write one character of ASCII that is no "
         "letter or digit (a tab: \"\\t\" in double quotes)"},
        {"delimiter: ''", "8:66: source of feature view v: delimiter is ''; write one character of ASCII that is no "
                          "letter or digit (a tab: \"\\t\" in double quotes)"},
        {"thousands: 0",
         "8:66: source of feature view v: thousands is '0'; write one character of ASCII that is no letter "
         "or digit"},
        {"comment: '\xc3\xa9'",
         "8:64: source of feature view v: comment is '\xc3\xa9'; write one character of ASCII that "
         "is no letter or digit"},
        {"delimiter: '\"'", "8:66: source of feature view v: delimiter and quote are both '\"'; change one of them"},
        {"thousands: .", "8:66: source of feature view v: decimal_separator and thousands are both '.'; change one of "
                         "them"},
        {"null_values: [[NA]]",
         "8:69: source of feature view v: each element of null_values must be one text; fix this "
         "one"},
        {"null_values: NA",
         "8:68: source of feature view v: null_values has the wrong form; it must be a list, [a, b] or "
         "lines with -"},
        {"null_value: [NA]", "8:55: source of feature view v: unknown key null_value; did you mean null_values?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char yaml[1024], problem[512];
        snprintf(yaml, sizeof yaml,
                 HEAD
                 "feature_views:\n  - name: v\n    entities: [driver]\n    source: {timestamp_field: ts, type: csv, "
                 "path: p, %s}\n    features: [{name: a, type: bool}]\n",
                 cases[i].option);
        snprintf(problem, sizeof problem, "f:%s\n", cases[i].problem);
        bad(yaml, problem);
    }
}

static void sources_have_what_their_type_needs(void **state) {
    (void)state;
#define SOURCE(source) \
    HEAD "feature_views:\n  - name: v\n    entities: [driver]\n    source: {timestamp_field: ts, " source \
         "}\n    features: [{name: a, type: bool}]\n"
    bad(SOURCE("type: csv, pth: p"), "f:8:13: source of feature view v: path is missing; add it\n"
                                     "f:8:46: source of feature view v: unknown key pth; did you mean path?\n");
    bad(SOURCE("type: csv"), "f:8:13: source of feature view v: path is missing; add it\n");
    bad(SOURCE("type: sql"), "f:8:13: source of feature view v: query is missing; add it\n");
    bad(SOURCE("type: csv, path: [a, b]"),
        "f:8:52: source of feature view v: path must be one value; name a folder, or "
        "a glob such as data/*.parquet\n");
    bad(SOURCE("type: sql, query: {a: b}"),
        "f:8:53: source of feature view v: query must be one value; write one SELECT\n");
    bad(SOURCE("type: sql, query: q, path: p"),
        "f:8:62: source of feature view v: sql has no path; name the files in the query\n");
    bad(SOURCE("type: csv, path: p, query: q, setup: s"),
        "f:8:62: source of feature view v: query needs type sql; change the type or remove the query\n"
        "f:8:72: source of feature view v: setup needs type sql; change the type or remove setup\n");
    bad(SOURCE("type: csv, path: \"\""),
        "f:8:52: source of feature view v: path is empty; give it a text or remove it\n");
    bad(SOURCE("type: csv, path: p, field_mapping: {x: b, y: a, z: a, y: [], w: driver_id}"),
        "f:8:74: feature view v: field_mapping leads to 'b', which is neither a feature nor a join key; write column: "
        "name\n"
        "f:8:86: feature view v: field_mapping leads to a twice; keep one\n"
        "f:8:92: feature view v: each element of field_mapping must be one text; fix this one\n");
    bad(SOURCE("type: parquet, path: p, null_values: [NA]"),
        "f:8:72: source of feature view v: null_values needs type csv; change the type or remove null_values\n");
    bad(VIEW("      - {name: ts, type: bool}\n"),
        "f:10:9: feature ts has the name of the timestamp_field of feature view v; rename it\n");
#undef SOURCE
}

static void views_may_have_no_entities_where_they_say_so(void **state) {
    (void)state;
#define KEYLESS(more, features) \
    HEAD "feature_views:\n  - name: v\n    source: {type: csv, path: p, timestamp_field: ts}\n" more \
         "    features: [" features "]\n"
    struct pil_project *project = good(KEYLESS("    entities: []\n", "{name: driver_id, type: bool}"));
    assert_int_equal(project->views[0].view->entity_count, 0);
    pil_project_destroy(&project);
    static const char *const missing =
        "f:6:5: feature view v: entities is missing; add it, as entities: [] if the view has one row, without a key\n";
    bad(KEYLESS("", "{name: a, type: bool}"), missing);
    bad(KEYLESS("    entities:\n", "{name: a, type: bool}"), missing);
    bad(KEYLESS("    entities: []\n", ""),
        "f:9:15: feature view v: it has neither entities nor features; add some of either\n");
#undef KEYLESS
}

static void static_views_have_no_times(void **state) {
    (void)state;
#define STATIC(more, source) \
    HEAD "feature_views:\n  - name: v\n    entities: [driver]\n    static: " more "\n    source: {" source \
         "}\n    features: [{name: a, type: bool}]\n"
    struct pil_project *project = good(STATIC("true\n    ttl: 0", "type: csv, path: p, created_timestamp_column: c"));
    assert_true(project->views[0].view->is_static);
    assert_null(project->views[0].source.timestamp_field);
    pil_project_destroy(&project);
    project = good(STATIC("false", "type: csv, path: p, timestamp_field: ts"));
    assert_false(project->views[0].view->is_static);
    pil_project_destroy(&project);
    bad(STATIC("true", "type: csv, path: p, timestamp_field: ts"),
        "f:9:51: source of feature view v: timestamp_field is for rows with event times, and static: true says that "
        "they have none; remove one of them\n");
    bad(STATIC("true\n    ttl: 7d", "type: csv, path: p"),
        "f:9:10: feature view v: ttl needs event times, and static: true says that rows have none; remove one of "
        "them\n");
    bad(STATIC("yes", "type: csv, path: p, timestamp_field: ts"),
        "f:8:13: feature view v: static is 'yes'; write true or false\n");
    bad(STATIC("false", "type: csv, path: p"),
        "f:9:13: source of feature view v: timestamp_field is missing; add it, or static: true to the view if its rows "
        "have no event time\n");
#undef STATIC
}

static void limits_are_told(void **state) {
    (void)state;
    struct pil_text text = {0};
    pil_text_format(&text, HEAD "feature_views:\n  - name: v\n    entities: [driver]\n    source: {type: csv, path: p, "
                                "timestamp_field: ts}\n    features:\n");
    for (uint32_t i = 0; i < PIL_FEATURES_MAX; i++) {
        pil_text_format(&text, "      - {name: f%u, type: float32, default: %u}\n", i, i);
    }
    struct pil_project *project = good(text.data);
    assert_int_equal(project->views[0].view->feature_count, PIL_FEATURES_MAX);
    pil_project_destroy(&project);
    pil_text_format(&text, "      - {name: more, type: bool}\n");
    bad(text.data, "f:10:7: 4097 features of one view; at most 4096 are possible\n");
    pil_text_clear(&text);
    char name[140];
    memset(name, 'n', sizeof name);
    name[129] = '\0';
    pil_text_format(&text, VIEW("      - {name: %s, type: bool}\n"), name);
    struct pil_text line = {0};
    pil_text_format(&line,
                    "f:10:16: feature %.68s...: name '%.68s...' is not a valid name; begin with a letter or _, go on "
                    "with letters, digits, _ and -, at most 128 in all\n",
                    name, name);
    bad(text.data, line.data);
    name[128] = '\0';
    pil_text_clear(&text);
    pil_text_format(&text, VIEW("      - {name: %s, type: bool}\n"), name);
    project = good(text.data);
    pil_project_destroy(&project);
    pil_text_clear(&text);
    pil_text_format(&text, VIEW(""));
    for (int i = 0; i < 17; i++) {
        pil_text_format(&text, "      - {name: f%d, type: \"vector<float32,16384>\"}\n", i);
    }
    bad(text.data, "f:10:7: a row of feature view v would take more than 1048576 bytes; split the view\n");
    pil_text_deinit(&text);
    pil_text_deinit(&line);
}

static void messages_carry_no_control_characters(void **state) {
    (void)state;
    bad("project: \"a\\e[31m\\x9bü\"\nentities: []\nfeature_views: []\n",
        "f:1:10: project file: project 'a?[31m??ü' is not a valid name; begin with a letter or _, go on with letters, "
        "digits, _ and -, at most 128 in all\n");
}

static void files_that_cannot_be_read_are_one_line(void **state) {
    (void)state;
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    assert_int_equal(pil_project_load_yaml("/nonexistent/x.yaml", &project, &problems), PIL_STATUS_NOT_FOUND);
    assert_string_equal(problems.data, "/nonexistent/x.yaml:1:1: open /nonexistent/x.yaml: No such file or directory; "
                                       "name a project file that can be read\n");
    pil_text_clear(&problems);
    char path[] = "/tmp/pil-project-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char *text = VIEW("      - {name: a, type: bool}\n");
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(pil_project_load_yaml(path, &project, &problems), PIL_STATUS_OK);
    assert_int_equal(problems.len, 0);
    unlink(path);
    pil_project_destroy(&project);
    pil_text_deinit(&problems);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_projects_and_services),
        cmocka_unit_test(reads_views_and_sources),
        cmocka_unit_test(reads_features_and_defaults),
        cmocka_unit_test(lists_every_mistake_in_file_order),
        cmocka_unit_test(names_the_type_to_write),
        cmocka_unit_test(says_where_the_yaml_breaks),
        cmocka_unit_test(refuses_aliases_and_tags),
        cmocka_unit_test(ttl_takes_the_four_units),
        cmocka_unit_test(defaults_fit_their_types),
        cmocka_unit_test(options_of_csv_are_checked),
        cmocka_unit_test(sources_have_what_their_type_needs),
        cmocka_unit_test(static_views_have_no_times),
        cmocka_unit_test(views_may_have_no_entities_where_they_say_so),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(messages_carry_no_control_characters),
        cmocka_unit_test(files_that_cannot_be_read_are_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
