# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the crypt plugin.
if HAVE_CRYPT
CRYPT_TESTS = tests/unit/crypt_xts tests/unit/plugin_crypt \
	tests/unit/plugin_crypt_odd
check_PROGRAMS += $(CRYPT_TESTS) tests/functional/crypt_raw
TESTS += $(CRYPT_TESTS) tests/functional/crypt tests/functional/stack
tests_functional_crypt_raw_SOURCES = tests/functional/crypt_raw.c
tests_functional_crypt_raw_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_functional_crypt_raw_LDADD = $(CRYPT_LIBS)
tests_unit_crypt_xts_SOURCES = tests/unit/crypt_xts.c tests/unit/locked.h
tests_unit_crypt_xts_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_unit_crypt_xts_LDADD = libchain.a libhost.a $(HOST_LIBS) \
	$(CRYPT_LIBS) -ldl
tests_unit_plugin_crypt_SOURCES = tests/unit/plugin_crypt.c
tests_unit_plugin_crypt_odd_SOURCES = tests/unit/plugin_crypt_odd.c
tests_unit_plugin_crypt_odd_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_unit_plugin_crypt_odd_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_crypt_odd_LDADD = $(plugin_test_ldadd) $(CRYPT_LIBS)
tests_unit_plugin_crypt_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_unit_plugin_crypt_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_crypt_LDADD = $(plugin_test_ldadd) $(CRYPT_LIBS)

# Crash states of stacks; 50,000 take about a minute of one processor.
noinst_LIBRARIES += plugins/libcrypt_static.a
plugins_libcrypt_static_a_SOURCES = $(crypt_sources)
plugins_libcrypt_static_a_CPPFLAGS = $(AM_CPPFLAGS) -DBLK_STATIC
plugins_libcrypt_static_a_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
check_PROGRAMS += tests/sim/stack-crash tests/sim/crypt-crash
tests_sim_crypt_crash_SOURCES = $(tests_sim_stack_crash_SOURCES)
tests_sim_crypt_crash_CFLAGS = $(tests_sim_stack_crash_CFLAGS)
tests_sim_crypt_crash_LDADD = $(tests_sim_stack_crash_LDADD)
TESTS += tests/sim/stack-crash tests/sim/stack-mutants
tests_sim_stack_crash_SOURCES = tests/sim/stack_crash.c $(qcow2_crash_sources)
tests_sim_stack_crash_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_sim_stack_crash_LDADD = plugins/libcrypt_static.a $(qcow2_test_libs) \
	plugins/libplugins_static.a libchain.a libhost.a $(HOST_LIBS) \
	$(CRYPT_LIBS) -ldl
endif
EXTRA_DIST += tests/functional/crypt tests/functional/stack \
	tests/unit/crypt_kit.h
dist_check_SCRIPTS += tests/sim/stack-mutants

# Headers of any bytes.
dist_check_SCRIPTS += tests/fuzz/luks.test
if HAVE_CRYPT
if HAVE_FUZZ_CC
TESTS += tests/fuzz/luks.test
FUZZ_TARGETS += tests/fuzz/luks.fuzz
tests/fuzz/luks.fuzz: tests/fuzz/luks.c plugins/crypt/luks.c
	$(FUZZ_BUILD) $(srcdir)/tests/fuzz/luks.c $(CRYPT_LIBS)
tests/fuzz/luks.log: tests/fuzz/luks.fuzz
endif
endif
EXTRA_DIST += tests/fuzz/luks.c tests/fuzz/corpus/luks
