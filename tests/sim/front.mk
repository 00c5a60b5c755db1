# SPDX-License-Identifier: LGPL-2.1-or-later
# Fronts in the simulated world, against our own channel code and a liar.
front_tests = tests/sim/front tests/sim/front_flood tests/sim/front_lent \
	tests/sim/front_lies tests/sim/front_queues
check_PROGRAMS += $(front_tests)
TESTS += $(front_tests)
front_rig = tests/sim/front_rig.c tests/sim/front_rig.h
front_libs = libfront.a libringclient.la libxenbus.a libchannel.a libchain.a \
	libhost.a $(HOST_LIBS) -ldl
tests_sim_front_SOURCES = tests/sim/front.c $(front_rig)
tests_sim_front_LDADD = $(front_libs)
tests_sim_front_flood_SOURCES = tests/sim/front_flood.c $(front_rig)
tests_sim_front_flood_LDADD = $(front_libs)
tests_sim_front_lent_SOURCES = tests/sim/front_lent.c $(front_rig)
tests_sim_front_lent_LDADD = $(front_libs)
tests_sim_front_lies_SOURCES = tests/sim/front_lies.c $(front_rig)
tests_sim_front_lies_LDADD = $(front_libs)
tests_sim_front_lies_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ring_client_rearm
tests_sim_front_queues_SOURCES = tests/sim/front_queues.c $(front_rig)
tests_sim_front_queues_LDADD = $(front_libs)

# Faults of a front, each of which one of these must find.
dist_check_SCRIPTS += tests/sim/front-mutants
TESTS += tests/sim/front-mutants

# The cases of tests/hostile/liar.
check_PROGRAMS += tests/sim/liar
TESTS += tests/sim/liar
tests_sim_liar_SOURCES = tests/sim/liar.c tests/hostile/liar/liar.c \
	tests/hostile/liar/liar.h tests/hostile/liar/lies.c
tests_sim_liar_LDADD = $(front_libs)

# Its memory, from inside.
check_PROGRAMS += tests/unit/front_pool
TESTS += tests/unit/front_pool
tests_unit_front_pool_SOURCES = tests/unit/front_pool.c
tests_unit_front_pool_LDADD = $(front_libs)

# Its nodes.
check_PROGRAMS += tests/unit/front_nodes
TESTS += tests/unit/front_nodes
tests_unit_front_nodes_SOURCES = tests/unit/front_nodes.c
tests_unit_front_nodes_LDADD = $(front_libs)

# The plugin over it.
check_PROGRAMS += tests/unit/plugin_vbd
TESTS += tests/unit/plugin_vbd
tests_unit_plugin_vbd_SOURCES = tests/unit/plugin_vbd.c $(front_rig)
tests_unit_plugin_vbd_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_vbd_LDADD = tests/unit/libplugin_run.a $(front_libs)

# A guest above it, and where its data are copied.
check_PROGRAMS += tests/sim/interposed
TESTS += tests/sim/interposed
tests_sim_interposed_SOURCES = tests/sim/interposed.c $(front_rig)
tests_sim_interposed_LDFLAGS = $(plugin_test_ldflags)
tests_sim_interposed_LDADD = tests/unit/libplugin_run.a $(front_libs)

# ... and layers over that, which change.
check_PROGRAMS += tests/sim/front_switch
TESTS += tests/sim/front_switch
tests_sim_front_switch_SOURCES = tests/sim/front_switch.c $(front_rig)
tests_sim_front_switch_LDFLAGS = $(plugin_test_ldflags)
tests_sim_front_switch_LDADD = tests/unit/libplugin_run.a $(front_libs)
