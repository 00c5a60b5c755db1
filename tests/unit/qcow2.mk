# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of qcow2: the module, beside QEMU's tools; and crash states in simulated
# time, with the plugin as a part of the program.
QCOW2_TESTS = tests/unit/plugin_qcow2 tests/unit/plugin_qcow2_faults \
	tests/unit/plugin_qcow2_resize tests/unit/plugin_qcow2_commit \
	tests/unit/plugin_qcow2_ephemeral tests/unit/plugin_qcow2_data \
	tests/unit/plugin_qcow2_corrupt \
	tests/functional/plugin_qcow2 tests/sim/qcow2-crash
if HAVE_CRYPT
QCOW2_TESTS += tests/unit/plugin_qcow2_encrypt
endif
check_PROGRAMS += $(QCOW2_TESTS)
TESTS += $(QCOW2_TESTS)
dist_check_SCRIPTS += tests/sim/qcow2-mutants tests/sim/sealed-mutants
TESTS += tests/sim/qcow2-mutants tests/sim/sealed-mutants
EXTRA_DIST += tests/sim/mutants.sh
noinst_HEADERS += tests/sim/qcow2_image.h tests/unit/plugin_qcow2_image.h \
	tests/sim/qcow2_guest.h tests/sim/qcow2_crash.h \
	tests/sim/crash_world.h tests/sim/log_writes.h
qcow2_crash_sources = tests/sim/qcow2_crash.c tests/sim/qcow2_guest.c \
	tests/sim/qcow2_image.c tests/sim/crash_main.c tests/sim/log_writes.c \
	tests/sim/crash_enum.c tests/sim/crash_media.c
# The log of a seed's writes, read by a program that knows its format alone.
dist_check_SCRIPTS += tests/sim/crash-log
EXTRA_DIST += tests/sim/replay_log.py
TESTS += tests/sim/crash-log
# All states of some moments; some 20 s of one processor.
dist_check_SCRIPTS += tests/sim/crash-moments
TESTS += tests/sim/crash-moments

noinst_LIBRARIES += plugins/libqcow2_static.a
plugins_libqcow2_static_a_SOURCES = $(qcow2_sources)
plugins_libqcow2_static_a_CPPFLAGS = $(AM_CPPFLAGS) -DBLK_STATIC
plugins_libqcow2_static_a_CFLAGS = $(CRYPTO_CFLAGS) $(AM_CFLAGS)
qcow2_test_libs = plugins/libqcow2_static.a $(ZLIB_LIBS) $(ZSTD_LIBS) \
	$(CRYPTO_LIBS)

tests_functional_plugin_qcow2_SOURCES = tests/functional/plugin_qcow2.c
tests_functional_plugin_qcow2_LDFLAGS = $(plugin_test_ldflags)
tests_functional_plugin_qcow2_LDADD = $(plugin_test_ldadd)
tests_unit_plugin_qcow2_SOURCES = tests/unit/plugin_qcow2.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
tests_unit_plugin_qcow2_faults_SOURCES = tests/unit/plugin_qcow2_faults.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_faults_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_faults_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
tests_unit_plugin_qcow2_resize_SOURCES = tests/unit/plugin_qcow2_resize.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_resize_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_resize_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
tests_unit_plugin_qcow2_commit_SOURCES = tests/unit/plugin_qcow2_commit.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_commit_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_commit_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
tests_unit_plugin_qcow2_ephemeral_SOURCES = \
	tests/unit/plugin_qcow2_ephemeral.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_ephemeral_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_ephemeral_LDADD = $(plugin_test_ldadd) \
	$(qcow2_test_libs)
tests_unit_plugin_qcow2_encrypt_SOURCES = \
	tests/unit/plugin_qcow2_encrypt.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_encrypt_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_encrypt_LDADD = $(plugin_test_ldadd) \
	$(qcow2_test_libs)
tests_unit_plugin_qcow2_corrupt_SOURCES = tests/unit/plugin_qcow2_corrupt.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_corrupt_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_corrupt_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
tests_unit_plugin_qcow2_data_SOURCES = tests/unit/plugin_qcow2_data.c \
	tests/unit/plugin_qcow2_image.c tests/sim/qcow2_image.c
tests_unit_plugin_qcow2_data_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_qcow2_data_LDADD = $(plugin_test_ldadd) $(qcow2_test_libs)
qcow2_scripts = tests/functional/qcow2_ephemeral \
	tests/functional/qcow2_data_file tests/functional/qcow2_repair
dist_check_SCRIPTS += $(qcow2_scripts)
TESTS += $(qcow2_scripts)
tests_sim_qcow2_crash_SOURCES = tests/sim/qcow2_alone.c $(qcow2_crash_sources)
tests_sim_qcow2_crash_LDADD = $(qcow2_test_libs) \
	plugins/libplugins_static.a libchain.a libhost.a $(HOST_LIBS) -ldl

# Images of any bytes.
dist_check_SCRIPTS += tests/fuzz/qcow2.test
EXTRA_DIST += tests/fuzz/qcow2.c tests/fuzz/corpus/qcow2
if HAVE_FUZZ_CC
TESTS += tests/fuzz/qcow2.test
FUZZ_TARGETS += tests/fuzz/qcow2.fuzz
tests/fuzz/qcow2.fuzz: tests/fuzz/qcow2.c tests/sim/qcow2_image.c \
		$(qcow2_sources) $(libchain_a_SOURCES) $(libhost_a_SOURCES)
	$(FUZZ_BUILD) -DBLK_STATIC \
		$(filter %.c,$^) $(HOST_LIBS) $(ZLIB_LIBS) $(ZSTD_LIBS) \
		$(CRYPTO_LIBS) -ldl
tests/fuzz/qcow2.log: tests/fuzz/qcow2.fuzz
endif
