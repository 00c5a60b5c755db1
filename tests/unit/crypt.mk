# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the crypt plugin.
if HAVE_CRYPT
CRYPT_TESTS = tests/unit/crypt_xts tests/unit/plugin_crypt
check_PROGRAMS += $(CRYPT_TESTS) tests/functional/crypt_raw
TESTS += $(CRYPT_TESTS) tests/functional/crypt
tests_functional_crypt_raw_SOURCES = tests/functional/crypt_raw.c
tests_functional_crypt_raw_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_functional_crypt_raw_LDADD = $(CRYPT_LIBS)
tests_unit_crypt_xts_SOURCES = tests/unit/crypt_xts.c
tests_unit_crypt_xts_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_unit_crypt_xts_LDADD = $(CRYPT_LIBS)
tests_unit_plugin_crypt_SOURCES = tests/unit/plugin_crypt.c
tests_unit_plugin_crypt_CFLAGS = $(CRYPT_CFLAGS) $(AM_CFLAGS)
tests_unit_plugin_crypt_LDFLAGS = $(plugin_test_ldflags)
tests_unit_plugin_crypt_LDADD = $(plugin_test_ldadd) $(CRYPT_LIBS)
endif
EXTRA_DIST += tests/functional/crypt

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
