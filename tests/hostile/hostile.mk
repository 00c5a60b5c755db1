# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/hostile/blkif-hostile
tests_hostile_blkif_hostile_SOURCES = tests/hostile/bus.c tests/hostile/front.c \
	tests/hostile/hostile.h tests/hostile/life.c tests/hostile/local.c \
	tests/hostile/main.c tests/hostile/program.c \
	tests/hostile/requests.c tests/hostile/rings.c \
	tests/hostile/soak.c tests/hostile/xen.c tests/hostile/xenstore.c \
	tests/hostile/xenstore.h
tests_hostile_blkif_hostile_LDFLAGS = -pthread
dist_check_SCRIPTS += tests/functional/hostile_local
TESTS += tests/functional/hostile_local
EXTRA_DIST += tests/hostile/README.md
check_PROGRAMS += tests/sim/hostile
TESTS += tests/sim/hostile
tests_sim_hostile_SOURCES = tests/sim/hostile.c tests/hostile/bus.c tests/hostile/front.c \
	tests/hostile/hostile.h tests/hostile/life.c \
	tests/hostile/local.c tests/hostile/main.c \
	tests/hostile/requests.c tests/hostile/rings.c \
	tests/hostile/soak.c tests/hostile/xen.c tests/hostile/xenstore.c
tests_sim_hostile_LDFLAGS = -pthread
tests_sim_hostile_LDADD = libchannel.a libhost.a $(HOST_LIBS)
check_PROGRAMS += tests/sim/hostile_daemon
TESTS += tests/sim/hostile_daemon
tests_sim_hostile_daemon_SOURCES = tests/sim/hostile_daemon.c \
	tests/hostile/bus.c tests/hostile/front.c tests/hostile/hostile.h \
	tests/hostile/life.c tests/hostile/local.c tests/hostile/main.c \
	tests/hostile/requests.c tests/hostile/rings.c \
	tests/hostile/soak.c tests/hostile/xen.c tests/hostile/xenstore.c \
	$(daemon_rig)
tests_sim_hostile_daemon_LDFLAGS = $(daemon_rig_ldflags) -pthread
tests_sim_hostile_daemon_LDADD = $(daemon_rig_libs)
