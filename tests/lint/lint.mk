# SPDX-License-Identifier: LGPL-2.1-or-later
dist_check_SCRIPTS += tests/lint/spdx tests/lint/format tests/lint/size \
	tests/lint/workplace tests/lint/systemd-score tests/lint/mistakes \
	tests/lint/plugin_names
TESTS += tests/lint/spdx tests/lint/format tests/lint/size \
	tests/lint/workplace tests/lint/systemd-score tests/lint/mistakes \
	tests/lint/plugin_names
EXTRA_DIST += tests/lint/files.sh

dist_check_SCRIPTS += tests/lint/manpages tests/lint/options
TESTS += tests/lint/manpages tests/lint/options
check_PROGRAMS += tests/lint/plugin_options
tests_lint_plugin_options_LDADD = libchain.a libhost.a $(HOST_LIBS) -ldl
tests_lint_plugin_options_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--dynamic-list=$(srcdir)/src/chain/plugin.syms
