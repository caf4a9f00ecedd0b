/* SPDX-License-Identifier: Apache-2.0
 * The share of the machine that this process may use: the limits (cgroup version 2) of its cgroup and all parents, and
 * the cores of its affinity. Reads /proc and /sys; for the start of programs. */
#pragma once

#include <stdint.h>

/* The smallest memory.max of the cgroup and its parents; UINT64_MAX: no limit. */
uint64_t pil_machine_memory_limit(void);
/* Physical memory. */
uint64_t pil_machine_memory(void);
/* The smaller of the cores in the affinity and the smallest cpu.max, rounded up; at least 1. */
uint32_t pil_machine_cores(void);
