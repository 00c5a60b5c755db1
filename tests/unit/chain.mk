# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/unit/chain_kit.h tests/sim/chain_loop.h \
	tests/sim/chain_sim.h

chain_tests = tests/unit/chain_order tests/unit/chain_options \
	tests/unit/chain_head tests/unit/chain_life tests/unit/chain_request \
	tests/unit/chain_start tests/unit/chain_shared tests/unit/chain_map \
	tests/unit/chain_loader tests/sim/chain
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
tests_unit_chain_start_SOURCES = tests/unit/chain_start.c
tests_unit_chain_start_LDADD = $(chain_test_libs)
tests_unit_chain_map_SOURCES = tests/unit/chain_map.c
tests_unit_chain_map_LDADD = $(chain_test_libs)
tests_unit_chain_shared_SOURCES = tests/unit/chain_shared.c
tests_unit_chain_shared_LDADD = $(chain_test_libs)
tests_unit_chain_request_SOURCES = tests/unit/chain_request.c
tests_unit_chain_request_LDADD = $(chain_test_libs)
tests_unit_chain_loader_SOURCES = tests/unit/chain_loader.c
tests_unit_chain_loader_LDADD = $(chain_test_libs)
tests_unit_chain_loader_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--dynamic-list=$(top_srcdir)/src/chain/plugin.syms
tests_unit_chain_loader_CPPFLAGS = $(AM_CPPFLAGS) \
	-DMODULES='"$(abs_top_builddir)/tests/unit/modules/.libs"'

# Modules for it: a good one, and what must be refused.
chain_modules = tests/unit/modules/good.la tests/unit/modules/old.la \
	tests/unit/modules/renamed.la tests/unit/modules/hollow.la \
	tests/unit/modules/strange.la tests/unit/modules/nothing.la
check_LTLIBRARIES += $(chain_modules)
tests_unit_chain_loader_DEPENDENCIES = $(chain_modules) libchain.a libhost.a
CHAIN_MODULE_LDFLAGS = -module -avoid-version -shared -rpath /nowhere \
	$(AM_LDFLAGS)
tests_unit_modules_good_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_good_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_modules_good_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)
tests_unit_modules_old_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_old_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DMODULE_NAME='"old"' -DMODULE_ABI=77
tests_unit_modules_old_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)
tests_unit_modules_renamed_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_renamed_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_modules_renamed_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)
tests_unit_modules_hollow_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_hollow_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DMODULE_NAME='"hollow"' -DMODULE_TAIL=true
tests_unit_modules_hollow_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)
tests_unit_modules_strange_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_strange_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DMODULE_NAME='"strange"' -DMODULE_OPS=4096u
tests_unit_modules_strange_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)
tests_unit_modules_nothing_la_SOURCES = tests/unit/modules/module.c
tests_unit_modules_nothing_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE_NOTHING
tests_unit_modules_nothing_la_LDFLAGS = $(CHAIN_MODULE_LDFLAGS)

# 2,000 seeds; CHECK_LONG=1: ten times as many.
tests_sim_chain_SOURCES = tests/sim/chain_sim.c tests/sim/chain_guest.c \
	tests/sim/chain_disk.c tests/sim/chain_layers.c
tests_sim_chain_LDADD = $(chain_test_libs)

# The engine with faults put in must fail; the same seed is the same run; the
# public headers stand alone; the example of the manual page compiles.
chain_scripts = tests/sim/chain-mutants tests/sim/chain-same \
	tests/unit/headers tests/unit/chain-manual
dist_check_SCRIPTS += $(chain_scripts)
TESTS += $(chain_scripts)
