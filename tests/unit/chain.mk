# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/unit/chain_kit.h tests/sim/chain_loop.h \
	tests/sim/chain_sim.h

chain_tests = tests/unit/chain_order tests/unit/chain_options \
	tests/unit/chain_head tests/unit/chain_life tests/sim/chain
check_PROGRAMS += $(chain_tests)
TESTS += $(chain_tests)
chain_test_libs = libchain.a libhost.a $(HOST_LIBS) -ldl

tests_unit_chain_order_SOURCES = tests/unit/chain_order.c
tests_unit_chain_order_LDADD = $(chain_test_libs)
tests_unit_chain_options_SOURCES = tests/unit/chain_options.c
tests_unit_chain_options_LDADD = $(chain_test_libs)
tests_unit_chain_head_SOURCES = tests/unit/chain_head.c
tests_unit_chain_head_LDADD = $(chain_test_libs)
tests_unit_chain_life_SOURCES = tests/unit/chain_life.c
tests_unit_chain_life_LDADD = $(chain_test_libs)

# 2,000 seeds; CHECK_LONG=1: ten times as many.
tests_sim_chain_SOURCES = tests/sim/chain_sim.c tests/sim/chain_guest.c \
	tests/sim/chain_disk.c tests/sim/chain_layers.c
tests_sim_chain_LDADD = $(chain_test_libs)

# The engine with faults put in must fail; the same seed is the same run.
chain_scripts = tests/sim/chain-mutants tests/sim/chain-same
dist_check_SCRIPTS += $(chain_scripts)
TESTS += $(chain_scripts)
