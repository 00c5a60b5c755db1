# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/sim/history.h
EXTRA_DIST += tests/sim/history.c
