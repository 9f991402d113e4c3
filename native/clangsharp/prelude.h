/* SPDX-License-Identifier: Apache-2.0
 *
 * Forced in front of the headers that the binding generator reads (never compiled into anything).
 *
 * 64-bit exact-width types become "long long" here: same size and alignment where they are "long", but the generator
 * then takes its unsigned-long-long path, without which bit-fields and constants above bit 31 come out wrong.
 */
#define _BITS_STDINT_INTN_H 1
#define _BITS_STDINT_UINTN_H 1
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#include <stdint.h>
#undef INT64_C
#undef UINT64_C
#define INT64_C(c) c##LL
#define UINT64_C(c) c##ULL
#include <rte_config.h>
