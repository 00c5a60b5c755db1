# SPDX-License-Identifier: LGPL-2.1-or-later
# Fault loops: one program, which does what its name says.
fault_wraps = malloc calloc realloc reallocarray posix_memalign strdup \
	asprintf free sim_memory sim_memory_grow sim_text sim_event sim_after \
	host_memory host_memory_free local_share_make local_share_dup
noinst_HEADERS += tests/sim/fault_alloc.h tests/sim/fault_host.h \
	tests/sim/fault_rig.h
check_PROGRAMS += tests/sim/fault-alloc tests/sim/fault-host
TESTS += tests/sim/fault-alloc tests/sim/fault-host
fault_sources = tests/sim/fault.c tests/sim/fault_rig.c \
	tests/sim/fault_host.c tests/sim/fault_alloc.c
fault_ldadd = libcontrol.a libxenbus.a libdisk.a libchannel.a libblkconfig.a \
	plugins/libplugins_static.a libchain.a libhost.a $(HOST_LIBS) \
	$(CONFIG_LIBS) $(JSON_LIBS) -ldl -lm
fault_ldflags = $(AM_LDFLAGS) -Wl,-u,blk_plugins_static \
	$(fault_wraps:%=-Wl,--wrap=%)
tests_sim_fault_alloc_SOURCES = $(fault_sources)
tests_sim_fault_alloc_LDADD = $(fault_ldadd)
tests_sim_fault_alloc_LDFLAGS = $(fault_ldflags)
tests_sim_fault_host_SOURCES = $(fault_sources)
tests_sim_fault_host_LDADD = $(fault_ldadd)
tests_sim_fault_host_LDFLAGS = $(fault_ldflags)
