# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/unit/chain_kit.h tests/sim/chain_loop.h

chain_tests = tests/unit/chain_order
check_PROGRAMS += $(chain_tests)
TESTS += $(chain_tests)
chain_test_libs = libchain.a libhost.a $(HOST_LIBS) -ldl

tests_unit_chain_order_SOURCES = tests/unit/chain_order.c
tests_unit_chain_order_LDADD = $(chain_test_libs)
