# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/front/front.h
noinst_LIBRARIES += libfront.a
libfront_a_SOURCES = src/front/front.c src/front/flow.c src/front/pool.c \
	src/front/link.c src/front/link.h src/front/nodes.c src/front/info.c \
	src/front/pace.c src/front/pace.h src/front/private.h
include tests/sim/front.mk
