# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += src/config/config.h src/config/tree.h
noinst_LIBRARIES += libblkconfig.a
libblkconfig_a_SOURCES = src/config/tree.c src/config/text.c \
	src/config/parse.c src/config/disk.c src/config/check.c \
	src/config/load.c src/config/match.c src/config/diff.c \
	src/config/print.c src/config/copy.c src/config/live.c src/config/mode.c
include tests/unit/config.mk
include tests/lint/lint.mk
include tests/fuzz/config.mk
include tests/functional/config.mk
include tests/functional/modes.mk
