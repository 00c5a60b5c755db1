# SPDX-License-Identifier: LGPL-2.1-or-later
config_unit_tests = tests/unit/config_devid tests/unit/config_diff \
	tests/unit/config_text tests/unit/config_tree \
	tests/unit/config_load tests/unit/config_memory tests/unit/config_live
check_PROGRAMS += $(config_unit_tests)
TESTS += $(config_unit_tests)
noinst_HEADERS += tests/unit/config_fake.h

# config_text and config_memory include sources: the archive's are then not
# taken.
tests_unit_config_devid_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_diff_SOURCES = tests/unit/config_diff.c
tests_unit_config_diff_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_text_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_memory_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_live_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_tree_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm
tests_unit_config_load_LDADD = libblkconfig.a $(CONFIG_LIBS) -lm

# For the functional tests; modules find the engine's symbols in it.
check_PROGRAMS += tests/unit/config_dump
tests_unit_config_dump_LDADD = libblkconfig.a libchain.a libhost.a \
	$(CONFIG_LIBS) $(HOST_LIBS) -ldl -lm
tests_unit_config_dump_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--dynamic-list=$(srcdir)/src/chain/plugin.syms
