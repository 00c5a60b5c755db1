# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/functional/modes
TESTS += tests/functional/modes
check_LTLIBRARIES += tests/functional/back_file.la
tests_functional_back_file_la_SOURCES = tests/functional/back_file.c
tests_functional_back_file_la_LDFLAGS = -module -avoid-version -shared \
	-rpath /nowhere $(AM_LDFLAGS)
