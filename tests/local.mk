# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/test.h
include tests/sim/history.mk
include tests/hostile/hostile.mk
include tests/hostile/liar.mk
include tests/xen/xen.mk
