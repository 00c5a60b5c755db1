# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/chain/chain.h src/chain/engine.h src/chain/head.h \
	src/chain/lifecycle.h

noinst_LIBRARIES += libchain.a
libchain_a_SOURCES = src/chain/chain.c src/chain/engine.c \
	src/chain/head.c src/chain/lifecycle.c src/chain/limits.c \
	src/chain/loader.c src/chain/map.c src/chain/options.c src/chain/parse.c \
	src/chain/phases.c src/chain/pieces.c src/chain/request.c src/chain/services.c \
	src/chain/sg.c src/chain/shared.c src/chain/spec.c src/chain/stack.c src/chain/stats.c

# The daemon's symbols that modules use: -Wl,--dynamic-list=FILE.
EXTRA_DIST += src/chain/plugin.syms

dist_man_MANS += man/blktap-plugin.3

include tests/unit/chain.mk
