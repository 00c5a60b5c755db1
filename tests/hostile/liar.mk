# SPDX-License-Identifier: LGPL-2.1-or-later
# The back-end that lies; its cases run in tests/sim/liar, too.
check_PROGRAMS += tests/hostile/blkif-liar
tests_hostile_blkif_liar_SOURCES = tests/hostile/liar/liar.c \
	tests/hostile/liar/liar.h tests/hostile/liar/lies.c \
	tests/hostile/liar/main.c tests/hostile/liar/xen.c \
	tests/hostile/xenstore.c tests/hostile/xenstore.h
