/* SPDX-License-Identifier: Apache-2.0
 * What of the machine is ours: the cgroup's limits (version 2) of this process and of all its parents, and the cores of
 * its affinity. Reads /proc and /sys; for the start of programs. */
#pragma once

#include <stdint.h>

/* The least memory.max on the way up; UINT64_MAX: none. */
uint64_t pil_machine_memory_limit(void);
/* Physical memory. */
uint64_t pil_machine_memory(void);
/* Cores by affinity and by cpu.max, at least 1. */
uint32_t pil_machine_cores(void);
