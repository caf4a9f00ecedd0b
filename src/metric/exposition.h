/* SPDX-License-Identifier: Apache-2.0
 * The registry as a page for scrapers, and its families as a reference page. */
#pragma once

#include "base/text.h"
#include "metric/metric.h"

typedef enum pil_exposition { PIL_EXPOSITION_TEXT, PIL_EXPOSITION_OPENMETRICS } pil_exposition;
/* The whole page: families in table order, HELP and TYPE, seconds as floats, histograms with cumulative bounds of 1-2-5
 * steps (1 µs to 10 s; counts 1 to 10^6). A finer bucket that straddles a bound is counted above it. Any thread; takes
 * the registry's lock, for which no owner thread ever waits. */
void pil_metric_expose(const struct pil_metric_registry *registry, pil_exposition exposition, struct pil_text *page);
/* The families as Markdown, for --describe metrics and docs/reference/metrics.md. */
void pil_metric_describe(struct pil_text *page);
