/* SPDX-License-Identifier: Apache-2.0
 *
 * Environment: start and stop, error texts, threads, time.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include "export.h"

/* EAL makes a run-time directory even when it is told to share nothing (--no-shconf) and leaves it behind. rmdir spares
 * directories with something in them, so one that is in use stays. */
static void remove_empty_runtime_directory(void)
{
	char path[PATH_MAX];
	char *slash;

	snprintf(path, sizeof(path), "%s", rte_eal_get_runtime_dir());
	if (rmdir(path) != 0)
		return;
	slash = strrchr(path, '/');
	if (slash != NULL && slash != path) {
		*slash = '\0';
		rmdir(path);
	}
}

int dps_eal_init(int argc, char **argv)
{
	cpu_set_t before;
	int restorable, result, error;

	restorable = pthread_getaffinity_np(pthread_self(), sizeof(before), &before) == 0;
	rte_errno = 0;
	result = rte_eal_init(argc, argv);
	error = rte_errno;
	/* EAL pins its caller to the main lcore. Which CPU a thread runs on is the engine's decision, and every thread
	 * that the caller starts later would inherit the pin. */
	if (restorable)
		pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	remove_empty_runtime_directory();
	if (result >= 0)
		return 0;
	/* Not every failure of EAL sets rte_errno (a wrong option does not in all releases). */
	return error != 0 ? -error : -EINVAL;
}

int dps_eal_cleanup(void)
{
	return rte_eal_cleanup();
}

const char *dps_strerror(int error)
{
	return rte_strerror(abs(error));
}

int dps_thread_register(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 0;
	return rte_thread_register() == 0 ? 0 : -rte_errno;
}

void dps_thread_unregister(void)
{
	/* The thread that initialised EAL has an lcore too, which is not ours to give back. */
	if (rte_lcore_id() != LCORE_ID_ANY && rte_lcore_has_role(rte_lcore_id(), ROLE_NON_EAL) == 1)
		rte_thread_unregister();
}

uint32_t dps_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t dps_rdtsc(void)
{
	return rte_rdtsc();
}

uint64_t dps_tsc_hz(void)
{
	return rte_get_tsc_hz();
}
