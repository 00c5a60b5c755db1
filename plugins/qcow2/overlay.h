/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* overlay.h: see struct blk_image. */
#ifndef PLUGINS_QCOW2_OVERLAY_H
#define PLUGINS_QCOW2_OVERLAY_H

#include "blktap/plugin.h"

int q2_overlay(const struct blk_overlay *);

#endif
