# SPDX-License-Identifier: LGPL-2.1-or-later
# Fault loops: one program, which does what its name says.
noinst_HEADERS += tests/sim/fault.h tests/sim/fault_host.h \
	tests/sim/fault_rig.h
check_PROGRAMS += tests/sim/fault-alloc tests/sim/fault-host
TESTS += tests/sim/fault-alloc tests/sim/fault-host
fault_sources = tests/sim/fault.c tests/sim/fault_rig.c \
	tests/sim/fault_host.c tests/sim/fault_person.c tests/sim/alloc.c
fault_ldflags = $(AM_LDFLAGS) -Wl,-u,blk_plugins_static \
	-Wl,--wrap=host_memory -Wl,--wrap=local_share_make \
	-Wl,--wrap=local_share_dup
tests_sim_fault_alloc_SOURCES = $(fault_sources)
tests_sim_fault_alloc_LDADD = libringclient.la $(daemon_rig_libs)
tests_sim_fault_alloc_LDFLAGS = $(fault_ldflags)
tests_sim_fault_host_SOURCES = $(fault_sources)
tests_sim_fault_host_LDADD = libringclient.la $(daemon_rig_libs)
tests_sim_fault_host_LDFLAGS = $(fault_ldflags)
