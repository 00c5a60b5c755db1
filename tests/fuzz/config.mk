# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/fuzz/config.test
TESTS += tests/fuzz/config.test
if HAVE_FUZZ_CC
FUZZ_TARGETS += tests/fuzz/config.fuzz
tests/fuzz/config.fuzz: tests/fuzz/config.c $(libblkconfig_a_SOURCES)
	$(FUZZ_BUILD) $(filter %.c,$^) $(CONFIG_LIBS) -lm
tests/fuzz/config.log: tests/fuzz/config.fuzz
endif
EXTRA_DIST += tests/fuzz/config.c tests/fuzz/corpus/config
