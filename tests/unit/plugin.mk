# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the plugins: the modules as built, on the real engine and host.
PLUGIN_TESTS = tests/unit/plugin_match tests/unit/plugin_static \
	tests/unit/plugin_memory tests/unit/plugin_null \
	tests/unit/plugin_nbd_kept tests/unit/plugin_nbd_latest \
	tests/unit/plugin_nbd_cross \
	tests/unit/limit_bucket tests/unit/plugin_limit \
	tests/unit/plugin_delay tests/unit/plugin_error \
	tests/unit/plugin_trace tests/unit/plugin_file \
	tests/unit/plugin_file_life tests/functional/plugin_4kn \
	tests/functional/plugin_fio tests/functional/plugin_nbd \
	tests/functional/plugin_nbd_liar
check_PROGRAMS += $(PLUGIN_TESTS)
TESTS += $(PLUGIN_TESTS) tests/functional/limit
EXTRA_DIST += tests/functional/limit

# The harness: a chain on a loop, and a model of a disk.
noinst_LIBRARIES += tests/unit/libplugin_run.a
tests_unit_libplugin_run_a_SOURCES = tests/unit/plugin_run.c \
	tests/unit/plugin_run.h tests/unit/plugin_model.c \
	tests/unit/plugin_model.h
tests_unit_libplugin_run_a_CPPFLAGS = $(AM_CPPFLAGS) \
	-DPLUGIN_BUILDDIR='"$(abs_top_builddir)/plugins/.libs"'
# Modules find the engine in the program.
plugin_test_ldflags = $(AM_LDFLAGS) \
	-Wl,--dynamic-list=$(srcdir)/src/chain/plugin.syms
plugin_test_ldadd = tests/unit/libplugin_run.a libchain.a libhost.a \
	$(HOST_LIBS) -ldl

tests_unit_plugin_match_SOURCES = tests/unit/plugin_match.c
tests_unit_plugin_static_SOURCES = tests/unit/plugin_static.c
tests_unit_plugin_static_CPPFLAGS = $(AM_CPPFLAGS) \
	-DSOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_plugin_static_LDADD = plugins/libplugins_static.a libchain.a \
	libhost.a $(HOST_LIBS) -ldl
tests_unit_plugin_memory_SOURCES = tests/unit/plugin_memory.c
tests_unit_plugin_memory_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_memory_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_null_SOURCES = tests/unit/plugin_null.c
tests_unit_plugin_null_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_null_LDADD = $(plugin_test_ldadd)
tests_unit_limit_bucket_SOURCES = tests/unit/limit_bucket.c
tests_unit_limit_bucket_LDADD = libchain.a libhost.a $(HOST_LIBS) -ldl -lpthread
tests_unit_plugin_limit_SOURCES = tests/unit/plugin_limit.c
tests_unit_plugin_limit_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_limit_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_delay_SOURCES = tests/unit/plugin_delay.c
tests_unit_plugin_delay_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_delay_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_error_SOURCES = tests/unit/plugin_error.c
tests_unit_plugin_error_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_error_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_trace_SOURCES = tests/unit/plugin_trace.c
tests_unit_plugin_trace_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_trace_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_file_SOURCES = tests/unit/plugin_file.c
tests_unit_plugin_file_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_file_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_file_life_SOURCES = tests/unit/plugin_file_life.c
tests_unit_plugin_file_life_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_file_life_LDADD = $(plugin_test_ldadd)
tests_functional_plugin_4kn_SOURCES = tests/functional/plugin_4kn.c
tests_functional_plugin_4kn_LDFLAGS = $(plugin_test_ldflags)
tests_functional_plugin_4kn_LDADD = $(plugin_test_ldadd)
tests_functional_plugin_fio_SOURCES = tests/functional/plugin_fio.c
tests_functional_plugin_fio_LDFLAGS = $(plugin_test_ldflags)
tests_functional_plugin_fio_LDADD = $(plugin_test_ldadd) $(JSON_LIBS)
tests_unit_plugin_nbd_kept_SOURCES = tests/unit/plugin_nbd_kept.c
noinst_HEADERS += tests/unit/plugin_nbd.h
tests_unit_plugin_nbd_latest_SOURCES = tests/unit/plugin_nbd_latest.c
tests_unit_plugin_nbd_cross_SOURCES = tests/unit/plugin_nbd_cross.c
tests_unit_plugin_nbd_cross_CFLAGS = $(NBD_CFLAGS) $(AM_CFLAGS)
tests_functional_plugin_nbd_SOURCES = tests/functional/plugin_nbd.c \
	tests/functional/nbd_server.c tests/functional/nbd_server.h
tests_functional_plugin_nbd_LDFLAGS = $(plugin_test_ldflags)
tests_functional_plugin_nbd_LDADD = $(plugin_test_ldadd)
tests_functional_plugin_nbd_liar_SOURCES = tests/functional/plugin_nbd_liar.c \
	tests/functional/nbd_liar.c tests/functional/nbd_liar_reply.c \
	tests/functional/nbd_liar.h
tests_functional_plugin_nbd_liar_LDFLAGS = $(plugin_test_ldflags)
tests_functional_plugin_nbd_liar_LDADD = $(plugin_test_ldadd)
dist_check_SCRIPTS += tests/functional/nbd_daemon tests/functional/nbd_map
TESTS += tests/functional/nbd_daemon tests/functional/nbd_map

# A server that dies, in simulated time: 50,000 deaths take some 10 s.
noinst_LIBRARIES += plugins/libnbd_static.a
plugins_libnbd_static_a_SOURCES = $(nbd_sources)
plugins_libnbd_static_a_CPPFLAGS = $(AM_CPPFLAGS) -DBLK_STATIC
plugins_libnbd_static_a_CFLAGS = $(NBD_CFLAGS) $(AM_CFLAGS)
check_PROGRAMS += tests/sim/nbd-crash
dist_check_SCRIPTS += tests/sim/nbd-mutants
TESTS += tests/sim/nbd-crash tests/sim/nbd-mutants
noinst_HEADERS += tests/sim/nbd_fake.h
tests_sim_nbd_crash_SOURCES = tests/sim/nbd_crash.c tests/sim/nbd_fake.c \
	tests/sim/qcow2_guest.c
tests_sim_nbd_crash_CFLAGS = $(NBD_CFLAGS) $(AM_CFLAGS)
tests_sim_nbd_crash_LDADD = plugins/libnbd_static.a \
	plugins/libplugins_static.a libchain.a libhost.a $(HOST_LIBS) -ldl

# Servers that answer anything.
dist_check_SCRIPTS += tests/fuzz/nbd.test
EXTRA_DIST += tests/fuzz/nbd.c tests/fuzz/nbd_peer.c tests/fuzz/nbd_peer.h \
	tests/fuzz/corpus/nbd
if HAVE_FUZZ_CC
TESTS += tests/fuzz/nbd.test
FUZZ_TARGETS += tests/fuzz/nbd.fuzz
tests/fuzz/nbd.fuzz: tests/fuzz/nbd.c tests/fuzz/nbd_peer.c \
		tests/fuzz/nbd_peer.h tests/functional/nbd_liar_reply.c \
		$(nbd_sources) $(libchain_a_SOURCES) $(libhost_a_SOURCES)
	$(FUZZ_BUILD) -DBLK_STATIC $(NBD_CFLAGS) \
		-Wl,--wrap=nbd_aio_connect_uri -Wl,--wrap=nbd_poll \
		$(filter %.c,$^) $(HOST_LIBS) $(NBD_LIBS) -ldl
tests/fuzz/nbd.log: tests/fuzz/nbd.fuzz
CLEANFILES += tests/fuzz/nbd.fuzz
endif

# Without each option of each plugin a test fails.
dist_check_SCRIPTS += tests/functional/options_matter
TESTS += tests/functional/options_matter
EXTRA_DIST += tests/functional/options.tests
check_LTLIBRARIES += tests/unit/plugin_without.la
tests_unit_plugin_without_la_SOURCES = tests/unit/plugin_without.c
tests_unit_plugin_without_la_LDFLAGS = -module -avoid-version -shared \
	-rpath /nowhere -export-symbols-regex '^blk_plugin$$' $(AM_LDFLAGS)
tests_unit_plugin_without_la_LIBADD = -ldl
