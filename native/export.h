/* SPDX-License-Identifier: Apache-2.0
 *
 * Included by every source file of the shim: everything is hidden but what dpshim.h declares.
 */
#ifndef DPSHIM_EXPORT_H
#define DPSHIM_EXPORT_H

#pragma GCC visibility push(default)
#include "dpshim.h"
#pragma GCC visibility pop

#endif
